//! Random machines and random requests.
//!
//! A [`Blueprint`] is what proptest makes up and, when a property fails, makes smaller: nested
//! lists of parts, and rules that hold for the whole machine. [`Blueprint::build`] turns it into a
//! [`Tree`] such as discovery could have found it: siblings are in the order of their first CPU, and
//! memory has the CPUs of the object that it hangs off.

use std::sync::Arc;

use mpibind_core::{
    CpuSet, Gpu, Group, Kind, Nic, NumaNode, ObjectId, Parameters, Topology, Tree, Vendor,
};
use proptest::prelude::*;

/// A machine to be built.
#[derive(Clone, Debug)]
pub(crate) struct Blueprint {
    /// Packages, of clusters, of L3 caches, of cores.
    packages: Vec<Vec<Vec<Vec<Core>>>>,
    levels: Levels,
    /// At what height memory hangs, package by package (and again from the start).
    memory: Vec<Height>,
    /// The part without memory, counted over all places where memory would hang.
    memoryless: Option<u8>,
    /// Whether each domain has a second, fast node, and whether subtypes tell the two apart.
    fast_memory: FastMemory,
    /// More nodes on the machine: CXL or GPU memory, with all CPUs as hwloc has it or with none.
    far_memory: Vec<FarMemory>,
    /// Whether there is a package with memory, and with GPUs, whose CPUs are all hidden.
    dark_package: bool,
    cpu_numbers: Numbers,
    node_numbers: Numbers,
    /// Where GPUs hang: which kind of object, and which one of them.
    gpus: Vec<(u8, u8)>,
    /// Where network cards hang, likewise.
    nics: Vec<(u8, u8)>,
}

/// A core: for each of its hardware threads whether it may be used.
type Core = Vec<bool>;

#[derive(Clone, Copy, Debug)]
struct Levels {
    package: bool,
    cluster: Cluster,
    l3: bool,
    /// How many cores share an L2; 0 for no L2 at all.
    cores_per_l2: u8,
    core: bool,
    /// Whether the last package lacks its L3 and L2, as a machine of unlike packages would.
    last_is_bare: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Cluster {
    Absent,
    Group,
    KeptGroup,
    Die,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Height {
    Machine,
    Package,
    Cluster,
    L3,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum FastMemory {
    Absent,
    Named,
    Nameless,
}

#[derive(Clone, Copy, Debug)]
enum FarMemory {
    OfAllCpus,
    OfNoCpus,
}

/// How OS indexes run.
#[derive(Clone, Copy, Debug)]
enum Numbers {
    /// In logical order.
    InOrder,
    /// First threads of all cores first, as Linux numbers most x86 machines. For memory: fast
    /// nodes after all others.
    ThreadsLast,
    /// With holes of this size.
    Spaced(u8),
    /// At random, with holes.
    Shuffled(u64),
}

fn core() -> impl Strategy<Value = Core> {
    let width = prop_oneof![4 => Just(1usize), 6 => Just(2), 3 => Just(4), 2 => 1..=8usize];
    (width, prop::collection::vec(prop::bool::weighted(0.9), 8))
        .prop_map(|(width, usable)| usable[..width].to_vec())
}

/// Packages that are all alike, as most machines' are, or of any shape.
fn packages() -> impl Strategy<Value = Vec<Vec<Vec<Vec<Core>>>>> {
    let width = prop_oneof![Just(1usize), Just(2), Just(2), Just(4), Just(8)];
    let alike = (1..=3usize, 1..=2usize, 1..=3usize, 1..=5usize, width).prop_map(
        |(packages, clusters, caches, cores, width)| {
            vec![vec![vec![vec![vec![true; width]; cores]; caches]; clusters]; packages]
        },
    );
    let cache = prop::collection::vec(core(), 1..=5);
    let cluster = prop::collection::vec(cache, 1..=3);
    let package = prop::collection::vec(cluster, 1..=2);
    prop_oneof![alike, prop::collection::vec(package, 1..=3)]
}

fn numbers() -> impl Strategy<Value = Numbers> {
    prop_oneof![
        3 => Just(Numbers::InOrder),
        3 => Just(Numbers::ThreadsLast),
        1 => (2..=4u8).prop_map(Numbers::Spaced),
        2 => any::<u64>().prop_map(Numbers::Shuffled),
    ]
}

fn levels() -> impl Strategy<Value = Levels> {
    let cluster = prop_oneof![
        4 => Just(Cluster::Absent),
        2 => Just(Cluster::Group),
        1 => Just(Cluster::KeptGroup),
        2 => Just(Cluster::Die),
    ];
    let often = prop::bool::weighted(0.8);
    let cores_per_l2 = prop_oneof![Just(0u8), Just(1), Just(1), Just(2), Just(3)];
    (often, cluster, often, cores_per_l2, prop::bool::weighted(0.9), prop::bool::weighted(0.1))
        .prop_map(|(package, cluster, l3, cores_per_l2, core, last_is_bare)| Levels {
            package,
            cluster,
            l3,
            cores_per_l2,
            core,
            last_is_bare,
        })
}

/// Any machine.
pub(crate) fn machines() -> impl Strategy<Value = Blueprint> {
    let height = prop_oneof![
        1 => Just(Height::Machine),
        4 => Just(Height::Package),
        2 => Just(Height::Cluster),
        2 => Just(Height::L3),
    ];
    let fast_memory = prop_oneof![
        6 => Just(FastMemory::Absent),
        2 => Just(FastMemory::Named),
        1 => Just(FastMemory::Nameless),
    ];
    let far_memory = prop_oneof![Just(FarMemory::OfAllCpus), Just(FarMemory::OfNoCpus)];
    let memory = (
        prop::collection::vec(height, 1..=2),
        prop::option::weighted(0.05, any::<u8>()),
        fast_memory,
        prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec(far_memory, 1..=2)],
        prop::bool::weighted(0.1),
    );
    let gpus = prop_oneof![
        1 => Just(Vec::new()),
        2 => prop::collection::vec(any::<(u8, u8)>(), 1..=9),
    ];
    let nics = prop_oneof![
        1 => Just(Vec::new()),
        2 => prop::collection::vec(any::<(u8, u8)>(), 1..=6),
    ];
    (packages(), levels(), memory, numbers(), numbers(), (gpus, nics)).prop_map(
        |(mut packages, levels, memory, cpu_numbers, node_numbers, (gpus, nics))| {
            // A machine has a CPU to run on.
            packages[0][0][0][0][0] = true;
            let (memory, memoryless, fast_memory, far_memory, dark_package) = memory;
            Blueprint {
                packages,
                levels,
                memory,
                memoryless,
                fast_memory,
                far_memory,
                dark_package,
                cpu_numbers,
                node_numbers,
                gpus,
                nics,
            }
        },
    )
}

/// Scrambles a number: splitmix64's step, so that shuffles come from a seed alone.
pub(crate) fn scramble(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Numbers {
    /// The OS indexes of things in logical order; `turn` says in which round each is numbered
    /// where numbering takes several.
    fn assign(self, turns: &[usize]) -> Vec<u32> {
        let mut order: Vec<usize> = (0..turns.len()).collect();
        match self {
            Numbers::InOrder | Numbers::Spaced(_) => {}
            Numbers::ThreadsLast => order.sort_by_key(|thing| turns[*thing]),
            Numbers::Shuffled(seed) => order.sort_by_key(|thing| scramble(seed, *thing as u64)),
        }
        let mut numbers = vec![0; turns.len()];
        for (position, thing) in order.into_iter().enumerate() {
            let position = position as u32;
            numbers[thing] = match self {
                Numbers::InOrder | Numbers::ThreadsLast => position,
                Numbers::Spaced(step) => 3 + position * u32::from(step),
                Numbers::Shuffled(_) => position + position / 3,
            };
        }
        numbers
    }
}

/// The tree while it grows.
struct Builder<'a> {
    blueprint: &'a Blueprint,
    tree: Tree,
    /// The object of each hardware thread in logical order, hidden ones included, its place in its
    /// core, and whether it may be used.
    threads: Vec<(ObjectId, usize, bool)>,
    /// Where memory hangs.
    memory_places: Vec<ObjectId>,
}

impl Blueprint {
    /// The machine of this blueprint.
    pub(crate) fn topology(&self) -> Arc<Topology> {
        Arc::new(Topology::new(self.build(), "random").unwrap())
    }

    pub(crate) fn build(&self) -> Tree {
        let mut builder = Builder {
            blueprint: self,
            tree: Tree::default(),
            threads: Vec::new(),
            memory_places: Vec::new(),
        };
        let machine = builder.tree.add(None, Kind::Machine, None);
        for position in 0..self.packages.len() {
            builder.add_package(machine, position);
        }
        if self.dark_package {
            builder.add_dark_package(machine);
        }
        builder.number_cpus();
        builder.add_memory(machine);
        builder.add_gpus();
        builder.add_nics();
        builder.tree
    }
}

impl Builder<'_> {
    fn add_package(&mut self, machine: ObjectId, position: usize) {
        let levels = self.blueprint.levels;
        let height = self.blueprint.memory[position % self.blueprint.memory.len()];
        let is_bare = levels.last_is_bare && position + 1 == self.blueprint.packages.len();
        let package = match levels.package {
            true => self.tree.add(Some(machine), Kind::Package, Some(position as u32)),
            false => machine,
        };
        for cluster in &self.blueprint.packages[position] {
            let around = self.add_cluster(package);
            for cores in cluster {
                let l3 = match levels.l3 && !is_bare {
                    true => self.tree.add(Some(around), Kind::L3, None),
                    false => around,
                };
                let place = match height {
                    Height::Machine => machine,
                    Height::Package => package,
                    Height::Cluster => around,
                    Height::L3 => l3,
                };
                if !self.memory_places.contains(&place) {
                    self.memory_places.push(place);
                }
                let per_l2 = if is_bare { 0 } else { usize::from(levels.cores_per_l2) };
                for neighbours in cores.chunks(per_l2.max(1)) {
                    let l2 = match per_l2 {
                        0 => l3,
                        _ => self.tree.add(Some(l3), Kind::L2, None),
                    };
                    neighbours.iter().for_each(|core| self.add_core(l2, core));
                }
            }
        }
    }

    fn add_cluster(&mut self, package: ObjectId) -> ObjectId {
        let kind = match self.blueprint.levels.cluster {
            Cluster::Absent => return package,
            Cluster::Group | Cluster::KeptGroup => Kind::Group,
            Cluster::Die => Kind::Die,
        };
        let id = self.tree.add(Some(package), kind, None);
        if kind == Kind::Group {
            let keep = self.blueprint.levels.cluster == Cluster::KeptGroup;
            self.tree.nodes[id].group = Some(Group { depth: 0, keep });
        }
        id
    }

    fn add_core(&mut self, around: ObjectId, core: &Core) {
        let id = match self.blueprint.levels.core {
            true => self.tree.add(Some(around), Kind::Core, None),
            false => around,
        };
        for (place, usable) in core.iter().enumerate() {
            let object = match usable {
                true => self.tree.add(Some(id), Kind::Pu, None),
                false => id,
            };
            self.threads.push((object, place, *usable));
        }
    }

    /// A package that a cgroup took away: hwloc keeps it for its memory.
    fn add_dark_package(&mut self, machine: ObjectId) {
        let package = self.tree.add(Some(machine), Kind::Package, None);
        self.memory_places.push(package);
        self.threads.extend([(package, 0, false), (package, 1, false)]);
    }

    fn number_cpus(&mut self) {
        let turns: Vec<usize> = self.threads.iter().map(|(_, place, _)| *place).collect();
        let numbers = self.blueprint.cpu_numbers.assign(&turns);
        let mut first_cpu = vec![u32::MAX; self.tree.nodes.len()];
        for ((object, _, usable), number) in self.threads.iter().zip(numbers) {
            first_cpu[*object] = first_cpu[*object].min(number);
            match usable {
                true => self.tree.nodes[*object].os_index = Some(number),
                false => self.tree.hidden_cpus.push((number, *object)),
            }
        }
        // hwloc keeps siblings in the order of their first CPU, hidden ones included.
        for id in (0..self.tree.nodes.len()).rev() {
            let children = &mut self.tree.nodes[id].children;
            children.sort_by_key(|child| first_cpu[*child]);
            if let Some(first) = children.first() {
                first_cpu[id] = first_cpu[id].min(first_cpu[*first]);
            }
        }
    }

    fn add_memory(&mut self, machine: ObjectId) {
        let blueprint = self.blueprint;
        let mut places = self.memory_places.clone();
        if let Some(position) = blueprint.memoryless.filter(|_| places.len() > 1) {
            places.remove(usize::from(position) % places.len());
        }
        let (plain, fast) = match blueprint.fast_memory {
            FastMemory::Named => (Some("DRAM"), Some("HBM")),
            FastMemory::Absent | FastMemory::Nameless => (None, None),
        };
        let mut nodes = Vec::new();
        for place in places {
            nodes.push((place, plain, 0, true));
            if blueprint.fast_memory != FastMemory::Absent {
                nodes.push((place, fast, 1, true));
            }
        }
        for far in &blueprint.far_memory {
            nodes.push((machine, Some("GPUMemory"), 2, matches!(far, FarMemory::OfAllCpus)));
        }
        let turns: Vec<usize> = nodes.iter().map(|(_, _, turn, _)| *turn).collect();
        let numbers = blueprint.node_numbers.assign(&turns);
        for ((domain, subtype, _, has_cpus), os_index) in nodes.into_iter().zip(numbers) {
            let cpus = if has_cpus { cpus_of(&self.tree, domain) } else { CpuSet::new() };
            let subtype = subtype.map(str::to_owned);
            self.tree.numas.push(NumaNode { os_index, subtype, bytes: 1 << 30, cpus, domain });
        }
    }

    /// Objects that devices can hang at: a kind of object for each, and which one of them.
    fn places_of(&self, devices: &[(u8, u8)]) -> Vec<ObjectId> {
        let places: Vec<ObjectId> =
            (0..self.tree.nodes.len()).filter(|id| self.tree.nodes[*id].kind != Kind::Pu).collect();
        let mut kinds: Vec<Kind> = places.iter().map(|id| self.tree.nodes[*id].kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let place = |(kind, position): &(u8, u8)| {
            let kind = kinds[usize::from(*kind) % kinds.len()];
            let of_kind: Vec<&ObjectId> =
                places.iter().filter(|id| self.tree.nodes[**id].kind == kind).collect();
            *of_kind[usize::from(*position) % of_kind.len()]
        };
        devices.iter().map(place).collect()
    }

    fn add_nics(&mut self) {
        for (number, locality) in self.places_of(&self.blueprint.nics).into_iter().enumerate() {
            self.tree.nics.push(Nic {
                name: format!("nic{number}"),
                port: (number % 3 != 2).then_some(1 + number as u32 % 2),
                down: number % 5 == 4,
                pci: None,
                locality,
            });
        }
    }

    fn add_gpus(&mut self) {
        for (number, locality) in self.places_of(&self.blueprint.gpus).into_iter().enumerate() {
            let vendor = match number % 8 {
                3 | 6 => Vendor::Amd,
                5 => Vendor::Intel,
                _ => Vendor::Nvidia,
            };
            self.tree.gpus.push(Gpu {
                // Only Level Zero looks at tiles.
                tiles: 2,
                first_tile: 2 * number as u32,
                os_name: Some(format!("gpu{number}")),
                uuid: (number % 5 != 4).then(|| format!("GPU-{number}")),
                ..Gpu::new(number as u32, vendor, locality)
            });
        }
    }
}

/// The usable CPUs of an object of a tree.
pub(crate) fn cpus_of(tree: &Tree, object: ObjectId) -> CpuSet {
    let node = &tree.nodes[object];
    match node.kind {
        Kind::Pu => node.os_index.into_iter().collect(),
        _ => node.children.iter().fold(CpuSet::new(), |all, child| &all | &cpus_of(tree, *child)),
    }
}

/// What a user asks for. Numbers that depend on the machine are kept as shares of it.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    tasks: Tasks,
    nthreads: i64,
    greedy: bool,
    gpu_optim: bool,
    smt: i64,
    pub(crate) restriction: Option<Cut>,
}

#[derive(Clone, Copy, Debug)]
enum Tasks {
    Some(i64),
    /// As many as there are CPUs, cores, NUMA nodes or GPUs, and so many more.
    As(u8, i64),
}

/// A restriction to runs of CPUs in logical order, or to NUMA nodes.
#[derive(Clone, Debug)]
pub(crate) enum Cut {
    Cpus(Vec<(u16, u8)>),
    Nodes(Vec<u8>),
}

/// Any request.
pub(crate) fn asks() -> impl Strategy<Value = Ask> {
    let tasks = prop_oneof![
        3 => (1..=4i64).prop_map(Tasks::Some),
        3 => (1..=30i64).prop_map(Tasks::Some),
        4 => (any::<u8>(), -2..=2i64).prop_map(|(thing, more)| Tasks::As(thing, more)),
        1 => (100..=200i64).prop_map(Tasks::Some),
    ];
    let nthreads = prop_oneof![4 => Just(0i64), 2 => 1..=5i64, 1 => 6..=100i64];
    let smt = prop_oneof![4 => Just(0i64), 3 => 1..=2i64, 1 => 3..=9i64];
    let greedy = prop::bool::weighted(0.4);
    let gpu_optim = prop::bool::weighted(0.7);
    let restriction = prop::option::weighted(0.4, cuts());
    (tasks, nthreads, greedy, gpu_optim, smt, restriction).prop_map(
        |(tasks, nthreads, greedy, gpu_optim, smt, restriction)| Ask {
            tasks,
            nthreads,
            greedy,
            gpu_optim,
            smt,
            restriction,
        },
    )
}

/// Any restriction.
pub(crate) fn cuts() -> impl Strategy<Value = Cut> {
    prop_oneof![
        prop::collection::vec((any::<u16>(), 1..=12u8), 1..=6).prop_map(Cut::Cpus),
        prop::collection::vec(any::<u8>(), 1..=3).prop_map(Cut::Nodes),
    ]
}

impl Cut {
    /// `restrict_type` and the ids on a machine.
    pub(crate) fn ids(&self, machine: &Topology) -> (&'static str, CpuSet) {
        match self {
            Cut::Cpus(runs) => {
                let pus = machine.pus();
                let run = |(start, length): &(u16, u8)| {
                    let start = usize::from(*start) % pus.len();
                    pus[start..(start + usize::from(*length)).min(pus.len())].to_vec()
                };
                ("cpu", runs.iter().flat_map(run).collect())
            }
            Cut::Nodes(places) => {
                let numas = machine.numas();
                let node = |place: &u8| numas[usize::from(*place) % numas.len()].os_index;
                ("mem", places.iter().map(node).collect())
            }
        }
    }
}

impl Ask {
    /// Calls `then` with the parameters that this means on a machine.
    pub(crate) fn on<T>(&self, machine: &Topology, then: impl FnOnce(&Parameters<'_>) -> T) -> T {
        let things = [
            machine.pus().len(),
            machine.ncores(),
            machine.numas().len(),
            machine.gpus().len(),
            machine.ncores() / 2,
            machine.numas().len() * 3,
        ];
        let ntasks = match self.tasks {
            Tasks::Some(count) => count,
            Tasks::As(thing, more) => {
                (things[usize::from(thing) % things.len()] as i64 + more).max(1)
            }
        };
        let (restrict_type, ids) =
            self.restriction.as_ref().map_or(("cpu", CpuSet::new()), |cut| cut.ids(machine));
        let ids = ids.to_string();
        then(&Parameters {
            ntasks,
            nthreads: self.nthreads,
            greedy: self.greedy,
            gpu_optim: self.gpu_optim,
            smt: self.smt,
            restrict_ids: self.restriction.as_ref().map(|_| ids.as_str()),
            restrict_type,
        })
    }
}
