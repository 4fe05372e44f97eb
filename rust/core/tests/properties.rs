//! What holds for every mapping, checked on random machines and on those of the collection.
//!
//! Each property is said anew here, in terms of sets, without the mapper's own functions. The
//! numbers are those of the list of invariants in the documentation of the mapping.
//!
//! `PROPTEST_CASES` sets how many random machines each property sees.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mpibind_core::env::{EnvOptions, NIC_VARIABLES, Visible, variables};
use mpibind_core::{
    CpuSet, Error, Gpu, Kind, Mapping, ObjectId, Parameters, Request, Topology, Vendor, View, map,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use support::random::{Ask, Blueprint, asks, cpus_of, machines, scramble};
use support::{collection, listing, load};

type Ids = BTreeSet<u32>;
type Check = Result<(), TestCaseError>;

/// How many random machines each property sees: 20 properties of mappings see 20,000 in all. The
/// collection's machines get a part of that number each.
fn cases() -> u32 {
    let given = std::env::var("PROPTEST_CASES").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(1000)
}

fn runner(cases: u32) -> TestRunner {
    // A failure prints its smallest case in full; files with seeds would not survive a change of
    // the strategies.
    TestRunner::new(Config {
        cases: cases.max(1),
        failure_persistence: None,
        max_shrink_iters: 50_000,
        ..Config::default()
    })
}

/// A machine, what is asked of it, and the answer.
struct Situation<'a> {
    machine: &'a Arc<Topology>,
    asked: &'a Parameters<'a>,
    /// The GPUs that the job has, by place; None for all.
    shown: Option<BTreeSet<usize>>,
    answer: Result<Mapping, Error>,
}

/// Checks a property on random machines, then on those of the collection.
fn holds_everywhere(property: fn(&Situation<'_>) -> Check) {
    let result = runner(cases())
        .run(&(machines(), asks()), |(blueprint, ask): (Blueprint, Ask)| {
            check(&blueprint.topology(), &ask, property)
        });
    complain("a random machine", result);
    for (name, path) in collection() {
        let machine = load(&path);
        let result = runner(cases() / 40).run(&asks(), |ask| check(&machine, &ask, property));
        complain(&name, result);
    }
}

fn complain<T: std::fmt::Debug>(name: &str, result: Result<(), TestError<T>>) {
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, smallest)) => panic!("on {name}: {why}\n\n{smallest:?}"),
        Err(TestError::Abort(why)) => panic!("on {name}: gave up, {why}"),
    }
}

fn check(machine: &Arc<Topology>, ask: &Ask, property: fn(&Situation<'_>) -> Check) -> Check {
    ask.on(machine, |asked| {
        // In every other case the job has but some of the GPUs.
        let seed = format!("{asked:?}").bytes().fold(0, |seed, byte| scramble(seed, byte.into()));
        let shown = (seed % 2 == 0).then(|| some_gpus(machine, seed));
        let answer = map_for(machine, asked, shown.as_slice());
        let situation = Situation { machine, asked, shown, answer };
        property(&situation).map_err(|failure| match failure {
            TestCaseError::Reject(why) => TestCaseError::Reject(why),
            TestCaseError::Fail(why) => {
                TestCaseError::fail(format!("{why}\n{}", situation.describe()))
            }
        })
    })
}

/// About two thirds of the GPUs of a machine, by place.
fn some_gpus(machine: &Topology, seed: u64) -> BTreeSet<usize> {
    (0..machine.gpus().len()).filter(|gpu| scramble(seed, *gpu as u64) % 3 > 0).collect()
}

/// Maps within what the tasks were given: all of them one set of GPUs, or each its own.
fn map_for(
    machine: &Arc<Topology>,
    asked: &Parameters<'_>,
    shown: &[BTreeSet<usize>],
) -> Result<Mapping, Error> {
    let views = shown.iter().map(|gpus| view(machine, gpus)).collect();
    map(machine, &Request::new(asked)?.with_views(views)?)
}

const VARIABLES: [(Vendor, &str); 4] = [
    (Vendor::Nvidia, "CUDA_VISIBLE_DEVICES"),
    (Vendor::Amd, "ROCR_VISIBLE_DEVICES"),
    (Vendor::Intel, "ZE_AFFINITY_MASK"),
    (Vendor::Unknown, "VISIBLE_DEVICES"),
];

/// The variables of a process that has these GPUs.
fn view(machine: &Topology, shown: &BTreeSet<usize>) -> View {
    let value = |vendor: Vendor| {
        let gpus = shown.iter().map(|place| &machine.gpus()[*place]);
        let value = list(gpus.filter(|gpu| gpu.vendor == vendor));
        // For Level Zero no list is a list of all.
        if vendor == Vendor::Intel && value.is_empty() { "1000".into() } else { value }
    };
    let has = |vendor: Vendor| machine.gpus().iter().any(|gpu| gpu.vendor == vendor);
    let set = VARIABLES.into_iter().filter(|(vendor, _)| has(*vendor));
    View::new(set.map(|(vendor, name)| (name.to_owned(), value(vendor))), None)
}

/// GPUs of one vendor as its runtime wants them; for Level Zero these are tiles.
fn list<'a>(gpus: impl Iterator<Item = &'a Gpu>) -> String {
    let numbers: Vec<String> = gpus
        .flat_map(|gpu| match gpu.vendor {
            Vendor::Intel => (gpu.first_tile..gpu.first_tile + gpu.tiles).collect(),
            _ => vec![gpu.ordinal()],
        })
        .map(|number: u32| number.to_string())
        .collect();
    numbers.join(",")
}

/// What the machine is once default memory and the restriction are accounted for, in sets.
struct Expected {
    cpus: Ids,
    /// OS index and CPUs of the NUMA nodes that count.
    nodes: BTreeMap<u32, Ids>,
    /// Name and surroundings of the GPUs that are left.
    gpus: BTreeMap<String, Ids>,
    /// The same of the network cards.
    nics: BTreeMap<String, Ids>,
}

/// A domain of a mapping and what it got.
struct Share {
    object: ObjectId,
    cpus: Ids,
    tasks: Vec<i64>,
}

impl Situation<'_> {
    fn describe(&self) -> String {
        let machine = match &self.answer {
            Ok(mapping) => mapping.topology(),
            Err(_) => self.machine,
        };
        let answer = match &self.answer {
            Ok(mapping) => listing(mapping),
            Err(error) => format!("{error}\n"),
        };
        format!("{:?} on GPUs {:?}\n{}{answer}", self.asked, self.shown, sketch(machine))
    }

    /// The nodes that count before the restriction: the rule of default nodes, in sets.
    fn default_nodes(&self) -> BTreeMap<u32, Ids> {
        let with_cpus: BTreeMap<u32, (Option<&str>, Ids)> = (self.machine.numas().iter())
            .filter(|numa| !numa.cpus.is_empty())
            .map(|numa| (numa.os_index, (numa.subtype.as_deref(), numa.cpus.iter().collect())))
            .collect();
        let together: usize = with_cpus.values().map(|(_, cpus)| cpus.len()).sum();
        let union: Ids = with_cpus.values().flat_map(|(_, cpus)| cpus.clone()).collect();
        let Some((first, (subtype, of_first))) = with_cpus.iter().next() else {
            return BTreeMap::new();
        };
        if with_cpus.len() == self.machine.numas().len() && together == union.len() {
            return with_cpus.into_iter().map(|(os_index, (_, cpus))| (os_index, cpus)).collect();
        }
        let mut left: Ids = self.machine.pus().iter().copied().collect();
        left = &left - of_first;
        let mut kept = BTreeMap::from([(*first, of_first.clone())]);
        let alike = with_cpus.iter().filter(|(_, (other, _))| other == subtype);
        for (os_index, (_, cpus)) in alike.chain(&with_cpus) {
            if !left.is_empty() && !kept.contains_key(os_index) && cpus.is_subset(&left) {
                left = &left - cpus;
                kept.insert(*os_index, cpus.clone());
            }
        }
        kept
    }

    /// None where nothing is left.
    fn expected(&self) -> Option<Expected> {
        let mut cpus: Ids = self.machine.pus().iter().copied().collect();
        let mut nodes = self.default_nodes();
        if let Some(ids) = self.asked.restrict_ids {
            let ids: Ids = CpuSet::parse(ids).unwrap().iter().collect();
            if self.asked.restrict_type == "mem" {
                nodes.retain(|os_index, _| ids.contains(os_index));
                cpus = nodes.values().flatten().copied().collect();
            } else {
                cpus = &cpus & &ids;
            }
        }
        for of_node in nodes.values_mut() {
            *of_node = &*of_node & &cpus;
        }
        nodes.retain(|_, of_node| !of_node.is_empty());
        let around = |place: ObjectId| -> Ids {
            &pus_of(self.machine, place).into_iter().collect::<Ids>() & &cpus
        };
        let is_shown =
            |place: &usize| self.shown.as_ref().is_none_or(|shown| shown.contains(place));
        let gpus = self.machine.gpus().iter().enumerate();
        let gpus = gpus.filter(|(place, _)| is_shown(place));
        let gpus = gpus.map(|(_, gpu)| (gpu.name(), around(gpu.locality)));
        let gpus = gpus.filter(|(_, around)| !around.is_empty()).collect();
        let nics = self.machine.nics().iter().map(|nic| (nic.name.clone(), around(nic.locality)));
        let nics = nics.filter(|(_, around)| !around.is_empty()).collect();
        (!cpus.is_empty() && !nodes.is_empty()).then_some(Expected { cpus, nodes, gpus, nics })
    }

    fn is_greedy(&self, mapping: &Mapping) -> bool {
        self.asked.greedy && mapping.ntasks() < mapping.topology().numas().len()
    }

    /// The answer, if it is one by the memory hierarchy.
    fn by_hierarchy(&self) -> Option<&Mapping> {
        self.answer.as_ref().ok().filter(|mapping| !self.is_greedy(mapping))
    }
}

/// OS indexes of an object's hardware threads.
fn pus_of(machine: &Topology, object: ObjectId) -> Vec<u32> {
    machine.pus()[machine.objects()[object].pus.clone()].to_vec()
}

/// A machine on a few lines, to read a failure by.
fn sketch(machine: &Topology) -> String {
    let mut lines = String::new();
    for level in machine.levels() {
        let of =
            |object: ObjectId| pus_of(machine, object).into_iter().collect::<CpuSet>().to_string();
        let objects: Vec<String> = level.objects.clone().map(of).collect();
        lines += &format!("{:8} {}\n", level.kind.name(), objects.join(" | "));
    }
    for numa in machine.numas() {
        lines += &format!("NUMA {} {:?}: {}\n", numa.os_index, numa.subtype, numa.cpus);
    }
    for gpu in machine.gpus().iter() {
        let around = &machine.objects()[gpu.locality];
        let cpus: CpuSet = pus_of(machine, gpu.locality).into_iter().collect();
        lines += &format!("GPU {} at {} {cpus}\n", gpu.name(), around.kind.name());
    }
    for nic in machine.nics().iter() {
        let kind = machine.objects()[nic.locality].kind.name();
        let cpus: CpuSet = pus_of(machine, nic.locality).into_iter().collect();
        lines += &format!("NIC {} at {kind} {cpus}, down {}\n", nic.name, nic.down);
    }
    lines
}

fn cpus_of_task(mapping: &Mapping, task: i64) -> Ids {
    mapping.cpus(task).unwrap().iter().copied().collect()
}

fn tasks(mapping: &Mapping) -> impl Iterator<Item = i64> + '_ {
    0..mapping.ntasks() as i64
}

/// Who got what in a mapping by the memory hierarchy: a task belongs to the domain that has its
/// CPUs.
fn shares(mapping: &Mapping) -> Vec<Share> {
    let node = mapping.topology();
    let share = |numa: &mpibind_core::NumaNode| {
        let cpus: Ids = pus_of(node, numa.domain).into_iter().collect();
        let inside = |task: &i64| mapping.cpus(*task).unwrap().iter().all(|cpu| cpus.contains(cpu));
        let tasks = tasks(mapping).filter(inside).collect();
        Share { object: numa.domain, cpus, tasks }
    };
    node.numas().iter().map(share).collect()
}

/// The CPU sets of the core-level objects inside a domain; of its hardware threads where the domain
/// is less than a core.
fn cores_inside(node: &Topology, domain: &Ids) -> Vec<Ids> {
    let sets_of = |depth: usize| -> Vec<Ids> {
        let objects = node.levels()[depth].objects.clone();
        let sets = objects.map(|object| pus_of(node, object).into_iter().collect::<Ids>());
        sets.filter(|cpus| !cpus.is_empty() && cpus.is_subset(domain)).collect()
    };
    let cores = sets_of(node.core_depth());
    if cores.is_empty() { sets_of(node.levels().len() - 1) } else { cores }
}

/// How many hardware threads of each core-level object are in use in a domain: what was asked for, or
/// the fewest that give each worker one.
fn smt_in_use(situation: &Situation<'_>, mapping: &Mapping, share: &Share) -> usize {
    if situation.asked.smt > 0 {
        return situation.asked.smt as usize;
    }
    let node = mapping.topology();
    let cores = cores_inside(node, &share.cpus).len();
    let workers: u64 = share.tasks.iter().map(|t| u64::from(mapping.threads()[*t as usize])).sum();
    let width = node.smt_width();
    (1..width).find(|smt| (cores * smt) as u64 >= workers).unwrap_or(width)
}

/// The number of CPUs that each core-level object of a domain stands for.
fn contributions(situation: &Situation<'_>, mapping: &Mapping, share: &Share) -> Vec<usize> {
    let smt = smt_in_use(situation, mapping, share);
    let cores = cores_inside(mapping.topology(), &share.cpus);
    cores.iter().map(|core| core.len().min(smt)).collect()
}

/// The GPUs of a task, by their place in the device order.
fn gpus_of_task(mapping: &Mapping, task: i64) -> BTreeSet<usize> {
    mapping.gpu_indexes(task).unwrap().iter().copied().collect()
}

/// An object and all that it is in, from the inside out.
fn path(node: &Topology, object: ObjectId) -> impl Iterator<Item = ObjectId> + '_ {
    let above = |object: &ObjectId| (*object != 0).then(|| node.objects()[*object].parent);
    std::iter::successors(Some(object), above)
}

/// The GPUs in the subtree of a domain.
fn gpus_inside(node: &Topology, domain: ObjectId) -> BTreeSet<usize> {
    let gpus = node.gpus().iter().enumerate();
    let inside = gpus.filter(|(_, gpu)| path(node, gpu.locality).any(|object| object == domain));
    inside.map(|(index, _)| index).collect()
}

/// Levels partition the machine from the outside in, and nothing of the tree is lost on the way.
#[test]
fn a_topology_is_its_tree_in_levels() {
    let result = runner(cases()).run(&machines(), |blueprint: Blueprint| {
        let tree = blueprint.build();
        let machine = Topology::new(tree.clone(), "random").unwrap();
        let seen = sketch(&machine);
        let all: Ids = cpus_of(&tree, 0).iter().collect();
        prop_assert_eq!(machine.pus().iter().copied().collect::<Ids>(), all, "{}", seen);
        for level in machine.levels() {
            let objects = &machine.objects()[level.objects.clone()];
            let ranges_rise = objects.windows(2).all(|two| two[0].pus.end <= two[1].pus.start);
            prop_assert!(ranges_rise, "{} objects are out of order\n{}", level.kind.name(), seen);
            for id in level.objects.clone().filter(|id| *id > 0) {
                let (object, above) = (&machine.objects()[id], machine.objects()[id].parent);
                prop_assert!(above < level.objects.start, "a parent below its child\n{}", seen);
                let around = &machine.objects()[above].pus;
                let inside = around.start <= object.pus.start && object.pus.end <= around.end;
                prop_assert!(inside, "an object sticks out of its parent\n{}", seen);
                let cpus: CpuSet = pus_of(&machine, id).into_iter().collect();
                let is_like = |node: ObjectId| {
                    tree.nodes[node].kind == object.kind && cpus_of(&tree, node) == cpus
                };
                prop_assert!(
                    (0..tree.nodes.len()).any(is_like),
                    "{} {} came from nowhere\n{}",
                    object.kind.name(),
                    cpus,
                    seen
                );
            }
        }
        let mut nodes: Vec<_> = machine.numas().iter().map(|n| (n.os_index, &n.cpus)).collect();
        let mut given: Vec<_> = tree.numas.iter().map(|n| (n.os_index, &n.cpus)).collect();
        nodes.sort_by_key(|(os_index, _)| *os_index);
        given.sort_by_key(|(os_index, _)| *os_index);
        prop_assert_eq!(nodes, given, "{}", seen);
        for numa in tree.numas.iter().filter(|numa| !numa.cpus.is_empty()) {
            let ours = machine.numas().iter().find(|other| other.os_index == numa.os_index);
            let domain: CpuSet = pus_of(&machine, ours.unwrap().domain).into_iter().collect();
            prop_assert_eq!(domain, cpus_of(&tree, numa.domain), "{}", seen);
        }
        prop_assert_eq!(machine.gpus().len(), tree.gpus.len(), "{}", seen);
        prop_assert_eq!(machine.nics().len(), tree.nics.len(), "{}", seen);
        let gpus = tree.gpus.iter().map(|gpu| {
            let ours = machine.gpus().iter().find(|other| other.name() == gpu.name()).unwrap();
            (ours.locality, gpu.locality)
        });
        let nics = tree.nics.iter().map(|nic| {
            let ours = machine.nics().iter().find(|other| other.name == nic.name).unwrap();
            (ours.locality, nic.locality)
        });
        for (ours, mut place) in gpus.chain(nics) {
            let around: CpuSet = pus_of(&machine, ours).into_iter().collect();
            while cpus_of(&tree, place).is_empty() {
                let is_above = |id: &ObjectId| tree.nodes[*id].children.contains(&place);
                place = (0..tree.nodes.len()).find(is_above).unwrap();
            }
            prop_assert_eq!(around, cpus_of(&tree, place), "{}", seen);
        }
        Ok(())
    });
    complain("a random machine", result);
}

/// Errors come where the page says so, name the parameter, and come nowhere else.
#[test]
fn only_illegal_requests_are_refused() {
    holds_everywhere(|situation| {
        let Situation { machine, asked, answer, .. } = situation;
        if situation.default_nodes().is_empty() {
            prop_assert!(matches!(answer, Err(Error::Topology { .. })), "no memory has CPUs");
            return Ok(());
        }
        let node = machine.with_default_numas().unwrap();
        let width = node.as_ref().unwrap_or(machine).smt_width();
        let illegal = if asked.smt > width as i64 {
            Some("smt")
        } else if situation.expected().is_none() {
            Some("restrict_ids")
        } else {
            None
        };
        match (illegal, answer) {
            (None, answer) => prop_assert!(answer.is_ok()),
            (Some(name), Err(Error::InvalidParameter { parameter, .. })) => {
                prop_assert_eq!(name, *parameter);
            }
            (Some(name), _) => prop_assert!(false, "{name} is not legal"),
        }
        Ok(())
    });
}

/// The machine that is mapped: default memory and the restriction, and nothing else is lost.
#[test]
fn the_mapped_machine_is_what_the_restriction_leaves() {
    holds_everywhere(|situation| {
        let Ok(mapping) = &situation.answer else { return Ok(()) };
        let node = mapping.topology();
        let expected = situation.expected().unwrap();
        prop_assert_eq!(node.pus().iter().copied().collect::<Ids>(), expected.cpus);
        let nodes: BTreeMap<u32, Ids> = (node.numas().iter())
            .map(|numa| (numa.os_index, pus_of(node, numa.domain).into_iter().collect()))
            .collect();
        prop_assert_eq!(nodes, expected.nodes);
        let gpus: BTreeMap<String, Ids> = (node.gpus().iter())
            .map(|gpu| (gpu.name(), pus_of(node, gpu.locality).into_iter().collect()))
            .collect();
        prop_assert_eq!(gpus, expected.gpus);
        let nics: BTreeMap<String, Ids> = (node.nics().iter())
            .map(|nic| (nic.name.clone(), pus_of(node, nic.locality).into_iter().collect()))
            .collect();
        prop_assert_eq!(nics, expected.nics);
        Ok(())
    });
}

#[test]
fn invariant_1_every_task_has_a_cpu_and_only_cpus_of_the_restricted_machine() {
    holds_everywhere(|situation| {
        let Ok(mapping) = &situation.answer else { return Ok(()) };
        let legal = situation.expected().unwrap().cpus;
        prop_assert_eq!(mapping.ntasks() as i64, situation.asked.ntasks);
        for task in tasks(mapping) {
            let cpus = mapping.cpus(task).unwrap();
            prop_assert!(!cpus.is_empty(), "task {task} has no CPU");
            prop_assert!(cpus.is_sorted_by(|a, b| a < b), "task {task}: {cpus:?} do not rise");
            let strange = &cpus_of_task(mapping, task) - &legal;
            prop_assert!(strange.is_empty(), "task {task} has {strange:?} from elsewhere");
        }
        Ok(())
    });
}

#[test]
fn invariant_2_tasks_share_no_cpu_where_there_are_enough() {
    holds_everywhere(|situation| {
        let Ok(mapping) = &situation.answer else { return Ok(()) };
        let mut groups = vec![tasks(mapping).collect()];
        if !situation.is_greedy(mapping) {
            let domains = shares(mapping);
            let is_ample = |share: &&Share| {
                let available: usize = contributions(situation, mapping, share).iter().sum();
                available >= share.tasks.len()
            };
            groups = domains.iter().filter(is_ample).map(|share| share.tasks.clone()).collect();
        }
        for tasks in groups {
            let mut taken = BTreeMap::new();
            for task in tasks {
                for cpu in mapping.cpus(task).unwrap() {
                    let other = taken.insert(*cpu, task);
                    prop_assert!(other.is_none(), "CPU {cpu} is of tasks {other:?} and {task}");
                }
            }
        }
        Ok(())
    });
}

/// As the page says it for domains in which every core-level object contributes the same number of
/// CPUs. Where cores are unlike, blocks of objects are what is dealt evenly, not CPUs.
#[test]
fn invariant_3_tasks_of_a_domain_differ_by_one_cores_contribution_at_most() {
    holds_everywhere(|situation| {
        let Some(mapping) = situation.by_hierarchy() else { return Ok(()) };
        for share in shares(mapping).iter().filter(|share| !share.tasks.is_empty()) {
            let contributed = contributions(situation, mapping, share);
            let sizes = || share.tasks.iter().map(|task| mapping.cpus(*task).unwrap().len());
            let spread = sizes().max().unwrap() - sizes().min().unwrap();
            let most = *contributed.iter().max().unwrap();
            let all_alike = contributed.iter().all(|count| *count == most);
            if all_alike {
                prop_assert!(spread <= most, "{spread} CPUs more for one task than another");
                continue;
            }
            let cores = cores_inside(mapping.topology(), &share.cpus);
            let held = |task: &i64| {
                let cpus = cpus_of_task(mapping, *task);
                cores.iter().filter(|core| !core.is_disjoint(&cpus)).count()
            };
            let held: Vec<usize> = share.tasks.iter().map(held).collect();
            let spread = held.iter().max().unwrap() - held.iter().min().unwrap();
            prop_assert!(spread <= 1, "the tasks hold {held:?} cores");
        }
        Ok(())
    });
}

#[test]
fn invariant_4_a_task_stays_in_its_domain() {
    holds_everywhere(|situation| {
        let Some(mapping) = situation.by_hierarchy() else { return Ok(()) };
        let domains = shares(mapping);
        for task in tasks(mapping) {
            let homes = domains.iter().filter(|share| share.tasks.contains(&task)).count();
            prop_assert_eq!(homes, 1, "task {} is in {} domains", task, homes);
        }
        Ok(())
    });
}

/// In a greedy mapping a task has whole domains, neighbours of each other, and their GPUs.
#[test]
fn invariant_4_a_greedy_task_has_whole_domains() {
    holds_everywhere(|situation| {
        let Ok(mapping) = &situation.answer else { return Ok(()) };
        if !situation.is_greedy(mapping) {
            return Ok(());
        }
        let node = mapping.topology();
        let domains: Vec<(ObjectId, Ids)> = (node.numas().iter())
            .map(|numa| (numa.domain, pus_of(node, numa.domain).into_iter().collect()))
            .collect();
        let mut rest = &domains[..];
        let (each, more) = (domains.len() / mapping.ntasks(), domains.len() % mapping.ntasks());
        for task in tasks(mapping) {
            let (own, others) = rest.split_at(each + usize::from((task as usize) < more));
            rest = others;
            let cpus: Ids = own.iter().flat_map(|(_, cpus)| cpus.clone()).collect();
            prop_assert_eq!(&cpus_of_task(mapping, task), &cpus);
            let threads = match situation.asked.nthreads {
                0 => cpus.len() as i64,
                given => given,
            };
            prop_assert_eq!(i64::from(mapping.threads()[task as usize]), threads);
            let near: BTreeSet<usize> =
                own.iter().flat_map(|(object, _)| gpus_inside(node, *object)).collect();
            prop_assert!(near.is_subset(&gpus_of_task(mapping, task)), "task {task} lacks a GPU");
        }
        prop_assert_eq!(mapping.warnings().len(), usize::from(situation.asked.smt > 0));
        Ok(())
    });
}

/// The CPUs around a GPU: those at its place, or, where these have no memory of their own, at the
/// closest place above that has some.
fn around_gpu(node: &Topology, gpu: usize) -> Ids {
    let has_memory: Ids = node.numas().iter().flat_map(|numa| pus_of(node, numa.domain)).collect();
    let mut place = node.gpus()[gpu].locality;
    loop {
        let around: Ids = pus_of(node, place).into_iter().collect();
        if place == 0 || !around.is_disjoint(&has_memory) {
            return around;
        }
        place = node.objects()[place].parent;
    }
}

/// Tasks are spread in proportion to GPUs or CPUs: less than one task off the exact share.
#[test]
fn tasks_are_spread_in_proportion() {
    holds_everywhere(|situation| {
        let Some(mapping) = situation.by_hierarchy() else { return Ok(()) };
        let node = mapping.topology();
        let domains = shares(mapping);
        let near = |share: &Share| {
            let gpus = 0..node.gpus().len();
            gpus.filter(|gpu| !around_gpu(node, *gpu).is_disjoint(&share.cpus)).count()
        };
        let mut weights: Vec<usize> = domains.iter().map(near).collect();
        if !situation.asked.gpu_optim || weights.iter().all(|weight| *weight == 0) {
            weights = domains.iter().map(|share| share.cpus.len()).collect();
        }
        let sum: usize = weights.iter().sum();
        for (share, weight) in domains.iter().zip(weights) {
            // Multiplied by the sum, so that everything is a whole number.
            let (got, fair) = (share.tasks.len() * sum, mapping.ntasks() * weight);
            prop_assert!(
                got.abs_diff(fair) < sum,
                "{} tasks for weight {weight} of {sum}",
                share.tasks.len()
            );
        }
        prop_assert_eq!(domains.len(), node.numas().len());
        Ok(())
    });
}

/// Threads per task are those asked for, or what is at hand in the task's domain divided evenly.
#[test]
fn threads_fill_the_domain() {
    holds_everywhere(|situation| {
        let Some(mapping) = situation.by_hierarchy() else { return Ok(()) };
        let node = mapping.topology();
        let width = node.smt_width();
        for share in shares(mapping) {
            let cores = cores_inside(node, &share.cpus).len();
            let at_hand = match situation.asked.smt as usize {
                smt if smt >= width => share.cpus.len(),
                0 | 1 => cores,
                smt => cores * smt,
            };
            for task in &share.tasks {
                let threads = match situation.asked.nthreads {
                    0 => (at_hand / share.tasks.len()).max(1),
                    given => given as usize,
                };
                prop_assert_eq!(mapping.threads()[*task as usize] as usize, threads);
            }
        }
        Ok(())
    });
}

/// The answer by the memory hierarchy with optimisation for GPUs, on a node that has some.
fn by_gpus<'a>(situation: &'a Situation<'_>) -> Option<&'a Mapping> {
    let mapping = situation.by_hierarchy().filter(|_| situation.asked.gpu_optim)?;
    (!situation.expected()?.gpus.is_empty()).then_some(mapping)
}

#[test]
fn invariant_5_every_task_has_a_gpu() {
    holds_everywhere(|situation| {
        let Some(mapping) = by_gpus(situation) else { return Ok(()) };
        for task in tasks(mapping) {
            prop_assert!(!mapping.gpu_indexes(task).unwrap().is_empty(), "task {task} has none");
        }
        Ok(())
    });
}

#[test]
fn invariant_5_a_domain_with_tasks_leaves_none_of_its_gpus_unused() {
    holds_everywhere(|situation| {
        let Some(mapping) = by_gpus(situation) else { return Ok(()) };
        for share in shares(mapping).iter().filter(|share| !share.tasks.is_empty()) {
            let used: BTreeSet<usize> =
                share.tasks.iter().flat_map(|task| gpus_of_task(mapping, *task)).collect();
            let unused = &gpus_inside(mapping.topology(), share.object) - &used;
            prop_assert!(unused.is_empty(), "GPUs {unused:?} are not used");
        }
        Ok(())
    });
}

/// The domain's own GPUs are meant: those that hang above all domains are shared by the tasks below
/// them.
#[test]
fn invariant_5_no_gpu_is_shared_in_a_domain_that_has_enough() {
    holds_everywhere(|situation| {
        let Some(mapping) = by_gpus(situation) else { return Ok(()) };
        for share in shares(mapping) {
            let own = gpus_inside(mapping.topology(), share.object);
            if own.len() < share.tasks.len() {
                continue;
            }
            for gpu in own {
                let takers =
                    share.tasks.iter().filter(|t| gpus_of_task(mapping, **t).contains(&gpu));
                prop_assert!(takers.count() <= 1, "GPU {gpu} is shared");
            }
        }
        Ok(())
    });
}

/// GPUs above the domains are lost to nobody: each is used if there is a task below its place.
#[test]
fn gpus_above_the_domains_are_used() {
    holds_everywhere(|situation| {
        let Ok(mapping) = &situation.answer else { return Ok(()) };
        let node = mapping.topology();
        let used: BTreeSet<usize> =
            tasks(mapping).flat_map(|task| gpus_of_task(mapping, task)).collect();
        let inside: BTreeSet<usize> =
            node.numas().iter().flat_map(|numa| gpus_inside(node, numa.domain)).collect();
        for (index, gpu) in node.gpus().iter().enumerate().filter(|(i, _)| !inside.contains(i)) {
            let below: Ids = pus_of(node, gpu.locality).into_iter().collect();
            let has_tasks =
                tasks(mapping).any(|task| !cpus_of_task(mapping, task).is_disjoint(&below));
            prop_assert!(!has_tasks || used.contains(&index), "{} is not used", gpu.name());
        }
        Ok(())
    });
}

/// No GPU goes to a task that is not near it, and each task's are listed in device order.
#[test]
fn gpus_go_to_tasks_near_them() {
    holds_everywhere(|situation| {
        let Ok(mapping) = &situation.answer else { return Ok(()) };
        let node = mapping.topology();
        for task in tasks(mapping) {
            let gpus = mapping.gpu_indexes(task).unwrap();
            prop_assert!(gpus.is_sorted_by(|a, b| a < b), "task {task}: {gpus:?} do not rise");
            let home: Ids = (node.numas().iter())
                .map(|numa| pus_of(node, numa.domain).into_iter().collect::<Ids>())
                .filter(|domain| !domain.is_disjoint(&cpus_of_task(mapping, task)))
                .flatten()
                .collect();
            for gpu in gpus {
                let around = around_gpu(node, *gpu);
                prop_assert!(!around.is_disjoint(&home), "GPU {gpu} is far from task {task}");
            }
        }
        Ok(())
    });
}

#[test]
fn invariant_6_there_is_a_thread_and_every_run_gives_the_same() {
    holds_everywhere(|situation| {
        let Ok(mapping) = &situation.answer else { return Ok(()) };
        prop_assert!(mapping.threads().iter().all(|threads| *threads >= 1));
        let again =
            map_for(situation.machine, situation.asked, situation.shown.as_slice()).unwrap();
        prop_assert_eq!(mapping, &again);
        Ok(())
    });
}

/// Sizes beyond any node, in shapes that would show a step whose cost is not linear: this test does
/// not end then.
#[test]
fn invariant_7_a_hundred_thousand_tasks_and_cpus() {
    use mpibind_core::{Gpu, Nic, NumaNode, Tree};
    /// `domains` packages of `cores` cores of two threads, with a GPU and a network card each, numbered
    /// at random.
    fn machine(domains: usize, cores: usize) -> Arc<Topology> {
        let mut tree = Tree::default();
        let root = tree.add(None, Kind::Machine, None);
        let mut numbers: Vec<u32> = (0..(domains * cores * 2) as u32).collect();
        numbers.sort_by_key(|number| scramble(1, u64::from(*number)));
        for domain in 0..domains {
            let package = tree.add(Some(root), Kind::Package, None);
            let mut cpus = Vec::new();
            for _ in 0..cores {
                let core = tree.add(Some(package), Kind::Core, None);
                for _ in 0..2 {
                    let number = numbers.pop().unwrap();
                    tree.add(Some(core), Kind::Pu, Some(number));
                    cpus.push(number);
                }
            }
            let cpus = cpus.into_iter().collect();
            let os_index = domain as u32;
            tree.numas.push(NumaNode { os_index, subtype: None, bytes: 0, cpus, domain: package });
            let locality = if domain % 2 == 0 { package } else { root };
            tree.gpus.push(Gpu::new(os_index, Vendor::Unknown, locality));
            let name = format!("nic{domain}");
            tree.nics.push(Nic { name, port: None, down: false, pci: None, locality });
        }
        Arc::new(Topology::new(tree, "huge").unwrap())
    }
    for (domains, cores) in [(1, 65_536), (16, 4096), (1024, 64)] {
        let machine = machine(domains, cores);
        let every_other: Vec<String> = (0..131_072).step_by(2).map(|id| id.to_string()).collect();
        let every_other = every_other.join(",");
        for (ntasks, nthreads, restrict_ids) in [
            (1, 0, None),
            (100_000, 0, None),
            (100_000, 1 << 20, None),
            (1 << 20, 0, None),
            (100_000, 0, Some(every_other.as_str())),
        ] {
            let asked = Parameters { nthreads, restrict_ids, ..Parameters::new(ntasks) };
            let mapping = map(&machine, &Request::new(&asked).unwrap()).unwrap();
            assert_eq!(mapping.ntasks() as i64, ntasks);
            let longest = tasks(&mapping).map(|task| mapping.cpus(task).unwrap().len()).min();
            assert!(longest > Some(0), "a task without CPUs");
        }
    }
}

/// Pops random numbers of CPUs and cores off random tasks, and tells the same in sets.
fn pops() -> impl Strategy<Value = Vec<(bool, u8, i64)>> {
    prop::collection::vec((any::<bool>(), any::<u8>(), -1..=4i64), 1..=6)
}

#[test]
fn popping_takes_the_lowest_and_leaves_something() {
    let strategy = (machines(), asks(), pops());
    let result = runner(cases()).run(&strategy, |(blueprint, ask, pops)| {
        let machine = blueprint.topology();
        let answer = ask
            .on(&machine, |asked| Request::new(asked).and_then(|request| map(&machine, &request)));
        let Ok(mut mapping) = answer else { return Ok(()) };
        for (whole_cores, task, n) in pops {
            let task = i64::from(task) % mapping.ntasks() as i64;
            let before = mapping.clone();
            let own = cpus_of_task(&mapping, task);
            let left = match (usize::try_from(n), whole_cores) {
                (Err(_), _) => None,
                (Ok(n), false) => Some(own.iter().copied().skip(n).collect()),
                (Ok(n), true) => Some(without_cores(mapping.topology(), own.clone(), n)),
            };
            let left = left.filter(|left: &Ids| !left.is_empty());
            let result = match whole_cores {
                true => mapping.pop_cores(task, n),
                false => mapping.pop_cpus(task, n),
            };
            let Some(left) = left else {
                prop_assert!(
                    matches!(result, Err(Error::InvalidParameter { .. })),
                    "n={n} is legal"
                );
                prop_assert_eq!(&mapping, &before, "a refused call changed something");
                continue;
            };
            prop_assert_eq!(result, Ok(()));
            prop_assert_eq!(mapping.threads()[task as usize] as usize, left.len());
            prop_assert_eq!(cpus_of_task(&mapping, task), left);
            for other in tasks(&mapping).filter(|other| *other != task) {
                prop_assert_eq!(mapping.cpus(other).unwrap(), before.cpus(other).unwrap());
                let at = other as usize;
                prop_assert_eq!(mapping.threads()[at], before.threads()[at]);
            }
        }
        Ok(())
    });
    complain("a random machine", result);
}

/// What is left of `cpus` after taking `n` times the whole core of the lowest.
fn without_cores(node: &Topology, mut cpus: Ids, n: usize) -> Ids {
    let cores = node.levels()[node.core_depth()].objects.clone();
    let cores: Vec<Ids> = cores.map(|core| pus_of(node, core).into_iter().collect()).collect();
    for _ in 0..n {
        let Some(lowest) = cpus.pop_first() else { break };
        if let Some(core) = cores.iter().find(|core| core.contains(&lowest)) {
            cpus = &cpus - core;
        }
    }
    cpus
}

#[test]
fn the_environment_says_what_the_mapping_says() {
    holds_everywhere(|situation| {
        let Ok(mapping) = &situation.answer else { return Ok(()) };
        prop_assert!(variables(mapping, -1, EnvOptions::default()).is_err());
        prop_assert!(variables(mapping, mapping.ntasks() as i64, EnvOptions::default()).is_err());
        let vendors: BTreeSet<Vendor> =
            mapping.topology().gpus().iter().map(|gpu| gpu.vendor).collect();
        for (task, omp_affinity, gpu_uuids) in tasks(mapping)
            .flat_map(|task| [(task, false, false), (task, true, false), (task, false, true)])
        {
            let options = EnvOptions { omp_affinity, gpu_uuids, ..EnvOptions::default() };
            let own: Vec<_> = mapping.gpus(task).unwrap().collect();
            let answer = variables(mapping, task, options);
            // Level Zero has no UUIDs in its mask, so none are wanted of its GPUs.
            let has_none = |gpu: &&Gpu| gpu.vendor != Vendor::Intel && gpu.uuid.is_none();
            if gpu_uuids && own.iter().any(has_none) {
                prop_assert!(matches!(answer, Err(Error::Device { .. })), "a UUID from nowhere");
                continue;
            }
            let answer = answer.unwrap();
            prop_assert!(answer.is_sorted_by(|a, b| a.0 < b.0), "{answer:?}");
            let answer: BTreeMap<String, String> = answer.into_iter().collect();
            let threads = mapping.threads()[task as usize].to_string();
            prop_assert_eq!(&answer["OMP_NUM_THREADS"], &threads);
            prop_assert_eq!(answer.contains_key("OMP_PLACES"), omp_affinity);
            prop_assert_eq!(answer.contains_key("OMP_PROC_BIND"), omp_affinity);
            for (vendor, name) in VARIABLES {
                // A task without GPUs must not see those of others: the variable is there, and
                // shows none.
                prop_assert_eq!(answer.contains_key(name), vendors.contains(&vendor));
                let of_vendor: Vec<&Gpu> =
                    own.iter().copied().filter(|gpu| gpu.vendor == vendor).collect();
                let expected = match vendor {
                    Vendor::Intel if of_vendor.is_empty() => "1000".into(),
                    Vendor::Intel => list(of_vendor.into_iter()),
                    _ if gpu_uuids => {
                        let uuids: Vec<_> =
                            of_vendor.iter().filter_map(|gpu| gpu.uuid.as_deref()).collect();
                        uuids.join(",")
                    }
                    _ => list(of_vendor.into_iter()),
                };
                let told = answer.get(name).filter(|_| vendors.contains(&vendor));
                prop_assert_eq!(told.cloned(), vendors.contains(&vendor).then_some(expected));
            }
            // Network cards are named on request only.
            prop_assert!(NIC_VARIABLES.iter().all(|name| !answer.contains_key(*name)));
            let with_nics = variables(mapping, task, EnvOptions { nics: true, ..options }).unwrap();
            let mut with_nics: BTreeMap<String, String> = with_nics.into_iter().collect();
            let nics = mapping.nics(task).unwrap();
            let nics: Vec<String> =
                nics.filter_map(|nic| Some(format!("{}:{}", nic.name, nic.port?))).collect();
            let list = (!nics.is_empty()).then(|| nics.join(","));
            prop_assert_eq!(&with_nics.remove("UCX_NET_DEVICES"), &list);
            prop_assert_eq!(with_nics.remove("NCCL_IB_HCA"), list.map(|list| format!("={list}")));
            prop_assert_eq!(&with_nics, &answer);
            // HIP would take the variable of CUDA for its own.
            let is_mixed = vendors.contains(&Vendor::Nvidia) && vendors.contains(&Vendor::Amd);
            prop_assert_eq!(answer.contains_key("HIP_VISIBLE_DEVICES"), is_mixed);
        }
        Ok(())
    });
}

/// Read back, the variables of a task show its GPUs: alone, or first of all that the job has.
#[test]
fn a_task_sees_the_gpus_that_it_was_given() {
    holds_everywhere(|situation| {
        let Ok(mapping) = &situation.answer else { return Ok(()) };
        let gpus = mapping.topology().gpus();
        for task in tasks(mapping) {
            let own = gpus_of_task(mapping, task);
            let seen = |visible| {
                let options = EnvOptions { visible, ..EnvOptions::default() };
                let sight = View::new(variables(mapping, task, options).unwrap(), None);
                sight.sight(situation.machine.gpus())
            };
            let named = |places: &[usize]| -> Vec<String> {
                places.iter().map(|place| situation.machine.gpus()[*place].name()).collect()
            };
            let is_said = |name: &String| gpus.iter().any(|gpu| gpu.name() == *name);
            // Where the job has none of a vendor's GPUs nothing is said, and what was said stays.
            let vendors: BTreeSet<Vendor> = gpus.iter().map(|gpu| gpu.vendor).collect();
            let of_job = |places: &[usize]| -> Vec<usize> {
                let all = situation.machine.gpus();
                places.iter().copied().filter(|p| vendors.contains(&all[*p].vendor)).collect()
            };
            let alone = seen(Visible::Own);
            prop_assert!(alone.notes.is_empty(), "{:?}", alone.notes);
            let names: BTreeSet<String> = named(&of_job(&alone.shown)).into_iter().collect();
            let expected: BTreeSet<String> = own.iter().map(|gpu| gpus[*gpu].name()).collect();
            prop_assert_eq!(&names, &expected);
            let first = named(&of_job(&seen(Visible::OwnFirst).shown));
            prop_assert!(first.iter().all(is_said), "{first:?}");
            prop_assert_eq!(first.len(), gpus.len());
            for vendor in [Vendor::Nvidia, Vendor::Amd, Vendor::Unknown] {
                let is_of = |gpu: &&Gpu| gpu.vendor == vendor;
                let leading = gpus.iter().filter(is_of).map(Gpu::name).collect::<Vec<_>>();
                let mine = first.iter().filter(|name| leading.contains(name));
                let count = own.iter().filter(|gpu| gpus[**gpu].vendor == vendor).count();
                prop_assert!(mine.take(count).all(|name| expected.contains(name)), "{first:?}");
            }
        }
        Ok(())
    });
}

/// How many times each thing is there, for those that are there at all and for these.
fn spread<T: Ord>(things: impl Iterator<Item = T>, all: impl Iterator<Item = T>) -> (usize, usize) {
    let mut counts: BTreeMap<T, usize> = all.map(|thing| (thing, 0)).collect();
    things.for_each(|thing| *counts.entry(thing).or_default() += 1);
    (counts.values().min().copied().unwrap_or(0), counts.values().max().copied().unwrap_or(0))
}

/// Of a domain's own GPUs its tasks have equal numbers, give or take one; and where tasks share them,
/// so many tasks share each.
#[test]
fn gpus_are_dealt_evenly() {
    holds_everywhere(|situation| {
        let Some(mapping) = situation.by_hierarchy() else { return Ok(()) };
        for share in shares(mapping).iter().filter(|share| !share.tasks.is_empty()) {
            let inside = gpus_inside(mapping.topology(), share.object);
            let pairs: Vec<(i64, usize)> = (share.tasks.iter())
                .flat_map(|task| gpus_of_task(mapping, *task).into_iter().map(|gpu| (*task, gpu)))
                .filter(|(_, gpu)| inside.contains(gpu))
                .collect();
            let of_tasks = spread(pairs.iter().map(|(task, _)| *task), share.tasks.iter().copied());
            prop_assert!(of_tasks.1 <= of_tasks.0 + 1, "GPUs per task {of_tasks:?}");
            let of_gpus = spread(pairs.iter().map(|(_, gpu)| *gpu), inside.iter().copied());
            prop_assert!(of_gpus.1 <= of_gpus.0 + 1, "tasks per GPU {of_gpus:?}");
        }
        Ok(())
    });
}

/// Who gets each of so many things: blocks of neighbours, the first ones one larger.
fn owners(things: usize, hands: usize) -> Vec<usize> {
    let size = |hand: usize| things / hands + usize::from(hand < things % hands);
    (0..hands).flat_map(|hand| vec![hand; size(hand)]).collect()
}

/// Deals GPUs to tasks: blocks of GPUs to each task, or one to each block of tasks.
fn deal_out(gpus: &[usize], tasks: &[i64], hands: &mut BTreeMap<i64, BTreeSet<usize>>) {
    if gpus.is_empty() || tasks.is_empty() {
        return;
    }
    let pairs: Vec<(i64, usize)> = match gpus.len() >= tasks.len() {
        true => owners(gpus.len(), tasks.len())
            .iter()
            .map(|task| tasks[*task])
            .zip(gpus.to_vec())
            .collect(),
        false => tasks
            .iter()
            .copied()
            .zip(owners(tasks.len(), gpus.len()).iter().map(|gpu| gpus[*gpu]))
            .collect(),
    };
    for (task, gpu) in pairs {
        hands.entry(task).or_default().insert(gpu);
    }
}

/// GPUs by place: in domains, and above all of them, inner levels first, on a level the first place.
struct Hanging {
    inside: Vec<(ObjectId, Vec<usize>)>,
    above: Vec<(ObjectId, Vec<usize>)>,
}

impl Hanging {
    fn on(node: &Topology) -> Self {
        let domains: Vec<ObjectId> = node.numas().iter().map(|numa| numa.domain).collect();
        let inside: Vec<(ObjectId, Vec<usize>)> = (domains.iter())
            .map(|domain| (*domain, gpus_inside(node, *domain).into_iter().collect()))
            .collect();
        let mut above: BTreeMap<ObjectId, Vec<usize>> = BTreeMap::new();
        for gpu in 0..node.gpus().len() {
            if !inside.iter().any(|(_, gpus)| gpus.contains(&gpu)) {
                // Past places that have no memory of their own.
                let has_domain = |place: &ObjectId| {
                    domains.iter().any(|domain| path(node, *domain).any(|above| above == *place))
                };
                let place = path(node, node.gpus()[gpu].locality).find(has_domain).unwrap();
                above.entry(place).or_default().push(gpu);
            }
        }
        let mut above: Vec<_> = above.into_iter().collect();
        above.sort_by_key(|(place, _)| std::cmp::Reverse(node.depth(*place))); // else by place
        Self { inside, above }
    }
}

/// Steps 4 and 5 of the page to the letter: first the GPUs of each domain, then, from the inside out,
/// those above the domains, which go to the tasks below that have none yet, or else to all of these.
#[test]
fn gpus_are_dealt_as_the_page_says() {
    holds_everywhere(|situation| {
        let Ok(mapping) = &situation.answer else { return Ok(()) };
        let node = mapping.topology();
        let tasks_in = |place: ObjectId| -> Vec<i64> {
            let below = node.numas().iter().map(|numa| numa.domain);
            let below = below.filter(|domain| path(node, *domain).any(|above| above == place));
            let below: Ids = below.flat_map(|domain| pus_of(node, domain)).collect();
            tasks(mapping).filter(|t| !cpus_of_task(mapping, *t).is_disjoint(&below)).collect()
        };
        let hanging = Hanging::on(node);
        let mut hands: BTreeMap<i64, BTreeSet<usize>> = BTreeMap::new();
        for (domain, gpus) in &hanging.inside {
            deal_out(gpus, &tasks_in(*domain), &mut hands);
        }
        for (place, gpus) in &hanging.above {
            let below = tasks_in(*place);
            let without: Vec<i64> =
                below.iter().copied().filter(|task| !hands.contains_key(task)).collect();
            deal_out(gpus, if without.is_empty() { &below } else { &without }, &mut hands);
        }
        for task in tasks(mapping) {
            let expected = hands.remove(&task).unwrap_or_default();
            prop_assert_eq!(gpus_of_task(mapping, task), expected, "task {}", task);
        }
        Ok(())
    });
}

/// Without optimisation for GPUs, and where a restriction or the job has left none of them, CPUs and
/// threads are those of a machine without GPUs, for which nobody optimises.
#[test]
fn where_gpus_have_no_say_the_mapping_is_that_without_them() {
    holds_everywhere(|situation| {
        let Ok(mapping) = &situation.answer else { return Ok(()) };
        if situation.asked.gpu_optim && !mapping.topology().gpus().is_empty() {
            return Ok(());
        }
        let asked = Parameters { gpu_optim: false, ..situation.asked.clone() };
        let plain = map_for(situation.machine, &asked, &[BTreeSet::new()]).unwrap();
        prop_assert_eq!(mapping.flat_cpus(), plain.flat_cpus());
        prop_assert_eq!(mapping.offsets(), plain.offsets());
        prop_assert_eq!(mapping.threads(), plain.threads());
        Ok(())
    });
}

/// GPUs that a restriction takes away change nothing: the mapping is that of a machine which never had
/// them.
#[test]
fn gpus_that_are_cut_away_are_as_if_they_had_never_been() {
    holds_everywhere(|situation| {
        let Situation { machine, asked, .. } = situation;
        let Ok(mapping) = &situation.answer else { return Ok(()) };
        let left: BTreeSet<String> = mapping.topology().gpus().iter().map(Gpu::name).collect();
        let all = machine.gpus().iter().enumerate();
        let left: BTreeSet<usize> =
            all.filter(|(_, gpu)| left.contains(&gpu.name())).map(|(place, _)| place).collect();
        let without = map_for(machine, asked, &[left]).unwrap();
        prop_assert_eq!(mapping.flat_cpus(), without.flat_cpus());
        prop_assert_eq!(mapping.threads(), without.threads());
        for task in tasks(mapping) {
            let names = |mapping: &Mapping| -> Vec<String> {
                mapping.gpus(task).unwrap().map(Gpu::name).collect()
            };
            prop_assert_eq!(names(mapping), names(&without), "task {}", task);
        }
        Ok(())
    });
}

/// The random machines and requests have all that matters for GPUs, so that the properties above are
/// about something.
#[test]
fn all_situations_of_gpus_are_tried() {
    // The rarest is one case in a hundred: so many that chance does not miss it.
    const CASES: u32 = 2000;
    let seen = std::cell::RefCell::new(BTreeMap::<&str, u32>::new());
    let note = |what, is_so: bool| *seen.borrow_mut().entry(what).or_default() += u32::from(is_so);
    let result = runner(CASES).run(&(machines(), asks()), |(blueprint, ask)| {
        let machine = blueprint.topology();
        let answer = ask.on(&machine, |asked| map_for(&machine, asked, &[]));
        let Ok(mapping) = answer else { return Ok(()) };
        let (node, ntasks) = (mapping.topology(), mapping.ntasks());
        let (gpus, hanging) = (node.gpus().len(), Hanging::on(node));
        let filled = hanging.inside.iter().filter(|(_, gpus)| !gpus.is_empty()).count();
        let has_some = 0 < filled && filled < hanging.inside.len();
        note("GPUs in some domains only", has_some);
        note("GPUs above all domains", !hanging.above.is_empty());
        note("GPUs above domains, beside some in these", has_some && !hanging.above.is_empty());
        note("GPUs above domains at several heights", hanging.above.len() > 1);
        note("more tasks than GPUs", 0 < gpus && gpus < ntasks);
        note("fewer tasks than GPUs", ntasks < gpus);
        note(
            "greedy, with GPUs above domains",
            ntasks < hanging.inside.len() && !hanging.above.is_empty(),
        );
        note("a restriction that takes some GPUs", 0 < gpus && gpus < machine.gpus().len());
        note("a restriction that takes all GPUs", gpus == 0 && !machine.gpus().is_empty());
        Ok(())
    });
    complain("a random machine", result);
    for (what, count) in seen.into_inner() {
        assert!(count > 0, "{what}: not once in {CASES} cases");
    }
}

/// Tasks that came with GPUs of their own keep them, go where these are, and are otherwise mapped as
/// all others.
#[test]
fn tasks_keep_gpus_of_their_own() {
    holds_everywhere(|situation| {
        let Situation { machine, asked, .. } = situation;
        let Ok(answer) = &situation.answer else { return Ok(()) };
        let seed = answer.ntasks() as u64;
        let own: Vec<BTreeSet<usize>> = (0..answer.ntasks())
            .map(|task| some_gpus(machine, scramble(seed, task as u64)))
            .collect();
        if own.iter().all(|gpus| *gpus == own[0]) {
            return Ok(());
        }
        let mapping = map_for(machine, asked, &own).unwrap();
        let node = mapping.topology();
        let left: BTreeSet<String> = node.gpus().iter().map(Gpu::name).collect();
        for task in tasks(&mapping) {
            let given = own[task as usize].iter().map(|gpu| machine.gpus()[*gpu].name());
            let given: BTreeSet<String> = given.filter(|name| left.contains(name)).collect();
            let has: BTreeSet<String> = mapping.gpus(task).unwrap().map(Gpu::name).collect();
            prop_assert_eq!(&has, &given, "task {}", task);
            let env: BTreeMap<String, String> =
                variables(&mapping, task, EnvOptions::default()).unwrap().into_iter().collect();
            for (name, value) in [("CUDA_VISIBLE_DEVICES", Vendor::Nvidia)].map(|(name, vendor)| {
                let of_vendor = own[task as usize].iter().map(|gpu| &machine.gpus()[*gpu]);
                (name, list(of_vendor.filter(|gpu| gpu.vendor == vendor)))
            }) {
                if let Some(told) = env.get(name) {
                    prop_assert_eq!(told, &value);
                }
            }
            // Its first GPU that is in one domain says where it goes.
            let domains: Vec<ObjectId> = node.numas().iter().map(|numa| numa.domain).collect();
            let home = gpus_of_task(&mapping, task)
                .into_iter()
                .find_map(|gpu| domains.iter().find(|d| gpus_inside(node, **d).contains(&gpu)));
            let is_hierarchy = !(asked.greedy && mapping.ntasks() < node.numas().len());
            if let (Some(home), true, true) = (home, asked.gpu_optim, is_hierarchy) {
                let home: Ids = pus_of(node, *home).into_iter().collect();
                prop_assert!(cpus_of_task(&mapping, task).is_subset(&home), "task {task} is away");
            }
        }
        nics_are_the_closest(&mapping)?;
        // The same CPUs and threads, if in another order, where nobody goes by GPUs.
        if !asked.gpu_optim {
            let plain = map_for(machine, asked, &[]).unwrap();
            prop_assert_eq!(mapping.flat_cpus(), plain.flat_cpus());
            prop_assert_eq!(mapping.threads(), plain.threads());
        }
        Ok(())
    });
}

/// Each task has its share of the network cards that are closest to it: in one of the domains where it
/// has CPUs or GPUs, else in the package of one, else of any that work.
fn nics_are_the_closest(mapping: &Mapping) -> Check {
    let node = mapping.topology();
    let domains: Vec<ObjectId> = node.numas().iter().map(|numa| numa.domain).collect();
    let package = |object: ObjectId| {
        path(node, object).find(|object| node.objects()[*object].kind == Kind::Package)
    };
    let mut groups: BTreeMap<Vec<usize>, Vec<i64>> = BTreeMap::new();
    for task in tasks(mapping) {
        let (cpus, gpus) = (cpus_of_task(mapping, task), gpus_of_task(mapping, task));
        let is_own = |domain: &&ObjectId| {
            let around: Ids = pus_of(node, **domain).into_iter().collect();
            !around.is_disjoint(&cpus) || !gpus_inside(node, **domain).is_disjoint(&gpus)
        };
        let own: Vec<ObjectId> = domains.iter().filter(is_own).copied().collect();
        let in_domain = |nic: ObjectId| path(node, nic).any(|object| own.contains(&object));
        let in_package = |nic: ObjectId| {
            package(nic).is_some() && own.iter().any(|domain| package(*domain) == package(nic))
        };
        let nics = || node.nics().iter().enumerate().filter(|(_, nic)| !nic.down);
        let those = |near: &dyn Fn(ObjectId) -> bool| -> Vec<usize> {
            nics().filter(|(_, nic)| near(nic.locality)).map(|(place, _)| place).collect()
        };
        let near = [those(&in_domain), those(&in_package), those(&|_| true)];
        let near = near.into_iter().find(|nics| !nics.is_empty()).unwrap_or_default();
        let has = mapping.nic_indexes(task).unwrap();
        prop_assert!(has.is_sorted_by(|a, b| a < b), "task {task}: {has:?} do not rise");
        prop_assert!(has.iter().all(|nic| near.contains(nic)), "task {task}: {has:?} of {near:?}");
        groups.entry(near).or_default().push(task);
    }
    for (near, tasks) in groups.iter().filter(|(near, _)| !near.is_empty()) {
        let pairs = || {
            let pairs = |task: &i64| {
                let nics = mapping.nic_indexes(*task).unwrap();
                nics.iter().map(|nic| (*task, *nic)).collect::<Vec<_>>()
            };
            tasks.iter().flat_map(pairs)
        };
        let of_tasks = spread(pairs().map(|(task, _)| task), tasks.iter().copied());
        let of_nics = spread(pairs().map(|(_, nic)| nic), near.iter().copied());
        prop_assert_eq!(pairs().count(), near.len().max(tasks.len()));
        prop_assert!(of_tasks.0 > 0 && of_tasks.1 <= of_tasks.0 + 1, "per task {of_tasks:?}");
        prop_assert!(of_nics.0 > 0 && of_nics.1 <= of_nics.0 + 1, "per card {of_nics:?}");
    }
    Ok(())
}

#[test]
fn tasks_have_the_closest_network_cards() {
    holds_everywhere(|situation| {
        let Ok(mapping) = &situation.answer else { return Ok(()) };
        nics_are_the_closest(mapping)
    });
}

/// Few and small ids, so that sets touch and overlap; now and then the ends of the range.
fn ids() -> impl Strategy<Value = Ids> {
    let id = prop_oneof![20 => 0..40u32, 3 => 0..5000u32, 1 => u32::MAX - 3..=u32::MAX];
    prop::collection::btree_set(id, 0..30)
}

fn set(ids: &Ids) -> CpuSet {
    ids.iter().copied().collect()
}

#[test]
fn a_set_is_read_as_it_was_written() {
    let result = runner(cases()).run(&ids(), |ids| {
        let text = set(&ids).to_string();
        if ids.is_empty() {
            prop_assert_eq!(&text, "");
            prop_assert!(CpuSet::parse(&text).is_err());
            return Ok(());
        }
        prop_assert_eq!(CpuSet::parse(&text).unwrap(), set(&ids));
        // One item for each run of neighbours, and no two ways to write a set.
        let runs = ids.iter().filter(|id| **id == 0 || !ids.contains(&(**id - 1))).count();
        prop_assert_eq!(text.split(',').count(), runs, "{}", text);
        let backwards: Vec<String> = ids.iter().rev().map(|id| format!(" {id}-{id}\n")).collect();
        prop_assert_eq!(CpuSet::parse(&backwards.join(",")).unwrap().to_string(), text);
        Ok(())
    });
    complain("a set", result);
}

#[test]
fn sets_obey_the_algebra_of_sets() {
    let result = runner(cases()).run(&(ids(), ids(), any::<u32>()), |(a, b, id)| {
        let (ours, other) = (set(&a), set(&b));
        prop_assert_eq!(&ours & &other, set(&(&a & &b)));
        prop_assert_eq!(&ours | &other, set(&(&a | &b)));
        prop_assert_eq!(&ours - &other, set(&(&a - &b)));
        prop_assert_eq!(ours.is_subset(&other), a.is_subset(&b));
        prop_assert_eq!(ours.is_disjoint(&other), a.is_disjoint(&b));
        prop_assert_eq!(ours == other, a == b);
        prop_assert_eq!((ours.len(), ours.is_empty()), (a.len(), a.is_empty()));
        prop_assert_eq!((ours.first(), ours.last()), (a.first().copied(), a.last().copied()));
        prop_assert!(ours.iter().eq(a.iter().copied()));
        prop_assert!(ours.ranges().flatten().eq(a.iter().copied()));
        let near = id % 64;
        prop_assert_eq!(ours.contains(near), a.contains(&near));
        let mut grown = ours.clone();
        grown.insert_range(near..=near + 5);
        prop_assert_eq!(grown, set(&(&a | &(near..=near + 5).collect())));
        Ok(())
    });
    complain("two sets", result);
}

/// Whatever a user types: a set whose text means the same, or a reason, and never a panic.
#[test]
fn any_text_is_a_set_or_has_a_reason_why_not() {
    let text = prop::collection::vec(prop::sample::select(b"0123459,,--- \n+x".to_vec()), 0..20)
        .prop_map(|bytes| String::from_utf8(bytes).unwrap());
    let result = runner(cases()).run(&text, |text| {
        match CpuSet::parse(&text) {
            Ok(set) => prop_assert_eq!(CpuSet::parse(&set.to_string()), Ok(set)),
            Err(reason) => prop_assert!(!reason.is_empty()),
        }
        Ok(())
    });
    complain("a text", result);
}
