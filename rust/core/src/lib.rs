//! The core of mpibind: what a node looks like, where its tasks go, and putting them there.
//!
//! ```text
//! hwloc --discover--> Topology --map--> Mapping --+--> affinity
//!                                                 +--> env, json
//! ```
//!
//! [`discover`] and [`affinity`] touch the machine. Everything between them is pure: the same input
//! gives the same answer everywhere, so that the nodes of a big machine are tested on a laptop.

pub mod affinity;
pub mod cache;
pub mod cgroup;
mod cpuset;
pub mod devices;
pub mod discover;
pub mod env;
mod error;
mod given;
pub mod json;
pub mod launcher;
mod map;
mod mapping;
pub mod memory;
mod nics;
pub mod report;
mod request;
pub mod runtimes;
pub mod settings;
mod summary;
pub mod task;
mod topology;
mod xml;

pub use cpuset::{CpuSet, MAX_IDS};
pub use devices::{Gpu, GpuId, Nic, PciAddress, Sight, Uncounted, VIEW_VARIABLES, Vendor, View};
pub use error::{Error, Result, quoted};
pub use map::map;
pub use mapping::Mapping;
pub use request::{
    MAX_TASKS, MAX_THREADS, Parameters, Request, Respect, Restriction, RestrictionKind,
};
pub use summary::Summary;
pub use topology::{Group, Kind, Level, NumaNode, Object, ObjectId, Topology, Tree, TreeNode};

/// The variables of a process: what one holds, if it is set.
pub type Variables<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// A variable of this process. Bytes that are no text become marks.
pub fn own_variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// A name that the system or a file gives. Bytes that are no text become marks, and so do control
/// characters: they could be no variable's value, or do something to a terminal.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let safe = |letter: char| match letter {
        '\t' | '\r' => ' ',
        letter if letter.is_control() => char::REPLACEMENT_CHARACTER,
        letter => letter,
    };
    text.chars().map(safe).collect()
}
