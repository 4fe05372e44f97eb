//! What is wrong with where the processes of a node really are.

use std::collections::BTreeMap;

use crate::{CpuSet, Topology};

/// A process of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its rank.
    pub rank: u32,
    /// The CPUs of all its threads together (OS indexes).
    pub cpus: CpuSet,
    /// How many threads it means to run, if it says so.
    pub nthreads: Option<u32>,
    /// The GPUs that it sees, as places in the topology's list and in its own order; None if
    /// nothing hides any from it.
    pub gpus: Option<Vec<usize>>,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FindingKind {
    /// Several processes may run on the same CPUs.
    SharedCpus,
    /// A process means to run more threads than it has CPUs.
    TooManyThreads,
    /// The CPUs of a process are near different memory.
    AcrossNumas,
    /// A process does not run near its GPU.
    FarGpu,
    /// The processes have more CPUs than time to run on them.
    QuotaBelowCpus,
}

impl FindingKind {
    /// A word for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::SharedCpus => "shared-cpus",
            Self::TooManyThreads => "too-many-threads",
            Self::AcrossNumas => "across-numas",
            Self::FarGpu => "far-gpu",
            Self::QuotaBelowCpus => "quota-below-cpus",
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// With whom, rising.
    pub ranks: Vec<u32>,
    /// The same for people.
    pub text: String,
}

/// Finds what is wrong, sorted by kind and then by the first rank. `quota` is how many CPUs' worth of
/// time all processes have together, where that is limited.
pub fn findings(topology: &Topology, processes: &[Process], quota: Option<f64>) -> Vec<Finding> {
    let mut found = shared_cpus(processes);
    found.extend(too_many_threads(processes));
    found.extend(across_numas(topology, processes));
    found.extend(processes.iter().flat_map(|process| far_gpus(topology, process)));
    found.extend(quota.and_then(|quota| quota_below_cpus(processes, quota)));
    found.sort_by(|a, b| (a.kind, &a.ranks).cmp(&(b.kind, &b.ranks)));
    found
}

fn finding(kind: FindingKind, mut ranks: Vec<u32>, text: impl FnOnce(&str) -> String) -> Finding {
    ranks.sort_unstable();
    let list: CpuSet = ranks.iter().copied().collect();
    let who = if ranks.len() == 1 { format!("rank {list}") } else { format!("ranks {list}") };
    Finding { kind, text: text(&who), ranks }
}

/// The ranks of processes that are alike in some way.
fn grouped<K: Ord>(
    processes: &[Process],
    key: impl Fn(&Process) -> Option<K>,
) -> BTreeMap<K, Vec<u32>> {
    let mut groups: BTreeMap<K, Vec<u32>> = BTreeMap::new();
    for process in processes {
        if let Some(key) = key(process) {
            groups.entry(key).or_default().push(process.rank);
        }
    }
    groups
}

/// The ranks of processes with the same CPUs.
fn by_cpus(processes: &[Process]) -> Vec<(&CpuSet, Vec<u32>)> {
    let first_with: BTreeMap<String, &CpuSet> =
        processes.iter().map(|process| (process.cpus.to_string(), &process.cpus)).collect();
    let groups = grouped(processes, |process| Some(process.cpus.to_string()));
    groups.into_iter().map(|(text, ranks)| (first_with[&text], ranks)).collect()
}

/// Walks over all CPUs in one sweep and notes where the set of processes that have them changes.
fn shared_cpus(processes: &[Process]) -> Vec<Finding> {
    let groups = by_cpus(processes);
    let mut changes: BTreeMap<u64, Vec<(usize, bool)>> = BTreeMap::new();
    for (group, (cpus, _)) in groups.iter().enumerate() {
        for range in cpus.ranges() {
            changes.entry(u64::from(*range.start())).or_default().push((group, true));
            changes.entry(u64::from(*range.end()) + 1).or_default().push((group, false));
        }
    }
    let mut present: Vec<usize> = Vec::new();
    let mut shared: BTreeMap<Vec<usize>, CpuSet> = BTreeMap::new();
    let mut next = changes.keys().copied().skip(1);
    for (start, groups_there) in &changes {
        for (group, comes) in groups_there {
            match present.binary_search(group) {
                Err(place) if *comes => present.insert(place, *group),
                Ok(place) if !*comes => {
                    present.remove(place);
                }
                _ => {}
            }
        }
        let Some(end) = next.next() else { break };
        let sharers: usize = present.iter().map(|group| groups[*group].1.len()).sum();
        if sharers > 1 {
            // Ends are beyond the last CPU by one, and CPUs are 32-bit numbers.
            let range = *start as u32..=(end - 1) as u32;
            shared.entry(present.clone()).or_default().insert_range(range);
        }
    }
    let told = shared.into_iter().map(|(present, cpus)| {
        let ranks = present.iter().flat_map(|group| groups[*group].1.iter().copied()).collect();
        finding(FindingKind::SharedCpus, ranks, |who| format!("{who} share CPUs {cpus}"))
    });
    told.collect()
}

fn too_many_threads(processes: &[Process]) -> impl Iterator<Item = Finding> {
    let groups = grouped(processes, |process| {
        let threads = process.nthreads?;
        let cpus = process.cpus.len();
        (threads as usize > cpus).then_some((threads, cpus))
    });
    groups.into_iter().map(|((threads, cpus), ranks)| {
        let (mean, each) = if ranks.len() == 1 { ("means", "") } else { ("mean", " each") };
        let s = if cpus == 1 { "" } else { "s" };
        finding(FindingKind::TooManyThreads, ranks, |who| {
            format!(
                "{who} {mean} to run {threads} threads on {cpus} CPU{s}{each}; \
                 set OMP_NUM_THREADS to {cpus} or use fewer ranks"
            )
        })
    })
}

/// With fewer processes than domains, several domains for one are what there is.
fn across_numas(topology: &Topology, processes: &[Process]) -> Vec<Finding> {
    // A machine whose default nodes cannot be told has been mapped by nobody.
    let with_defaults = topology.with_default_numas().unwrap_or_default();
    let node = with_defaults.as_ref().unwrap_or(topology);
    let domains = node.numas();
    if processes.len() < domains.len() {
        return Vec::new();
    }
    let all = node.cpus();
    let across = by_cpus(processes).into_iter().filter_map(|(cpus, ranks)| {
        let count = domains.iter().filter(|numa| !numa.cpus.is_disjoint(cpus)).count();
        let kind = FindingKind::AcrossNumas;
        (count > 1).then(|| match all.is_subset(cpus) {
            true => finding(kind, ranks, |who| {
                format!("{who} may run on all {count} NUMA domains, as if never bound")
            }),
            false => finding(kind, ranks, |who| {
                format!("{who} may run on CPUs {cpus}, in {count} NUMA domains")
            }),
        })
    });
    across.collect()
}

fn far_gpus(topology: &Topology, process: &Process) -> Vec<Finding> {
    let gpus = topology.gpus();
    let Some(seen) = &process.gpus else { return Vec::new() };
    // Who sees all GPUs uses the first unless told otherwise.
    let used = if seen.len() == gpus.len() { &seen[..seen.len().min(1)] } else { &seen[..] };
    let all = topology.cpus();
    let far = used.iter().filter_map(|place| {
        let gpu = gpus.get(*place)?;
        let near = topology.cpus_near(gpu.locality);
        if near.is_empty() || near == all || !near.is_disjoint(&process.cpus) {
            return None;
        }
        let name = match gpu.pci {
            Some(pci) => format!("GPU {} ({pci})", gpu.index),
            None => format!("GPU {}", gpu.index),
        };
        Some(finding(FindingKind::FarGpu, vec![process.rank], |who| {
            format!("{who} runs on CPUs {}, far from its {name} near CPUs {near}", process.cpus)
        }))
    });
    far.collect()
}

fn quota_below_cpus(processes: &[Process], quota: f64) -> Option<Finding> {
    let cpus: CpuSet = by_cpus(processes).iter().flat_map(|(cpus, _)| cpus.iter()).collect();
    let ranks = processes.iter().map(|process| process.rank).collect();
    (quota < cpus.len() as f64).then(|| {
        finding(FindingKind::QuotaBelowCpus, ranks, |who| {
            format!(
                "{who} may run on {} CPUs, but the cgroup allows {quota} CPUs of time; \
                 more threads than that only wait",
                cpus.len()
            )
        })
    })
}
