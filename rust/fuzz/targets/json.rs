//! JSON of nodes and mappings, whole and damaged.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use mpibind_core::discover::Discovered;
use mpibind_core::json::Saved;
use mpibind_fuzz::{check, exercise, json};

fuzz_target!(|text: &str| {
    if let Ok(node) = Discovered::from_json(text) {
        exercise(&node);
    }
    if let Ok(saved) = Saved::from_json(text) {
        check(&saved.mapping, &saved.node);
        let again = saved.to_json().expect("what was read is written");
        let twice = Saved::from_json(&again).expect("what was written is read");
        assert_eq!(twice.to_json().expect("what was read is written"), again);
        exercise(&saved.node);
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    match json::mutate(&data[..size], seed) {
        Some(text) if text.len() <= max_size => {
            data[..text.len()].copy_from_slice(text.as_bytes());
            text.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
});
