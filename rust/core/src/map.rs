//! Where tasks go: memory domains first, then caches, then cores, then hardware threads.
//!
//! The idea is that of Edgar A. León, "mpibind: A Memory-Centric Affinity Algorithm for Hybrid
//! Applications" (MEMSYS 2017). docs/mapping.md tells it at length, with examples.
//!
//! Everything is dealt in contiguous blocks ([`Blocks`]): tasks to domains, objects or GPUs to
//! tasks, or, where there are more tasks than things, tasks to things.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::given::Given;
use crate::mapping::{Mapping, MappingBuilder};
use crate::nics::nics_of_tasks;
use crate::topology::{Object, ObjectId};
use crate::{Error, Request, Restriction, RestrictionKind, Result, Topology};

/// Maps tasks to a node.
///
/// # Errors
///
/// [`Error::InvalidParameter`] for an `smt` that the machine does not have, or a restriction that
/// leaves no CPU.
pub fn map(topology: &Arc<Topology>, request: &Request) -> Result<Mapping> {
    let mut node = Arc::clone(topology);
    let given = Given::new(&request.views, topology.gpus());
    if let Some(given) = given.as_ref().filter(|given| given.together.len() < node.gpus().len()) {
        node = Arc::new(node.with_gpus(&given.together));
    }
    if let Some(with_default_numas) = node.with_default_numas()? {
        node = Arc::new(with_default_numas);
    }
    if request.smt > node.smt_width() {
        let legal = format!(
            "it must be 0 to {} (hardware threads per core of this machine, 0 to let mpibind decide)",
            node.smt_width()
        );
        return Err(Error::parameter("smt", request.smt, legal));
    }
    if let Some(masks) = &request.affinity {
        node = Arc::new(node.restricted_to_cpus(masks).map_err(|_| {
            let legal = format!(
                "the masks of the node's tasks, {masks}, have none of its CPUs, {}; \"cgroup\" does not look at them",
                node.cpus()
            );
            Error::parameter("respect", "\"affinity\"", legal)
        })?);
    }
    if let Some(restriction) = &request.restriction {
        node = Arc::new(restrict(&node, restriction)?);
    }
    let own = given.as_ref().and_then(|given| places_of_own(given, topology, &node));
    let mut mapper = Mapper::new(node, request, own);
    if request.greedy && request.ntasks < mapper.domains.len() {
        mapper.map_greedily();
    } else {
        mapper.map_by_hierarchy();
    }
    let mut mapping = mapper.finish();
    if let Some(given) = given {
        given.notes.into_iter().for_each(|note| mapping.note(note));
        mapping.set_terms(given.terms);
    }
    if let Some(quota) = request.quota {
        heed_quota(&mut mapping, request, quota);
    }
    Ok(mapping)
}

/// Threads beyond the time that a cgroup grants only wait for each other; CPUs may be more.
///
/// Source: Linux, Documentation/scheduler/sched-bwc.rst (CFS bandwidth control).
fn heed_quota(mapping: &mut Mapping, request: &Request, quota: f64) {
    let share = (quota / request.ntasks as f64).floor();
    let most = if share < 1.0 { 1 } else { share as u32 };
    let allows = format!("the cgroup allows {quota} CPUs of time for {} tasks", request.ntasks);
    if mapping.threads().iter().all(|threads| *threads <= most) {
        return;
    }
    if request.nthreads == 0 {
        mapping.limit_threads(most);
        mapping.note(format!("{allows}: threads per task are limited to {most}"));
    } else {
        mapping.note(format!("{allows}: nthreads={} is more than that", request.nthreads));
    }
}

fn restrict(node: &Topology, restriction: &Restriction) -> Result<Topology> {
    let ids = &restriction.ids;
    let (legal_ids, what, restricted) = match restriction.kind {
        RestrictionKind::Cpu => (node.cpus(), "CPUs", node.restricted_to_cpus(ids)),
        RestrictionKind::Mem => {
            let numas = node.numas().iter().map(|numa| numa.os_index).collect();
            (numas, "NUMA nodes", node.restricted_to_numas(ids))
        }
    };
    restricted.map_err(|_| {
        let legal = format!(
            "none of these ids leaves a CPU; the {what} that can have tasks are {legal_ids}"
        );
        Error::parameter("restrict_ids", format!("\"{ids}\""), legal)
    })
}

/// `items` things dealt to `hands` in contiguous blocks, the first ones one larger.
struct Blocks {
    items: usize,
    hands: usize,
}

impl Blocks {
    fn block(&self, hand: usize) -> Range<usize> {
        let (size, extra) = (self.items / self.hands, self.items % self.hands);
        let start = hand * size + hand.min(extra);
        start..start + size + usize::from(hand < extra)
    }

    fn iter(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        (0..self.hands).map(|hand| self.block(hand))
    }
}

/// Deals things to tasks: contiguous blocks of things, or, if there are fewer than tasks,
/// contiguous blocks of tasks that share one. Calls `give(thing, task)`.
pub(crate) fn deal(things: usize, tasks: usize, mut give: impl FnMut(usize, usize)) {
    if things >= tasks {
        for (task, block) in (Blocks { items: things, hands: tasks }).iter().enumerate() {
            block.for_each(|thing| give(thing, task));
        }
    } else if things > 0 {
        for (thing, block) in (Blocks { items: tasks, hands: things }).iter().enumerate() {
            block.for_each(|task| give(thing, task));
        }
    }
}

/// A memory domain and the tasks that it got.
struct Domain {
    object: ObjectId,
    pus: Range<usize>,
    tasks: Range<usize>,
}

/// The GPUs that the tasks keep, as places in the list of `node`, a part of `topology`.
fn places_of_own(given: &Given, topology: &Topology, node: &Topology) -> Option<Vec<Vec<usize>>> {
    let own = given.own.as_ref()?;
    let places: HashMap<_, usize> =
        node.gpus().iter().enumerate().map(|(place, gpu)| (gpu.key(), place)).collect();
    let place = |gpu: &usize| places.get(&topology.gpus()[*gpu].key()).copied();
    let of_task = |gpus: &Vec<usize>| {
        let mut places: Vec<usize> = gpus.iter().filter_map(place).collect();
        places.sort_unstable();
        places
    };
    Some(own.iter().map(of_task).collect())
}

struct Mapper<'a> {
    node: Arc<Topology>,
    request: &'a Request,
    /// One per NUMA node, in logical order.
    domains: Vec<Domain>,
    builder: MappingBuilder,
    /// Where each GPU counts as hanging.
    places: Vec<ObjectId>,
    /// GPUs by task.
    gpus: Vec<Vec<usize>>,
    /// The GPUs that each task has had from the start, where they are not to be dealt.
    own: Option<Vec<Vec<usize>>>,
    /// The task that is mapped first, second ..., where that is not the order of tasks.
    order: Option<Vec<usize>>,
    warnings: Vec<String>,
}

impl<'a> Mapper<'a> {
    fn new(node: Arc<Topology>, request: &'a Request, own: Option<Vec<Vec<usize>>>) -> Self {
        let domains = node.numas().iter().map(|numa| {
            let pus = node.objects()[numa.domain].pus.clone();
            Domain { object: numa.domain, pus, tasks: 0..0 }
        });
        let domains: Vec<Domain> = domains.collect();
        let places = node.gpus().iter().map(|gpu| place_among(&node, &domains, gpu.locality));
        Self {
            places: places.collect(),
            domains,
            request,
            builder: MappingBuilder::new(request.ntasks, node.pus().len()),
            gpus: vec![Vec::new(); request.ntasks],
            own,
            order: None,
            warnings: Vec::new(),
            node,
        }
    }

    fn finish(mut self) -> Mapping {
        let gpus = match self.own.take() {
            Some(own) => own,
            None => {
                self.deal_gpus();
                std::mem::take(&mut self.gpus)
            }
        };
        let nics = nics_of_tasks(&self.node, &self.domains_of_tasks(&gpus));
        if let Some(order) = &self.order {
            self.builder = self.builder.reordered(order);
        }
        self.builder.finish(self.node, gpus, nics, self.warnings)
    }

    /// The domains in which each task has CPUs or GPUs, rising.
    fn domains_of_tasks(&self, gpus: &[Vec<usize>]) -> Vec<Vec<ObjectId>> {
        let mut domains = vec![Vec::new(); gpus.len()];
        for domain in &self.domains {
            for mapped in domain.tasks.clone() {
                let task = self.order.as_ref().map_or(mapped, |order| order[mapped]);
                domains[task].push(domain.object);
            }
        }
        let of_gpus = self.domains_of_gpus();
        for (of_task, gpus) in domains.iter_mut().zip(gpus) {
            let of_gpus = gpus.iter().filter_map(|gpu| of_gpus[*gpu]);
            of_task.extend(of_gpus.map(|domain| self.domains[domain].object));
            of_task.sort_unstable();
            of_task.dedup();
        }
        domains
    }

    /// The domain that each GPU hangs in; none for those above.
    fn domains_of_gpus(&self) -> Vec<Option<usize>> {
        let domain_of = |place: &ObjectId| {
            self.domains.iter().position(|domain| self.node.is_inside(*place, domain.object))
        };
        self.places.iter().map(domain_of).collect()
    }

    /// Fewer tasks than domains: each takes several, with all that is in them.
    fn map_greedily(&mut self) {
        let Request { ntasks, nthreads, smt, .. } = *self.request;
        if smt > 0 {
            self.warnings.push(format!(
                "smt={smt} is not applied: {ntasks} tasks on {} NUMA domains take whole domains (greedy); \
                 give greedy=False to place them by core",
                self.domains.len()
            ));
        }
        let blocks = Blocks { items: self.domains.len(), hands: ntasks };
        if let Some(homes) = self.homes() {
            self.order = Some(tasks_of_blocks(&homes, &blocks));
        }
        for (task, block) in blocks.iter().enumerate() {
            let mut cpus = Vec::new();
            for domain in &mut self.domains[block] {
                domain.tasks = task..task + 1;
                cpus.extend_from_slice(&self.node.pus()[domain.pus.clone()]);
            }
            cpus.sort_unstable();
            let threads = if nthreads > 0 { nthreads } else { cpus.len() };
            self.builder.push(&cpus, threads);
        }
    }

    /// Tasks spread over domains, then over the objects of the level that has enough of them.
    fn map_by_hierarchy(&mut self) {
        let shares = match self.homes() {
            None => largest_remainder(self.request.ntasks, &self.weights()),
            Some(homes) => {
                let (shares, order) = tasks_at_home(&homes, &self.cpu_weights());
                self.order = Some(order);
                shares
            }
        };
        let mut first = 0;
        for (index, share) in shares.into_iter().enumerate() {
            self.domains[index].tasks = first..first + share;
            first += share;
            if share > 0 {
                self.map_domain(index);
            }
        }
    }

    /// The domain of each task's own GPUs, of the first that is in one; none where tasks have no GPUs
    /// of their own, or are not to be placed by them.
    fn homes(&self) -> Option<Vec<Option<usize>>> {
        let own = self.own.as_ref().filter(|_| self.request.gpu_optim)?;
        let of_gpus = self.domains_of_gpus();
        Some(own.iter().map(|gpus| gpus.iter().find_map(|gpu| of_gpus[*gpu])).collect())
    }

    /// What each domain weighs when tasks are spread: its GPUs, or its CPUs.
    fn weights(&self) -> Vec<u64> {
        if self.request.gpu_optim {
            let mut weights = vec![0; self.domains.len()];
            for place in &self.places {
                let around = &self.node.objects()[*place].pus;
                for (weight, domain) in weights.iter_mut().zip(&self.domains) {
                    *weight +=
                        u64::from(domain.pus.start < around.end && around.start < domain.pus.end);
                }
            }
            if weights.iter().any(|weight| *weight > 0) {
                return weights;
            }
        }
        self.cpu_weights()
    }

    fn cpu_weights(&self) -> Vec<u64> {
        self.domains.iter().map(|domain| domain.pus.len() as u64).collect()
    }

    /// Gives the tasks of one domain their CPUs and threads.
    fn map_domain(&mut self, index: usize) {
        let node = Arc::clone(&self.node);
        let domain = &self.domains[index];
        let ntasks = domain.tasks.len();
        let smt_width = node.smt_width();
        let smt = self.request.smt;
        // Where the domain is a single core or less, what is inside it is its hardware threads.
        let mut core_depth = node.core_depth();
        if node.objects_inside(core_depth, &domain.pus).is_empty() {
            core_depth = node.levels().len() - 1;
        }
        let cores = node.objects_inside(core_depth, &domain.pus);
        let threads = match self.request.nthreads {
            0 => {
                let count = match smt {
                    0 | 1 if smt < smt_width => cores.len(),
                    _ if smt >= smt_width => domain.pus.len(),
                    _ => cores.len() * smt,
                };
                (count / ntasks).max(1)
            }
            given => given,
        };
        let workers = threads as u64 * ntasks as u64;
        let first_depth =
            if smt > 0 { core_depth } else { node.depth(domain.object).min(core_depth) };
        let (objects, depth) = (first_depth..core_depth)
            .map(|depth| (node.objects_inside(depth, &domain.pus), depth))
            .find(|(objects, _)| objects.len() as u64 >= workers)
            .unwrap_or((cores, core_depth));
        let cpus_per_object = if smt > 0 {
            smt
        } else if depth < core_depth {
            1
        } else {
            workers.div_ceil(objects.len().max(1) as u64).clamp(1, smt_width as u64) as usize
        };
        self.share_objects(objects, cpus_per_object, ntasks, threads);
    }

    /// Deals objects to tasks, or tasks to objects; each object stands for its first few CPUs.
    fn share_objects(
        &mut self,
        objects: &[Object],
        cpus_per_object: usize,
        ntasks: usize,
        threads: usize,
    ) {
        let mut contribution = Contribution {
            node: Arc::clone(&self.node),
            count: cpus_per_object,
            sorted: Vec::new(),
        };
        let mut cpus = Vec::new();
        if objects.len() >= ntasks {
            for block in (Blocks { items: objects.len(), hands: ntasks }).iter() {
                cpus.clear();
                for object in &objects[block] {
                    cpus.extend_from_slice(contribution.of(object));
                }
                cpus.sort_unstable();
                self.builder.push(&cpus, threads);
            }
            return;
        }
        let capacities: Vec<usize> =
            objects.iter().map(|object| object.pus.len().min(cpus_per_object)).collect();
        for (object, tasks) in objects.iter().zip(seats(ntasks, &capacities)) {
            let offered = contribution.of(object);
            if offered.len() >= tasks {
                for block in
                    (Blocks { items: offered.len(), hands: tasks.max(1) }).iter().take(tasks)
                {
                    self.builder.push(&offered[block], threads);
                }
            } else {
                for (cpu, sharers) in
                    (Blocks { items: tasks, hands: offered.len() }).iter().enumerate()
                {
                    sharers.for_each(|_| self.builder.push(&offered[cpu..=cpu], threads));
                }
            }
        }
    }

    /// Deals the GPUs of each domain to its tasks, then those above.
    fn deal_gpus(&mut self) {
        for Domain { object, tasks, .. } in &self.domains {
            let near = self.gpus_inside(*object);
            deal(near.len(), tasks.len(), |gpu, task| {
                self.gpus[tasks.start + task].push(near[gpu]);
            });
        }
        self.deal_gpus_above_domains();
    }

    /// The GPUs in the subtree of a domain, in device order.
    fn gpus_inside(&self, domain: ObjectId) -> Vec<usize> {
        let places = self.places.iter().enumerate();
        let inside = places.filter(|(_, place)| self.node.is_inside(**place, domain));
        inside.map(|(gpu, _)| gpu).collect()
    }

    /// GPUs that hang above every domain go to the tasks below their place that have none yet,
    /// or, if all have one, to all tasks there. Inner levels come before outer ones, so that what
    /// hangs at the machine reaches those that a package's GPUs have not, and on a level the first
    /// place comes first.
    fn deal_gpus_above_domains(&mut self) {
        let node = Arc::clone(&self.node);
        let is_above = |place: ObjectId| {
            !self.domains.iter().any(|domain| node.is_inside(place, domain.object))
        };
        let mut places: Vec<ObjectId> =
            self.places.iter().copied().filter(|place| is_above(*place)).collect();
        places.sort_by_key(|place| (std::cmp::Reverse(node.depth(*place)), *place));
        places.dedup();
        for place in places {
            let gpus: Vec<usize> =
                (0..self.places.len()).filter(|gpu| self.places[*gpu] == place).collect();
            let mut tasks: Vec<usize> = (self.domains.iter())
                .filter(|domain| node.is_inside(domain.object, place))
                .flat_map(|domain| domain.tasks.clone())
                .collect();
            // In a greedy mapping several domains have the same task.
            tasks.dedup();
            let without: Vec<usize> =
                tasks.iter().copied().filter(|task| self.gpus[*task].is_empty()).collect();
            if !without.is_empty() {
                tasks = without;
            }
            if !tasks.is_empty() {
                deal(gpus.len(), tasks.len(), |gpu, task| self.gpus[tasks[task]].push(gpus[gpu]));
            }
        }
        self.gpus.iter_mut().for_each(|gpus| gpus.sort_unstable());
    }
}

/// Spreads tasks over domains so that each task with a home is there. The others make up what domains
/// lack of their proper share. Returns the tasks per domain, and all tasks by domain.
fn tasks_at_home(homes: &[Option<usize>], weights: &[u64]) -> (Vec<usize>, Vec<usize>) {
    let mut tasks: Vec<Vec<usize>> = vec![Vec::new(); weights.len()];
    for (task, home) in homes.iter().enumerate() {
        home.iter().for_each(|home| tasks[*home].push(task));
    }
    let mut homeless = (0..homes.len()).filter(|task| homes[*task].is_none());
    let proper = largest_remainder(homes.len(), weights);
    for (of_domain, proper) in tasks.iter_mut().zip(proper) {
        let lacking = proper.saturating_sub(of_domain.len());
        of_domain.extend(homeless.by_ref().take(lacking));
        of_domain.sort_unstable();
    }
    (tasks.iter().map(Vec::len).collect(), tasks.concat())
}

/// Gives each block of domains one task, if possible one whose home is there.
fn tasks_of_blocks(homes: &[Option<usize>], blocks: &Blocks) -> Vec<usize> {
    let mut of_block: Vec<Option<usize>> = vec![None; blocks.hands];
    let mut waiting = Vec::new();
    for (task, home) in homes.iter().enumerate() {
        let block = home.map(|home| blocks.iter().take_while(|block| block.end <= home).count());
        match block {
            Some(block) if of_block[block].is_none() => of_block[block] = Some(task),
            _ => waiting.push(task),
        }
    }
    let mut waiting = waiting.into_iter();
    of_block.into_iter().map(|task| task.or_else(|| waiting.next()).unwrap_or(0)).collect()
}

/// Where a GPU counts as hanging: its own place, or, if that has nothing to do with any domain (CPUs
/// without memory of their own), the closest place above that has.
fn place_among(node: &Topology, domains: &[Domain], mut place: ObjectId) -> ObjectId {
    let has_to_do = |place: ObjectId, domain: &Domain| {
        node.is_inside(place, domain.object) || node.is_inside(domain.object, place)
    };
    while place > 0 && !domains.iter().any(|domain| has_to_do(place, domain)) {
        place = node.objects()[place].parent;
    }
    place
}

/// How many of `ntasks` tasks each object takes: equal blocks, the first ones one larger. On
/// machines with unequal cores an object can have too few CPUs for its block while others have
/// some left; then tasks move on to those, one to each in turn.
fn seats(ntasks: usize, capacities: &[usize]) -> Vec<usize> {
    let blocks = Blocks { items: ntasks, hands: capacities.len() };
    let mut seats: Vec<usize> = blocks.iter().map(|block| block.len()).collect();
    if capacities.iter().sum::<usize>() < ntasks {
        return seats; // Some CPUs are shared in any case.
    }
    let mut standing = 0;
    for (seat, capacity) in seats.iter_mut().zip(capacities) {
        let taken = (*seat).min(*capacity);
        standing += *seat - taken;
        *seat = taken;
    }
    while standing > 0 {
        for (seat, capacity) in seats.iter_mut().zip(capacities) {
            if standing > 0 && *seat < *capacity {
                *seat += 1;
                standing -= 1;
            }
        }
    }
    seats
}

/// The CPUs that stand for an object: its first ones by OS index.
struct Contribution {
    node: Arc<Topology>,
    count: usize,
    sorted: Vec<u32>,
}

impl Contribution {
    fn of(&mut self, object: &Object) -> &[u32] {
        let pus = &self.node.pus()[object.pus.clone()];
        self.sorted.clear();
        if self.count == 1 {
            self.sorted.extend(pus.iter().min());
        } else {
            self.sorted.extend_from_slice(pus);
            self.sorted.sort_unstable();
            self.sorted.truncate(self.count);
        }
        &self.sorted
    }
}

/// Shares `total` in proportion to `weights`; what does not divide goes to the largest remainders,
/// ties to the front. The weights are not all zero. With at most 2^20 tasks and 2^32 CPUs nothing
/// overflows.
fn largest_remainder(total: usize, weights: &[u64]) -> Vec<usize> {
    let sum = weights.iter().sum::<u64>().max(1);
    let exact = |weight: u64| total as u64 * weight;
    let mut shares: Vec<usize> =
        weights.iter().map(|weight| (exact(*weight) / sum) as usize).collect();
    let left = total - shares.iter().sum::<usize>();
    if left > 0 {
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(exact(weights[*index]) % sum));
        for index in order.into_iter().take(left) {
            shares[index] += 1;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_everything_once_and_differ_by_one() {
        for items in 0..20 {
            for hands in 1..20 {
                let blocks: Vec<_> = (Blocks { items, hands }).iter().collect();
                let flat: Vec<usize> = blocks.iter().cloned().flatten().collect();
                assert_eq!(flat, (0..items).collect::<Vec<_>>());
                assert!(blocks.windows(2).all(|pair| pair[0].len() >= pair[1].len()));
                assert!(blocks[0].len() - blocks[hands - 1].len() <= 1);
            }
        }
    }

    #[test]
    fn tasks_move_on_where_a_core_is_too_small_for_its_block() {
        assert_eq!(seats(5, &[2, 2, 2]), [2, 2, 1]);
        assert_eq!(seats(13, &[5, 3, 6, 0]), [5, 3, 5, 0]);
        assert_eq!(seats(4, &[1, 1, 2]), [1, 1, 2]);
        assert_eq!(seats(7, &[1, 2, 3]), [3, 2, 2]);
    }

    #[test]
    fn tasks_with_gpus_of_their_own_are_at_home() {
        let homes = [Some(1), None, Some(1), Some(0), None];
        assert_eq!(tasks_at_home(&homes, &[4, 4]), (vec![3, 2], vec![1, 3, 4, 0, 2]));
        let all_on_one = [Some(1), Some(1), Some(1), None];
        assert_eq!(tasks_at_home(&all_on_one, &[4, 4]), (vec![1, 3], vec![3, 0, 1, 2]));
        let blocks = Blocks { items: 4, hands: 3 }; // domains 0 and 1, 2, 3
        assert_eq!(tasks_of_blocks(&[Some(3), Some(1), None], &blocks), [1, 2, 0]);
        assert_eq!(tasks_of_blocks(&[Some(0), Some(1), Some(0)], &blocks), [0, 1, 2]);
    }

    #[test]
    fn remainders_go_to_the_largest_then_to_the_first() {
        assert_eq!(largest_remainder(4, &[2, 0]), [4, 0]);
        assert_eq!(largest_remainder(3, &[1, 1]), [2, 1]);
        assert_eq!(largest_remainder(5, &[16, 48]), [1, 4]);
        assert_eq!(largest_remainder(7, &[10, 20, 10]), [2, 3, 2]);
        assert_eq!(largest_remainder(1, &[0, 0, 5]), [0, 0, 1]);
    }
}
