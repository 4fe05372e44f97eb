//! What a binding is asked for, and which task of its node a process is.

use std::ffi::OsString;

use mpibind_core::settings::{Given, Words};
use mpibind_core::task::Part;
use mpibind_core::{CpuSet, launcher, own_variable, task};
use pyo3::prelude::*;
use pyo3::types::PyMapping;

use crate::affinity::{SavedAffinity, SavedMemory};
use crate::arguments::{flag, id_set, ids, int, word};
use crate::errors::OrRaise;
use crate::mapping::Mapping;
use crate::topology::{Topology, ViewRecord, views_of};

type PartRecord = (Vec<u32>, u32, Vec<String>, Vec<String>, Vec<(String, String)>, Vec<u32>);
type PlaceRecord = (i64, i64, i64, i64);

/// All that counts for one binding.
#[pyclass(frozen, module = "mpibind._core")]
pub(crate) struct Settings(mpibind_core::settings::Settings);

#[pymethods]
impl Settings {
    #[new]
    #[pyo3(signature = (
        *, nthreads, greedy, gpu_optim, smt, restrict_ids, restrict_type, gpu_ids, apply, env,
        omp_affinity, visible, respect, membind, verbose, nics,
    ))]
    #[allow(clippy::too_many_arguments)] // As many as there are parameters.
    fn new(
        py: Python<'_>,
        nthreads: &Bound<'_, PyAny>,
        greedy: Option<&Bound<'_, PyAny>>,
        gpu_optim: Option<&Bound<'_, PyAny>>,
        smt: Option<&Bound<'_, PyAny>>,
        restrict_ids: Option<&Bound<'_, PyAny>>,
        restrict_type: Option<&Bound<'_, PyAny>>,
        gpu_ids: &Bound<'_, PyAny>,
        apply: &Bound<'_, PyAny>,
        env: &Bound<'_, PyAny>,
        omp_affinity: &Bound<'_, PyAny>,
        visible: Option<&Bound<'_, PyAny>>,
        respect: &Bound<'_, PyAny>,
        membind: Option<&Bound<'_, PyAny>>,
        verbose: Option<&Bound<'_, PyAny>>,
        nics: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let words = Words::of(&own_variable).or_raise(py)?;
        if words.off {
            // Then nothing else matters, whatever it is.
            return Ok(Self(mpibind_core::settings::Settings::default()));
        }
        let given = Given {
            nthreads: int("nthreads", nthreads)?,
            greedy: greedy.map(|value| flag("greedy", value)).transpose()?,
            gpu_optim: gpu_optim.map(|value| flag("gpu_optim", value)).transpose()?,
            smt: smt.map(|value| int("smt", value)).transpose()?,
            restrict_ids: restrict_ids.map(|value| ids("restrict_ids", value)).transpose()?,
            restrict_type: restrict_type.map(|value| word("restrict_type", value)).transpose()?,
            gpu_ids: Some(word("gpu_ids", gpu_ids)?),
            apply: flag("apply", apply)?,
            env: flag("env", env)?,
            omp_affinity: flag("omp_affinity", omp_affinity)?,
            visible: visible.map(|value| word("visible", value)).transpose()?,
            respect: Some(word("respect", respect)?),
            membind: membind.map(|value| word("membind", value)).transpose()?,
            verbose: verbose.map(|value| int("verbose", value)).transpose()?,
            nics: nics.map(|value| flag("nics", value)).transpose()?,
        };
        let settings = mpibind_core::settings::Settings::new(given, words, &own_variable);
        settings.or_raise(py).map(Self)
    }

    /// Whether nothing is to be bound or set.
    #[getter]
    fn is_off(&self) -> bool {
        self.0.request.is_none()
    }

    #[getter]
    fn gpu_ids(&self) -> &'static str {
        self.0.gpu_ids.name()
    }

    #[getter]
    fn apply(&self) -> bool {
        self.0.apply
    }

    #[getter]
    fn env(&self) -> bool {
        self.0.env
    }

    #[getter]
    fn respect(&self) -> &'static str {
        self.0.respect.name()
    }

    #[getter]
    fn membind(&self) -> Option<&'static str> {
        self.0.membind.map(mpibind_core::memory::Binding::name)
    }

    #[getter]
    fn verbose(&self) -> i64 {
        self.0.verbose
    }

    /// What all tasks must agree on, by name, in one spelling.
    #[getter]
    fn words(&self) -> Vec<(&'static str, String)> {
        self.0.words()
    }

    /// A number that stands for the words, and fits into 64 bits.
    #[getter]
    fn digest(&self) -> i64 {
        self.0.digest()
    }

    /// The masks that limit the CPUs of a process that talks to no other.
    fn masks_of_one(&self, py: Python<'_>, local_size: i64) -> PyResult<Option<Vec<u32>>> {
        let masks = self.0.masks_of_one(local_size).or_raise(py)?;
        Ok(masks.map(|masks| masks.iter().collect()))
    }

    /// Maps the tasks of a node within what the system grants them.
    fn map(
        &self,
        node: &Topology,
        ntasks: &Bound<'_, PyAny>,
        masks: Option<&Bound<'_, PyAny>>,
        views: Vec<ViewRecord>,
    ) -> PyResult<Mapping> {
        let py = ntasks.py();
        let ntasks = int("ntasks", ntasks)?;
        let masks = masks.map(|value| id_set("affinity", value)).transpose()?;
        let views = views_of(views);
        let mapped = py.detach(|| self.0.map(node.discovered(), ntasks, masks, views));
        mapped.or_raise(py).map(|mapping| node.mapped(mapping))
    }

    /// A task's CPUs, threads, GPUs, network cards, variables and NUMA nodes.
    fn part(&self, mapping: &Mapping, task: &Bound<'_, PyAny>) -> PyResult<PartRecord> {
        let task_id = int("taskid", task)?;
        let part = Part::new(&self.0, mapping.core(), task_id).or_raise(task.py())?;
        let (cpus, numas) = (part.cpus.iter().collect(), part.numas.iter().collect());
        Ok((cpus, part.nthreads, part.gpus, part.nics, part.variables, numas))
    }

    /// Binds this process: what to restore of its CPUs and its memory, and a warning if its memory
    /// could not be bound.
    fn bind(
        &self,
        cpus: &Bound<'_, PyAny>,
        numas: &Bound<'_, PyAny>,
    ) -> PyResult<(SavedAffinity, Option<SavedMemory>, Option<String>)> {
        let py = cpus.py();
        let cpus = id_set("cpus", cpus)?;
        // Memory that is local to no CPU is not asked for, so there may be no node.
        let numas: CpuSet = numas.extract::<Vec<u32>>()?.into_iter().collect();
        let bound = py.detach(|| task::bind(&cpus, self.0.membind, &numas)).or_raise(py)?;
        Ok((SavedAffinity::new(bound.cpus), bound.memory.map(SavedMemory::new), bound.warning))
    }
}

/// Which task of its node a process is: local rank and size, rank and size.
#[pyfunction]
pub(crate) fn place(
    local_rank: Option<&Bound<'_, PyAny>>,
    local_size: Option<&Bound<'_, PyAny>>,
    environ: &Bound<'_, PyMapping>,
) -> PyResult<PlaceRecord> {
    let local_rank = local_rank.map(|value| int("local_rank", value)).transpose()?;
    let local_size = local_size.map(|value| int("local_size", value)).transpose()?;
    let here = launcher::place(local_rank, local_size, &|name| text_of(environ, name));
    let here = here.or_raise(environ.py())?;
    Ok((here.local_rank, here.local_size, here.rank, here.size))
}

/// The name of the launcher that has set its variables.
#[pyfunction]
pub(crate) fn started_by(environ: &Bound<'_, PyMapping>) -> PyResult<Option<&'static str>> {
    launcher::started_by(&|name| text_of(environ, name)).or_raise(environ.py())
}

/// A variable as Python has it; bytes that are no text become marks.
fn text_of(environ: &Bound<'_, PyMapping>, name: &str) -> Option<String> {
    let value: OsString = environ.call_method1("get", (name,)).ok()?.extract().ok()?;
    Some(value.to_string_lossy().into_owned())
}

/// One rank and what it is bound to, for people.
#[pyfunction]
pub(crate) fn rank_line(
    hostname: &str,
    here: PlaceRecord,
    nthreads: u32,
    gpus: &Bound<'_, PyAny>,
    cpus: Vec<u32>,
) -> PyResult<String> {
    let (local_rank, local_size, rank, size) = here;
    let here = launcher::Place { local_rank, local_size, rank, size };
    let gpus: Vec<String> = gpus.extract()?;
    Ok(task::line(hostname, here, nthreads, &gpus, &cpus.into_iter().collect()))
}

/// Leaves out the variables that someone else has chosen; returns what is left, and notes.
#[pyfunction]
pub(crate) fn heed_choice(
    variables: Vec<(String, String)>,
    chosen: &Bound<'_, PyMapping>,
) -> (Vec<(String, String)>, Vec<String>) {
    task::heed_choice(variables, |name| text_of(chosen, name))
}

/// Does what the words after `mpibind run` say: becomes a program. Returns the exit status if it
/// does not.
#[pyfunction]
pub(crate) fn run(words: Vec<OsString>) -> u8 {
    mpibind_cli::run(words)
}
