//! Mappings. Lists of numbers go out as bytes, which numpy looks at without a copy.

use std::sync::Arc;

use mpibind_core::GpuId;
use mpibind_core::discover::Discovered;
use mpibind_core::env::{EnvOptions, variables};
use mpibind_core::json::Saved;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::arguments::{flag, int, word};
use crate::errors::OrRaise;
use crate::topology::Topology;

type SummaryRecord = (usize, usize, (usize, usize), (usize, usize), usize, Option<usize>, usize);

/// Where the tasks of a node go.
#[pyclass(frozen, module = "mpibind._core")]
pub(crate) struct Mapping {
    core: mpibind_core::Mapping,
    /// The whole node, where the mapping knows only the part it used.
    node: Arc<Discovered>,
}

impl Mapping {
    pub(crate) fn new(core: mpibind_core::Mapping, node: Arc<Discovered>) -> Self {
        Self { core, node }
    }

    pub(crate) fn core(&self) -> &mpibind_core::Mapping {
        &self.core
    }

    fn changed(
        &self,
        py: Python<'_>,
        change: impl FnOnce(&mut mpibind_core::Mapping) -> mpibind_core::Result<()>,
    ) -> PyResult<Self> {
        let mut core = self.core.clone();
        change(&mut core).or_raise(py)?;
        Ok(Self { core, node: Arc::clone(&self.node) })
    }
}

#[pymethods]
impl Mapping {
    /// A mapping, and how GPUs are named in it.
    #[staticmethod]
    fn from_json(text: &Bound<'_, PyAny>) -> PyResult<(Self, &'static str)> {
        let saved = Saved::from_json(&word("text", text)?).or_raise(text.py())?;
        Ok((Self::new(saved.mapping, Arc::new(saved.node)), saved.gpu_ids.name()))
    }

    /// The mapping as JSON, with names of one kind for the GPUs.
    fn to_json(&self, gpu_ids: &Bound<'_, PyAny>) -> PyResult<String> {
        let py = gpu_ids.py();
        let gpu_ids: GpuId = word("gpu_ids", gpu_ids)?.parse::<GpuId>().or_raise(py)?;
        let (mapping, node) = (self.core.clone(), Discovered::clone(&self.node));
        Saved { mapping, node, gpu_ids }.to_json().or_raise(py)
    }

    /// The whole node.
    #[getter]
    fn topology(&self) -> Topology {
        Topology::of(&self.node)
    }

    #[getter]
    fn ntasks(&self) -> usize {
        self.core.ntasks()
    }

    /// Threads of each task, as 32-bit integers.
    fn threads<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        bytes_of(py, self.core.threads())
    }

    /// CPUs of all tasks, one task after the other, as 32-bit integers.
    fn flat_cpus<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        bytes_of(py, self.core.flat_cpus())
    }

    /// Where each task's CPUs begin in the flat list, and the list's length, as 32-bit integers.
    fn offsets<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        bytes_of(py, self.core.offsets())
    }

    /// CPU ids of the whole node, rising, as 32-bit integers.
    fn node_cpus<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let mut cpus = self.node.topology.pus().to_vec();
        cpus.sort_unstable();
        bytes_of(py, &cpus)
    }

    /// CPU ids of each NUMA node of the whole node, as 32-bit integers.
    fn numa_cpus<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let numas = self.node.topology.numas().iter();
        numas.map(|numa| bytes_of(py, &numa.cpus.iter().collect::<Vec<_>>())).collect()
    }

    fn cpus(&self, task: &Bound<'_, PyAny>) -> PyResult<Vec<u32>> {
        self.core.cpus(int("taskid", task)?).or_raise(task.py()).map(<[u32]>::to_vec)
    }

    /// The CPUs of a task as a list in text.
    fn cpus_text(&self, task: &Bound<'_, PyAny>) -> PyResult<String> {
        let cpus = self.core.cpuset(int("taskid", task)?).or_raise(task.py())?;
        Ok(cpus.to_string())
    }

    fn nthreads(&self, task: &Bound<'_, PyAny>) -> PyResult<u32> {
        self.core.nthreads(int("taskid", task)?).or_raise(task.py())
    }

    /// The names of a task's GPUs, of one kind.
    fn gpus(&self, task: &Bound<'_, PyAny>, kind: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
        let py = task.py();
        let kind: GpuId = word("gpu_ids", kind)?.parse::<GpuId>().or_raise(py)?;
        self.core.gpu_ids(int("taskid", task)?, kind).or_raise(py)
    }

    /// The places of a task's GPUs in the whole node's list.
    fn gpu_places(&self, task: &Bound<'_, PyAny>) -> PyResult<Vec<usize>> {
        self.core.gpu_places(int("taskid", task)?, &self.node.topology).or_raise(task.py())
    }

    /// The number of GPUs of the whole node.
    #[getter]
    fn ngpus(&self) -> usize {
        self.node.topology.gpus().len()
    }

    /// The names of a task's network cards.
    fn nics(&self, task: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
        let nics = self.core.nics(int("taskid", task)?).or_raise(task.py())?;
        Ok(nics.map(|nic| nic.name.clone()).collect())
    }

    /// The places of a task's network cards in the whole node's list.
    fn nic_places(&self, task: &Bound<'_, PyAny>) -> PyResult<Vec<usize>> {
        self.core.nic_places(int("taskid", task)?, &self.node.topology).or_raise(task.py())
    }

    /// The number of network cards of the whole node.
    #[getter]
    fn nnics(&self) -> usize {
        self.node.topology.nics().len()
    }

    /// OS ids of the NUMA nodes that are local to a task's CPUs.
    fn numas(&self, task: &Bound<'_, PyAny>) -> PyResult<Vec<u32>> {
        let numas = self.core.numas(int("taskid", task)?).or_raise(task.py())?;
        Ok(numas.iter().collect())
    }

    /// The mapping in a few numbers: cores, CPUs, fewest and most threads, fewest and most GPUs,
    /// tasks across NUMA nodes, across L3 caches (None where there is no such level), and tasks that
    /// share CPUs.
    fn summary(&self) -> SummaryRecord {
        let core = self.core.summary();
        let (threads, gpus) = (core.threads.into_inner(), core.gpus.into_inner());
        (core.cores, core.cpus, threads, gpus, core.across_numas, core.across_l3s, core.sharing)
    }

    #[getter]
    fn notes(&self) -> Vec<String> {
        self.core.notes().to_vec()
    }

    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.core.warnings().to_vec()
    }

    /// The variables of a task, sorted by name.
    fn env(
        &self,
        task: &Bound<'_, PyAny>,
        omp_affinity: &Bound<'_, PyAny>,
        gpu_uuids: bool,
        visible: &Bound<'_, PyAny>,
        nics: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<(String, String)>> {
        let options = EnvOptions {
            omp_affinity: flag("omp_affinity", omp_affinity)?,
            gpu_uuids,
            visible: word("visible", visible)?.parse().or_raise(task.py())?,
            nics: flag("nics", nics)?,
        };
        variables(&self.core, int("taskid", task)?, options).or_raise(task.py())
    }

    /// A copy without the lowest CPUs of a task.
    fn without_cpus(&self, task: &Bound<'_, PyAny>, ncpus: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (taskid, ncpus) = (int("taskid", task)?, int("ncpus", ncpus)?);
        self.changed(task.py(), |core| core.pop_cpus(taskid, ncpus))
    }

    /// A copy without the cores of the lowest CPUs of a task.
    fn without_cores(&self, task: &Bound<'_, PyAny>, ncores: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (taskid, ncores) = (int("taskid", task)?, int("ncores", ncores)?);
        self.changed(task.py(), |core| core.pop_cores(taskid, ncores))
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.core == other.core && self.node.topology == other.node.topology
    }
}

fn bytes_of<'py>(py: Python<'py>, numbers: &[u32]) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, std::mem::size_of_val(numbers), |bytes| {
        for (place, number) in bytes.chunks_exact_mut(size_of::<u32>()).zip(numbers) {
            place.copy_from_slice(&number.to_ne_bytes());
        }
        Ok(())
    })
}
