//! What is wrong with where processes are.

use mpibind_core::View;
use mpibind_core::report::{Process, findings as find};
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

/// The places of the GPUs that variables show, in their order; None if that is all as it is.
#[pyfunction]
pub(crate) fn visible_gpus(
    topology: &Topology,
    variables: Vec<(String, String)>,
) -> Option<Vec<usize>> {
    let gpus = topology.core().gpus();
    let shown = |variables| View::new(variables, None).sight(gpus).shown;
    let (all, shown) = (shown(Vec::new()), shown(variables));
    (shown != all).then_some(shown)
}

/// What is odd about the variables for GPUs: entries that name none, or one again.
#[pyfunction]
pub(crate) fn variable_notes(topology: &Topology, variables: Vec<(String, String)>) -> Vec<String> {
    View::new(variables, None).sight(topology.core().gpus()).notes
}
