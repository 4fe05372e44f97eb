//! Files of hwloc's XML, whole and damaged, through import, mapping and back.

#![no_main]

use std::fs;
use std::path::PathBuf;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use mpibind_core::discover::{Source, discover};
use mpibind_fuzz::{Chance, exercise, xml};

fuzz_target!(|data: &[u8]| {
    let path = PathBuf::from(format!("/dev/shm/mpibind-fuzz-{}.xml", std::process::id()));
    fs::write(&path, data).expect("the file can be written");
    if let Ok(node) = discover(Source::Xml(&path)) {
        exercise(&node);
        let _ = node.to_xml();
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut chance = Chance::new(seed);
    let changed = match std::str::from_utf8(&data[..size]) {
        Ok(text) if chance.below(20) > 0 => xml::mutate(text, &mut chance),
        _ => None,
    };
    match changed {
        Some(text) if text.len() <= max_size => {
            data[..text.len()].copy_from_slice(text.as_bytes());
            text.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
});
