//! Levels and restrictions are ours, so that they do not depend on the version of libhwloc; here they
//! are compared with those of the libhwloc at hand, on all machines there are.
//!
//! As in a mapping, memory that is not default memory goes first. Then hwloc's `restrict` is called
//! twice for what mpibind means by a restriction, because its bindings cannot pass the flag that
//! would drop emptied objects in one go: by CPU set, then by the NUMA nodes that still have CPUs; or
//! by NUMA nodes, then by the CPUs that still have memory and those that may not be used, which in one
//! go would stay.

mod support;

use std::path::{Path, PathBuf};
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

fn our_shape(node: &Topology, gpus: &[String]) -> Shape {
    let pus = |object: usize| rising(&node.pus()[node.objects()[object].pus.clone()]);
    let level = |level: &mpibind_core::Level| LevelShape {
        kind: level.kind.name().to_owned(),
        objects: level.objects.clone().map(|id| (node.objects()[id].arity, pus(id))).collect(),
    };
    let named = node.gpus().iter().filter_map(|gpu| Some((gpu.os_name.clone()?, gpu.locality)));
    Shape {
        levels: node.levels().iter().map(level).collect(),
        numas: node.numas().iter().map(|n| (n.os_index, n.cpus.iter().collect())).collect(),
        gpus: named
            .filter(|(name, _)| gpus.contains(name))
            .map(|(name, locality)| (name, pus(locality)))
            .collect(),
    }
}

/// The names of the devices that are compared: those that a management library names, at an object
/// with CPUs. A GPU beside CPUs that a cgroup took moves up here and so survives a restriction;
/// hwloc throws it away with its package.
fn comparable_gpus(hwlocs: &hwloc2::Topology, ours: &Topology) -> Vec<String> {
    let has_cpus = |name: &String| {
        let mut devices = hwlocs.objects_with_type(ObjectType::OSDevice);
        let device = devices
            .find(|device| device.name().is_some_and(|other| other.to_bytes() == name.as_bytes()));
        let place = device.and_then(|device| device.first_non_io_ancestor());
        place.is_some_and(|place| !cpus_of(place).is_empty())
    };
    ours.gpus().iter().filter_map(|gpu| gpu.os_name.clone()).filter(has_cpus).collect()
}

/// Whether hwloc keeps an object with neither CPUs nor memory: it does for one with devices, and
/// for one whose surroundings have memory.
fn has_hollow_objects(hwlocs: &hwloc2::Topology) -> bool {
    fn has_memory(object: &TopologyObject) -> bool {
        object.memory_arity() > 0 || object.normal_children().any(has_memory)
    }
    (0..usize::from(hwlocs.depth()))
        .flat_map(|depth| hwlocs.objects_at_depth(NormalDepth::try_from(depth).unwrap()))
        .any(|object| cpus_of(object).is_empty() && !has_memory(object))
}

/// What is left of the levels for a mapping: the ways in which they divide the CPUs, each once.
fn partitions(shape: &Shape) -> Vec<Vec<Vec<u32>>> {
    let with_cpus = |level: &LevelShape| -> Vec<Vec<u32>> {
        let sets = level.objects.iter().map(|(_, cpus)| cpus.clone());
        sets.filter(|cpus| !cpus.is_empty()).collect()
    };
    let mut partitions: Vec<_> = shape.levels.iter().map(with_cpus).collect();
    partitions.retain(|level| !level.is_empty());
    partitions.dedup();
    partitions
}

/// Where two shapes differ, in few words.
fn difference(ours: &Shape, hwlocs: &Shape, is_hollow: bool) -> Option<String> {
    let summary = |shape: &Shape| {
        let level = |level: &LevelShape| format!("{} {}", level.objects.len(), level.kind);
        shape.levels.iter().map(level).collect::<Vec<_>>().join(", ")
    };
    if is_hollow {
        // Ours takes such objects out, and may then merge levels that they kept apart.
        let (our, other) = (partitions(ours), partitions(hwlocs));
        if our != other {
            return Some(format!("CPUs of levels:\n  ours  {our:?}\n  hwloc {other:?}"));
        }
    } else if summary(ours) != summary(hwlocs) {
        return Some(format!("levels:\n  ours  {}\n  hwloc {}", summary(ours), summary(hwlocs)));
    }
    for (our, other) in ours.levels.iter().zip(&hwlocs.levels).filter(|_| !is_hollow) {
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

/// A comparison, step by step.
struct Comparison {
    gpus: Vec<String>,
    /// Whether hwloc has had hollow objects: they may have kept levels apart that ours merged.
    was_hollow: bool,
}

impl Comparison {
    fn new(ours: &Topology, hwlocs: &hwloc2::Topology) -> Self {
        Self { gpus: comparable_gpus(hwlocs, ours), was_hollow: false }
    }

    fn difference(&mut self, ours: &Topology, hwlocs: &hwloc2::Topology) -> Option<String> {
        self.was_hollow |= has_hollow_objects(hwlocs);
        let (our, other) = (our_shape(ours, &self.gpus), shape_of_hwloc(hwlocs, &self.gpus));
        difference(&our, &other, self.was_hollow)
    }
}

/// A set of hwloc's with these members.
fn bitmap<Set: FromIterator<BitmapIndex>>(ids: impl IntoIterator<Item = u32>) -> Set {
    ids.into_iter().map(|id| BitmapIndex::try_from(id as usize).unwrap()).collect()
}

fn restrict_to_cpus(node: &mut hwloc2::Topology, ids: impl IntoIterator<Item = u32>) -> bool {
    let set: HwlocCpuSet = bitmap(ids);
    node.edit(|edit| edit.restrict(&set, RestrictFlags::empty()).is_ok())
}

fn restrict_to_nodes(node: &mut hwloc2::Topology, ids: impl IntoIterator<Item = u32>) -> bool {
    let set: NodeSet = bitmap(ids);
    node.edit(|edit| edit.restrict(&set, RestrictFlags::empty()).is_ok())
}

/// OS index and CPUs of each NUMA node.
fn hwlocs_numas(node: &hwloc2::Topology) -> Vec<(u32, Vec<u32>)> {
    let numas = node.objects_with_type(ObjectType::NUMANode);
    numas.map(|n| (u32::try_from(n.os_index().unwrap()).unwrap(), cpus_of(n))).collect()
}

/// The two calls of `restrict`; whether something is left.
fn restrict_in_hwloc(node: &mut hwloc2::Topology, restrict_type: &str, ids: &CpuSet) -> bool {
    if restrict_type == "cpu" {
        restrict_to_cpus(node, ids.iter()) && {
            let left = hwlocs_numas(node).into_iter().filter(|(_, cpus)| !cpus.is_empty());
            restrict_to_nodes(node, left.map(|(os_index, _)| os_index).collect::<Vec<_>>())
        }
    } else {
        restrict_to_nodes(node, ids.iter()) && {
            let root = node.root_object();
            let all = members(root.complete_cpuset().unwrap().iter_set());
            let usable = cpus_of(root);
            let hidden = all.into_iter().filter(|cpu| !usable.contains(cpu));
            let left = hwlocs_numas(node).into_iter().flat_map(|(_, cpus)| cpus);
            restrict_to_cpus(node, left.chain(hidden).collect::<Vec<_>>())
        }
    }
}

fn restrict(node: &Topology, restrict_type: &str, ids: &CpuSet) -> Option<Topology> {
    match restrict_type {
        "cpu" => node.restricted_to_cpus(ids).ok(),
        _ => node.restricted_to_numas(ids).ok(),
    }
}

/// Name, path and our reading of each machine.
fn all_machines() -> Vec<(String, PathBuf, Arc<Topology>)> {
    let conformance = conformance_machines();
    if conformance.is_empty() {
        eprintln!("the conformance corpus is not here: only the collection is compared");
    }
    (collection().into_iter().chain(conformance))
        .map(|(name, path)| {
            let ours = load(&path);
            (name, path, ours)
        })
        .collect()
}

#[test]
fn unrestricted_machines_have_hwlocs_levels() {
    let differences: Vec<String> = (all_machines().iter())
        .filter_map(|(name, path, ours)| {
            let hwlocs = hwlocs_machine(path);
            let mut comparison = Comparison::new(ours, &hwlocs);
            comparison.difference(ours, &hwlocs).map(|text| format!("{name}: {text}"))
        })
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Each machine is restricted at random, and the result once more.
#[test]
fn restricted_machines_have_hwlocs_levels() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    let mut differences = Vec::new();
    for (name, path, ours) in all_machines() {
        let mut runner = TestRunner::new(Config {
            cases: cases.unwrap_or(30),
            failure_persistence: None,
            ..Config::default()
        });
        let chain = prop::collection::vec(cuts(), 1..=2);
        let result = runner.run(&chain, |cuts| {
            // Read anew for each case: some versions of libhwloc free things twice when a copy of a
            // topology is restricted.
            compare_restrictions(&ours, hwlocs_machine(&path), &cuts)
        });
        if let Err(TestError::Fail(why, _)) = result {
            differences.push(format!("{name}: {why}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn compare_restrictions(
    ours: &Topology,
    mut hwlocs: hwloc2::Topology,
    cuts: &[Cut],
) -> Result<(), TestCaseError> {
    let mut comparison = Comparison::new(ours, &hwlocs);
    let mut compare = |steps: &[String], ours: &Topology, hwlocs: &hwloc2::Topology| {
        let difference = comparison.difference(ours, hwlocs);
        let with_steps = |text| TestCaseError::fail(format!("{}: {text}", steps.join(", then ")));
        difference.map_or(Ok(()), |text| Err(with_steps(text)))
    };
    let mut ours = ours.clone();
    let mut steps = Vec::new();
    if let Some(with_default_numas) = ours.with_default_numas().unwrap() {
        let nodes: CpuSet = with_default_numas.numas().iter().map(|numa| numa.os_index).collect();
        steps.push(format!("default nodes {nodes}"));
        assert!(restrict_to_nodes(&mut hwlocs, nodes.iter()), "hwloc refuses the default nodes");
        ours = with_default_numas;
        compare(&steps, &ours, &hwlocs)?;
    }
    for cut in cuts {
        let (restrict_type, ids) = cut.ids(&ours);
        steps.push(format!("{restrict_type} {ids}"));
        let restricted = restrict(&ours, restrict_type, &ids);
        let hwloc_restricts = restrict_in_hwloc(&mut hwlocs, restrict_type, &ids);
        if restricted.is_some() != hwloc_restricts {
            return Err(TestCaseError::fail(format!(
                "{}: mpibind has something left: {}, hwloc: {hwloc_restricts}",
                steps.join(", then "),
                restricted.is_some()
            )));
        }
        let Some(restricted) = restricted else { return Ok(()) };
        ours = restricted;
        compare(&steps, &ours, &hwlocs)?;
    }
    Ok(())
}
