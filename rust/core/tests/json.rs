//! Nodes and mappings come back from JSON as they were, and damaged JSON is refused in words.

mod support;

use std::sync::Arc;

use mpibind_core::discover::{Discovered, Source, discover};
use mpibind_core::json::Saved;
use mpibind_core::{Error, GpuId, Mapping, Parameters, Request, Topology, View, map};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};
use support::random::{Ask, asks, machines, scramble};
use support::{collection, listing, test_suite};

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

fn comes_back(node: &Discovered, ask: &Ask) -> Result<(), TestCaseError> {
    let again = Discovered::from_json(&node.to_json()).unwrap();
    prop_assert_eq!(&*again.topology, &*node.topology);
    prop_assert_eq!(again.to_json(), node.to_json());
    let mapped = ask.on(&node.topology, |asked| {
        Request::new(asked).and_then(|request| map(&node.topology, &request))
    });
    let Ok(mapping) = mapped else { return Ok(()) };
    let saved = Saved { mapping, node: node.clone(), gpu_ids: GpuId::Name };
    let text = saved.to_json().unwrap();
    let again = Saved::from_json(&text).unwrap();
    prop_assert_eq!(listing(&again.mapping), listing(&saved.mapping));
    prop_assert_eq!(&again.mapping, &saved.mapping);
    prop_assert_eq!(&*again.node.topology, &*node.topology);
    prop_assert_eq!(again.gpu_ids, GpuId::Name);
    prop_assert_eq!(again.to_json().unwrap(), text);
    Ok(())
}

#[test]
fn every_node_and_mapping_comes_back_as_it_was() {
    let random = runner(400).run(&(machines(), asks()), |(blueprint, ask)| {
        comes_back(&Discovered::given(blueprint.topology(), "a random machine".into()), &ask)
    });
    random.unwrap();
    for (name, path) in collection() {
        let node = discover(Source::Xml(&path)).unwrap();
        let result = runner(10).run(&asks(), |ask| comes_back(&node, &ask));
        result.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// Where the values of a document are.
fn places(value: &Value, here: &str, found: &mut Vec<String>) {
    found.push(here.to_owned());
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, &format!("{here}/{index}"), found);
            }
        }
        Value::Object(fields) => {
            for (name, item) in fields {
                places(item, &format!("{here}/{name}"), found);
            }
        }
        _ => {}
    }
}

/// Puts something else somewhere.
fn damage(document: &mut Value, seed: u64) {
    let mut found = Vec::new();
    places(document, "", &mut found);
    let place = &found[(scramble(seed, 1) % found.len() as u64) as usize];
    let target = document.pointer_mut(place).unwrap();
    let replacement = match (&*target, scramble(seed, 2) % 8) {
        (Value::Number(number), 0) => json!(number.as_u64().unwrap_or(0).saturating_add(1)),
        (Value::Number(number), 1) => json!(number.as_u64().unwrap_or(1).saturating_sub(1)),
        (_, 0) => json!(-1),
        (_, 1) => json!(u64::from(u32::MAX)),
        (_, 2) => Value::Null,
        (_, 3) => json!([]),
        (_, 4) => json!("0-3"),
        (_, 5) => json!(scramble(seed, 3) % 20),
        (_, 6) => json!({}),
        (Value::Array(items), _) => {
            let mut items = items.clone();
            items.reverse();
            items.pop();
            Value::Array(items)
        }
        _ => json!(u64::MAX),
    };
    *target = replacement;
}

/// What is read, whatever was written there, can be used; what is not is refused in words.
fn does_no_harm(topology: Arc<Topology>, seeds: &[u64]) -> Result<(), TestCaseError> {
    // A few random machines have nothing that could be mapped.
    let mapped = map(&topology, &Request::new(&Parameters::new(3)).unwrap());
    let Ok(mapping) = mapped else { return Ok(()) };
    let node = Discovered::given(topology, "a random machine".into());
    let saved = Saved { mapping, node, gpu_ids: GpuId::Index };
    let mut document: Value = serde_json::from_str(&saved.to_json().unwrap()).unwrap();
    seeds.iter().for_each(|seed| damage(&mut document, *seed));
    match Saved::from_json(&document.to_string()) {
        Err(Error::InvalidParameter { parameter, .. }) => prop_assert_eq!(parameter, "text"),
        Err(error) => prop_assert!(false, "{}", error),
        Ok(read) => {
            listing(&read.mapping);
            for task in 0..read.mapping.ntasks() as i64 {
                read.mapping.numas(task).unwrap();
                let mut popped: Mapping = read.mapping.clone();
                let _ = popped.pop_cores(task, 1);
            }
            for ntasks in [1, 5] {
                let request = Request::new(&Parameters::new(ntasks)).unwrap();
                let _ = map(&read.node.topology, &request);
            }
        }
    }
    Ok(())
}

#[test]
fn damaged_json_does_no_harm() {
    let seeds = prop::collection::vec(any::<u64>(), 1..4);
    let result = runner(1000)
        .run(&(machines(), seeds), |(blueprint, seeds)| does_no_harm(blueprint.topology(), &seeds));
    result.unwrap();
}

#[test]
fn what_is_wrong_is_said() {
    let path = test_suite("topologies/two-package-18core-smt2-2gpu.xml");
    let node = discover(Source::Xml(&path)).unwrap();
    let mapping = map(&node.topology, &Request::new(&Parameters::new(4)).unwrap()).unwrap();
    let topology = node.to_json();
    let good = Saved { mapping, node, gpu_ids: GpuId::Index }.to_json().unwrap();
    let with = |pointer: &str, value: Value| {
        let mut document: Value = serde_json::from_str(&good).unwrap();
        *document.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        document.to_string()
    };
    let mut tail_less = good.clone();
    tail_less.truncate(good.len() - 5);
    let card = json!([{"name": "mlx5\0", "pci": null, "port": null, "object": 0}]);
    let uncounted =
        json!([{"pci": "0000:03:00.0", "vendor": "ACME\0", "model": null, "reason": ""}]);
    for (text, words) in [
        (String::new(), "text=\"\" is not legal: it is not JSON"),
        ("mapping.json".into(), "text=\"mapping.json\" is not legal: it is not JSON"),
        (tail_less, "it is not JSON (EOF"),
        ("\"mapping\"".into(), "it is JSON, but of something else"),
        ("{}".into(), "its \"format\" is \"\", not \"mpibind mapping\""),
        (topology, "\"mpibind topology\", not \"mpibind mapping\": read it as what it is"),
        (with("/version", json!(2)), "its \"version\" is 2, and mpibind"),
        (with("/version", json!(2)), "reads version 1; a newer mpibind wrote it"),
        (with("/version", json!(null)), "its \"version\" must be 1"),
        (with("/version", json!(0)), "its \"version\" must be 1"),
        (with("/tasks/2/cpus/0", json!(-1)), "not whole at tasks[2].cpus[0]: invalid value"),
        (with("/tasks/2", json!({})), "not whole at tasks[2]: missing field `cpus`"),
        (with("/tasks", json!([])), "it has 0 tasks"),
        (with("/tasks/2/cpus/0", json!(99)), "tasks[2] has CPUs that do not rise"),
        (with("/tasks/2/cpus", json!([99])), "tasks[2] has CPU 99, and its node has 0-71"),
        (with("/tasks/2/cpus", json!([])), "tasks[2] has no CPUs"),
        (with("/tasks/2/nthreads", json!(0)), "tasks[2] has 0 threads; it must be 1 to 1048576"),
        (with("/tasks/2/nthreads", json!(u32::MAX)), "tasks[2] has 4294967295 threads; it must be"),
        (with("/tasks/2/gpu_places", json!([7])), "a GPU that the node has not: gpu_places 7"),
        (with("/tasks/2/gpus", json!(["7"])), "tasks[2] has gpus [\"7\"], but those of its"),
        (with("/gpu_ids", json!("number")), "gpu_ids=\"number\" is not legal"),
        (with("/node/levels", json!([])), "its first level is not one object"),
        (with("/node/levels/1/kind", json!("Bag")), "its kind of level \"Bag\" is none of Machine"),
        (with("/node/levels/1/parents/0", json!(1)), "whose parent is not in a level further out"),
        (with("/node/levels/1/parents", json!([0])), "its columns of Package differ in length"),
        (with("/node/levels/2/parents/0", json!(2)), "not in the order of their hardware threads"),
        (with("/node/levels/3/os_indexes/0", json!(1)), "do not have one OS index each"),
        (with("/node/numas", json!([])), "it has no memory domain"),
        (with("/node/numas/0/cpus", json!("0-3")), "other CPUs than the object that it hangs at"),
        (with("/node/numas/0/cpus", json!("3-1")), "the CPU list of NUMA node 0 has a range"),
        (with("/node/numas/0/cpus", json!("0-4294967295")), "it must be 0 to 1048575"),
        (with("/node/levels/3/os_indexes/0", json!(1 << 20)), "it must be 0 to 1048575"),
        (with("/node/numas/0/os_index", json!(1)), "do not have one OS index each"),
        (with("/node/numas/0/object", json!(1000)), "hangs at an object that is not there"),
        (with("/node/gpus/0/vendor", json!("ACME")), "its vendor \"ACME\" is none of NVIDIA"),
        (with("/node/gpus/0/pci", json!("4.0")), "\"4.0\" is not a PCI address"),
        (
            with("/node/gpus/0/uuid", json!("GPU-\0")),
            "its text \"GPU-\\0\" has a control character",
        ),
        (with("/node/gpus/0/os_name", json!("nvml\n")), "\"nvml\\n\" has a control character"),
        (with("/node/gpus/0/model", json!("a\x1b[2J")), "\"a\\u{1b}[2J\" has a control character"),
        (with("/node/gpus/0/device_file", json!("\t")), "\"\\t\" has a control character"),
        (with("/node/gpus/0/found", json!("\u{9b}")), "\"\\u{9b}\" has a control character"),
        (with("/node/numas/0/subtype", json!("\x7f")), "\"\\u{7f}\" has a control character"),
        (with("/node/nics", card), "\"mlx5\\0\" has a control character"),
        (with("/node/uncounted", uncounted), "\"ACME\\0\" has a control character"),
        (with("/node/origin", json!("\x1b")), "\"\\u{1b}\" has a control character"),
        (with("/node/notes", json!(["\r"])), "\"\\r\" has a control character"),
        (with("/warnings", json!(["\r"])), "\"\\r\" has a control character"),
        (with("/notes", json!(["\r"])), "\"\\r\" has a control character"),
    ] {
        let error = Saved::from_json(&text).unwrap_err().to_string();
        assert!(error.contains(words), "expected {words:?}, got {error}");
        assert!(error.len() < 300, "{error}");
    }
    let error = Discovered::from_json(&good).unwrap_err().to_string();
    assert!(error.contains("\"mpibind mapping\", not \"mpibind topology\""), "{error}");
}

#[test]
fn xml_holds_the_node_that_hwloc_saw() {
    let folder = tempfile::tempdir().unwrap();
    let text = "package:2 [numa] core:18 pu:2(indexes=2*36:1*2)";
    let synthetic = discover(Source::Synthetic { text, gpus: &[] }).unwrap();
    let files = collection().into_iter().map(|(_, path)| discover(Source::Xml(&path)).unwrap());
    for node in files.chain([synthetic]) {
        let path = folder.path().join("node.xml");
        std::fs::write(&path, node.to_xml().unwrap()).unwrap();
        let again = discover(Source::Xml(&path)).unwrap();
        assert_eq!(*again.topology, *node.topology, "{}", node.origin);
    }
    let made_up = discover(Source::Synthetic { text, gpus: &[1] }).unwrap();
    let message = made_up.to_xml().unwrap_err().to_string();
    assert!(message.contains("cannot hold GPUs that were made up"), "{message}");
    let message = Discovered::from_json(&made_up.to_json()).unwrap().to_xml().unwrap_err();
    assert!(message.to_string().contains("did not come from hwloc"), "{message}");
}

/// They would be refused in JSON, and a name is no reason not to use a machine.
#[test]
fn control_characters_in_the_names_of_a_file_are_marks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.xml");
    let read = |machine: &str, old: &str, new: &str| {
        let text = std::fs::read_to_string(test_suite(machine)).unwrap();
        std::fs::write(&path, text.replace(old, new)).unwrap();
        let node = discover(Source::Xml(&path)).unwrap();
        assert_eq!(Discovered::from_json(&node.to_json()).unwrap().topology, node.topology);
        node.topology
    };
    let node = read("topologies/dgx-h100-8gpu.xml", "\"mlx5_0\"", "\"mlx5&#127;_0\"");
    assert!(node.nics().iter().any(|nic| nic.name == "mlx5\u{fffd}_0"));
    let node = read("topologies/cgroup-half-node-2gpu.xml", "\"GPU-", "\"GPU&#10;&#9;");
    let uuid = Some("GPU\u{fffd} a64878b4-5c1f-59e6-8c2b-660f37ebad22");
    assert!(node.gpus().iter().any(|gpu| gpu.uuid.as_deref() == uuid));
}

/// Found by fuzzing: what was written could not be read again.
#[test]
fn masks_of_level_zero_that_tasks_keep_come_back() {
    let node = discover(Source::Xml(&test_suite("topologies/aurora-6gpu.xml"))).unwrap();
    let view = |mask: &str| View::new([("ZE_AFFINITY_MASK".to_owned(), mask.to_owned())], None);
    let request = Request::new(&Parameters::new(2)).unwrap();
    let request = request.with_views(vec![view("0"), view("3,11")]).unwrap();
    let mapping = map(&node.topology, &request).unwrap();
    let saved = Saved { mapping, node, gpu_ids: GpuId::Index };
    let text = saved.to_json().unwrap();
    assert!(text.contains("ZE_ENABLE_PCI_ID_DEVICE_ORDER"), "{text}");
    let error =
        Saved::from_json(&text.replace("\"3,11\"", "\"3\\u0000\"")).unwrap_err().to_string();
    assert!(error.contains("\"3\\0\" has a control character"), "{error}");
    assert_eq!(Saved::from_json(&text).unwrap().to_json().unwrap(), text);
}
