//! The answer: CPUs, threads, GPUs and network cards of each task.

use std::sync::Arc;

use crate::given::Terms;
use crate::{CpuSet, Error, Gpu, GpuId, Nic, Result, Topology};

/// Where the tasks of one node go.
///
/// CPU ids are kept in one flat list with the offsets of each task, so that a hundred thousand tasks
/// are a few allocations and Python can look at them without a copy.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    topology: Arc<Topology>,
    cpus: Vec<u32>,
    offsets: Vec<u32>,
    threads: Vec<u32>,
    gpus: Vec<Vec<usize>>,
    nics: Vec<Vec<usize>>,
    terms: Terms,
    warnings: Vec<String>,
    notes: Vec<String>,
}

impl Mapping {
    /// The number of tasks.
    pub fn ntasks(&self) -> usize {
        self.threads.len()
    }

    /// The machine as it was mapped: restricted, and with its default memory domains only.
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// OS indexes of the CPUs of a task, rising.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] if there is no such task; so for all methods that take one.
    pub fn cpus(&self, task: i64) -> Result<&[u32]> {
        let task = self.check(task)?;
        Ok(&self.cpus[self.offsets[task] as usize..self.offsets[task + 1] as usize])
    }

    /// The CPUs of a task as a set.
    pub fn cpuset(&self, task: i64) -> Result<CpuSet> {
        Ok(self.cpus(task)?.iter().copied().collect())
    }

    /// The CPUs of all tasks, one task after the other.
    pub fn flat_cpus(&self) -> &[u32] {
        &self.cpus
    }

    /// Where each task's CPUs begin in [`Self::flat_cpus`]; one entry more than tasks.
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    /// The threads of each task.
    pub fn threads(&self) -> &[u32] {
        &self.threads
    }

    /// The threads of one task.
    pub fn nthreads(&self, task: i64) -> Result<u32> {
        Ok(self.threads[self.check(task)?])
    }

    /// Indexes of a task's GPUs in the topology's list.
    pub fn gpu_indexes(&self, task: i64) -> Result<&[usize]> {
        Ok(&self.gpus[self.check(task)?])
    }

    /// The GPUs of a task.
    pub fn gpus(&self, task: i64) -> Result<impl Iterator<Item = &Gpu>> {
        Ok(self.gpu_indexes(task)?.iter().map(|index| &self.topology.gpus()[*index]))
    }

    /// The places of a task's GPUs in the list of a whole node, of which this mapping may know
    /// only the part that it used.
    pub fn gpu_places(&self, task: i64, node: &Topology) -> Result<Vec<usize>> {
        let place = |gpu: &Gpu| node.gpus().iter().position(|other| other.is_same(gpu));
        Ok(self.gpus(task)?.filter_map(place).collect())
    }

    /// The names of a task's GPUs.
    ///
    /// # Errors
    ///
    /// Also [`Error::Device`] if one has no name of this kind.
    pub fn gpu_ids(&self, task: i64, kind: GpuId) -> Result<Vec<String>> {
        self.gpus(task)?.map(|gpu| gpu.id(kind)).collect()
    }

    /// Indexes in the topology's list of the network cards that are closest to a task.
    pub fn nic_indexes(&self, task: i64) -> Result<&[usize]> {
        Ok(&self.nics[self.check(task)?])
    }

    /// The network cards that are closest to a task.
    pub fn nics(&self, task: i64) -> Result<impl Iterator<Item = &Nic>> {
        Ok(self.nic_indexes(task)?.iter().map(|index| &self.topology.nics()[*index]))
    }

    /// The places of a task's network cards in the list of a whole node, as [`Self::gpu_places`].
    pub fn nic_places(&self, task: i64, node: &Topology) -> Result<Vec<usize>> {
        let place = |nic: &Nic| node.nics().iter().position(|other| other.name == nic.name);
        Ok(self.nics(task)?.filter_map(place).collect())
    }

    /// What a user should know about this mapping.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What happened that needs no action.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// How its variables go with those that were there.
    pub(crate) fn terms(&self) -> &Terms {
        &self.terms
    }

    pub(crate) fn set_terms(&mut self, terms: Terms) {
        self.terms = terms;
    }

    pub(crate) fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// Lowers the threads of every task to at most so many.
    pub(crate) fn limit_threads(&mut self, most: u32) {
        self.threads.iter_mut().for_each(|threads| *threads = (*threads).min(most));
    }

    /// OS indexes of the NUMA nodes that are local to a task's CPUs.
    pub fn numas(&self, task: i64) -> Result<CpuSet> {
        Ok(self.topology.numas_of(&self.cpuset(task)?).collect())
    }

    /// Takes the `n` lowest CPUs from a task; its threads become the number of CPUs left.
    ///
    /// # Errors
    ///
    /// Also if `n` is negative or would leave the task without CPUs; nothing is changed then.
    pub fn pop_cpus(&mut self, task: i64, n: i64) -> Result<()> {
        let cpus = self.cpus(task)?;
        let most = cpus.len() - 1;
        let n = usize::try_from(n).ok().filter(|n| *n <= most).ok_or_else(|| {
            Error::number("ncpus", n, format!("it must be 0 to {most}, to leave task {task} a CPU"))
        })?;
        let left = cpus[n..].to_vec();
        self.replace_cpus(task as usize, &left);
        Ok(())
    }

    /// Takes from a task `n` times the whole core of its lowest CPU; its threads become the number
    /// of CPUs left.
    ///
    /// # Errors
    ///
    /// As [`Self::pop_cpus`].
    pub fn pop_cores(&mut self, task: i64, n: i64) -> Result<()> {
        let mut left = self.cpus(task)?.to_vec();
        let core_of = self.core_of_cpus(&left);
        let mut cores = core_of.clone();
        cores.sort_unstable();
        cores.dedup();
        let most = cores.len() - 1;
        let n = usize::try_from(n).ok().filter(|n| *n <= most).ok_or_else(|| {
            Error::number(
                "ncores",
                n,
                format!("it must be 0 to {most}, to leave task {task} a core"),
            )
        })?;
        let mut popped: Vec<usize> = Vec::with_capacity(n);
        for core in &core_of {
            if popped.len() < n && !popped.contains(core) {
                popped.push(*core);
            }
        }
        let mut cores_in_order = core_of.iter();
        left.retain(|_| cores_in_order.next().is_some_and(|core| !popped.contains(core)));
        self.replace_cpus(task as usize, &left);
        Ok(())
    }

    /// For each CPU the number of its core, or its own logical index where it belongs to none.
    pub(crate) fn core_of_cpus(&self, cpus: &[u32]) -> Vec<usize> {
        let topology = &self.topology;
        let cores = &topology.objects()[topology.levels()[topology.core_depth()].objects.clone()];
        let mut by_os_index: Vec<(u32, usize)> =
            topology.pus().iter().enumerate().map(|(logical, os)| (*os, logical)).collect();
        by_os_index.sort_unstable();
        let core_of = |cpu: &u32| {
            let at = by_os_index.binary_search_by_key(cpu, |pair| pair.0).unwrap_or(0);
            let logical = by_os_index[at].1;
            let core = cores.partition_point(|core| core.pus.end <= logical);
            match cores.get(core) {
                Some(object) if object.pus.contains(&logical) => core,
                _ => cores.len() + logical,
            }
        };
        cpus.iter().map(core_of).collect()
    }

    fn replace_cpus(&mut self, task: usize, cpus: &[u32]) {
        let (start, end) = (self.offsets[task] as usize, self.offsets[task + 1] as usize);
        self.cpus.splice(start..end, cpus.iter().copied());
        let removed = (end - start - cpus.len()) as u32;
        self.offsets[task + 1..].iter_mut().for_each(|offset| *offset -= removed);
        self.threads[task] = cpus.len() as u32;
    }

    fn check(&self, task: i64) -> Result<usize> {
        let last = self.ntasks() - 1;
        usize::try_from(task).ok().filter(|task| *task <= last).ok_or_else(|| {
            Error::number(
                "taskid",
                task,
                format!("it must be 0 to {last}, as there are {} tasks", last + 1),
            )
        })
    }
}

/// Collects tasks one after the other.
pub(crate) struct MappingBuilder {
    cpus: Vec<u32>,
    offsets: Vec<u32>,
    threads: Vec<u32>,
}

impl MappingBuilder {
    pub(crate) fn new(ntasks: usize, ncpus: usize) -> Self {
        let mut offsets = Vec::with_capacity(ntasks + 1);
        offsets.push(0);
        Self {
            cpus: Vec::with_capacity(ncpus.max(ntasks)),
            offsets,
            threads: Vec::with_capacity(ntasks),
        }
    }

    pub(crate) fn push(&mut self, cpus: &[u32], threads: usize) {
        self.cpus.extend_from_slice(cpus);
        self.offsets.push(self.cpus.len() as u32);
        self.threads.push(threads as u32);
    }

    pub(crate) fn finish(
        self,
        topology: Arc<Topology>,
        gpus: Vec<Vec<usize>>,
        nics: Vec<Vec<usize>>,
        warnings: Vec<String>,
    ) -> Mapping {
        Mapping {
            topology,
            cpus: self.cpus,
            offsets: self.offsets,
            threads: self.threads,
            gpus,
            nics,
            terms: Terms::default(),
            warnings,
            notes: Vec::new(),
        }
    }

    /// Puts tasks that were mapped in another order into theirs: `order` has the task of each.
    pub(crate) fn reordered(self, order: &[usize]) -> Self {
        let mut place = vec![0; order.len()];
        for (mapped, task) in order.iter().enumerate() {
            place[*task] = mapped;
        }
        let mut sorted = Self::new(order.len(), self.cpus.len());
        for mapped in place {
            let (start, end) = (self.offsets[mapped] as usize, self.offsets[mapped + 1] as usize);
            sorted.push(&self.cpus[start..end], self.threads[mapped] as usize);
        }
        sorted
    }
}
