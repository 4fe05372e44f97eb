//! One task of a node: its part of the mapping, and what is done with it.

use crate::env::NIC_VARIABLES;
use crate::error::quoted;
use crate::launcher::Place;
use crate::settings::Settings;
use crate::{CpuSet, Mapping, Result, affinity, memory};

/// What a task needs to know of its node's mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its CPUs (OS indexes).
    pub cpus: CpuSet,
    /// Threads that it should have.
    pub nthreads: u32,
    /// Its GPUs, named as the settings say.
    pub gpus: Vec<String>,
    /// The network cards that are closest to it.
    pub nics: Vec<String>,
    /// The variables to set for it, sorted by name.
    pub variables: Vec<(String, String)>,
    /// The NUMA nodes (OS indexes) that are local to its CPUs.
    pub numas: CpuSet,
}

impl Part {
    /// The part of a task.
    ///
    /// # Errors
    ///
    /// [`crate::Error::InvalidParameter`] if there is no such task; [`crate::Error::Device`] if a GPU
    /// has no name of the kind that the settings ask for.
    pub fn new(settings: &Settings, mapping: &Mapping, task: i64) -> Result<Self> {
        Ok(Self {
            cpus: mapping.cpus(task)?.iter().copied().collect(),
            nthreads: mapping.nthreads(task)?,
            gpus: mapping.gpu_ids(task, settings.gpu_ids)?,
            nics: mapping.nics(task)?.map(|nic| nic.name.clone()).collect(),
            variables: settings.variables(mapping, task)?,
            numas: mapping.numas(task)?,
        })
    }

    /// The line that tells people about it.
    pub fn line(&self, hostname: &str, here: Place) -> String {
        line(hostname, here, self.nthreads, &self.gpus, &self.cpus)
    }
}

/// One task and what it is bound to, for people.
pub fn line(hostname: &str, here: Place, nthreads: u32, gpus: &[String], cpus: &CpuSet) -> String {
    let Place { local_rank, local_size, rank, size } = here;
    let gpus: Vec<String> = gpus.iter().map(|gpu| quoted(gpu)).collect();
    let cpus: Vec<String> = cpus.iter().map(|cpu| cpu.to_string()).collect();
    format!(
        "{hostname} task {rank}/{size}: lrank {local_rank}/{local_size} nths {nthreads} gpus [{}] \
         cpus [{}]",
        gpus.join(", "),
        cpus.join(", ")
    )
}

/// A process that was bound, and how to go back.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The masks from before.
    pub cpus: affinity::Saved,
    /// The memory policy from before, if there is another now.
    pub memory: Option<memory::Policy>,
    /// Why there is none although one was asked for.
    pub warning: Option<String>,
}

/// Binds all threads of this process, and the memory of the calling one if that was asked for.
///
/// That memory cannot be bound is only told: containers often forbid it, and the CPUs are worth
/// having.
///
/// # Errors
///
/// [`crate::Error::Affinity`] if the threads cannot be bound; nothing is changed then.
pub fn bind(cpus: &CpuSet, membind: Option<memory::Binding>, numas: &CpuSet) -> Result<Bound> {
    let mut bound = Bound { cpus: affinity::bind(cpus)?, memory: None, warning: None };
    match membind.map(|binding| memory::bind(binding, numas)) {
        None => {}
        Some(Ok(policy)) => bound.memory = Some(policy),
        Some(Err(error)) => {
            bound.warning = Some(format!("the CPUs are bound, memory is not: {error}"));
        }
    }
    Ok(bound)
}

/// Leaves out the variables that name network cards and were set by someone else, who has chosen;
/// returns what is left, and a note for each that stays as it was.
pub fn heed_choice(
    variables: Vec<(String, String)>,
    chosen: impl Fn(&str) -> Option<String>,
) -> (Vec<(String, String)>, Vec<String>) {
    let mut notes = Vec::new();
    let mut variables = variables;
    variables.retain(|(name, _)| {
        let is_nic = NIC_VARIABLES.contains(&name.as_str());
        let stays = if is_nic { chosen(name) } else { None };
        notes.extend(
            stays
                .as_ref()
                .map(|value| format!("{name}={} was set before and stays", quoted(value))),
        );
        stays.is_none()
    });
    (variables, notes)
}
