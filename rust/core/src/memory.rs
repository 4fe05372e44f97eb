//! Where new memory comes from: the memory policy of the calling thread.
//!
//! Linux keeps one policy per thread. It counts for the pages that the thread touches first, from
//! then on; threads started later inherit it, and other threads cannot be reached. The calls go
//! through hwloc, which wraps them without `unsafe` on our side.

use std::fmt;
use std::str::FromStr;

use hwloc2::bitmap::BitmapIndex;
use hwloc2::errors::HybridError;
use hwloc2::memory::binding::{MemoryBindingFlags, MemoryBindingPolicy};
use hwloc2::memory::nodeset::NodeSet;
use hwloc2::topology::Topology as Hwloc;
use hwloc2::topology::builder::{BuildFlags, TopologyBuilder};

use crate::{CpuSet, Error, Result};

/// How strictly memory is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// These nodes and no others: when they are full, allocations fail.
    Bind,
    /// These nodes first, others when they are full.
    Preferred,
}

impl Binding {
    /// The word for it, which is also what is read.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Preferred => "preferred",
        }
    }
}

impl FromStr for Binding {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "bind" => Ok(Self::Bind),
            "preferred" => Ok(Self::Preferred),
            other => Err(Error::parameter(
                "membind",
                format!("{other:?}"),
                "it must be \"bind\", \"preferred\" or None",
            )),
        }
    }
}

/// A policy that can be read, and set again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    kind: Kind,
    nodes: CpuSet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Default,
    Bind,
    Preferred,
    Interleave,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Default => f.write_str("default"),
            Kind::Bind => write!(f, "bind:{}", self.nodes),
            Kind::Preferred => write!(f, "preferred:{}", self.nodes),
            Kind::Interleave => write!(f, "interleave:{}", self.nodes),
        }
    }
}

/// Makes the calling thread take its memory from NUMA nodes (OS indexes), checks that it does, and
/// returns the policy from before.
///
/// # Errors
///
/// [`Error::Memory`] if the kernel or a container does not allow it, or the policy from before
/// could not be set again; nothing is changed then.
///
/// Source: set_mempolicy(2); numa(7) for `/proc/PID/numa_maps`.
pub fn bind(binding: Binding, nodes: &CpuSet) -> Result<Policy> {
    let kind = match binding {
        Binding::Bind => Kind::Bind,
        Binding::Preferred => Kind::Preferred,
    };
    let wanted = Policy { kind, nodes: nodes.clone() };
    let before = current()?;
    set(&wanted)?;
    match current() {
        Ok(now) if granted(&now, &wanted) => Ok(before),
        now => {
            set(&before)?;
            let now = now.map_or_else(|error| error.to_string(), |policy| policy.to_string());
            Err(refuse(&wanted, format!("the kernel made it {now}; the old one was put back")))
        }
    }
}

/// Sets a policy that [`bind`] returned.
///
/// # Errors
///
/// [`Error::Memory`] if the kernel does not allow it any more.
pub fn restore(before: &Policy) -> Result<()> {
    set(before)
}

/// The policy of the calling thread.
///
/// # Errors
///
/// [`Error::Memory`] if the kernel does not tell, or names one that could not be set again.
pub fn current() -> Result<Policy> {
    let unknown =
        |reason: String| refuse(&Policy { kind: Kind::Default, nodes: CpuSet::new() }, reason);
    let text = first_mapping().map_err(|error| {
        unknown(format!("the present policy cannot be read from {NUMA_MAPS}: {error}"))
    })?;
    parse(&text).ok_or_else(|| {
        unknown(format!("the present policy is {text:?}, which could not be set again"))
    })
}

/// Without a policy of its own a mapping shows that of the thread; hwloc's own way of asking cannot
/// tell the two kinds of binding apart.
const NUMA_MAPS: &str = "/proc/thread-self/numa_maps";

/// The policy of the first mapping, which is that of the executable and nobody's to change.
fn first_mapping() -> std::io::Result<String> {
    use std::io::Read;
    // The kernel counts pages for every line that is read: one buffer is enough.
    let mut buffer = [0; 512];
    let length = std::fs::File::open(NUMA_MAPS)?.read(&mut buffer)?;
    let text = String::from_utf8_lossy(&buffer[..length]);
    let line = text.lines().next().unwrap_or_default();
    let rest = line.split_once(' ').map_or("", |(_, rest)| rest);
    // "prefer (many):0-1" has a blank of its own.
    let end = rest.find(" file=").or_else(|| rest.find(" anon=")).unwrap_or(rest.len());
    Ok(rest[..end].to_owned())
}

/// Reads what the kernel prints. Policies with flags (`bind=static:0`) or weights are none of ours.
fn parse(text: &str) -> Option<Policy> {
    let (name, nodes) = text.split_once(':').unwrap_or((text, ""));
    let kind = match name {
        "default" => Kind::Default,
        "bind" => Kind::Bind,
        "prefer" | "prefer (many)" => Kind::Preferred,
        "interleave" => Kind::Interleave,
        _ => return None,
    };
    let nodes = match kind {
        Kind::Default => CpuSet::new(),
        _ => CpuSet::parse(nodes).ok()?,
    };
    Some(Policy { kind, nodes })
}

/// Kernels before 5.15 prefer one node only, the first.
fn granted(now: &Policy, wanted: &Policy) -> bool {
    let first_only = now.kind == Kind::Preferred
        && now.nodes.len() == 1
        && now.nodes.first() == wanted.nodes.first();
    now.kind == wanted.kind && (now.nodes == wanted.nodes || first_only)
}

fn set(policy: &Policy) -> Result<()> {
    let thread = MemoryBindingFlags::THREAD;
    let (how, flags) = match policy.kind {
        Kind::Default => {
            let machine = machine_with(&CpuSet::from_iter([0])).map_err(|e| refuse(policy, e))?;
            return machine.unbind_memory(thread).map_err(|error| refuse(policy, plain(error)));
        }
        Kind::Bind => (MemoryBindingPolicy::Bind, thread | MemoryBindingFlags::STRICT),
        Kind::Preferred => (MemoryBindingPolicy::Bind, thread),
        Kind::Interleave => (MemoryBindingPolicy::Interleave, thread),
    };
    let machine = machine_with(&policy.nodes).map_err(|error| refuse(policy, error))?;
    let indexes = policy.nodes.iter().filter_map(|node| BitmapIndex::try_from(node as usize).ok());
    let nodes: NodeSet = indexes.collect();
    machine.bind_memory(&nodes, how, flags).map_err(|error| refuse(policy, plain(error)))
}

/// The least that hwloc needs for its calls: a machine with these nodes, said to be this one. Finding
/// out what this machine really is would take a thousand times longer.
fn machine_with(nodes: &CpuSet) -> std::result::Result<Hwloc, String> {
    let indexes: Vec<String> = nodes.iter().map(|node| node.to_string()).collect();
    let text = format!("numa:{}(indexes={}) pu:1", indexes.len(), indexes.join(","));
    let builder =
        TopologyBuilder::new().from_synthetic(&text).map_err(|error| error.to_string())?;
    let builder =
        builder.with_flags(BuildFlags::ASSUME_THIS_SYSTEM).map_err(|error| error.to_string())?;
    builder.build().map_err(|error| error.to_string())
}

/// The kernel's word, where it had one.
fn plain<E: std::error::Error>(error: HybridError<E>) -> String {
    let said = match error {
        HybridError::Rust(error) => error.to_string(),
        HybridError::Hwloc(error) => {
            error.errno.map_or_else(|| error.to_string(), |errno| errno.to_string())
        }
    };
    format!(
        "the kernel forbids it ({said}); a job's cpuset or a container may not have these NUMA nodes"
    )
}

fn refuse(policy: &Policy, reason: impl fmt::Display) -> Error {
    Error::Memory { policy: policy.to_string(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kernels_print_is_understood() {
        let cases = [
            ("default", Some("default")),
            ("bind:0", Some("bind:0")),
            ("bind:0-1,4", Some("bind:0-1,4")),
            ("prefer:3", Some("preferred:3")),
            ("prefer (many):0-1", Some("preferred:0-1")),
            ("interleave:0-3", Some("interleave:0-3")),
            // Nothing that could be set again.
            ("local", None),
            ("weighted interleave:0-1", None),
            ("bind=static:0", None),
            ("prefer (many)=relative:0", None),
            ("bind:", None),
            ("", None),
        ];
        for (printed, understood) in cases {
            let found = parse(printed).map(|policy| policy.to_string());
            assert_eq!(found.as_deref(), understood, "{printed:?}");
        }
    }

    #[test]
    fn an_old_kernel_prefers_the_first_node_only() {
        let wanted = parse("prefer (many):0-1").unwrap();
        assert!(granted(&parse("prefer:0").unwrap(), &wanted));
        assert!(!granted(&parse("prefer:1").unwrap(), &wanted));
        assert!(!granted(&parse("default").unwrap(), &wanted));
        assert!(!granted(&parse("bind:0").unwrap(), &parse("bind:0-1").unwrap()));
    }
}
