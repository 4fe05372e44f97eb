//! What several test files need: the machines of the collection, and a mapping as text.

// Each test file is a program of its own and uses only a part of this.
#![allow(dead_code)]

pub(crate) mod process;
pub(crate) mod random;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mpibind_core::discover::{Source, discover};
use mpibind_core::{GpuId, Mapping, Topology};

/// A folder of the test suite.
pub(crate) fn test_suite(folder: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../test-suite")).join(folder)
}

/// Name (without `.xml`) and path of each machine of the collection, sorted by name.
pub(crate) fn collection() -> Vec<(String, PathBuf)> {
    let machines = xml_files(&test_suite("topologies"));
    assert!(machines.len() >= 20, "the collection of machines has gone");
    machines
}

/// The machines of the conformance corpus, which is not part of this project: it is looked for in
/// `MPIBIND_CONFORMANCE`, then beside the checkout. None where it is in neither place.
pub(crate) fn conformance_machines() -> Vec<(String, PathBuf)> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/conformance");
    let folder =
        std::env::var_os("MPIBIND_CONFORMANCE").map_or_else(|| beside.into(), PathBuf::from);
    xml_files(&folder.join("topologies"))
}

fn xml_files(folder: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "xml"))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), path))
        .collect();
    files.sort();
    files
}

/// Loads the machine of an XML file.
pub(crate) fn load(path: &Path) -> Arc<Topology> {
    discover(Source::Xml(path)).unwrap().topology
}

/// A mapping, one line per task, as mpibind prints it.
pub(crate) fn listing(mapping: &Mapping) -> String {
    let line = |task: i64| {
        let threads = mapping.threads()[task as usize];
        let gpus = mapping.gpu_ids(task, GpuId::Index).unwrap().join(",");
        let cpus = mapping.cpuset(task).unwrap();
        format!("mpibind: task {task:2} nths {threads:2} gpus {gpus} cpus {cpus}\n")
    };
    (0..mapping.ntasks() as i64).map(line).collect()
}
