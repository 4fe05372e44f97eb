//! A node as plain data: the tree of its hardware laid out level by level.
//!
//! A [`Tree`] is what discovery, restriction and tests produce: objects with children, in any
//! shape. [`Topology::new`] arranges it in levels and merges levels that add no structure,
//! by the same rules as hwloc 2, so that a restricted machine has the levels that hwloc would
//! give it, whatever the version of libhwloc (the tests compare the two).
//!
//! Objects hold no CPU sets. Hardware threads have a logical order in which every object's are
//! neighbours, so a range of logical indexes says it all, and a machine with a hundred thousand
//! CPUs takes a few megabytes.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use crate::devices::{Gpu, Nic};
use crate::{CpuSet, Error, Result};

/// The kinds of object in the CPU side of a node, from the outside to the inside.
///
/// The order is hwloc's: a kind contains the kinds after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    Machine,
    /// Objects that belong together, with no better name.
    Group,
    Package,
    Die,
    L5,
    L4,
    L3,
    L3i,
    L2,
    L2i,
    L1,
    L1i,
    Core,
    /// A hardware thread (hwloc: processing unit).
    Pu,
}

impl Kind {
    /// All of them, from the outside to the inside.
    pub const ALL: [Self; 14] = [
        Self::Machine,
        Self::Group,
        Self::Package,
        Self::Die,
        Self::L5,
        Self::L4,
        Self::L3,
        Self::L3i,
        Self::L2,
        Self::L2i,
        Self::L1,
        Self::L1i,
        Self::Core,
        Self::Pu,
    ];

    /// The name that hwloc's tools print.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Machine => "Machine",
            Kind::Group => "Group",
            Kind::Package => "Package",
            Kind::Die => "Die",
            Kind::L5 => "L5",
            Kind::L4 => "L4",
            Kind::L3 => "L3",
            Kind::L3i => "L3i",
            Kind::L2 => "L2",
            Kind::L2i => "L2i",
            Kind::L1 => "L1",
            Kind::L1i => "L1i",
            Kind::Core => "Core",
            Kind::Pu => "PU",
        }
    }

    /// Which of two levels survives when they hold the same objects: the one of higher rank.
    fn merge_rank(self) -> u8 {
        match self {
            Kind::Pu => 7,
            Kind::Machine => 6,
            Kind::Core => 5,
            Kind::Package => 4,
            Kind::Die => 3,
            Kind::L5 | Kind::L4 | Kind::L3 | Kind::L2 | Kind::L1 => 2,
            Kind::L3i | Kind::L2i | Kind::L1i => 1,
            Kind::Group => 0,
        }
    }

    /// Whether a level of this kind may go when it adds no structure.
    fn is_mergeable(self) -> bool {
        !matches!(self, Kind::Machine | Kind::Pu)
    }
}

/// A memory domain.
#[derive(Clone, Debug, PartialEq)]
pub struct NumaNode {
    /// OS index: what `numactl` and `restrict_type="mem"` call it.
    pub os_index: u32,
    /// The kind of memory where the system names it: `DRAM`, `HBM`, `MCDRAM`, `GPUMemory` ...
    pub subtype: Option<String>,
    /// Memory in bytes.
    pub bytes: u64,
    /// The CPUs it is local to; none for memory of a GPU or behind CXL.
    pub cpus: CpuSet,
    /// The closest object above it that is not memory.
    pub domain: ObjectId,
}

/// The place of an object in [`Topology::objects`], or of a node in [`Tree::nodes`].
pub type ObjectId = usize;

/// One object of a [`Topology`].
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// OS index, where the system numbers such objects.
    pub os_index: Option<u32>,
    /// The object above; the machine is its own parent.
    pub parent: ObjectId,
    /// The number of children.
    pub arity: usize,
    /// Logical indexes of its hardware threads.
    pub pus: Range<usize>,
    /// Set for groups.
    pub group: Option<Group>,
}

/// An object with its place in the levels of a topology that has been laid out.
pub(crate) struct LaidOut {
    pub(crate) kind: Kind,
    pub(crate) os_index: Option<u32>,
    pub(crate) parent: ObjectId,
    pub(crate) group: Option<Group>,
}

/// What tells groups apart: groups are of one level only if they have the same depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// hwloc's number for the level of groups.
    pub depth: usize,
    /// Whether the level stays although it adds no structure.
    pub keep: bool,
}

/// A node on its way to a [`Topology`]. The first node is the machine.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The objects, parents before children.
    pub nodes: Vec<TreeNode>,
    /// The memory domains, each with `domain` an index into `nodes`.
    pub numas: Vec<NumaNode>,
    /// The GPUs, each with `locality` an index into `nodes`.
    pub gpus: Vec<Gpu>,
    /// The network cards, likewise.
    pub nics: Vec<Nic>,
    /// CPUs that exist but may not be used (offline, or not in the job's cgroup), and the innermost
    /// object that they belong to. They have a say in the order of siblings.
    pub hidden_cpus: Vec<(u32, ObjectId)>,
}

/// One object of a [`Tree`].
#[derive(Clone, Debug)]
pub struct TreeNode {
    /// What it is.
    pub kind: Kind,
    /// OS index; every hardware thread has one.
    pub os_index: Option<u32>,
    /// Set for groups.
    pub group: Option<Group>,
    /// Children in logical order.
    pub children: Vec<ObjectId>,
}

impl Tree {
    /// Adds an object below `parent`, or the machine where there is none, and returns its index.
    pub fn add(&mut self, parent: Option<ObjectId>, kind: Kind, os_index: Option<u32>) -> ObjectId {
        let id = self.nodes.len();
        self.nodes.push(TreeNode { kind, os_index, group: None, children: Vec::new() });
        if let Some(parent) = parent {
            self.nodes[parent].children.push(id);
        }
        id
    }

    /// The smallest object that has all of these CPUs, or of those of them that exist here; the
    /// machine where there are none.
    pub(crate) fn smallest_around(&self, cpus: &CpuSet) -> ObjectId {
        // Children come after their parents: one walk from the end counts for every object.
        let mut count = vec![0usize; self.nodes.len()];
        let mut parent = vec![0; self.nodes.len()];
        for (id, node) in self.nodes.iter().enumerate() {
            node.children.iter().for_each(|child| parent[*child] = id);
            let is_one =
                node.kind == Kind::Pu && node.os_index.is_some_and(|cpu| cpus.contains(cpu));
            count[id] = usize::from(is_one);
        }
        for id in (1..self.nodes.len()).rev() {
            count[parent[id]] += count[id];
        }
        let all = count[0];
        let has_all = (0..self.nodes.len()).rev().find(|id| all > 0 && count[*id] == all);
        // Of several, one inside the other, the outer ones have no more CPUs; the last is the
        // innermost.
        has_all.unwrap_or(0)
    }

    /// What must be equal for two objects to be of one level.
    fn level_key(&self, id: ObjectId) -> (Kind, usize) {
        let node = &self.nodes[id];
        (node.kind, node.group.map_or(0, |group| group.depth))
    }
}

/// One level of a [`Topology`]: objects of one kind, in logical order.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// What its objects are.
    pub kind: Kind,
    /// Where they are in [`Topology::objects`].
    pub objects: Range<ObjectId>,
}

/// A node: hardware threads, the objects around them, memory, GPUs and NICs.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    levels: Vec<Level>,
    objects: Vec<Object>,
    pus: Vec<u32>,
    numas: Vec<NumaNode>,
    gpus: Arc<[Gpu]>,
    nics: Arc<[Nic]>,
    hidden_cpus: Vec<(u32, ObjectId)>,
    /// Whether every memory domain has CPUs, and none of them has two.
    has_plain_numas: bool,
}

impl Topology {
    /// Arranges a tree in levels.
    ///
    /// # Errors
    ///
    /// [`Error::Topology`] if the tree has no hardware threads, threads without or with equal OS
    /// indexes, no memory domain, or domains with equal ones.
    pub fn new(tree: Tree, origin: &str) -> Result<Self> {
        let broken = |reason: &str| Error::topology(origin, reason);
        if tree.nodes.is_empty() {
            return Err(broken("it is empty"));
        }
        if tree.numas.is_empty() {
            return Err(broken("it has no memory domain"));
        }
        let mut layout = Layout::new(tree);
        layout.merge_levels();
        layout.finish().checked().map_err(broken)
    }

    /// Puts a topology together again that was laid out before: levels from the outside in, each
    /// with its objects in logical order.
    ///
    /// # Errors
    ///
    /// What is wrong with it, fit to follow "it is a topology, but ...".
    pub(crate) fn from_levels(
        levels: Vec<Vec<LaidOut>>,
        numas: Vec<NumaNode>,
        gpus: Vec<Gpu>,
        nics: Vec<Nic>,
        hidden_cpus: Vec<(u32, ObjectId)>,
    ) -> std::result::Result<Self, &'static str> {
        if levels.first().is_none_or(|level| level.len() != 1) {
            return Err("its first level is not one object");
        }
        let innermost = levels.len() - 1;
        let mut objects: Vec<Object> = Vec::new();
        let mut ranges = Vec::new();
        for (depth, level) in levels.into_iter().enumerate() {
            let Some(first) = level.first() else { return Err("it has a level without objects") };
            let (kind, start) = (first.kind, objects.len());
            if (kind == Kind::Pu) != (depth == innermost) {
                return Err("its hardware threads are not the last level");
            }
            for LaidOut { kind, os_index, parent, group } in level {
                if parent >= start.max(1) {
                    return Err("it has an object whose parent is not in a level further out");
                }
                if start > 0 {
                    objects[parent].arity += 1;
                }
                objects.push(Object { kind, os_index, parent, arity: 0, pus: 0..0, group });
            }
            ranges.push(Level { kind, objects: start..objects.len() });
        }
        let places = (numas.iter().map(|numa| numa.domain))
            .chain(gpus.iter().map(|gpu| gpu.locality))
            .chain(nics.iter().map(|nic| nic.locality))
            .chain(hidden_cpus.iter().map(|(_, object)| *object));
        if places.max().is_some_and(|largest| largest >= objects.len()) {
            return Err("something hangs at an object that is not there");
        }
        if numas.is_empty() {
            return Err("it has no memory domain");
        }
        // Sets are walked through, id by id.
        let of_numas = numas.iter().filter_map(|numa| numa.cpus.last());
        let of_pus = objects[ranges[innermost].objects.clone()].iter().filter_map(|pu| pu.os_index);
        if of_numas.chain(of_pus).any(|index| index > MAX_INDEX) {
            return Err("it has a CPU with too large an OS index; it must be 0 to 1048575");
        }
        let pus = lay_out_pus(&mut objects, &ranges);
        let topology = Self {
            levels: ranges,
            objects,
            pus,
            numas,
            gpus: gpus.into(),
            nics: nics.into(),
            hidden_cpus,
            has_plain_numas: false, // Known once it is checked.
        };
        if !topology.has_neighbours_in_order() {
            return Err("its objects are not in the order of their hardware threads");
        }
        let topology = topology.checked()?;
        let is_torn =
            |numa: &NumaNode| !numa.cpus.is_empty() && numa.cpus != topology.cpus_near(numa.domain);
        if topology.numas.iter().any(is_torn) {
            return Err("it has a memory domain with other CPUs than the object that it hangs at");
        }
        Ok(topology)
    }

    /// Whether every level runs through the hardware threads in their order, and every object has
    /// just the threads of its children.
    fn has_neighbours_in_order(&self) -> bool {
        let mut below = vec![0; self.objects.len()];
        for object in &self.objects[1..] {
            below[object.parent] += object.pus.len();
        }
        let is_whole = |(object, below): (&Object, &usize)| {
            object.kind == Kind::Pu || object.pus.len() == *below
        };
        let rises = |level: &Level| {
            let objects = &self.objects[level.objects.clone()];
            objects.windows(2).all(|pair| pair[0].pus.end <= pair[1].pus.start)
        };
        self.objects.iter().zip(&below).all(is_whole) && self.levels.iter().all(rises)
    }

    /// Itself, if its CPUs can be told apart, with what is known only now.
    fn checked(mut self) -> std::result::Result<Self, &'static str> {
        let distinct: CpuSet = self.pus.iter().copied().collect();
        if self.pus.is_empty() {
            return Err("it has no CPUs that may be used");
        }
        if distinct.len() != self.pus.len() || distinct.contains(NO_INDEX) {
            return Err("its CPUs do not have one OS index each");
        }
        let nodes: CpuSet = self.numas.iter().map(|numa| numa.os_index).collect();
        if nodes.len() != self.numas.len() {
            return Err("its memory domains do not have one OS index each");
        }
        let covered: CpuSet = self.numas.iter().flat_map(|numa| numa.cpus.iter()).collect();
        let counted: usize = self.numas.iter().map(|numa| numa.cpus.len()).sum();
        self.has_plain_numas =
            covered.len() == counted && self.numas.iter().all(|numa| self.has_cpus(numa));
        Ok(self)
    }

    /// The levels, the machine first and the hardware threads last.
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// All objects, level after level.
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// OS indexes of the hardware threads, in logical order.
    pub fn pus(&self) -> &[u32] {
        &self.pus
    }

    /// The memory domains in logical order.
    pub fn numas(&self) -> &[NumaNode] {
        &self.numas
    }

    /// The GPUs in device order.
    pub fn gpus(&self) -> &Arc<[Gpu]> {
        &self.gpus
    }

    /// The network cards in device order.
    pub fn nics(&self) -> &Arc<[Nic]> {
        &self.nics
    }

    /// CPUs that exist but may not be used, and the innermost object that they belong to.
    pub fn hidden_cpus(&self) -> &[(u32, ObjectId)] {
        &self.hidden_cpus
    }

    /// All CPUs.
    pub fn cpus(&self) -> CpuSet {
        self.pus.iter().copied().collect()
    }

    /// The CPUs of an object.
    pub fn cpus_near(&self, object: ObjectId) -> CpuSet {
        self.pus[self.objects[object].pus.clone()].iter().copied().collect()
    }

    /// OS indexes of the memory domains with some of an object's CPUs.
    pub fn numas_near(&self, object: ObjectId) -> Vec<u32> {
        self.numas_of(&self.cpus_near(object)).collect()
    }

    /// OS indexes of the memory domains with some of these CPUs.
    pub(crate) fn numas_of(&self, cpus: &CpuSet) -> impl Iterator<Item = u32> {
        let near = self.numas.iter().filter(|numa| !numa.cpus.is_disjoint(cpus));
        near.map(|numa| numa.os_index)
    }

    /// The level of the cores, or the one just below where cores would be: on a machine without
    /// SMT the two are one level, and it is the hardware threads' level that stays.
    pub fn core_depth(&self) -> usize {
        let above_cores = |level: &Level| level.kind < Kind::Core;
        self.levels
            .iter()
            .position(|level| level.kind == Kind::Core)
            .or_else(|| self.levels.iter().rposition(above_cores).map(|depth| depth + 1))
            .unwrap_or(0)
            .min(self.levels.len() - 1)
    }

    /// Hardware threads of the first core.
    pub fn smt_width(&self) -> usize {
        self.objects[self.levels[self.core_depth()].objects.start].arity.max(1)
    }

    /// The number of cores.
    pub fn ncores(&self) -> usize {
        self.levels[self.core_depth()].objects.len()
    }

    /// The depth of an object's level.
    pub fn depth(&self, object: ObjectId) -> usize {
        self.levels.partition_point(|level| level.objects.end <= object)
    }

    /// The objects of a level whose hardware threads are all in `pus`.
    ///
    /// On a machine where every memory domain has CPUs ([`Self::with_default_numas`]) so has every
    /// object; elsewhere this can return objects without any.
    pub fn objects_inside(&self, depth: usize, pus: &Range<usize>) -> &[Object] {
        let level = &self.objects[self.levels[depth].objects.clone()];
        let start = level.partition_point(|object| object.pus.start < pus.start);
        let end = start + level[start..].partition_point(|object| object.pus.end <= pus.end);
        &level[start..end]
    }

    /// Whether a memory domain can have tasks.
    fn has_cpus(&self, numa: &NumaNode) -> bool {
        !numa.cpus.is_empty() && !self.objects[numa.domain].pus.is_empty()
    }

    /// Whether `object` lies below `ancestor` or is it.
    pub fn is_inside(&self, mut object: ObjectId, ancestor: ObjectId) -> bool {
        // Parents come before their children.
        while object > ancestor {
            object = self.objects[object].parent;
        }
        object == ancestor
    }

    /// The machine with only these of its GPUs (places in the list, rising).
    pub(crate) fn with_gpus(&self, places: &[usize]) -> Self {
        let gpus = places.iter().map(|place| self.gpus[*place].clone()).collect();
        Self { gpus, ..self.clone() }
    }

    /// The machine as the mapping sees it: with one kind of memory.
    ///
    /// Memory without CPUs (CXL, GPUs) takes no tasks, and where memories overlap (HBM beside DDR)
    /// only the default ones do; `None` if there is nothing to leave out.
    ///
    /// # Errors
    ///
    /// [`Error::Topology`] if no memory domain has CPUs.
    pub fn with_default_numas(&self) -> Result<Option<Self>> {
        if self.has_plain_numas {
            return Ok(None);
        }
        let keep = self.default_numas();
        if keep.is_empty() {
            return Err(Error::topology(
                "given",
                "none of its NUMA nodes has CPUs; a job needs memory beside its CPUs (see its cpuset's \
                 cpus and mems)",
            ));
        }
        self.pruned(None, &keep).map(Some)
    }

    /// OS indexes of the default NUMA nodes. hwloc can say this itself only from version 2.12 on,
    /// so the rule is spelled out here: the first node and those of its subtype, as far as they
    /// do not overlap, then others that cover what is left.
    fn default_numas(&self) -> CpuSet {
        let mut nodes: Vec<_> = self.numas.iter().filter(|numa| self.has_cpus(numa)).collect();
        nodes.sort_by_key(|numa| numa.os_index);
        let mut left: HashSet<u32> = self.pus.iter().copied().collect();
        let mut keep = CpuSet::new();
        let Some(first) = nodes.first() else { return keep };
        let subtype = first.subtype.clone();
        for same_subtype in [true, false] {
            for node in &nodes {
                if left.is_empty() {
                    return keep;
                }
                let is_wanted = !same_subtype || node.subtype == subtype;
                let is_first = keep.is_empty();
                let fits = || is_first || node.cpus.iter().all(|cpu| left.contains(&cpu));
                if is_wanted && !keep.contains(node.os_index) && fits() {
                    for cpu in node.cpus.iter() {
                        left.remove(&cpu);
                    }
                    keep.insert_range(node.os_index..=node.os_index);
                }
            }
        }
        keep
    }

    /// The machine limited to these CPUs: objects and memory domains left without CPUs go.
    ///
    /// # Errors
    ///
    /// [`Error::Topology`] if nothing is left.
    pub fn restricted_to_cpus(&self, cpus: &CpuSet) -> Result<Self> {
        let members = self.members(cpus);
        let nodes = self.numas.iter().filter(|numa| numa.cpus.iter().any(|cpu| members.has(cpu)));
        let nodes = nodes.map(|numa| numa.os_index).collect();
        self.pruned(Some(&members), &nodes)
    }

    /// The machine limited to these memory domains: CPUs left without memory go. Hidden CPUs stay,
    /// as they do in hwloc: they count where siblings are put in order.
    ///
    /// # Errors
    ///
    /// [`Error::Topology`] if nothing is left.
    pub fn restricted_to_numas(&self, nodes: &CpuSet) -> Result<Self> {
        let kept = self.numas.iter().filter(|numa| nodes.contains(numa.os_index));
        let hidden = self.hidden_cpus.iter().map(|(cpu, _)| *cpu);
        let cpus = kept.flat_map(|numa| numa.cpus.iter()).chain(hidden).collect();
        self.pruned(Some(&self.members(&cpus)), nodes)
    }

    /// The tree without the CPUs and memory domains that are not kept, and without the objects and
    /// devices that are then left with neither.
    fn pruned(&self, cpus: Option<&Members<'_>>, nodes: &CpuSet) -> Result<Self> {
        const GONE: usize = usize::MAX;
        let mut wanted = vec![false; self.objects.len()];
        let mut numas: Vec<_> =
            self.numas.iter().filter(|n| nodes.contains(n.os_index)).cloned().collect();
        for numa in &mut numas {
            wanted[numa.domain] = true;
            if let Some(cpus) = cpus {
                numa.cpus = numa.cpus.iter().filter(|cpu| cpus.has(*cpu)).collect();
            }
        }
        let mut first_cpu = vec![NO_INDEX; self.objects.len()];
        let is_kept = |cpu: u32| cpus.is_none_or(|cpus| cpus.has(cpu));
        let mut all_kept = true;
        let pu_level = self.levels[self.levels.len() - 1].objects.clone();
        for (pu, object) in pu_level.enumerate() {
            if is_kept(self.pus[pu]) {
                wanted[object] = true;
                first_cpu[object] = self.pus[pu];
            } else {
                all_kept = false;
            }
        }
        for (cpu, object) in self.hidden_cpus.iter().filter(|(cpu, _)| is_kept(*cpu)) {
            first_cpu[*object] = first_cpu[*object].min(*cpu);
        }
        // Children come after their parents: one walk from the end tells every parent.
        for object in (1..self.objects.len()).rev() {
            let parent = self.objects[object].parent;
            wanted[parent] |= wanted[object];
            first_cpu[parent] = first_cpu[parent].min(first_cpu[object]);
        }
        wanted[0] = true;
        let mut tree = Tree::default();
        let mut place = vec![GONE; self.objects.len()];
        for (id, object) in self.objects.iter().enumerate().filter(|(id, _)| wanted[*id]) {
            let parent = (id > 0).then(|| place[object.parent]);
            place[id] = tree.add(parent, object.kind, object.os_index);
            tree.nodes[place[id]].group = object.group;
        }
        if !all_kept {
            // hwloc keeps siblings in the order of their first CPU, which may have gone.
            let mut order = vec![NO_INDEX; tree.nodes.len()];
            for (id, at) in place.iter().enumerate().filter(|(_, at)| **at != GONE) {
                order[*at] = first_cpu[id];
            }
            for node in &mut tree.nodes {
                node.children.sort_by_key(|child| order[*child]);
            }
        }
        for numa in &mut numas {
            numa.domain = place[numa.domain];
        }
        tree.numas = numas;
        // A user who cuts a part of the machine away cuts its devices away. Without memory of
        // their own they stay: a GPU beside CPUs that a cgroup took is still a GPU.
        if cpus.is_none() {
            for id in 1..self.objects.len() {
                if place[id] == GONE {
                    place[id] = place[self.objects[id].parent];
                }
            }
        }
        let kept = |locality: usize| place[locality] != GONE;
        tree.gpus = self.gpus.iter().filter(|gpu| kept(gpu.locality)).cloned().collect();
        tree.nics = self.nics.iter().filter(|nic| kept(nic.locality)).cloned().collect();
        let hidden = self.hidden_cpus.iter().filter(|(cpu, object)| is_kept(*cpu) && kept(*object));
        tree.hidden_cpus = hidden.map(|(cpu, object)| (*cpu, place[*object])).collect();
        tree.gpus.iter_mut().for_each(|gpu| gpu.locality = place[gpu.locality]);
        tree.nics.iter_mut().for_each(|nic| nic.locality = place[nic.locality]);
        Self::new(tree, "after the restriction")
    }

    /// A set of CPUs, made ready for one look-up per CPU.
    fn members<'a>(&self, set: &'a CpuSet) -> Members<'a> {
        let largest = self.pus.iter().max().copied().unwrap_or(0);
        let mut table = Vec::new();
        if set.ranges().count() >= 64 && largest as usize <= 64 * self.pus.len() {
            table.resize(largest as usize + 1, false);
            for range in set.ranges() {
                let (first, last) = (*range.start(), (*range.end()).min(largest));
                if first <= last {
                    table[first as usize..=last as usize].fill(true);
                }
            }
        }
        Members { set, table }
    }
}

/// A set of CPUs. A look-up in a set costs the logarithm of the number of its ranges, which for a
/// list such as "0,2,4,..." is half the CPUs; in a table by OS index it is one step.
struct Members<'a> {
    set: &'a CpuSet,
    /// Empty where the set itself is quick enough.
    table: Vec<bool>,
}

impl Members<'_> {
    fn has(&self, cpu: u32) -> bool {
        if self.table.is_empty() {
            self.set.contains(cpu)
        } else {
            self.table.get(cpu as usize).copied().unwrap_or(false)
        }
    }
}

/// The largest OS index of a CPU or NUMA node that is read from anywhere.
pub(crate) const MAX_INDEX: u32 = (1 << 20) - 1;

/// Stands for an OS index that is not known.
const NO_INDEX: u32 = u32::MAX;

/// A tree with its levels, while they are merged.
struct Layout {
    tree: Tree,
    levels: Vec<Vec<ObjectId>>,
    parent: Vec<ObjectId>,
    /// Where an object has gone that was merged into another.
    merged_into: Vec<ObjectId>,
    has_memory: Vec<bool>,
}

impl Layout {
    fn new(tree: Tree) -> Self {
        let count = tree.nodes.len();
        let mut parent = vec![0; count];
        for (id, node) in tree.nodes.iter().enumerate() {
            for child in &node.children {
                parent[*child] = id;
            }
        }
        let mut has_memory = vec![false; count];
        for numa in &tree.numas {
            has_memory[numa.domain] = true;
        }
        let mut layout = Self {
            tree,
            levels: Vec::new(),
            parent,
            merged_into: (0..count).collect(),
            has_memory,
        };
        layout.drop_hollow_objects();
        layout.levels = levels_of(&layout.tree);
        layout
    }

    /// Takes out objects with neither CPUs nor memory; what hangs there moves up.
    fn drop_hollow_objects(&mut self) {
        let nodes = &mut self.tree.nodes;
        let mut is_hollow: Vec<bool> = nodes
            .iter()
            .zip(&self.has_memory)
            .map(|(node, has_memory)| node.kind != Kind::Pu && !has_memory)
            .collect();
        for id in (1..nodes.len()).rev().filter(|id| !is_hollow[*id]).collect::<Vec<_>>() {
            // Children come after their parents, so this reaches every ancestor.
            let mut above = self.parent[id];
            while is_hollow[above] {
                is_hollow[above] = false;
                above = self.parent[above];
            }
        }
        is_hollow[0] = false;
        if is_hollow.contains(&true) {
            for (id, node) in nodes.iter_mut().enumerate() {
                node.children.retain(|child| !is_hollow[*child]);
                if is_hollow[id] {
                    self.merged_into[id] = self.parent[id];
                }
            }
        }
    }

    /// Merges neighbouring levels that hold the same things, from the inside to the outside.
    fn merge_levels(&mut self) {
        for depth in (1..self.levels.len()).rev() {
            let (above, below) = (
                self.tree.nodes[self.levels[depth - 1][0]].kind,
                self.tree.nodes[self.levels[depth][0]].kind,
            );
            let above_may_go = above.is_mergeable() && !self.must_keep(depth - 1);
            let below_may_go = below.is_mergeable() && !self.must_keep(depth);
            if !(above_may_go || below_may_go) || !self.is_same_structure(depth) {
                continue;
            }
            let below_goes =
                below_may_go && (!above_may_go || above.merge_rank() >= below.merge_rank());
            if below_goes {
                self.take_out_level(depth);
            } else {
                self.take_out_level_above(depth);
            }
        }
    }

    /// Merges each object of a level, an only child, into its parent.
    fn take_out_level(&mut self, depth: usize) {
        for gone in self.levels.remove(depth) {
            let kept = self.parent[gone];
            let children = std::mem::take(&mut self.tree.nodes[gone].children);
            for child in &children {
                self.parent[*child] = kept;
            }
            self.tree.nodes[kept].children = children;
            self.note_merge(gone, kept);
        }
    }

    /// Merges each parent of a level's objects, all only children, into its child.
    fn take_out_level_above(&mut self, depth: usize) {
        let mut seen = vec![false; self.tree.nodes.len()];
        let mut grandparents = Vec::new();
        for gone in self.levels.remove(depth - 1) {
            let (kept, grandparent) = (self.tree.nodes[gone].children[0], self.parent[gone]);
            self.parent[kept] = grandparent;
            self.note_merge(gone, kept);
            if !std::mem::replace(&mut seen[grandparent], true) {
                grandparents.push(grandparent);
            }
        }
        for grandparent in grandparents {
            for child in &mut self.tree.nodes[grandparent].children {
                // Siblings at other levels have not been merged and stay themselves.
                *child = self.merged_into[*child];
            }
        }
    }

    fn note_merge(&mut self, gone: ObjectId, kept: ObjectId) {
        self.has_memory[kept] |= self.has_memory[gone];
        self.merged_into[gone] = kept;
    }

    /// Whether a level of groups asks to stay.
    fn must_keep(&self, depth: usize) -> bool {
        self.levels[depth]
            .iter()
            .any(|id| self.tree.nodes[*id].group.is_some_and(|group| group.keep))
    }

    /// Whether each object of the level above has just one object of this level, and no more.
    fn is_same_structure(&self, depth: usize) -> bool {
        let (uppers, lowers) = (&self.levels[depth - 1], &self.levels[depth]);
        let innermost = depth + 1 == self.levels.len();
        uppers.len() == lowers.len()
            && uppers.iter().zip(lowers).all(|(upper, lower)| {
                self.tree.nodes[*upper].children == [*lower]
                    // Memory does not hang below hardware threads.
                    && !(innermost && self.has_memory[*upper])
            })
    }

    fn survivor(&self, mut id: ObjectId) -> ObjectId {
        while self.merged_into[id] != id {
            id = self.merged_into[id];
        }
        id
    }

    fn finish(self) -> Topology {
        let mut place = vec![0; self.tree.nodes.len()];
        let mut objects = Vec::new();
        let mut levels = Vec::new();
        for level in &self.levels {
            let start = objects.len();
            for id in level {
                place[*id] = objects.len();
                let node = &self.tree.nodes[*id];
                objects.push(Object {
                    kind: node.kind,
                    os_index: node.os_index,
                    parent: place[self.parent[*id]],
                    arity: node.children.len(),
                    pus: 0..0,
                    group: node.group,
                });
            }
            let kind = objects[start].kind;
            levels.push(Level { kind, objects: start..objects.len() });
        }
        let pus = lay_out_pus(&mut objects, &levels);
        let at = |id: ObjectId| place[self.survivor(id)];
        let mut numas = self.tree.numas.clone();
        numas.iter_mut().for_each(|numa| numa.domain = at(numa.domain));
        let rank = self.tree_order();
        let rank_of = |id: ObjectId| rank[self.survivor(id)];
        let mut order: Vec<usize> = (0..numas.len()).collect();
        order.sort_by_key(|index| rank_of(self.tree.numas[*index].domain));
        let numas = order.into_iter().map(|index| numas[index].clone()).collect();
        // A device at an object without CPUs belongs to the CPUs around it.
        let with_cpus = |mut object: ObjectId| {
            while objects[object].pus.is_empty() && object > 0 {
                object = objects[object].parent;
            }
            object
        };
        let mut gpus = self.tree.gpus.clone();
        let mut nics = self.tree.nics.clone();
        gpus.sort_by_key(|gpu| rank_of(gpu.locality));
        nics.sort_by_key(|nic| rank_of(nic.locality));
        let hidden_cpus = self.tree.hidden_cpus.iter().map(|(cpu, id)| (*cpu, at(*id))).collect();
        gpus.iter_mut().for_each(|gpu| gpu.locality = with_cpus(at(gpu.locality)));
        nics.iter_mut().for_each(|nic| nic.locality = with_cpus(at(nic.locality)));
        Topology {
            levels,
            objects,
            pus,
            numas,
            gpus: gpus.into(),
            nics: nics.into(),
            hidden_cpus,
            has_plain_numas: false, // Known once all the rest is.
        }
    }

    /// The order in which hwloc numbers what hangs beside the CPUs (memory, devices): left to right,
    /// what is inside an object before what is at it.
    fn tree_order(&self) -> Vec<usize> {
        let mut rank = vec![0; self.tree.nodes.len()];
        let mut visited = 0;
        let mut stack = vec![(self.survivor(0), false)];
        while let Some((id, is_inside_done)) = stack.pop() {
            if is_inside_done {
                rank[id] = visited;
                visited += 1;
            } else {
                stack.push((id, true));
                stack
                    .extend(self.tree.nodes[id].children.iter().rev().map(|child| (*child, false)));
            }
        }
        rank
    }
}

/// Tells every object its hardware threads, and returns their OS indexes in logical order.
fn lay_out_pus(objects: &mut [Object], levels: &[Level]) -> Vec<u32> {
    let mut pus = Vec::new();
    if let Some(innermost) = levels.last().filter(|level| level.kind == Kind::Pu) {
        for (logical, object) in objects[innermost.objects.clone()].iter_mut().enumerate() {
            object.pus = logical..logical + 1;
            pus.push(object.os_index.unwrap_or(NO_INDEX));
        }
    }
    for id in (1..objects.len()).rev() {
        let (parent, below) = (objects[id].parent, objects[id].pus.clone());
        let above = &mut objects[parent].pus;
        if above.start == above.end {
            *above = below;
        } else if !below.is_empty() {
            *above = above.start.min(below.start)..above.end.max(below.end);
        }
    }
    place_empty_ranges(objects, levels);
    pus
}

/// Gives objects without CPUs an empty range between their neighbours', so that the ranges of
/// every level rise and can be searched.
fn place_empty_ranges(objects: &mut [Object], levels: &[Level]) {
    for level in levels {
        let mut end = 0;
        for object in &mut objects[level.objects.clone()] {
            if object.pus.is_empty() {
                object.pus = end..end;
            }
            end = object.pus.end;
        }
    }
}

/// Sorts the objects of a tree into levels. Objects of one kind share a level; where branches
/// differ in shape, a level is taken only when no object of its kind is left further inside.
fn levels_of(tree: &Tree) -> Vec<Vec<ObjectId>> {
    let mut keys: Vec<(Kind, usize)> = Vec::new();
    let key_bit =
        |keys: &mut Vec<(Kind, usize)>, key| match keys.iter().position(|known| *known == key) {
            Some(bit) => bit,
            None => {
                keys.push(key);
                keys.len() - 1
            }
        };
    let bits: Vec<usize> =
        (0..tree.nodes.len()).map(|id| key_bit(&mut keys, tree.level_key(id))).collect();
    // Which kinds are in each object's subtree. Malformed input can number its groups at will;
    // beyond 63 kinds they share one bit, which costs order, not safety.
    let bit_of = |id: ObjectId| 1u64 << bits[id].min(63);
    let mut below: Vec<u64> = (0..tree.nodes.len()).map(bit_of).collect();
    for id in (0..tree.nodes.len()).rev() {
        let children = tree.nodes[id].children.iter().fold(0, |all, child| all | below[*child]);
        below[id] |= children;
    }
    let mut levels = Vec::new();
    let mut front = vec![0];
    while !front.is_empty() {
        // Hardware threads come last, whatever else is still there.
        let is_pu = |id: &&ObjectId| tree.nodes[**id].kind == Kind::Pu;
        let mut top = *front.iter().find(|id| !is_pu(id)).unwrap_or(&front[0]);
        for id in &front {
            if bits[*id] != bits[top] && below[*id] & bit_of(top) != 0 {
                top = *id;
            }
        }
        let level: Vec<ObjectId> =
            front.iter().copied().filter(|id| bits[*id] == bits[top]).collect();
        let mut next = Vec::with_capacity(front.len());
        for id in front {
            if bits[id] == bits[top] {
                next.extend(&tree.nodes[id].children);
            } else {
                next.push(id);
            }
        }
        levels.push(level);
        front = next;
    }
    levels
}
