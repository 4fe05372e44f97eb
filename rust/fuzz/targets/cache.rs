//! Files of the node cache. The input is a file as it lies there, or, after a zero byte, one whose first
//! line is right for what follows: chance alone does not find a checksum.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use mpibind_core::cache::{node_in, sealed};
use mpibind_fuzz::{exercise, json};

const KEY: &str = "key";

fuzz_target!(|text: &str| {
    let node = match text.strip_prefix('\0') {
        Some(rest) => node_in(&sealed(rest), KEY),
        None => node_in(text, KEY),
    };
    if let Some(node) = node {
        assert!(node.is_live, "it is taken for this machine");
        exercise(&node);
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let start = format!("\0{KEY}\n");
    let json_at = start.len();
    let changed = match data[..size].strip_prefix(start.as_bytes()) {
        Some(json) => json::mutate(json, seed).filter(|text| json_at + text.len() <= max_size),
        None => None,
    };
    match changed {
        Some(text) => {
            data[json_at..json_at + text.len()].copy_from_slice(text.as_bytes());
            json_at + text.len()
        }
        None => fuzzer_mutate(data, size, max_size),
    }
});
