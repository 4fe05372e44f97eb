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

/// What variables leave of a node's GPUs.
#[pyclass(frozen, get_all, module = "mpibind._core")]
pub(crate) struct Sight {
    /// The places of the GPUs that are shown, in their order; None if that is all as it is.
    shown: Option<Vec<usize>>,
    /// Vendor, name and value of the variables that hide something.
    hiding: Vec<(&'static str, &'static str, String)>,
    /// What is odd: entries that name none, or one again.
    notes: Vec<String>,
}

/// Looks at variables as the runtimes of the vendors do.
#[pyfunction]
pub(crate) fn sight(topology: &Topology, variables: Vec<(String, String)>) -> Sight {
    let gpus = topology.core().gpus();
    let all = View::default().sight(gpus).shown;
    let seen = View::new(variables, None).sight(gpus);
    let hiding = seen.hiding.into_iter();
    Sight {
        shown: (seen.shown != all).then_some(seen.shown),
        hiding: hiding.map(|(vendor, name, value)| (vendor.name(), name, value)).collect(),
        notes: seen.notes,
    }
}

/// What variables name, where nothing is known of the GPUs.
#[pyfunction]
pub(crate) fn named_gpus(variables: Vec<(String, String)>) -> Vec<String> {
    View::new(variables, None).named().into_iter().map(str::to_owned).collect()
}
