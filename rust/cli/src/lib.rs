//! `mpibind run`: binds this process as one task of its node, and becomes a program.
//!
//! A library, so that the command and `python -m mpibind` are one.

use std::ffi::OsString;
use std::io::Write as _;

use mpibind_core::cache::discover_once;
use mpibind_core::discover::{Source, discover, open_devices};
use mpibind_core::launcher::{Place, place, started_by};
use mpibind_core::settings::{Settings, Words};
use mpibind_core::task::{self, Part};
use mpibind_core::{Error, MAX_TASKS, VIEW_VARIABLES, View, own_variable};

use crate::options::Options;

mod options;
pub mod program;

const HELP: &str = "\
usage: mpibind run [options] -- PROGRAM [ARGUMENT ...]

Binds this process as the task of its node that the launcher says it is, sets
the environment (OMP_NUM_THREADS, OMP_PLACES, OMP_PROC_BIND, the variable for
GPUs), and becomes the program. Without a launcher the program gets the whole
node.

options:
  -h, --help            show this help message and exit
  -n TASKS, --ntasks TASKS
                        tasks on this node, if the launcher does not tell
  --local-rank R        which of them this is, if it does not tell
  --topology FILE       hwloc's XML of this node

the mapping:
  What is not given comes from the variables MPIBIND, MPIBIND_RESTRICT and
  MPIBIND_RESTRICT_TYPE, then from the defaults.

  --nthreads N          threads per task; 0 computes it
  --smt K               hardware threads per core; 0 decides
  --greedy, --no-greedy
                        let fewer tasks than NUMA domains share all of them
  --gpu-optim, --no-gpu-optim
                        put tasks where the GPUs are
  --no-gpu              the same
  --restrict-ids IDS, --restrict IDS
                        the only ids to use, such as 0-3,8
  --restrict-type cpu|mem
                        what these are: CPUs or NUMA nodes
  --gpu-ids index|uuid|pci|name
                        how GPUs are named
  --visible own|own-first|off
                        which GPUs a task is shown
  --nics, --no-nics     name the near network cards to UCX and NCCL

the binding:
  --respect cgroup|affinity
                        what limits the CPUs
  --membind bind|preferred
                        bind memory too: must it, or should it
  --omp-affinity, --no-omp-affinity
                        pin OpenMP's threads (OMP_PLACES, OMP_PROC_BIND)
  -v, --verbose         print a line for each task on standard error; -vv adds
                        notes

examples:
  mpiexec -n 4 mpibind run -- ./app
  srun -N 2 --ntasks-per-node=8 mpibind run --smt 1 -- ./app input.dat
  torchrun --no-python --nproc-per-node=4 mpibind run -- python train.py
  mpibind run -v -- ./app                         one process, the whole node
";

/// Why nothing was started.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is not one.
    Usage(String),
    /// The binding cannot be done.
    Core(Error),
    /// What was asked for cannot be printed.
    Output(std::io::Error),
    /// There is no such program, or it cannot be run: the exit status, and why.
    Program(u8, String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Core(error)
    }
}

/// Does what the words after `mpibind run` say. Returns only if there is no program to become, or it
/// cannot be run; with the exit status.
pub fn run(words: Vec<OsString>) -> u8 {
    let (status, words) = match attempt(words) {
        Ok(()) => return 0,
        Err(Failure::Usage(words)) => (2, format!("{words}; see `mpibind run --help`")),
        Err(Failure::Core(error @ Error::InvalidParameter { .. })) => (2, error.to_string()),
        Err(Failure::Core(error)) => (1, error.to_string()),
        Err(Failure::Output(error)) => (1, format!("cannot print: {error}")),
        Err(Failure::Program(status, words)) => (status, words),
    };
    complain(&format!("mpibind run: error: {words}"));
    status
}

/// Prints one line on standard error, as one: those of several ranks do not mix.
pub fn complain(words: &str) {
    let line: Vec<&str> = words.split_whitespace().collect();
    // Where nobody can be told, there is nobody to tell that to.
    let _ = std::io::stderr().write_all(format!("{}\n", line.join(" ")).as_bytes());
}

fn attempt(words: Vec<OsString>) -> Result<(), Failure> {
    let Some(options) = options::read(words)? else {
        return std::io::stdout().write_all(HELP.as_bytes()).map_err(Failure::Output);
    };
    let words = Words::of(&own_variable)?;
    let settings = Settings::new(options.given.clone(), words, &own_variable)?;
    let mut variables = Vec::new();
    if settings.request.is_some() {
        variables = bind(&options, &settings)?;
    }
    let environment = program::environment(&variables);
    let (status, words) = program::become_program(&options.program, &environment);
    Err(Failure::Program(status, words))
}

/// Finds out which task of its node this process is; alone, it is the only one.
fn find_place(options: &Options) -> Result<Place, Failure> {
    let Options { ntasks, local_rank, .. } = *options;
    let refuse = |words: String| Err(Failure::Usage(words));
    if let Some(ntasks) = ntasks.filter(|ntasks| !(1..=MAX_TASKS).contains(ntasks)) {
        return refuse(format!("-n {ntasks}: it must be 1 to {MAX_TASKS} (tasks of this node)"));
    }
    let Some(launcher) = started_by(&own_variable)? else {
        return match (local_rank, ntasks) {
            (None, None | Some(1)) => Ok(Place::ALONE),
            (None, Some(ntasks)) => refuse(format!(
                "-n {ntasks}: no launcher has started {ntasks} tasks, and `mpibind run` starts one; \
                 type: {}",
                with_launcher(ntasks, options)
            )),
            (Some(rank), None) => refuse(format!(
                "--local-rank {rank} is one of how many? Say it with -n, such as -n 4"
            )),
            (Some(_), Some(_)) => Ok(place(local_rank, ntasks, &own_variable)?),
        };
    };
    let told = match place(None, None, &own_variable) {
        Ok(told) => told,
        Err(Error::Launcher(_)) => return Ok(place(local_rank, ntasks, &own_variable)?),
        Err(error) => return Err(error.into()),
    };
    match (ntasks, local_rank) {
        (Some(ntasks), _) if ntasks != told.local_size => refuse(format!(
            "-n {ntasks}: {launcher} says that it started {} on this node; leave -n away",
            told.local_size
        )),
        (_, None) => Ok(told),
        (_, Some(_)) => Ok(place(local_rank, ntasks, &own_variable)?),
    }
}

/// The command that would have been right.
fn with_launcher(ntasks: i64, options: &Options) -> String {
    let has = |name: &str| std::env::var_os(name).is_some();
    let launcher = match () {
        () if has("SLURM_JOB_ID") => "srun",
        () if has("FLUX_URI") => "flux run",
        () => "mpiexec",
    };
    let own = [&["mpibind".into(), "run".into()], &options.rest[..], &["--".into()]].concat();
    let words = own.iter().chain(&options.program);
    let words: Vec<String> = words.map(|word| for_shell(&word.to_string_lossy())).collect();
    format!("{launcher} -n {ntasks} {}", words.join(" "))
}

/// A word as a shell reads it.
fn for_shell(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "@%+=:,./-_".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r#"'"'"'"#))
}

/// Binds this process, and returns the variables for its program.
///
/// Told on standard error: standard output is the program's. The tasks of a node would all say the
/// same, so its first one does.
fn bind(options: &Options, settings: &Settings) -> Result<Vec<(String, String)>, Failure> {
    let here = find_place(options)?;
    let masks = settings.masks_of_one(here.local_size)?;
    let open = open_devices();
    let node = match &options.topology {
        Some(path) => discover(Source::Xml(path))?,
        None => discover_once(&open)?,
    };
    let given =
        VIEW_VARIABLES.iter().filter_map(|name| Some(((*name).into(), own_variable(name)?)));
    let mapping = settings.map(&node, here.local_size, masks, vec![View::new(given, None)])?;
    let part = Part::new(settings, &mapping, here.local_rank)?;
    let bound = task::bind(&part.cpus, settings.membind, &part.numas)?;
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let line = part.line(&hostname, here);
    let (variables, kept) = task::heed_choice(part.variables, own_variable);
    if settings.verbose > 0 {
        complain(&line);
    }
    if here.local_rank == 0 {
        let notes = mapping.notes().iter().chain(&kept).filter(|_| settings.verbose > 1);
        notes.for_each(|note| complain(&format!("{hostname}: {note}")));
        let warnings = mapping.warnings().iter().chain(&bound.warning);
        for warning in warnings {
            complain(&format!("mpibind run: {hostname}: warning: {warning}"));
        }
    }
    Ok(variables)
}
