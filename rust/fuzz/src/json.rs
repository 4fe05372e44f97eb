//! JSON that is changed at places that matter.

use serde_json::{Value, json};

use crate::Chance;

/// One to four changes; none if the text is no JSON, and now and then, for that which is none.
pub fn mutate(text: &[u8], seed: u32) -> Option<String> {
    let mut chance = Chance::new(seed);
    let mut value: Value = serde_json::from_slice(text).ok()?;
    if chance.below(20) == 0 {
        return None;
    }
    for _ in 0..*chance.of(&[1, 1, 2, 4]) {
        change(&mut value, &mut chance);
    }
    Some(value.to_string())
}

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
