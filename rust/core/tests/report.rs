//! Findings: none where a mapping is good, and each fault that is planted.

mod support;

use std::sync::Arc;

use mpibind_core::report::{Finding, FindingKind, Process, findings};
use mpibind_core::{CpuSet, Mapping, Parameters, Request, Topology, map};
use proptest::prelude::*;
use support::{collection, load, test_suite};

fn mapped(node: &Arc<Topology>, ntasks: i64) -> Mapping {
    let parameters = Parameters { greedy: false, ..Parameters::new(ntasks) };
    map(node, &Request::new(&parameters).unwrap()).unwrap()
}

/// The processes of a mapping as they are once bound, each with its own GPUs.
fn bound(node: &Topology, mapping: &Mapping) -> Vec<Process> {
    let process = |task: i64| {
        let same = |gpu: &mpibind_core::Gpu| {
            node.gpus()
                .iter()
                .position(|other| (other.vendor, other.index) == (gpu.vendor, gpu.index))
        };
        Process {
            rank: task as u32,
            cpus: mapping.cpuset(task).unwrap(),
            nthreads: Some(mapping.nthreads(task).unwrap()),
            gpus: Some(mapping.gpus(task).unwrap().filter_map(same).collect()),
        }
    };
    (0..mapping.ntasks() as i64).map(process).collect()
}

fn machine(name: &str) -> Arc<Topology> {
    load(&test_suite("topologies").join(format!("{name}.xml")))
}

fn texts(found: &[Finding]) -> Vec<&str> {
    found.iter().map(|finding| finding.text.as_str()).collect()
}

fn worked_example() -> Arc<Topology> {
    machine("two-package-18core-smt2-2gpu")
}

fn cpus(text: &str) -> CpuSet {
    CpuSet::parse(text).unwrap()
}

fn process(rank: u32, text: &str) -> Process {
    Process { rank, cpus: cpus(text), nthreads: None, gpus: None }
}

#[test]
fn nothing_is_wrong_with_the_mappings_of_the_collection() {
    for (name, path) in collection() {
        let node = load(&path);
        for ntasks in [1, 2, 4, 8] {
            let mapping = mapped(&node, ntasks);
            let found = findings(&node, &bound(&node, &mapping), None);
            assert_eq!(texts(&found), [""; 0], "{ntasks} tasks on {name}");
        }
    }
}

#[test]
fn shared_cpus() {
    let node = worked_example();
    let cases: &[(&[&str], &[&str])] = &[
        (&["0-3", "4-7"], &[]),
        (&["0-3", "3-5"], &["ranks 0-1 share CPUs 3"]),
        (&["0-3", "8", "0-3", "0-3"], &["ranks 0,2-3 share CPUs 0-3"]),
        (
            &["0-9", "0-4", "3-12"],
            &["ranks 0-1 share CPUs 0-2", "ranks 0-2 share CPUs 3-4", "ranks 0,2 share CPUs 5-9"],
        ),
        // The same two, in two places.
        (&["0-3,10-11", "2-3,11-12"], &["ranks 0-1 share CPUs 2-3,11"]),
        (&["4294967295", "4294967295"], &["ranks 0-1 share CPUs 4294967295"]),
    ];
    for (sets, expected) in cases {
        let processes: Vec<Process> =
            sets.iter().enumerate().map(|(rank, set)| process(rank as u32, set)).collect();
        let mut found = findings(&node, &processes, None);
        found.retain(|finding| finding.kind == FindingKind::SharedCpus);
        assert_eq!(texts(&found), *expected, "{sets:?}");
    }
}

#[test]
fn too_many_threads() {
    let threads = |rank, text, nthreads| Process { nthreads, ..process(rank, text) };
    let processes = [
        threads(0, "0-3", Some(4)),
        threads(1, "4-7", Some(8)),
        threads(2, "8-11", Some(8)),
        threads(3, "12", Some(2)),
        threads(4, "13", None),
    ];
    let found = findings(&worked_example(), &processes, None);
    assert_eq!(
        texts(&found),
        [
            "ranks 1-2 mean to run 8 threads on 4 CPUs each; set OMP_NUM_THREADS to 4 or use fewer ranks",
            "rank 3 means to run 2 threads on 1 CPU; set OMP_NUM_THREADS to 1 or use fewer ranks",
        ]
    );
    assert_eq!(found[0].ranks, [1, 2]);
    assert_eq!(found[0].kind.name(), "too-many-threads");
}

#[test]
fn across_numas() {
    let node = worked_example();
    let found = findings(&node, &[process(0, "0-3"), process(1, "17-18")], None);
    assert_eq!(texts(&found), ["rank 1 may run on CPUs 17-18, in 2 NUMA domains"]);
    let mut found = findings(&node, &[process(0, "0-71"), process(1, "0-71")], None);
    found.retain(|finding| finding.kind == FindingKind::AcrossNumas);
    assert_eq!(texts(&found), ["ranks 0-1 may run on all 2 NUMA domains, as if never bound"]);
    // One process alone has the node.
    assert_eq!(findings(&node, &[process(0, "0-71")], None), []);
    // HBM beside DDR is no second domain for the same CPUs.
    let hbm = machine("xeon-max-9480-snc4-flat");
    let own = mapped(&hbm, 8);
    assert_eq!(findings(&hbm, &bound(&hbm, &own), None), []);
}

#[test]
fn far_gpus() {
    // Both GPUs are at CPUs 0-17,36-53.
    let node = worked_example();
    let with = |gpus: &[usize]| Process { gpus: Some(gpus.to_vec()), ..process(3, "18-20") };
    let far = |number: usize| {
        let pci = node.gpus()[number].pci.unwrap();
        format!("rank 3 runs on CPUs 18-20, far from its GPU {number} ({pci}) near CPUs 0-17,36-53")
    };
    let check = |gpus: &[usize], expected: &[String]| {
        assert_eq!(texts(&findings(&node, &[process(0, "0"), with(gpus)], None)), expected);
    };
    check(&[], &[]);
    check(&[0], &[far(0)]);
    check(&[1], &[far(1)]);
    // All GPUs: only the first is used unless told otherwise.
    check(&[1, 0], &[far(1)]);
    let near = Process { gpus: Some(vec![0]), ..process(0, "1") };
    assert_eq!(findings(&node, &[near, process(1, "2")], None), []);
}

#[test]
fn quota_below_cpus() {
    let node = worked_example();
    let processes = [process(0, "0-3"), process(1, "4-7")];
    assert_eq!(findings(&node, &processes, Some(8.0)), []);
    let found = findings(&node, &processes, Some(2.5));
    assert_eq!(
        texts(&found),
        [
            "ranks 0-1 may run on 8 CPUs, but the cgroup allows 2.5 CPUs of time; more threads than that only wait"
        ]
    );
}

#[test]
fn a_node_of_unbound_processes_is_no_long_work() {
    let all = CpuSet::parse("0-16383").unwrap();
    let processes: Vec<Process> = (0..4096)
        .map(|rank| Process { rank, cpus: all.clone(), nthreads: None, gpus: None })
        .collect();
    let found = findings(&worked_example(), &processes, None);
    assert_eq!(found[0].text, "ranks 0-4095 share CPUs 0-16383");
}

proptest! {
    #[test]
    fn shared_are_exactly_the_cpus_of_several(
        sets in prop::collection::vec(prop::collection::btree_set(0_u32..40, 1..12), 1..8)
    ) {
        let processes: Vec<Process> = sets.iter().enumerate().map(|(rank, set)| Process {
            rank: rank as u32,
            cpus: set.iter().copied().collect(),
            nthreads: None,
            gpus: None,
        }).collect();
        let found = findings(&worked_example(), &processes, None);
        for cpu in 0..40 {
            let having: Vec<u32> = processes
                .iter()
                .filter(|process| process.cpus.contains(cpu))
                .map(|process| process.rank)
                .collect();
            let told: Vec<&Finding> = found
                .iter()
                .filter(|finding| finding.kind == FindingKind::SharedCpus)
                .filter(|finding| {
                    let list = finding.text.rsplit(' ').next().unwrap();
                    CpuSet::parse(list).unwrap().contains(cpu)
                })
                .collect();
            if having.len() > 1 {
                prop_assert_eq!(told.len(), 1);
                prop_assert_eq!(&told[0].ranks, &having);
            } else {
                prop_assert!(told.is_empty());
            }
        }
    }
}
