//! JSON of nodes and mappings, whole and damaged.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use mpibind_core::discover::Discovered;
use mpibind_core::json::Saved;
use mpibind_fuzz::{Chance, check, exercise};
use serde_json::{Value, json};

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
    let mut chance = Chance::new(seed);
    let parsed = serde_json::from_slice::<Value>(&data[..size]).ok();
    let changed = parsed.filter(|_| chance.below(20) > 0).map(|mut value| {
        for _ in 0..*chance.of(&[1, 1, 2, 4]) {
            change(&mut value, &mut chance);
        }
        value.to_string()
    });
    match changed {
        Some(text) if text.len() <= max_size => {
            data[..text.len()].copy_from_slice(text.as_bytes());
            text.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
});

/// Changes a value, or something inside it.
fn change(value: &mut Value, chance: &mut Chance) {
    if chance.below(8) > 0 {
        match value {
            Value::Array(items) if !items.is_empty() => {
                let at = chance.below(items.len());
                return match chance.below(12) {
                    0 => drop(items.remove(at)),
                    1 => items.push(items[at].clone()),
                    2 => {
                        let other = chance.below(items.len());
                        items.swap(at, other);
                    }
                    3 => {
                        let other = chance.below(items.len());
                        items[at] = items[other].clone();
                    }
                    _ => change(&mut items[at], chance),
                };
            }
            Value::Object(fields) if !fields.is_empty() => {
                let names: Vec<String> = fields.keys().cloned().collect();
                let name = chance.of(&names);
                if chance.below(20) == 0 {
                    fields.remove(name);
                } else {
                    change(&mut fields[name], chance);
                }
                return;
            }
            _ => {}
        }
    }
    let number = value.as_i64().unwrap_or_default();
    let huge = json!(u64::MAX);
    *value = match chance.below(14) {
        0 => json!(number.wrapping_add(1)),
        1 => json!(number.wrapping_sub(1)),
        2 => json!(0),
        3 => json!(-1),
        4 => json!(1_048_575),
        5 => json!(u32::MAX),
        6 => huge,
        7 => Value::Null,
        8 => json!(""),
        9 => json!("0-3,7"),
        10 => json!("PU"),
        11 => json!("Group"),
        12 => json!([]),
        _ => json!(chance.below(20)),
    };
}
