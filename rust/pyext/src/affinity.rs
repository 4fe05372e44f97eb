//! Binding the calling process.

use mpibind_core::{CpuSet, affinity};
use pyo3::prelude::*;

use crate::arguments::ids;
use crate::errors::OrRaise;

/// The CPU masks of all threads from before a binding.
#[pyclass(frozen, module = "mpibind._core")]
pub(crate) struct SavedAffinity(affinity::Saved);

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
    let cpus = CpuSet::parse_parameter("cpus", &ids("cpus", cpus)?).or_raise(py)?;
    py.detach(|| affinity::bind(&cpus)).or_raise(py).map(SavedAffinity)
}

/// The CPUs that the calling thread may run on.
#[pyfunction]
pub(crate) fn current_cpus(py: Python<'_>) -> PyResult<Vec<u32>> {
    affinity::current().or_raise(py).map(|cpus| cpus.iter().collect())
}
