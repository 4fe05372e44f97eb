//! Topologies and what is asked of them.

use std::sync::Arc;

use mpibind_core::discover::{Discovered, Source, discover};
use mpibind_core::{CpuSet, Parameters, View};
use pyo3::prelude::*;

use crate::arguments::{self, flag, ids, int, ints, word};
use crate::errors::OrRaise;
use crate::mapping::Mapping;

/// Checked parameters of a mapping.
#[pyclass(frozen, module = "mpibind._core")]
pub(crate) struct Request(mpibind_core::Request);

#[pymethods]
impl Request {
    #[new]
    #[pyo3(signature = (ntasks, *, nthreads, greedy, gpu_optim, smt, restrict_ids, restrict_type))]
    #[allow(clippy::too_many_arguments)] // As many as a mapping has parameters.
    fn new(
        ntasks: &Bound<'_, PyAny>,
        nthreads: &Bound<'_, PyAny>,
        greedy: &Bound<'_, PyAny>,
        gpu_optim: &Bound<'_, PyAny>,
        smt: &Bound<'_, PyAny>,
        restrict_ids: Option<&Bound<'_, PyAny>>,
        restrict_type: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let restrict_ids = restrict_ids.map(|value| ids("restrict_ids", value)).transpose()?;
        let parameters = Parameters {
            ntasks: int("ntasks", ntasks)?,
            nthreads: int("nthreads", nthreads)?,
            greedy: flag("greedy", greedy)?,
            gpu_optim: flag("gpu_optim", gpu_optim)?,
            smt: int("smt", smt)?,
            restrict_ids: restrict_ids.as_deref(),
            restrict_type: &word("restrict_type", restrict_type)?,
        };
        mpibind_core::Request::new(&parameters).or_raise(ntasks.py()).map(Self)
    }

    /// The same within the GPUs that the tasks were given: variables, and the device files that may
    /// be opened, of all tasks or of each.
    fn with_views(&self, py: Python<'_>, views: Vec<ViewRecord>) -> PyResult<Self> {
        self.0.clone().with_views(views_of(views)).or_raise(py).map(Self)
    }
}

/// Ids as a list in text, such as `0-3,8`.
#[pyfunction]
pub(crate) fn id_list(ids: &Bound<'_, PyAny>) -> PyResult<String> {
    let ids = arguments::ints("ids", ids)?;
    Ok(ids.into_iter().filter_map(|id| u32::try_from(id).ok()).collect::<CpuSet>().to_string())
}

/// A list of ids, in text or not, as numbers that rise.
#[pyfunction]
pub(crate) fn ids_of(list: &Bound<'_, PyAny>) -> PyResult<Vec<u32>> {
    let set = CpuSet::parse_parameter("list", &ids("list", list)?).or_raise(list.py())?;
    Ok(set.iter().collect())
}

type GpuRecord = (
    u32,
    &'static str,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    Vec<u32>,
    String,
    String,
);
type NicRecord = (String, Option<String>, Option<u32>, Vec<u32>, String, bool);
type UncountedRecord = (String, String, Option<String>, String);
type NumaRecord = (u32, Option<String>, u64, String);

/// Variables, and the device files that may be opened where these are not all.
pub(crate) type ViewRecord = (Vec<(String, String)>, Option<Vec<String>>);

pub(crate) fn views_of(records: Vec<ViewRecord>) -> Vec<View> {
    records.into_iter().map(|(variables, files)| View::new(variables, files)).collect()
}

/// A node.
#[pyclass(frozen, module = "mpibind._core")]
pub(crate) struct Topology(Arc<Discovered>);

impl Topology {
    pub(crate) fn core(&self) -> &mpibind_core::Topology {
        &self.0.topology
    }

    pub(crate) fn discovered(&self) -> &Discovered {
        &self.0
    }

    /// A mapping of this node.
    pub(crate) fn mapped(&self, mapping: mpibind_core::Mapping) -> Mapping {
        Mapping::new(mapping, Arc::clone(&self.0))
    }

    pub(crate) fn of(node: &Arc<Discovered>) -> Self {
        Self(Arc::clone(node))
    }

    fn discover(py: Python<'_>, source: Source<'_>) -> PyResult<Self> {
        let discovered = py.detach(|| discover(source));
        discovered.or_raise(py).map(|node| Self(Arc::new(node)))
    }
}

#[pymethods]
impl Topology {
    #[staticmethod]
    fn here(open: &Bound<'_, PyAny>) -> PyResult<Self> {
        let files: Vec<String> = open.extract()?;
        Self::discover(open.py(), Source::Here { open: &files })
    }

    #[staticmethod]
    fn from_xml(path: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::discover(path.py(), Source::Xml(&arguments::path("path", path)?))
    }

    #[staticmethod]
    fn from_synthetic(text: &Bound<'_, PyAny>, gpus: &Bound<'_, PyAny>) -> PyResult<Self> {
        let source = Source::Synthetic { text: &word("text", text)?, gpus: &ints("gpus", gpus)? };
        Self::discover(text.py(), source)
    }

    #[staticmethod]
    fn from_json(text: &Bound<'_, PyAny>) -> PyResult<Self> {
        let node = Discovered::from_json(&word("text", text)?).or_raise(text.py())?;
        Ok(Self(Arc::new(node)))
    }

    /// The node as JSON.
    fn to_json(&self) -> String {
        self.0.to_json()
    }

    /// The node in hwloc's XML.
    fn to_xml(&self, py: Python<'_>) -> PyResult<String> {
        py.detach(|| self.0.to_xml()).or_raise(py)
    }

    #[getter]
    fn origin(&self) -> &str {
        &self.0.origin
    }

    /// Whether it is the machine that this runs on, as the kernel tells it now.
    #[getter]
    fn is_live(&self) -> bool {
        self.0.is_live
    }

    #[getter]
    fn npus(&self) -> usize {
        self.core().pus().len()
    }

    #[getter]
    fn ncores(&self) -> usize {
        self.core().ncores()
    }

    #[getter]
    fn nnumas(&self) -> usize {
        self.core().numas().len()
    }

    #[getter]
    fn smt(&self) -> usize {
        self.core().smt_width()
    }

    /// Kind and number of objects of each level, from the outside in.
    #[getter]
    fn levels(&self) -> Vec<(&'static str, usize)> {
        let levels = self.core().levels().iter();
        levels.map(|level| (level.kind.name(), level.objects.len())).collect()
    }

    /// CPU ids as a list in text.
    #[getter]
    fn cpus(&self) -> String {
        self.core().cpus().to_string()
    }

    /// OS index, subtype, bytes and CPUs of each NUMA node.
    #[getter]
    fn numas(&self) -> Vec<NumaRecord> {
        let numas = self.core().numas().iter();
        numas
            .map(|numa| (numa.os_index, numa.subtype.clone(), numa.bytes, numa.cpus.to_string()))
            .collect()
    }

    /// Index, vendor, name, model, UUID, PCI address, near NUMA nodes and CPUs of each GPU, and how it
    /// was found.
    #[getter]
    fn gpus(&self) -> Vec<GpuRecord> {
        let gpus = self.core().gpus().iter();
        gpus.map(|gpu| {
            (
                gpu.index,
                gpu.vendor.name(),
                gpu.name(),
                gpu.model.clone(),
                gpu.uuid.clone(),
                gpu.pci.map(|pci| pci.to_string()),
                self.core().numas_near(gpu.locality),
                self.core().cpus_near(gpu.locality).to_string(),
                gpu.found.clone(),
            )
        })
        .collect()
    }

    /// PCI address, vendor and model of each display that is not counted, and the reason.
    #[getter]
    fn uncounted(&self) -> Vec<UncountedRecord> {
        let devices = self.0.uncounted.iter().cloned();
        devices
            .map(|device| (device.pci.to_string(), device.vendor, device.model, device.reason))
            .collect()
    }

    /// What was odd about the devices.
    #[getter]
    fn device_notes(&self) -> Vec<String> {
        self.0.notes.clone()
    }

    /// Name, PCI address, port, near NUMA nodes and CPUs of each network card, and whether it is down.
    #[getter]
    fn nics(&self) -> Vec<NicRecord> {
        let nics = self.core().nics().iter();
        nics.map(|nic| {
            (
                nic.name.clone(),
                nic.pci.map(|pci| pci.to_string()),
                nic.port,
                self.core().numas_near(nic.locality),
                self.core().cpus_near(nic.locality).to_string(),
                nic.down,
            )
        })
        .collect()
    }

    fn map(&self, py: Python<'_>, request: &Request) -> PyResult<Mapping> {
        let mapped = py.detach(|| mpibind_core::map(&self.0.topology, &request.0));
        mapped.or_raise(py).map(|mapping| self.mapped(mapping))
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.core() == other.core()
    }
}

/// The version of the libhwloc that is loaded.
#[pyfunction]
pub(crate) fn hwloc_version() -> String {
    mpibind_core::discover::hwloc_version()
}

/// How many PCI devices hwloc sees on this machine.
#[pyfunction]
pub(crate) fn count_pci_devices(py: Python<'_>) -> PyResult<usize> {
    py.detach(mpibind_core::discover::count_pci_devices).or_raise(py)
}

/// The device files of GPUs that this process may open.
#[pyfunction]
pub(crate) fn open_devices() -> Vec<String> {
    mpibind_core::discover::open_devices()
}
