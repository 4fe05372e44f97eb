//! Tests that need a process of their own: the environment and the CPU masks belong to all threads
//! of a process, and so do its terminal and its death.
//!
//! The parent test starts its own program again, for the one test that is named, with
//! [`WHAT_TO_DO`] set. There it acts as the child.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Tells the child what to do.
pub(crate) const WHAT_TO_DO: &str = "MPIBIND_TEST_CHILD";

/// What the child is to do; none in the parent.
pub(crate) fn what_to_do() -> Option<String> {
    std::env::var(WHAT_TO_DO).ok()
}

/// What came of a child.
#[derive(Debug)]
pub(crate) struct Report {
    /// The lines of [`say`].
    pub(crate) said: Vec<String>,
    /// Everything else on its standard output and error, less what the test harness prints.
    pub(crate) noise: Vec<String>,
}

const MARK: &str = "child says: ";

/// Reports a line to the parent.
pub(crate) fn say(line: impl std::fmt::Display) {
    println!("\n{MARK}{}", line.to_string().replace('\n', " "));
}

/// Runs the test `name` of this program in a process of its own. The error says how it died.
pub(crate) fn run(
    name: &str,
    what: &str,
    variables: &[(&str, &std::ffi::OsStr)],
) -> Result<Report, String> {
    // Long enough for a slow machine, short enough to be told of a child that hangs.
    const PATIENCE: Duration = Duration::from_secs(120);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads=1", "-q"]);
    for variable in
        ["MPIBIND_TOPOFILE", "HWLOC_XMLFILE", "HWLOC_SYNTHETIC", "HWLOC_FSROOT", "RUST_BACKTRACE"]
    {
        command.env_remove(variable);
    }
    command.env(WHAT_TO_DO, what).envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipes = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let read = |pipe: &mut dyn std::io::Read| {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (status, out, err) = std::thread::scope(|scope| {
        let out = scope.spawn(move || read(&mut pipes.0));
        let err = scope.spawn(move || read(&mut pipes.1));
        let start = Instant::now();
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if start.elapsed() > PATIENCE => {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    break None;
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        (status, out.join().unwrap(), err.join().unwrap())
    });
    let end: String = format!("{out}{err}").chars().take(2000).collect();
    match status {
        None => return Err(format!("{what}: the child hangs; it printed:\n{end}")),
        Some(status) if !status.success() => {
            return Err(format!("{what}: the child ended with {status}; it printed:\n{end}"));
        }
        Some(_) => {}
    }
    let of_harness = |line: &&str| {
        line.is_empty()
            || *line == "."
            || line.starts_with("running 1 test")
            || line.starts_with("test result: ok")
    };
    let (said, noise): (Vec<_>, Vec<_>) = (out.lines().chain(err.lines()))
        .filter(|line| !of_harness(line))
        .partition(|line| line.starts_with(MARK));
    Ok(Report {
        said: said.iter().map(|line| line[MARK.len()..].to_owned()).collect(),
        noise: noise.into_iter().map(str::to_owned).collect(),
    })
}

/// A folder for the files of one test.
pub(crate) fn scratch(name: &str) -> std::path::PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}
