//! What is asked of the mapping: parameters as users give them, and the same once checked.

use std::str::FromStr;

use crate::{CpuSet, Error, Result, View};

/// The most tasks that one node may have: far beyond any node, and small enough that a slip of
/// the keyboard does not fill the memory.
pub const MAX_TASKS: i64 = 1 << 20;

/// The most threads per task, for the same reason.
pub const MAX_THREADS: i64 = 1 << 20;

/// Parameters as they come from users, unchecked.
#[derive(Clone, Debug)]
pub struct Parameters<'a> {
    /// Tasks on this node.
    pub ntasks: i64,
    /// Threads per task; 0 lets the mapping decide.
    pub nthreads: i64,
    /// Whether fewer tasks than memory domains share all of them.
    pub greedy: bool,
    /// Whether tasks go where the GPUs are.
    pub gpu_optim: bool,
    /// Hardware threads per core to use; 0 lets the mapping decide.
    pub smt: i64,
    /// A list of the ids that may be used.
    pub restrict_ids: Option<&'a str>,
    /// What these ids are: `cpu` or `mem`.
    pub restrict_type: &'a str,
}

impl Parameters<'_> {
    /// The defaults, for so many tasks.
    pub fn new(ntasks: i64) -> Self {
        Self {
            ntasks,
            nthreads: 0,
            greedy: true,
            gpu_optim: true,
            smt: 0,
            restrict_ids: None,
            restrict_type: "cpu",
        }
    }
}

/// Checked parameters. Only the upper end of `smt` depends on the machine and is checked there.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub(crate) ntasks: usize,
    pub(crate) nthreads: usize,
    pub(crate) greedy: bool,
    pub(crate) gpu_optim: bool,
    pub(crate) smt: usize,
    pub(crate) restriction: Option<Restriction>,
    pub(crate) affinity: Option<CpuSet>,
    pub(crate) quota: Option<f64>,
    pub(crate) views: Vec<View>,
}

/// A part of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restriction {
    /// OS indexes.
    pub ids: CpuSet,
    /// What they are indexes of.
    pub kind: RestrictionKind,
}

/// What the ids of a restriction are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestrictionKind {
    /// Hardware threads.
    Cpu,
    /// NUMA nodes.
    Mem,
}

impl FromStr for RestrictionKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "mem" => Ok(Self::Mem),
            other => Err(Error::parameter(
                "restrict_type",
                format!("{other:?}"),
                "it must be \"cpu\" or \"mem\"",
            )),
        }
    }
}

/// Which limit of the system a mapping heeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Respect {
    /// The CPUs of the job's cgroup, whatever mask the launcher put on a single task.
    #[default]
    Cgroup,
    /// The masks of the node's tasks, all together.
    Affinity,
}

impl Respect {
    /// The word for it, which is also what is read.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Affinity => "affinity",
        }
    }
}

impl FromStr for Respect {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "cgroup" => Ok(Self::Cgroup),
            "affinity" => Ok(Self::Affinity),
            other => Err(Error::parameter(
                "respect",
                format!("{other:?}"),
                "it must be \"cgroup\" or \"affinity\"",
            )),
        }
    }
}

impl Request {
    /// Checks parameters.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for the first that is not legal.
    pub fn new(parameters: &Parameters<'_>) -> Result<Self> {
        let Parameters { ntasks, nthreads, greedy, gpu_optim, smt, .. } = *parameters;
        let kind: RestrictionKind = parameters.restrict_type.parse()?;
        let restriction = match parameters.restrict_ids {
            None => None,
            Some(text) => {
                Some(Restriction { ids: CpuSet::parse_parameter("restrict_ids", text)?, kind })
            }
        };
        Ok(Self {
            ntasks: checked_ntasks(ntasks)?,
            nthreads: in_range(
                "nthreads",
                nthreads,
                0,
                MAX_THREADS,
                "threads per task, 0 to let mpibind decide",
            )?,
            smt: in_range(
                "smt",
                smt,
                0,
                i64::from(u16::MAX),
                "hardware threads per core, 0 to let mpibind decide",
            )?,
            greedy,
            gpu_optim,
            restriction,
            affinity: None,
            quota: None,
            views: Vec::new(),
        })
    }

    /// The same for another number of tasks, within what the system grants them: the CPUs that
    /// their masks have now, and how many CPUs' worth of time they have together.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for an `ntasks` that is not legal.
    pub fn for_node(
        &self,
        ntasks: i64,
        affinity: Option<CpuSet>,
        quota: Option<f64>,
    ) -> Result<Self> {
        let ntasks = checked_ntasks(ntasks)?;
        Ok(Self { ntasks, affinity, quota, ..self.clone() })
    }

    /// The same within the GPUs that the tasks were given: no view for all of the node's, one that
    /// all tasks have, or one for each task.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for another number of views.
    pub fn with_views(self, views: Vec<View>) -> Result<Self> {
        if views.len() > 1 && views.len() != self.ntasks {
            let legal = format!("give one for all {} tasks, or one for each", self.ntasks);
            return Err(Error::parameter("environ", format!("{} of them", views.len()), legal));
        }
        Ok(Self { views, ..self })
    }

    /// All but the number of tasks, by name, in one spelling: equal texts ask for the same.
    pub fn words(&self) -> Vec<(&'static str, String)> {
        let (ids, kind) = match &self.restriction {
            None => ("None".into(), RestrictionKind::Cpu),
            Some(Restriction { ids, kind }) => (format!("\"{ids}\""), *kind),
        };
        let kind = match kind {
            RestrictionKind::Cpu => "\"cpu\"",
            RestrictionKind::Mem => "\"mem\"",
        };
        let flag = |value| if value { "True" } else { "False" }.to_owned();
        vec![
            ("nthreads", self.nthreads.to_string()),
            ("greedy", flag(self.greedy)),
            ("gpu_optim", flag(self.gpu_optim)),
            ("smt", self.smt.to_string()),
            ("restrict_ids", ids),
            ("restrict_type", kind.to_owned()),
        ]
    }

    /// The number of tasks.
    pub fn ntasks(&self) -> usize {
        self.ntasks
    }
}

fn checked_ntasks(ntasks: i64) -> Result<usize> {
    in_range("ntasks", ntasks, 1, MAX_TASKS, "tasks per node")
}

fn in_range(parameter: &'static str, value: i64, low: i64, high: i64, what: &str) -> Result<usize> {
    match usize::try_from(value) {
        Ok(size) if (low..=high).contains(&value) => Ok(size),
        _ => Err(Error::number(parameter, value, format!("it must be {low} to {high} ({what})"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_illegal_parameter_is_named_with_its_value_and_what_is_legal() {
        let base = Parameters::new(4);
        let cases = [
            (
                Parameters { ntasks: 0, ..base.clone() },
                "ntasks=0 is not legal: it must be 1 to 1048576",
            ),
            (Parameters { ntasks: -1, ..base.clone() }, "ntasks=-1 "),
            (
                Parameters { ntasks: i64::MAX, ..base.clone() },
                "ntasks=9223372036854775807 or more is not legal",
            ),
            (Parameters { smt: i64::MIN, ..base.clone() }, "smt=-9223372036854775808 or less is"),
            (Parameters { ntasks: 1_000_000_000, ..base.clone() }, "ntasks=1000000000 "),
            (
                Parameters { nthreads: -2, ..base.clone() },
                "nthreads=-2 is not legal: it must be 0 to",
            ),
            (Parameters { smt: -1, ..base.clone() }, "smt=-1 "),
            (Parameters { restrict_ids: Some("3-x"), ..base.clone() }, "restrict_ids=\"3-x\" "),
            (
                Parameters { restrict_ids: Some(""), ..base.clone() },
                "restrict_ids=\"\" is not legal: the list is empty",
            ),
            (
                Parameters { restrict_type: "numa", ..base.clone() },
                "restrict_type=\"numa\" is not legal: it must be \"cpu\" or \"mem\"",
            ),
        ];
        for (parameters, words) in cases {
            let message = Request::new(&parameters).unwrap_err().to_string();
            assert!(message.starts_with(words), "{parameters:?} gave {message}");
        }
        assert_eq!(Request::new(&base).unwrap().ntasks(), 4);
    }
}
