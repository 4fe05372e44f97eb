//! hwloc's synthetic text, with GPUs. The input's first line has their numbers, `2,0`; the rest is the
//! text.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use mpibind_core::discover::{Source, discover};
use mpibind_fuzz::exercise;

fuzz_target!(|input: &str| -> Corpus {
    let (gpus, text) = input.split_once('\n').unwrap_or(("", input));
    // A legal text may keep hwloc busy for half a minute.
    let numbers = text.split(|character: char| !character.is_ascii_digit());
    let counts = numbers.filter_map(|number| number.parse::<u64>().ok()).filter(|count| *count > 1);
    if counts.fold(1, u64::saturating_mul) > 1 << 12 {
        return Corpus::Reject;
    }
    let gpus: Vec<i64> = gpus.split(',').filter_map(|count| count.parse().ok()).collect();
    if let Ok(node) = discover(Source::Synthetic { text, gpus: &gpus }) {
        exercise(&node);
        let _ = node.to_xml();
    }
    Corpus::Keep
});
