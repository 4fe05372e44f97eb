//! A mapping in a few numbers, for tables that compare many.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use crate::{Kind, Mapping, Topology};

/// What a mapping makes of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Cores that have a CPU of some task.
    pub cores: usize,
    /// CPUs that some task has.
    pub cpus: usize,
    /// The fewest and the most threads of a task.
    pub threads: RangeInclusive<usize>,
    /// The fewest and the most GPUs of a task.
    pub gpus: RangeInclusive<usize>,
    /// Tasks with CPUs of several memory domains; memory without CPUs, or beside the default one,
    /// does not count.
    pub across_numas: usize,
    /// Tasks with CPUs of several L3 caches. None where the topology has no level of them: there
    /// are none, or they are as large as memory domains, packages or cores.
    pub across_l3s: Option<usize>,
    /// Tasks that have a CPU in common with another.
    pub sharing: usize,
}

impl Mapping {
    /// The mapping in a few numbers.
    pub fn summary(&self) -> Summary {
        let tasks = self.offsets().windows(2).map(|ends| ends[0] as usize..ends[1] as usize);
        let tasks: Vec<&[u32]> = tasks.map(|range| &self.flat_cpus()[range]).collect();
        let cores: HashSet<usize> = self.core_of_cpus(self.flat_cpus()).into_iter().collect();
        let mut owners: HashMap<u32, usize> = HashMap::new();
        self.flat_cpus().iter().for_each(|cpu| *owners.entry(*cpu).or_default() += 1);
        let is_shared = |cpu: &u32| owners[cpu] > 1;
        let ngpus: Vec<usize> = (0..tasks.len() as i64)
            .map(|task| self.gpu_indexes(task).map_or(0, <[usize]>::len))
            .collect();
        Summary {
            cores: cores.len(),
            cpus: owners.len(),
            threads: extent(self.threads().iter().map(|threads| *threads as usize)),
            gpus: extent(ngpus.into_iter()),
            across_numas: spanning(&tasks, &numa_of_cpus(self.topology())),
            across_l3s: l3_of_cpus(self.topology()).map(|l3s| spanning(&tasks, &l3s)),
            sharing: tasks.iter().filter(|cpus| cpus.iter().any(is_shared)).count(),
        }
    }
}

fn extent(values: impl Iterator<Item = usize> + Clone) -> RangeInclusive<usize> {
    values.clone().min().unwrap_or(0)..=values.max().unwrap_or(0)
}

/// The number of tasks with CPUs of several groups. CPUs without a group do not count.
fn spanning(tasks: &[&[u32]], group_of: &HashMap<u32, usize>) -> usize {
    let spans = |cpus: &&&[u32]| {
        let mut groups = cpus.iter().filter_map(|cpu| group_of.get(cpu));
        groups.next().is_some_and(|first| groups.any(|group| group != first))
    };
    tasks.iter().filter(spans).count()
}

fn numa_of_cpus(topology: &Topology) -> HashMap<u32, usize> {
    let numas = topology.numas().iter().enumerate();
    numas.flat_map(|(place, numa)| numa.cpus.iter().map(move |cpu| (cpu, place))).collect()
}

fn l3_of_cpus(topology: &Topology) -> Option<HashMap<u32, usize>> {
    let level = topology.levels().iter().find(|level| level.kind == Kind::L3)?;
    let caches = topology.objects()[level.objects.clone()].iter().enumerate();
    let cpus = caches.flat_map(|(place, cache)| {
        topology.pus()[cache.pus.clone()].iter().map(move |cpu| (*cpu, place))
    });
    Some(cpus.collect())
}
