//! Runtimes that were started before the binding, and have read their variables already.
//!
//! OpenMP and BLAS libraries look at `OMP_NUM_THREADS` when they are loaded, GPU runtimes at the
//! variables for visible devices when they start.
//!
//! Source: `proc_pid_maps(5)` and `proc_pid_fd(5)`.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What the files are called in which libraries with a thread pool come, without version and suffix.
const POOLS: [(&str, &str); 7] = [
    ("libblis", "BLIS"),
    ("libgomp", "GNU OpenMP"),
    ("libiomp", "Intel OpenMP"),
    ("libmkl_", "MKL"),
    ("libomp", "LLVM OpenMP"),
    ("libopenblas", "OpenBLAS"),
    ("libscipy_openblas", "OpenBLAS"),
];

/// What a runtime that reads the variable keeps open once it has started.
const GPU_DEVICES: [(&str, &str); 3] = [
    ("CUDA_VISIBLE_DEVICES", "/dev/nvidia"),
    ("ROCR_VISIBLE_DEVICES", "/dev/kfd"),
    ("ZE_AFFINITY_MASK", "/dev/dri/renderD"),
];

/// The libraries with thread pools that this process has loaded, sorted. None can be told where there
/// is no `/proc`.
///
/// `root` is the root of the file tree, `/` for this machine.
pub fn thread_pools(root: &Path) -> Vec<&'static str> {
    // A path may hold any bytes.
    let maps = fs::read(root.join("proc/self/maps")).unwrap_or_default();
    let maps = String::from_utf8_lossy(&maps);
    let files = maps.lines().filter_map(|line| Some(line.rsplit_once('/')?.1));
    let title = |file: &str| {
        POOLS.iter().find(|(start, _)| file.starts_with(start)).map(|(_, title)| *title)
    };
    files.filter_map(title).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Those of the variables that a GPU runtime of this process has read: its devices are open.
pub fn started_gpus(root: &Path, mut variables: Vec<String>) -> Vec<String> {
    let device = |name: &str| GPU_DEVICES.iter().find(|(of, _)| *of == name).map(|(_, file)| *file);
    let open: LazyCell<Vec<String>, _> = LazyCell::new(|| {
        let files = fs::read_dir(root.join("proc/self/fd")).into_iter().flatten();
        // A file may have been closed meanwhile.
        let paths = files.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        paths.map(|path| path.to_string_lossy().into_owned()).collect()
    });
    variables.retain(|name| {
        device(name).is_some_and(|device| open.iter().any(|file| file.starts_with(device)))
    });
    variables
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/self/fd")).unwrap();
        root
    }

    #[test]
    fn pools_by_the_names_of_files() {
        let root = tree();
        let maps = b"7f00-7f01 r-xp 0 08:01 1 /usr/lib/libgomp.so.1.0.0\n\
            7f01-7f02 r-xp 0 08:01 2 /opt/\xff/lib/libmkl_core.so.2\n\
            7f02-7f03 r-xp 0 08:01 3 /x/numpy.libs/libscipy_openblas64_-56d6093b.so\n\
            7f03-7f04 r-xp 0 08:01 4 /x/libopenblas.so.0 (deleted)\n\
            7f04-7f05 r-xp 0 08:01 5 /libgomp/libm.so.6\n\
            7f05-7f06 rw-p 0 00:00 0 [heap]\n7f06-7f07 rw-p 0 00:00 0\n";
        fs::write(root.path().join("proc/self/maps"), maps).unwrap();
        assert_eq!(thread_pools(root.path()), ["GNU OpenMP", "MKL", "OpenBLAS"]);
        assert!(thread_pools(Path::new("/nowhere")).is_empty());
    }

    #[test]
    fn gpus_by_the_open_devices() {
        let variables = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let names = ["CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"];
        let cases: [(&str, &[&str]); 5] = [
            ("/dev/null", &[]),
            ("/tmp/dev/nvidia0", &[]),
            ("/dev/nvidiactl", &names[..1]),
            ("/dev/kfd", &names[1..2]),
            ("/dev/dri/renderD128", &names[2..]),
        ];
        for (file, expected) in cases {
            let root = tree();
            symlink(file, root.path().join("proc/self/fd/3")).unwrap();
            symlink("socket:[17]", root.path().join("proc/self/fd/4")).unwrap();
            assert_eq!(started_gpus(root.path(), variables(&names)), expected, "{file}");
            let others = variables(&["OMP_NUM_THREADS", "CUDA_DEVICE_ORDER"]);
            assert!(started_gpus(root.path(), others).is_empty(), "{file}");
        }
        assert!(started_gpus(Path::new("/nowhere"), variables(&names)).is_empty());
    }
}
