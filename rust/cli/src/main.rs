//! The command `mpibind`. `mpibind run` is started by thousands of ranks at once, so it is done here;
//! everything else is done by the Python command line, which this program becomes.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mpibind_cli::{complain, program, run};

/// The Python command line, as pip puts it into the same folder with the Python that it belongs to.
const PYTHON: &str = "mpibind-python";

fn main() -> ExitCode {
    sigpipe::reset();
    let mut words: Vec<OsString> = env::args_os().collect();
    if words.get(1).is_some_and(|word| word == "run") {
        return ExitCode::from(run(words.split_off(2)));
    }
    ExitCode::from(become_python(words))
}

/// Hands the words on; returns only if that fails.
fn become_python(mut words: Vec<OsString>) -> u8 {
    let invoked = words.first().map_or_else(|| Path::new(""), Path::new);
    let folders: Vec<PathBuf> = folder_of(invoked).into_iter().chain(own_folder()).collect();
    let script = folders.iter().map(|folder| folder.join(PYTHON)).find(|script| script.is_file());
    let Some(script) = script else {
        let shown: Vec<String> = folders.iter().map(|folder| format!("{folder:?}")).collect();
        complain(&format!(
            "mpibind: error: there is no {PYTHON} in {}, where pip puts it beside this program; \
             install mpibind anew with pip, or type `python -m mpibind`",
            shown.join(" or ")
        ));
        return 1;
    };
    let script = script.into_os_string();
    match words.first_mut() {
        Some(first) => first.clone_from(&script),
        None => words.push(script.clone()),
    }
    let failure = program::execute(&script, &words, &program::environment(&[]));
    complain(&format!("mpibind: error: cannot run {script:?}: {}", failure.desc()));
    1
}

/// The folder in which the shell found this program.
fn folder_of(invoked: &Path) -> Option<PathBuf> {
    if invoked.components().count() > 1 {
        return invoked.parent().map(Path::to_owned);
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).find(|folder| is_program(folder, invoked.as_os_str()))
}

fn is_program(folder: &Path, name: &OsStr) -> bool {
    !name.is_empty() && folder.join(name).is_file()
}

/// The folder of this program itself, behind all links.
fn own_folder() -> Option<PathBuf> {
    env::current_exe().ok()?.parent().map(Path::to_owned)
}
