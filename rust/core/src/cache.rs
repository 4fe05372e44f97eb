//! What the first task of a node has discovered, kept for those that start with it.
//!
//! The file lies in memory, belongs to the user alone, and is believed for a minute, by processes
//! that would discover the same: same boot, CPUs, memory, devices and variables. Whatever is wrong
//! with it, the node is discovered as if it were not there; nothing here fails.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::os::unix::ffi::OsStrExt;

use crate::cgroup;
use crate::discover::{Discovered, Source, discover, interface_version, is_this_machine};
use crate::{Result, VIEW_VARIABLES};

/// The variable that switches it off, with the value `0`.
pub const SWITCH: &str = "MPIBIND_CACHE";

/// Discovers this machine, or what the environment puts in its place, unless another process of this
/// user has just done so. `open` is as in [`Source::Here`].
///
/// # Errors
///
/// As [`discover`].
pub fn discover_once(open: &[String]) -> Result<Discovered> {
    let anew = || discover(Source::Here { open });
    let is_off = env::var_os(SWITCH).is_some_and(|value| value == "0");
    if is_off || !is_this_machine() {
        return anew();
    }
    match key(open).zip(store::Store::open()) {
        Some((key, store)) => store.find_or(&key, anew),
        None => anew(),
    }
}

/// All that what is discovered depends on; None where that cannot be told.
fn key(open: &[String]) -> Option<String> {
    let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let status = read("/proc/self/status")?;
    let memory = status.lines().find(|line| line.starts_with("Mems_allowed_list:"))?;
    let mut variables: Vec<(OsString, OsString)> =
        env::vars_os().filter(|(name, _)| is_heeded(name.as_bytes())).collect();
    variables.sort();
    Some(format!(
        "{} {} {} {:?} {memory} {:?} {:?} {open:?} {variables:?}",
        env!("CARGO_PKG_VERSION"),
        interface_version(),
        read("/proc/sys/kernel/random/boot_id")?,
        cgroup::cpuset_cpus("/".as_ref()),
        read("/sys/devices/system/cpu/online"),
        read("/sys/devices/system/node/online"),
    ))
}

/// Whether hwloc, or a library of a GPU vendor that it asks, may look at a variable.
fn is_heeded(name: &[u8]) -> bool {
    const PREFIXES: [&str; 8] =
        ["HWLOC_", "CUDA_", "NVIDIA_", "ROCR_", "HIP_", "HSA_", "ZE_", "ZES_"];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
        || VIEW_VARIABLES.iter().any(|known| name == known.as_bytes())
}

/// Tells one key from another, and a whole text from one that is not. Against people who mean harm
/// there are the owner and the mode of the file.
fn digest(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text);
    hasher.finish()
}

/// A text under a first line that tells whether it is whole.
pub fn sealed(rest: &str) -> String {
    format!("{}\n{rest}", headline(rest))
}

fn headline(rest: &str) -> String {
    format!("mpibind node {:016x} {}", digest(rest.as_bytes()), rest.len())
}

/// The node in the text of a file: that which was written for this key, or none.
pub fn node_in(text: &str, key: &str) -> Option<Discovered> {
    let (first, rest) = text.split_once('\n')?;
    if first != headline(rest) {
        return None;
    }
    let json = rest.strip_prefix(key)?.strip_prefix('\n')?;
    Discovered::from_json(json).ok().map(Discovered::found_here)
}

#[cfg(target_os = "linux")]
mod store {
    use std::env;
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::os::fd::OwnedFd;
    use std::path::{Path, PathBuf};
    use std::thread;
    use std::time::{Duration, Instant, SystemTime};

    use rustix::fs::{
        AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, Stat, fchmod, flock, fstat, fstatfs,
        mkdirat, open, openat, renameat, statat, unlinkat,
    };
    use rustix::process::{Resource, geteuid, getrlimit};

    use super::{digest, node_in, sealed};
    use crate::Result;
    use crate::discover::Discovered;

    /// How long a file is believed. The tasks of a job start within seconds; a driver that is loaded,
    /// a GPU that is split and a network port that comes up are seen after this time.
    const LIFETIME: Duration = Duration::from_secs(60);

    /// How long to wait for another process that discovers: enough for big nodes, and short enough
    /// for whoever waits for one that was stopped.
    const PATIENCE: Duration = Duration::from_secs(1);
    const PAUSE: Duration = Duration::from_millis(1);

    const MAX_BYTES: i64 = 256 << 20;
    const TMPFS: i64 = 0x0102_1994;

    /// The folder of this user in memory.
    pub(super) struct Store(OwnedFd);

    impl Store {
        /// Opens the folder, which may have to be made; None if there is no place for it, or it is
        /// not this user's alone.
        pub(super) fn open() -> Option<Self> {
            let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
            let own = runtime.filter(|path| path.is_absolute()).and_then(|path| {
                let folder = folder(&path)?;
                is_private(&fstat(&folder).ok()?).then(|| Self::below(&folder, "mpibind"))?
            });
            own.or_else(|| {
                let user = geteuid().as_raw();
                Self::below(&folder(Path::new("/dev/shm"))?, &format!("mpibind-{user}"))
            })
        }

        pub(super) fn below(folder: &OwnedFd, name: &str) -> Option<Self> {
            // Not in memory, it may be another machine's as well.
            if fstatfs(folder).ok()?.f_type as i64 != TMPFS {
                return None;
            }
            // That it may be there already is no error; what it is, is looked at below.
            let _ = mkdirat(folder, name, Mode::RWXU);
            let own = openat(folder, name, FOLDER, Mode::empty()).ok()?;
            is_private(&fstat(&own).ok()?).then_some(Self(own))
        }

        /// What the file for a key says, or what is discovered and written to it.
        pub(super) fn find_or(
            &self,
            key: &str,
            anew: impl FnOnce() -> Result<Discovered>,
        ) -> Result<Discovered> {
            let name = format!("{:016x}", digest(key.as_bytes()));
            if let Some(node) = self.read(&name, key) {
                return Ok(node);
            }
            let lock = self.create(&format!("{name}.lock"), OFlags::empty());
            let Some(lock) = lock else { return anew() };
            let end = Instant::now() + PATIENCE;
            // The kernel ends the lock of a process that is killed.
            while flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
                if let Some(node) = self.read(&name, key) {
                    return Ok(node);
                }
                if Instant::now() > end {
                    return anew();
                }
                thread::sleep(PAUSE);
            }
            // Another may have been faster.
            if let Some(node) = self.read(&name, key) {
                return Ok(node);
            }
            let node = anew()?;
            if node.is_live {
                self.write(&name, key, &node);
            }
            Ok(node)
        }

        /// Reads a file, if all is as it was written.
        fn read(&self, name: &str, key: &str) -> Option<Discovered> {
            let file = openat(&self.0, name, OFlags::RDONLY | SAFELY, Mode::empty()).ok()?;
            let found = fstat(&file).ok()?;
            let is_good = is_file(&found) && is_private(&found) && is_young(&found);
            if !is_good || found.st_size > MAX_BYTES {
                return None;
            }
            let mut text = String::new();
            File::from(file).read_to_string(&mut text).ok()?;
            node_in(&text, key)
        }

        /// Writes a file beside the old one and puts it in its place, or leaves things as they are.
        fn write(&self, name: &str, key: &str, node: &Discovered) {
            self.tidy();
            let text = sealed(&format!("{key}\n{}", node.to_json()));
            // Beyond its limit for files the kernel would kill this process.
            if getrlimit(Resource::Fsize).current.is_some_and(|limit| limit < text.len() as u64) {
                return;
            }
            let new = format!("{name}.new");
            // Only one process at a time is here. What another has left half-written is in the way.
            let _ = unlinkat(&self.0, &new, AtFlags::empty());
            let Some(file) = self.create(&new, OFlags::EXCL) else { return };
            let is_whole = File::from(file).write_all(text.as_bytes()).is_ok();
            if !is_whole || renameat(&self.0, &new, &self.0, name).is_err() {
                let _ = unlinkat(&self.0, &new, AtFlags::empty());
            }
        }

        /// A file that this user alone may read and write; None for what is no file. To open a pipe
        /// would be to wait for its reader.
        fn create(&self, name: &str, flags: OFlags) -> Option<OwnedFd> {
            let flags = flags | OFlags::CREATE | OFlags::WRONLY | SAFELY;
            let file = openat(&self.0, name, flags, PRIVATE).ok()?;
            if !is_file(&fstat(&file).ok()?) {
                return None;
            }
            // Whatever the user's mask for new files is.
            fchmod(&file, PRIVATE).ok()?;
            Some(file)
        }

        /// Removes what nobody believes any more.
        fn tidy(&self) {
            let Ok(entries) = Dir::read_from(&self.0) else { return };
            for name in entries.flatten().map(|entry| entry.file_name().to_owned()) {
                let found = statat(&self.0, &name, AtFlags::SYMLINK_NOFOLLOW);
                if found.is_ok_and(|found| !is_young(&found)) {
                    let _ = unlinkat(&self.0, &name, AtFlags::empty());
                }
            }
        }
    }

    const FOLDER: OFlags =
        OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
    const SAFELY: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);
    const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

    pub(super) fn folder(path: &Path) -> Option<OwnedFd> {
        open(path, FOLDER, Mode::empty()).ok()
    }

    fn is_file(found: &Stat) -> bool {
        FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
    }

    /// Whether a file or folder is this user's, and nobody else may even read it.
    fn is_private(found: &Stat) -> bool {
        found.st_uid == geteuid().as_raw() && found.st_mode & 0o077 == 0
    }

    fn is_young(found: &Stat) -> bool {
        let written = u64::try_from(found.st_mtime).unwrap_or(0);
        let written = SystemTime::UNIX_EPOCH + Duration::from_secs(written);
        // A file from the future is none of this boot, or somebody has changed the clock.
        SystemTime::now().duration_since(written).is_ok_and(|age| age < LIFETIME)
    }
}

/// Elsewhere there is no such place.
#[cfg(not(target_os = "linux"))]
mod store {
    use crate::Result;
    use crate::discover::Discovered;

    pub(super) struct Store;

    impl Store {
        pub(super) fn open() -> Option<Self> {
            None
        }

        pub(super) fn find_or(
            &self,
            _key: &str,
            anew: impl FnOnce() -> Result<Discovered>,
        ) -> Result<Discovered> {
            anew()
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::path::Path;

    use super::store::{Store, folder};
    use super::*;

    /// A folder in memory that is removed again.
    struct Memory(String);

    impl Drop for Memory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_read_is_what_was_discovered() {
        let Some(shm) = folder(Path::new("/dev/shm")) else { return };
        let name = format!("mpibind-test-{}", std::process::id());
        let _memory = Memory(format!("/dev/shm/{name}"));
        // Where nothing is kept in memory, there is nothing to test.
        let Some(store) = Store::below(&shm, &name) else { return };
        let machine = format!(
            "{}/../../test-suite/topologies/epyc-7763-nps4-8gpu.xml",
            env!("CARGO_MANIFEST_DIR")
        );
        let node = || discover(Source::Xml(Path::new(&machine))).map(Discovered::found_here);
        let right = node().unwrap();
        let never = || panic!("it is there already");
        for key in ["one", "another"] {
            let mut count = 0;
            let mut count_and_discover = || {
                count += 1;
                node()
            };
            store.find_or(key, &mut count_and_discover).unwrap();
            let read = store.find_or(key, never).unwrap();
            assert_eq!(count, 1, "{key}");
            assert_eq!(read.topology, right.topology);
            assert_eq!(
                (read.uncounted, read.notes),
                (right.uncounted.clone(), right.notes.clone())
            );
            assert!(read.is_live && read.origin == "this machine");
        }
        // A key whose name happens to be that of another.
        let mut files: Vec<_> =
            fs::read_dir(format!("/dev/shm/{name}")).unwrap().flatten().map(|f| f.path()).collect();
        files.retain(|path| path.extension().is_none());
        fs::rename(&files[0], &files[1]).unwrap();
        let mut found = 0;
        for key in ["one", "another"] {
            found +=
                i32::from(store.find_or(key, || Err(crate::Error::Launcher("".into()))).is_ok());
        }
        assert_eq!(found, 0);
    }

    #[test]
    fn variables_that_hwloc_may_look_at() {
        for name in ["HWLOC_COMPONENTS", "ZES_ENABLE_SYSMAN", "VISIBLE_DEVICES"] {
            assert!(is_heeded(name.as_bytes()), "{name}");
        }
        for name in ["PATH", "LOCAL_RANK", "DISPLAY", "SLURM_LOCALID", "XDG_RUNTIME_DIR"] {
            assert!(!is_heeded(name.as_bytes()), "{name}");
        }
    }
}
