//! Which task of its node a process is, as the launcher tells in the environment.

use crate::error::quoted;
use crate::{Error, MAX_TASKS, Result, Variables};

/// Where a process is among those of its node, and among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its number among those of its node, from 0.
    pub local_rank: i64,
    /// How many these are.
    pub local_size: i64,
    /// Its number among all; the local one where the launcher does not tell.
    pub rank: i64,
    /// How many all are; those of the node where the launcher does not tell.
    pub size: i64,
}

impl Place {
    /// A process that is alone.
    pub const ALONE: Self = Self::on_one_node(0, 1);

    const fn on_one_node(local_rank: i64, local_size: i64) -> Self {
        Self { local_rank, local_size, rank: local_rank, size: local_size }
    }

    fn checked(local_rank: i64, local_size: i64) -> Result<Self> {
        if !(1..=MAX_TASKS).contains(&local_size) {
            let legal = format!("it must be 1 to {MAX_TASKS} (tasks of this node)");
            return Err(Error::number("local_size", local_size, legal));
        }
        if !(0..local_size).contains(&local_rank) {
            let legal = format!("it must be 0 to {}, as local_size={local_size}", local_size - 1);
            return Err(Error::number("local_rank", local_rank, legal));
        }
        Ok(Self::on_one_node(local_rank, local_size))
    }
}

struct Launcher {
    name: &'static str,
    local_rank: &'static str,
    local_size: &'static str,
    rank: &'static str,
    size: &'static str,
    /// Reads the local size.
    count: Count,
}

type Count = fn(&Launcher, &Variables<'_>) -> Result<Told>;

/// The local size, or what is missing to tell it.
enum Told {
    Size(i64),
    Missing(String),
}

const fn launcher(
    name: &'static str,
    [local_rank, local_size, rank, size]: [&'static str; 4],
) -> Launcher {
    Launcher { name, local_rank, local_size, rank, size, count: plain_size }
}

const SLURM: &str = "Slurm";

/// In this order: a launcher that is started inside another's job comes before it. `PMIX_RANK` is left
/// out: it is a global rank.
const LAUNCHERS: [Launcher; 10] = [
    launcher("torchrun", ["LOCAL_RANK", "LOCAL_WORLD_SIZE", "RANK", "WORLD_SIZE"]),
    launcher(
        "Open MPI",
        [
            "OMPI_COMM_WORLD_LOCAL_RANK",
            "OMPI_COMM_WORLD_LOCAL_SIZE",
            "OMPI_COMM_WORLD_RANK",
            "OMPI_COMM_WORLD_SIZE",
        ],
    ),
    launcher("MPICH or Intel MPI", ["MPI_LOCALRANKID", "MPI_LOCALNRANKS", "PMI_RANK", "PMI_SIZE"]),
    launcher(
        "MVAPICH2",
        [
            "MV2_COMM_WORLD_LOCAL_RANK",
            "MV2_COMM_WORLD_LOCAL_SIZE",
            "MV2_COMM_WORLD_RANK",
            "MV2_COMM_WORLD_SIZE",
        ],
    ),
    launcher(
        "MVAPICH",
        [
            "MVP_COMM_WORLD_LOCAL_RANK",
            "MVP_COMM_WORLD_LOCAL_SIZE",
            "MVP_COMM_WORLD_RANK",
            "MVP_COMM_WORLD_SIZE",
        ],
    ),
    launcher(
        "jsrun",
        [
            "JSM_NAMESPACE_LOCAL_RANK",
            "JSM_NAMESPACE_LOCAL_SIZE",
            "JSM_NAMESPACE_RANK",
            "JSM_NAMESPACE_SIZE",
        ],
    ),
    launcher("PALS", ["PALS_LOCAL_RANKID", "PALS_LOCAL_SIZE", "PMI_RANK", "PMI_SIZE"]),
    launcher("Cray PMI", ["PMI_LOCAL_RANK", "PMI_LOCAL_SIZE", "PMI_RANK", "PMI_SIZE"]),
    Launcher {
        count: flux_size,
        ..launcher(
            "Flux",
            ["FLUX_TASK_LOCAL_ID", "FLUX_JOB_NNODES", "FLUX_TASK_RANK", "FLUX_JOB_SIZE"],
        )
    },
    Launcher {
        count: slurm_size,
        ..launcher(
            SLURM,
            ["SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"],
        )
    },
];

const SLURM_STEP: &str = "SLURM_STEP_ID";
const SLURM_NODE: &str = "SLURM_NODEID";

/// Slurm's numbers for what is no step of tasks: batch scripts, interactive shells and the like.
const FIRST_PSEUDO_STEP: i64 = 0xFFFF_FFF0;

/// Finds out which task of its node a process is. What the caller does not know is what the first
/// launcher says that says all of it, or where the caller knows the size, the first that says a rank.
///
/// # Errors
///
/// [`Error::Launcher`] if no launcher says it, or one says something that cannot be;
/// [`Error::InvalidParameter`] if the caller does.
pub fn place(
    local_rank: Option<i64>,
    local_size: Option<i64>,
    variables: &Variables<'_>,
) -> Result<Place> {
    if let (Some(rank), Some(size)) = (local_rank, local_size) {
        return Place::checked(rank, size);
    }
    let mut incomplete = Vec::new();
    let mut known_rank = local_rank;
    for launcher in &LAUNCHERS {
        let Some(told) = launcher.ask(variables)? else { continue };
        match told.missing {
            None if local_rank.is_none() && local_size.is_none() => return Ok(told.place),
            None => {
                return Place::checked(
                    local_rank.unwrap_or(told.place.local_rank),
                    local_size.unwrap_or(told.place.local_size),
                );
            }
            Some(missing) => {
                let (name, variable) = (launcher.name, launcher.local_rank);
                incomplete.push(format!("{name} says {variable}, but not {missing}"));
                known_rank = known_rank.or(Some(told.place.local_rank));
            }
        }
    }
    if let (Some(rank), Some(size)) = (known_rank, local_size) {
        return Place::checked(rank, size);
    }
    let found = match incomplete.is_empty() {
        true => "there are no variables of a launcher".to_owned(),
        false => incomplete.join("; "),
    };
    let known: Vec<&str> = LAUNCHERS.iter().map(|known| known.local_rank).collect();
    Err(Error::Launcher(format!(
        "which task of its node this process is cannot be told: {found}. Say local_rank= and \
         local_size= (0 and 1 for a single process), or use mpibind.mpi.bind() in an MPI program; \
         known are {}",
        known.join(", ")
    )))
}

/// The name of the launcher that has set its variables, be they complete or not.
///
/// # Errors
///
/// [`Error::Launcher`] if Slurm's step is not a number.
pub fn started_by(variables: &Variables<'_>) -> Result<Option<&'static str>> {
    for launcher in &LAUNCHERS {
        if launcher.has_started(variables)? {
            return Ok(Some(launcher.name));
        }
    }
    Ok(None)
}

/// What a launcher says.
struct Answer {
    place: Place,
    /// The variable without which the place is not complete.
    missing: Option<String>,
}

impl Launcher {
    fn has_started(&self, variables: &Variables<'_>) -> Result<bool> {
        if variables(self.local_rank).is_none() {
            return Ok(false);
        }
        if self.name == SLURM { is_slurm_step(variables) } else { Ok(true) }
    }

    fn ask(&self, variables: &Variables<'_>) -> Result<Option<Answer>> {
        if !self.has_started(variables)? {
            return Ok(None);
        }
        let local_rank = required(self.local_rank, variables)?;
        let local_size = match (self.count)(self, variables)? {
            Told::Size(size) => size,
            Told::Missing(name) => {
                let place = Place::on_one_node(local_rank, 0);
                return Ok(Some(Answer { place, missing: Some(name) }));
            }
        };
        if local_rank >= local_size {
            let text = variables(self.local_size).unwrap_or_default();
            return Err(Error::Launcher(format!(
                "{}={local_rank} is not smaller than the number of tasks of the node, {local_size} by \
                 {}={}; is one of them left over from another launcher?",
                self.local_rank,
                self.local_size,
                quoted(&text)
            )));
        }
        if local_size > MAX_TASKS {
            let text = variables(self.local_size).unwrap_or_default();
            return Err(Error::Launcher(format!(
                "{}={}: a node has {MAX_TASKS} tasks at most, not {local_size}",
                self.local_size,
                quoted(&text)
            )));
        }
        // MPI counts ranks with 32 bits; whoever says more means something else.
        let of_all = |name| {
            let number = number(&variables(name)?)?;
            (number <= i64::from(i32::MAX)).then_some(number)
        };
        let place = match (of_all(self.rank), of_all(self.size)) {
            (Some(rank), Some(size)) if rank < size => Place { local_rank, local_size, rank, size },
            _ => Place::on_one_node(local_rank, local_size),
        };
        Ok(Some(Answer { place, missing: None }))
    }
}

/// Tells a task of a step from the shell of salloc or sbatch, where `SLURM_LOCALID` is 0 too.
fn is_slurm_step(variables: &Variables<'_>) -> Result<bool> {
    if variables("SLURM_PROCID").is_none() || variables(SLURM_STEP).is_none() {
        return Ok(false);
    }
    Ok(required(SLURM_STEP, variables)? < FIRST_PSEUDO_STEP)
}

fn plain_size(launcher: &Launcher, variables: &Variables<'_>) -> Result<Told> {
    match variables(launcher.local_size) {
        None => Ok(Told::Missing(launcher.local_size.into())),
        Some(_) => required(launcher.local_size, variables).map(Told::Size),
    }
}

/// Flux tells the tasks and nodes of the job; only where they divide, that is an answer.
fn flux_size(launcher: &Launcher, variables: &Variables<'_>) -> Result<Told> {
    for name in [launcher.size, launcher.local_size] {
        if variables(name).is_none() {
            return Ok(Told::Missing(name.into()));
        }
    }
    let size = required(launcher.size, variables)?;
    let nodes = required(launcher.local_size, variables)?;
    if nodes == 0 || size % nodes != 0 {
        return Ok(Told::Missing(format!("how {size} tasks are spread over {nodes} nodes")));
    }
    Ok(Told::Size(size / nodes))
}

/// Slurm tells the tasks of all nodes of the step, such as `2(x3),1`, and the node's place.
fn slurm_size(launcher: &Launcher, variables: &Variables<'_>) -> Result<Told> {
    let list = launcher.local_size;
    let Some(text) = variables(list) else { return Ok(Told::Missing(list.into())) };
    if variables(SLURM_NODE).is_none() {
        return Ok(Told::Missing(SLURM_NODE.into()));
    }
    let node = required(SLURM_NODE, variables)?;
    let shown = quoted(&text);
    let mut passed = 0;
    for entry in text.split(',') {
        let Some((tasks, nodes)) = slurm_entry(entry.trim()) else {
            return Err(Error::Launcher(format!(
                "{list}={shown} is not a list of tasks per node such as \"2(x3),1\""
            )));
        };
        passed += nodes;
        if node < passed {
            return Ok(Told::Size(tasks));
        }
    }
    Err(Error::Launcher(format!(
        "{SLURM_NODE}={node} is not in {list}={shown}, which has {passed} nodes"
    )))
}

/// Tasks of a node, and of how many nodes.
fn slurm_entry(entry: &str) -> Option<(i64, i64)> {
    match entry.split_once("(x") {
        None => Some((number(entry)?, 1)),
        Some((tasks, nodes)) => Some((number(tasks)?, number(nodes.strip_suffix(')')?)?)),
    }
}

/// The value of a variable that is set.
fn required(name: &str, variables: &Variables<'_>) -> Result<i64> {
    let text = variables(name).unwrap_or_default();
    number(&text).ok_or_else(|| {
        let shown = quoted(&text);
        Error::Launcher(format!(
            "{name}={shown} is not a number; a launcher sets it to a whole number from 0"
        ))
    })
}

/// Few digits: neither a slip nor an attack makes a number that nothing can hold.
fn number(text: &str) -> Option<i64> {
    let is_number =
        (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}
