//! What is wrong with where processes are.

use std::collections::BTreeMap;

use mpibind_core::env::VISIBLE_DEVICES;
use mpibind_core::report::{Process, findings as find};
use mpibind_core::{Vendor, visible};
use pyo3::prelude::*;

use crate::topology::Topology;

type ProcessRecord = (u32, Vec<u32>, Option<u32>, Option<Vec<usize>>);
type FindingRecord = (&'static str, Vec<u32>, String);

/// Kind, ranks and text of each finding. A process is its rank, CPUs, threads and GPUs.
#[pyfunction]
pub(crate) fn findings(
    topology: &Topology,
    processes: Vec<ProcessRecord>,
    quota: Option<f64>,
) -> Vec<FindingRecord> {
    let process = |(rank, cpus, nthreads, gpus): ProcessRecord| Process {
        rank,
        cpus: cpus.into_iter().collect(),
        nthreads,
        gpus,
    };
    let processes: Vec<Process> = processes.into_iter().map(process).collect();
    let found = find(topology.core(), &processes, quota).into_iter();
    found.map(|finding| (finding.kind.name(), finding.ranks, finding.text)).collect()
}

/// The places of the GPUs that variables show, in their order; None if no variable hides any.
#[pyfunction]
pub(crate) fn visible_gpus(
    topology: &Topology,
    variables: Vec<(String, String)>,
) -> Option<Vec<usize>> {
    if variables.is_empty() {
        return None;
    }
    let values: BTreeMap<String, String> = variables.into_iter().collect();
    let gpus = topology.core().gpus();
    let shown =
        Vendor::ALL.into_iter().zip(VISIBLE_DEVICES).flat_map(|(vendor, name)| {
            match values.get(name) {
                Some(value) => visible(gpus, vendor, value),
                None => (0..gpus.len()).filter(|place| gpus[*place].vendor == vendor).collect(),
            }
        });
    Some(shown.collect())
}
