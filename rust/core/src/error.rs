//! Everything that can go wrong, with the fields that a caller may want to look at.

use std::fmt;

use crate::{CpuSet, MAX_IDS};

/// The error type of this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A parameter has a value that is not legal.
    #[error("{parameter}={value} is not legal: {legal}{}", source_of(variable))]
    InvalidParameter {
        /// The name of the parameter, as users write it.
        parameter: &'static str,
        /// The value that was given, as users would write it.
        value: String,
        /// What is legal, and what to do.
        legal: String,
        /// The variable that the value came from, with all that it says, if it came from one.
        variable: Option<(&'static str, String)>,
    },
    /// The launcher does not say, or says wrong, which task of its node a process is.
    #[error("{0}")]
    Launcher(String),
    /// A topology could not be read or discovered.
    #[error("cannot use the topology {origin}: {reason}")]
    Topology {
        /// What was read: a path, a synthetic text, this machine; with the variable it came from.
        origin: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A device lacks what was asked of it.
    #[error("GPU {device} has no {identity}: {advice}")]
    Device {
        /// The device, by its name.
        device: String,
        /// What it lacks.
        identity: &'static str,
        /// What to do.
        advice: String,
    },
    /// The kernel did not bind as asked. Everything was put back.
    #[error("cannot bind{}: {reason}", if wanted.is_empty() { String::new() } else { format!(" to CPUs {wanted}") })]
    Affinity {
        /// The CPUs that were asked for; empty where it did not come to that.
        wanted: CpuSet,
        /// Those of them that could not be had; empty where none can be named.
        refused: CpuSet,
        /// The kernel's error number, if it gave one.
        errno: Option<i32>,
        /// What happened, and what to do.
        reason: String,
    },
    /// A memory policy could not be set. The old one stays.
    #[error("cannot set the memory policy {policy}: {reason}")]
    Memory {
        /// The policy, as `numactl` and the kernel write it.
        policy: String,
        /// What happened.
        reason: String,
    },
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn parameter(
        parameter: &'static str,
        value: impl fmt::Display,
        legal: impl Into<String>,
    ) -> Self {
        Self::InvalidParameter {
            parameter,
            value: value.to_string(),
            legal: legal.into(),
            variable: None,
        }
    }

    /// A number out of its range. The ends of 64 bits stand for all that is beyond them.
    pub(crate) fn number(parameter: &'static str, value: i64, legal: impl Into<String>) -> Self {
        let shown = match value {
            i64::MAX => format!("{value} or more"),
            i64::MIN => format!("{value} or less"),
            _ => value.to_string(),
        };
        Self::parameter(parameter, shown, legal)
    }

    /// A text that Python holds and nobody else can: half of a character, or a byte of the command
    /// line that is none.
    pub fn no_text(parameter: &'static str, value: impl fmt::Display) -> Self {
        Self::parameter(parameter, value, "it is not text that can be written in UTF-8")
    }

    /// A list that goes on after as many items as any may have.
    pub fn endless(parameter: &'static str, value: impl fmt::Display) -> Self {
        Self::parameter(parameter, value, format!("it has more than {MAX_IDS} items"))
    }

    pub(crate) fn topology(origin: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Topology { origin: origin.into(), reason: reason.into() }
    }
}

fn source_of(variable: &Option<(&'static str, String)>) -> String {
    match variable {
        None => String::new(),
        Some((name, value)) => format!(" (from {name}={})", quoted(value)),
    }
}

/// What a variable holds, on one line and with its ends to be seen.
pub fn quoted(text: &str) -> String {
    let inside = format!("{text:?}").replace("\\\"", "\"");
    format!("'{}'", &inside[1..inside.len() - 1])
}
