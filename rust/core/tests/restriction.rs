//! Levels and restrictions are ours, so that they do not depend on the version of libhwloc; here they
//! are compared with those of the libhwloc at hand, on all machines there are.
//!
//! hwloc's `restrict` is called twice for what mpibind means by a restriction, because its bindings
//! cannot pass the flag that would drop emptied objects in one go: by CPU set, then by the NUMA nodes
//! that still have CPUs; or by NUMA nodes, then by the CPUs that still have memory.

mod support;

use std::path::Path;
use std::sync::Arc;

use hwloc2::bitmap::BitmapIndex;
use hwloc2::cpu::cpuset::CpuSet as HwlocCpuSet;
use hwloc2::memory::nodeset::NodeSet;
use hwloc2::object::TopologyObject;
use hwloc2::object::depth::NormalDepth;
use hwloc2::object::types::ObjectType;
use hwloc2::topology::builder::{TopologyBuilder, TypeFilter};
use hwloc2::topology::editor::RestrictFlags;
use mpibind_core::{CpuSet, Topology};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use support::random::{Cut, cuts};
use support::{collection, conformance_machines, load};

/// What is compared: all that the mapping looks at.
#[derive(Debug, PartialEq)]
struct Shape {
    levels: Vec<LevelShape>,
    /// OS index and CPUs of the memory domains in logical order.
    numas: Vec<(u32, Vec<u32>)>,
    /// Names of the management libraries' devices in device order, and the CPUs around each.
    gpus: Vec<(String, Vec<u32>)>,
}

#[derive(Debug, PartialEq)]
struct LevelShape {
    kind: String,
    /// Number of children and OS indexes of the hardware threads, object by object.
    objects: Vec<(usize, Vec<u32>)>,
}

fn hwlocs_machine(path: &Path) -> hwloc2::Topology {
    TopologyBuilder::new()
        .from_xml(&std::fs::read_to_string(path).unwrap())
        .unwrap()
        .with_common_type_filter(TypeFilter::KeepStructure)
        .unwrap()
        .with_io_type_filter(TypeFilter::KeepImportant)
        .unwrap()
        .build()
        .unwrap()
}

/// Reads a bitmap of hwloc. A plain loop stops at the first end; asked once more, the iterator starts
/// over, although it says of itself that it is fused.
fn members(iterator: impl Iterator<Item = BitmapIndex>) -> Vec<u32> {
    let mut members = Vec::new();
    for index in iterator {
        members.push(u32::try_from(usize::from(index)).unwrap());
    }
    members
}

fn cpus_of(object: &TopologyObject) -> Vec<u32> {
    object.cpuset().map(|set| members(set.iter_set())).unwrap_or_default()
}

fn rising(ids: &[u32]) -> Vec<u32> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

fn shape_of_hwloc(node: &hwloc2::Topology, gpus: &[String]) -> Shape {
    let depth = usize::from(node.depth());
    let level = |depth: usize| {
        let depth = NormalDepth::try_from(depth).unwrap();
        let objects: Vec<&TopologyObject> = node.objects_at_depth(depth).collect();
        let kind = match objects[0].object_type() {
            ObjectType::L1Cache => "L1".to_owned(),
            ObjectType::L2Cache => "L2".to_owned(),
            ObjectType::L3Cache => "L3".to_owned(),
            ObjectType::L4Cache => "L4".to_owned(),
            ObjectType::L5Cache => "L5".to_owned(),
            ObjectType::L1ICache => "L1i".to_owned(),
            ObjectType::L2ICache => "L2i".to_owned(),
            ObjectType::L3ICache => "L3i".to_owned(),
            other => other.to_string(),
        };
        let objects = objects.iter().map(|object| (object.normal_arity(), cpus_of(object)));
        LevelShape { kind, objects: objects.collect() }
    };
    let os_index = |object: &TopologyObject| u32::try_from(object.os_index().unwrap()).unwrap();
    let numas = node.objects_with_type(ObjectType::NUMANode);
    let around = |device: &TopologyObject| {
        let with_cpus =
            device.ancestors().find(|object| object.cpuset().is_some_and(|cpus| !cpus.is_empty()));
        with_cpus.map(cpus_of).unwrap_or_default()
    };
    let name = |device: &TopologyObject| device.name().unwrap().to_string_lossy().into_owned();
    let devices = node.objects_with_type(ObjectType::OSDevice);
    Shape {
        levels: (0..depth).map(level).collect(),
        numas: numas.map(|numa| (os_index(numa), cpus_of(numa))).collect(),
        gpus: devices
            .filter(|device| gpus.contains(&name(device)))
            .map(|device| (name(device), around(device)))
            .collect(),
    }
}

fn our_shape(node: &Topology) -> Shape {
    let pus = |object: usize| rising(&node.pus()[node.objects()[object].pus.clone()]);
    let level = |level: &mpibind_core::Level| LevelShape {
        kind: level.kind.name().to_owned(),
        objects: level.objects.clone().map(|id| (node.objects()[id].arity, pus(id))).collect(),
    };
    let named = node.gpus().iter().filter_map(|gpu| Some((gpu.os_name.clone()?, gpu.locality)));
    Shape {
        levels: node.levels().iter().map(level).collect(),
        numas: node.numas().iter().map(|n| (n.os_index, n.cpus.iter().collect())).collect(),
        gpus: named.map(|(name, locality)| (name, pus(locality))).collect(),
    }
}

/// The names of the devices that hwloc's order is compared for.
fn named_gpus(node: &Topology) -> Vec<String> {
    node.gpus().iter().filter_map(|gpu| gpu.os_name.clone()).collect()
}

/// Where two shapes differ, in few words.
fn difference(ours: &Shape, hwlocs: &Shape) -> Option<String> {
    let summary = |shape: &Shape| {
        let level = |level: &LevelShape| format!("{} {}", level.objects.len(), level.kind);
        shape.levels.iter().map(level).collect::<Vec<_>>().join(", ")
    };
    if summary(ours) != summary(hwlocs) {
        return Some(format!("levels:\n  ours  {}\n  hwloc {}", summary(ours), summary(hwlocs)));
    }
    for (our, other) in ours.levels.iter().zip(&hwlocs.levels) {
        for (place, (a, b)) in our.objects.iter().zip(&other.objects).enumerate() {
            if a != b {
                let kind = &our.kind;
                return Some(format!(
                    "{kind} {place} (arity, CPUs):\n  ours  {a:?}\n  hwloc {b:?}"
                ));
            }
        }
    }
    if ours.numas != hwlocs.numas {
        return Some(format!("NUMA:\n  ours  {:?}\n  hwloc {:?}", ours.numas, hwlocs.numas));
    }
    if ours.gpus != hwlocs.gpus {
        return Some(format!("GPUs:\n  ours  {:?}\n  hwloc {:?}", ours.gpus, hwlocs.gpus));
    }
    None
}

/// The two calls of `restrict`; none where nothing would be left.
fn restrict_in_hwloc(
    node: &hwloc2::Topology,
    restrict_type: &str,
    ids: &CpuSet,
) -> Option<hwloc2::Topology> {
    let mut node = node.clone();
    let by_cpus = |node: &mut hwloc2::Topology, ids: &[u32]| {
        let set: HwlocCpuSet =
            ids.iter().map(|id| BitmapIndex::try_from(*id as usize).unwrap()).collect();
        node.edit(|edit| edit.restrict(&set, RestrictFlags::empty()).is_ok())
    };
    let by_nodes = |node: &mut hwloc2::Topology, ids: &[u32]| {
        let set: NodeSet =
            ids.iter().map(|id| BitmapIndex::try_from(*id as usize).unwrap()).collect();
        node.edit(|edit| edit.restrict(&set, RestrictFlags::empty()).is_ok())
    };
    let ids: Vec<u32> = ids.iter().collect();
    let numas = |node: &hwloc2::Topology| -> Vec<(u32, Vec<u32>)> {
        let numas = node.objects_with_type(ObjectType::NUMANode);
        numas.map(|n| (u32::try_from(n.os_index().unwrap()).unwrap(), cpus_of(n))).collect()
    };
    let done = if restrict_type == "cpu" {
        by_cpus(&mut node, &ids) && {
            let mut left = numas(&node);
            left.retain(|(_, cpus)| !cpus.is_empty());
            by_nodes(&mut node, &left.iter().map(|(os_index, _)| *os_index).collect::<Vec<_>>())
        }
    } else {
        by_nodes(&mut node, &ids) && {
            let mut left: Vec<u32> = numas(&node).into_iter().flat_map(|(_, cpus)| cpus).collect();
            left.sort_unstable();
            left.dedup();
            by_cpus(&mut node, &left)
        }
    };
    done.then_some(node)
}

fn restrict(node: &Topology, restrict_type: &str, ids: &CpuSet) -> Option<Topology> {
    match restrict_type {
        "cpu" => node.restricted_to_cpus(ids).ok(),
        _ => node.restricted_to_numas(ids).ok(),
    }
}

fn all_machines() -> Vec<(String, Arc<Topology>, hwloc2::Topology)> {
    let conformance = conformance_machines();
    if conformance.is_empty() {
        eprintln!("the conformance corpus is not here: only the collection is compared");
    }
    (collection().into_iter().chain(conformance))
        .map(|(name, path)| (name, load(&path), hwlocs_machine(&path)))
        .collect()
}

#[test]
fn unrestricted_machines_have_hwlocs_levels() {
    let differences: Vec<String> = (all_machines().iter())
        .filter_map(|(name, ours, hwlocs)| {
            let hwlocs = shape_of_hwloc(hwlocs, &named_gpus(ours));
            difference(&our_shape(ours), &hwlocs).map(|text| format!("{name}: {text}"))
        })
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Each machine is restricted at random, and the result once more.
#[test]
fn restricted_machines_have_hwlocs_levels() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    let mut differences = Vec::new();
    for (name, ours, hwlocs) in all_machines() {
        let mut runner = TestRunner::new(Config {
            cases: cases.unwrap_or(40),
            failure_persistence: None,
            ..Config::default()
        });
        let gpus = named_gpus(&ours);
        let chain = prop::collection::vec(cuts(), 1..=2);
        let result = runner.run(&chain, |cuts| compare_restrictions(&ours, &hwlocs, &gpus, &cuts));
        if let Err(TestError::Fail(why, _)) = result {
            differences.push(format!("{name}: {why}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn compare_restrictions(
    ours: &Topology,
    hwlocs: &hwloc2::Topology,
    gpus: &[String],
    cuts: &[Cut],
) -> Result<(), TestCaseError> {
    let (mut ours, mut hwlocs) = (ours.clone(), hwlocs.clone());
    let mut steps = Vec::new();
    for cut in cuts {
        let (restrict_type, ids) = cut.ids(&ours);
        steps.push(format!("{restrict_type} {ids}"));
        let steps = steps.join(", then ");
        let results =
            (restrict(&ours, restrict_type, &ids), restrict_in_hwloc(&hwlocs, restrict_type, &ids));
        (ours, hwlocs) = match results {
            (Some(ours), Some(hwlocs)) => (ours, hwlocs),
            (None, None) => return Ok(()),
            (ours, hwlocs) => {
                let words = |done: bool| if done { "restricts" } else { "refuses" };
                let (ours, hwlocs) = (words(ours.is_some()), words(hwlocs.is_some()));
                return Err(TestCaseError::fail(format!(
                    "{steps}: mpibind {ours}, hwloc {hwlocs}"
                )));
            }
        };
        if let Some(text) = difference(&our_shape(&ours), &shape_of_hwloc(&hwlocs, gpus)) {
            return Err(TestCaseError::fail(format!("{steps}: {text}")));
        }
    }
    Ok(())
}
