//! Becoming another program: the same process, the same open files, no shell.

use std::convert::Infallible;
use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use mpibind_core::quoted;
use nix::errno::Errno;
use nix::unistd::execve;

/// Where programs are looked for without a PATH.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The variables of this process with others set, as a program takes them.
pub fn environment(set: &[(String, String)]) -> Vec<CString> {
    let is_set = |name: &OsStr| set.iter().any(|(other, _)| name == other.as_str());
    let kept = env::vars_os().filter(|(name, _)| !is_set(name));
    let set = set.iter().map(|(name, value)| (name.into(), value.into()));
    let entry = |(name, value): (OsString, OsString)| {
        let mut entry = name.into_vec();
        entry.push(b'=');
        entry.extend(value.into_vec());
        CString::new(entry).ok()
    };
    kept.chain(set).filter_map(entry).collect()
}

/// Replaces this process by a file with these words, the first of which is its name; returns why
/// that failed.
pub fn execute(file: &OsStr, words: &[OsString], environment: &[CString]) -> Errno {
    let text = |word: &OsStr| CString::new(word.as_bytes()).map_err(|_| Errno::EINVAL);
    let attempt = || -> Result<Infallible, Errno> {
        let words = words.iter().map(|word| text(word)).collect::<Result<Vec<_>, _>>()?;
        execve(&text(file)?, &words, environment)
    };
    match attempt() {
        Err(error) => error,
    }
}

/// Replaces this process by a program, which is looked for in PATH where its name has no slash.
/// Returns why that failed, with the exit status that shells have for it.
pub fn become_program(words: &[OsString], environment: &[CString]) -> (u8, String) {
    let name = words.first().map_or_else(|| OsStr::new(""), OsString::as_os_str);
    let has_slash = name.as_bytes().contains(&b'/');
    let (file, error) = match has_slash {
        true => (name.into(), execute(name, words, environment)),
        false => execute_from_path(name, words, environment),
    };
    let shown = quoted(&name.to_string_lossy());
    let (status, why) = match error {
        Errno::ENOENT => {
            let place =
                if has_slash { "there is no such file" } else { "it is not in a folder of PATH" };
            (127, format!("{place}, or its interpreter is missing"))
        }
        Errno::ENOTDIR => (127, error.desc().to_owned()),
        Errno::EACCES | Errno::EPERM => {
            let why =
                if file.is_dir() { "it is a folder" } else { "it is not executable (chmod +x)" };
            (126, why.to_owned())
        }
        Errno::ENOEXEC => {
            (126, format!("{}; a script needs a first line such as #!/bin/sh", error.desc()))
        }
        error => (126, error.desc().to_owned()),
    };
    (status, format!("cannot run {shown}: {why}"))
}

/// The first that can be run counts; else the first that is there, and its error.
fn execute_from_path(
    name: &OsStr,
    words: &[OsString],
    environment: &[CString],
) -> (PathBuf, Errno) {
    let path = env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let mut found = (name.into(), Errno::ENOENT);
    for folder in env::split_paths(&path) {
        // An empty entry is the folder that one is in.
        let file = folder.join(name);
        match execute(file.as_os_str(), words, environment) {
            Errno::ENOENT | Errno::ENOTDIR => {}
            error if found.1 == Errno::ENOENT => found = (file, error),
            _ => {}
        }
    }
    found
}
