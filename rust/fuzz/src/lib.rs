//! What the fuzz targets share: everything that is done with a node, and chance.

pub mod json;
pub mod xml;

use std::path::{Path, PathBuf};

use mpibind_core::discover::Discovered;
use mpibind_core::env::{EnvOptions, variables};
use mpibind_core::json::Saved;
use mpibind_core::{Error, GpuId, Mapping, Parameters, Request, View, map};

/// Does with a node whatever a program can do with it, and looks at what comes of it.
pub fn exercise(node: &Discovered) {
    let topology = &node.topology;
    let again = Discovered::from_json(&node.to_json()).expect("what was written is read");
    assert_eq!(*again.topology, **topology);
    if topology.pus().len() > 4096 {
        return; // More of the same.
    }
    let half = topology.pus()[topology.pus().len() / 2..].iter().map(u32::to_string);
    let half: Vec<String> = half.collect();
    let half = half.join(",");
    let memory = topology.numas().last().map(|numa| numa.os_index.to_string());
    let all = || Parameters::new(1);
    let smt = topology.smt_width() as i64;
    for parameters in [
        all(),
        Parameters { ntasks: 3, greedy: false, ..all() },
        Parameters { ntasks: topology.numas().len() as i64 + 1, smt, ..all() },
        Parameters { ntasks: topology.pus().len() as i64 + 1, nthreads: 2, ..all() },
        Parameters { ntasks: 2, restrict_ids: Some(&half), gpu_optim: false, ..all() },
        Parameters { ntasks: 2, restrict_ids: memory.as_deref(), restrict_type: "mem", ..all() },
    ] {
        let request = Request::new(&parameters).expect("legal parameters");
        map_and_use(node, &request);
    }
}

/// Maps tasks, and asks for all that a mapping knows.
pub fn map_and_use(node: &Discovered, request: &Request) {
    let mapping = match map(&node.topology, request) {
        Ok(mapping) => mapping,
        Err(Error::InvalidParameter { .. } | Error::Topology { .. }) => return,
        Err(other) => panic!("{other}"),
    };
    check(&mapping, node);
    let saved = Saved { mapping, node: node.clone(), gpu_ids: GpuId::Index };
    let text = saved.to_json().expect("numbers of GPUs are known");
    let again = Saved::from_json(&text).expect("what was written is read");
    assert_eq!(again.to_json().expect("numbers of GPUs are known"), text);
}

/// Checks what holds for every mapping, and makes its variables.
pub fn check(mapping: &Mapping, node: &Discovered) {
    let legal = node.topology.cpus();
    for task in 0..mapping.ntasks() as i64 {
        let cpus = mapping.cpuset(task).expect("there is such a task");
        assert!(!cpus.is_empty() && cpus.is_subset(&legal), "task {task}: {cpus} of {legal}");
        assert!(mapping.nthreads(task).expect("there is such a task") > 0);
        variables(mapping, task, EnvOptions::default()).expect("GPUs have numbers");
    }
    mapping.summary();
    let mut popped = mapping.clone();
    let _ = popped.pop_cores(0, 1);
    let _ = popped.pop_cpus(0, 1);
}

/// The variables of each task: `NAME=value` line by line, tasks parted by empty lines.
pub fn views(text: &str) -> Vec<View> {
    let task = |text: &str| {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        View::new(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())), None)
    };
    text.split("\n\n").map(task).collect()
}

/// A machine of the project's collection.
pub fn machine(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test-suite/topologies").join(name)
}

/// Chance that comes from a seed alone: splitmix64.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u32) -> Self {
        Self(u64::from(seed))
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }

    pub fn of<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len())]
    }
}
