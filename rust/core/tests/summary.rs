//! The few numbers of a mapping, against machines whose numbers are known and against counting.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use mpibind_core::discover::{Source, discover};
use mpibind_core::{CpuSet, Kind, Mapping, Parameters, Request, Summary, Topology, map};
use proptest::prelude::*;
use support::random::{asks, machines};
use support::{load, test_suite};

fn synthetic(text: &str, gpus: &[i64]) -> Arc<Topology> {
    discover(Source::Synthetic { text, gpus }).unwrap().topology
}

fn mapped(node: &Arc<Topology>, parameters: &Parameters<'_>) -> Mapping {
    map(node, &Request::new(parameters).unwrap()).unwrap()
}

#[test]
fn worked_example() {
    let node = load(&test_suite("topologies").join("two-package-18core-smt2-2gpu.xml"));
    let four = mapped(&node, &Parameters::new(4)).summary();
    let expected = Summary {
        cores: 18,
        cpus: 18,
        threads: 4..=4,
        gpus: 1..=1,
        across_numas: 0,
        across_l3s: None,
        sharing: 0,
    };
    assert_eq!(four, expected);
    let one = mapped(&node, &Parameters::new(1)).summary();
    let expected = Summary {
        cores: 36,
        cpus: 72,
        threads: 72..=72,
        gpus: 2..=2,
        across_numas: 1,
        across_l3s: None,
        sharing: 0,
    };
    assert_eq!(one, expected);
}

#[test]
fn caches_and_sharing() {
    let node = synthetic("numa:2 l3:2 core:2 pu:2", &[3, 0]);
    let three = mapped(&node, &Parameters { gpu_optim: false, ..Parameters::new(3) }).summary();
    // Two tasks on the first domain with an L3 each, and one on the second with both.
    assert_eq!((three.across_numas, three.across_l3s), (0, Some(1)));
    assert_eq!((three.threads, three.gpus), (2..=4, 0..=2));
    let ten = mapped(&node, &Parameters { gpu_optim: false, smt: 1, ..Parameters::new(10) });
    assert_eq!(ten.summary().sharing, 4);
    assert_eq!((ten.summary().cores, ten.summary().cpus), (8, 8));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn same_as_counted(machine in machines(), ask in asks()) {
        let node = machine.topology();
        let answer = ask.on(&node, |asked| Request::new(asked).and_then(|asked| map(&node, &asked)));
        let Ok(mapping) = answer else { return Ok(()) };
        let summary = mapping.summary();
        let topology = mapping.topology();
        let tasks: Vec<CpuSet> =
            (0..mapping.ntasks() as i64).map(|task| mapping.cpuset(task).unwrap()).collect();
        let used: CpuSet = tasks.iter().flat_map(CpuSet::iter).collect();
        prop_assert_eq!(summary.cpus, used.len());
        let objects = |kind| {
            let level = topology.levels().iter().find(|level| level.kind == kind)?;
            let objects = topology.objects()[level.objects.clone()].iter();
            let cpus = |pus: std::ops::Range<usize>| topology.pus()[pus].iter().copied().collect();
            Some(objects.map(|object| cpus(object.pus.clone())).collect::<Vec<CpuSet>>())
        };
        let across = |groups: &[CpuSet]| {
            let parts = |task: &CpuSet| groups.iter().filter(|g| !g.is_disjoint(task)).count();
            tasks.iter().filter(|task| parts(task) > 1).count()
        };
        prop_assert_eq!(summary.across_l3s, objects(Kind::L3).map(|caches| across(&caches)));
        let numas: Vec<CpuSet> = topology.numas().iter().map(|numa| numa.cpus.clone()).collect();
        prop_assert_eq!(summary.across_numas, across(&numas));
        let alone = |task: &CpuSet| tasks.iter().filter(|other| !other.is_disjoint(task)).count() == 1;
        prop_assert_eq!(summary.sharing, tasks.iter().filter(|task| !alone(task)).count());
        if let Some(cores) = objects(Kind::Core) {
            // CPUs that belong to no core stand for themselves.
            let inside: CpuSet = cores.iter().flat_map(CpuSet::iter).collect();
            let own = used.iter().filter(|cpu| !inside.contains(*cpu)).count();
            let cores = cores.iter().filter(|core| !core.is_disjoint(&used)).count();
            prop_assert_eq!(summary.cores, cores + own);
        }
        let threads: BTreeSet<usize> =
            mapping.threads().iter().map(|threads| *threads as usize).collect();
        prop_assert_eq!(summary.threads.start(), threads.first().unwrap());
        prop_assert_eq!(summary.threads.end(), threads.last().unwrap());
    }
}
