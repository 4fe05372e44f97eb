//! Files of `/sys` and `/proc` that tell of memory and devices. The input is a list of changes, parted by
//! zero bytes, to a tree that is otherwise whole: the number of a file in one line, then its new
//! content. A number alone removes the file.

#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mpibind_core::discover::{Source, discover};
use mpibind_fuzz::exercise;

/// The files that may be changed, and what was in them.
static FILES: LazyLock<Vec<(PathBuf, Vec<u8>)>> = LazyLock::new(|| {
    let root = std::env::var_os("HWLOC_FSROOT").expect("HWLOC_FSROOT names a tree");
    let mut paths = Vec::new();
    for folder in
        ["sys/class/kfd", "proc/driver", "sys/devices/pci0000:00", "sys/devices/system/node"]
    {
        collect(&Path::new(&root).join(folder), &mut paths);
    }
    paths.sort();
    assert!(!paths.is_empty(), "the tree has files of devices");
    paths.into_iter().map(|path| (path.clone(), fs::read(&path).expect("it can be read"))).collect()
});

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let kind = entry.file_type().expect("it has a type");
        if kind.is_dir() {
            collect(&entry.path(), paths);
        } else if kind.is_file() {
            paths.push(entry.path());
        }
    }
}

/// A change: which file, and its new content, or none where it goes.
fn change(text: &[u8]) -> (usize, Option<&[u8]>) {
    let end = text.iter().position(|byte| *byte == b'\n');
    let number = std::str::from_utf8(&text[..end.unwrap_or(text.len())]).unwrap_or_default();
    let number: usize = number.parse().unwrap_or_default();
    (number % FILES.len(), end.map(|end| &text[end + 1..]))
}

fuzz_target!(|data: &[u8]| {
    let changes: Vec<_> = data.split(|byte| *byte == 0).take(6).map(change).collect();
    for (file, content) in &changes {
        match content {
            Some(content) => fs::write(&FILES[*file].0, content).expect("it can be written"),
            None => drop(fs::remove_file(&FILES[*file].0)),
        }
    }
    if let Ok(node) = discover(Source::Here { open: &[] }) {
        exercise(&node);
    }
    for (file, _) in &changes {
        let (path, whole) = &FILES[*file];
        fs::write(path, whole).expect("it can be written");
    }
});
