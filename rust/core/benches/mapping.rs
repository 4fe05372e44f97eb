//! How long a mapping takes, on a topology that is loaded; what loading and restricting cost stands
//! by itself.
//!
//! `cargo bench -p mpibind-core`. test-suite/bench/distrib.c times hwloc's own distribution of as many
//! items on the same machines, as far as hwloc manages; `make bench` runs both.

use std::path::Path;
use std::sync::Arc;

use divan::{Bencher, black_box};
use mpibind_core::discover::{Source, discover};
use mpibind_core::{CpuSet, Parameters, Request, Topology, map};

fn main() {
    divan::main();
}

/// A machine and a number of tasks.
struct Case {
    name: &'static str,
    machine: Machine,
    ntasks: usize,
}

enum Machine {
    File(&'static str),
    Synthetic(&'static str),
}

const CASES: [Case; 5] = [
    Case {
        name: "4 tasks, worked example",
        machine: Machine::File("two-package-18core-smt2-2gpu"),
        ntasks: 4,
    },
    Case {
        name: "8 tasks, EPYC with 8 GPUs",
        machine: Machine::File("epyc-7763-nps4-8gpu"),
        ntasks: 8,
    },
    Case {
        name: "64 tasks, 64 cores",
        machine: Machine::Synthetic("package:2 [numa] core:32 pu:2"),
        ntasks: 64,
    },
    Case {
        name: "4096 tasks, 16384 CPUs",
        machine: Machine::Synthetic("package:8 [numa] l3:16 core:64 pu:2"),
        ntasks: 4096,
    },
    // Threads of a core far apart in the numbering, as on most real machines.
    Case {
        name: "65536 tasks, 131072 CPUs, 256 domains",
        machine: Machine::Synthetic(
            "group:16 package:16 [numa] l3:4 core:64 pu:2(indexes=2*65536:1*2)",
        ),
        ntasks: 65_536,
    },
];

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

fn path(name: &str) -> std::path::PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../test-suite/topologies"))
        .join(name)
        .with_extension("xml")
}

impl Case {
    fn ours(&self) -> Arc<Topology> {
        let found = match self.machine {
            Machine::File(name) => discover(Source::Xml(&path(name))),
            Machine::Synthetic(text) => discover(Source::Synthetic { text, gpus: &[] }),
        };
        found.unwrap().topology
    }
}

#[divan::bench(args = CASES, max_time = 2)]
fn mpibind_map(bencher: Bencher<'_, '_>, case: &Case) {
    let machine = case.ours();
    let request = Request::new(&Parameters::new(case.ntasks as i64)).unwrap();
    bencher.bench(|| map(black_box(&machine), black_box(&request)).unwrap());
}

#[divan::bench(args = [
    "two-package-18core-smt2-2gpu", "epyc-7763-nps4-8gpu", "epyc-9654-2package",
])]
fn read_xml(bencher: Bencher<'_, '_>, name: &str) {
    let path = path(name);
    bencher.bench(|| discover(Source::Xml(black_box(&path))).unwrap());
}

/// To every other CPU, the list with the most ranges.
#[divan::bench(args = CASES, max_time = 2)]
fn restrict_to_half_of_the_cpus(bencher: Bencher<'_, '_>, case: &Case) {
    let machine = case.ours();
    let cpus: CpuSet = machine.pus().iter().copied().filter(|cpu| cpu % 2 == 0).collect();
    bencher.bench(|| machine.restricted_to_cpus(black_box(&cpus)).unwrap());
}

#[divan::bench(args = CASES, max_time = 2)]
fn restrict_to_a_memory_domain(bencher: Bencher<'_, '_>, case: &Case) {
    let machine = case.ours();
    let nodes: CpuSet = machine.numas().iter().take(1).map(|numa| numa.os_index).collect();
    bencher.bench(|| machine.restricted_to_numas(black_box(&nodes)).unwrap());
}
