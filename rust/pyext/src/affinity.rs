//! Binding the calling process, what its system grants it, and what runs in it already.

use std::path::Path;

use mpibind_core::{affinity, cgroup, memory, runtimes};
use pyo3::prelude::*;

use crate::arguments::id_set;
use crate::errors::OrRaise;

/// The CPU masks of all threads from before a binding.
#[pyclass(frozen, module = "mpibind._core")]
pub(crate) struct SavedAffinity(affinity::Saved);

impl SavedAffinity {
    pub(crate) fn new(saved: affinity::Saved) -> Self {
        Self(saved)
    }
}

#[pymethods]
impl SavedAffinity {
    /// The CPUs of the thread that called for the binding.
    #[getter]
    fn cpus(&self) -> Vec<u32> {
        self.0.own.iter().collect()
    }

    fn restore(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| affinity::restore(&self.0)).or_raise(py)
    }
}

/// Binds all threads of the process.
#[pyfunction]
pub(crate) fn bind(cpus: &Bound<'_, PyAny>) -> PyResult<SavedAffinity> {
    let py = cpus.py();
    let cpus = id_set("cpus", cpus)?;
    py.detach(|| affinity::bind(&cpus)).or_raise(py).map(SavedAffinity)
}

/// The CPUs that the calling thread may run on.
#[pyfunction]
pub(crate) fn current_cpus(py: Python<'_>) -> PyResult<Vec<u32>> {
    affinity::current().or_raise(py).map(|cpus| cpus.iter().collect())
}

/// The CPUs that each thread of the process may run on, by thread id.
#[pyfunction]
pub(crate) fn thread_cpus(py: Python<'_>) -> PyResult<Vec<(i32, Vec<u32>)>> {
    let now = affinity::current_threads().or_raise(py)?;
    Ok(now.threads.into_iter().map(|(thread, cpus)| (thread, cpus.iter().collect())).collect())
}

/// The memory policy of the calling thread from before a binding.
#[pyclass(frozen, module = "mpibind._core")]
pub(crate) struct SavedMemory(memory::Policy);

impl SavedMemory {
    pub(crate) fn new(saved: memory::Policy) -> Self {
        Self(saved)
    }
}

#[pymethods]
impl SavedMemory {
    fn restore(&self, py: Python<'_>) -> PyResult<()> {
        memory::restore(&self.0).or_raise(py)
    }
}

/// The memory policy of the calling thread in words, such as `bind:0`.
#[pyfunction]
pub(crate) fn memory_policy(py: Python<'_>) -> PyResult<String> {
    memory::current().or_raise(py).map(|policy| policy.to_string())
}

/// How many CPUs' worth of time the cgroups of this process allow.
#[pyfunction]
pub(crate) fn cpu_quota() -> Option<f64> {
    cgroup::cpu_quota(Path::new("/"))
}

/// The CPUs of this process's cgroup as a list in text.
#[pyfunction]
pub(crate) fn cpuset_cpus() -> Option<String> {
    cgroup::cpuset_cpus(Path::new("/"))
}

/// The libraries with thread pools that this process has loaded.
#[pyfunction]
pub(crate) fn thread_pools() -> Vec<&'static str> {
    runtimes::thread_pools(Path::new("/"))
}

/// Those of the variables that a GPU runtime of this process has read already.
#[pyfunction]
pub(crate) fn started_gpus(variables: Vec<String>) -> Vec<String> {
    runtimes::started_gpus(Path::new("/"), variables)
}
