//! Which network cards a task has: the closest to its CPUs and GPUs.
//!
//! Cards in a memory domain of the task come first, then those in its package, then any. Tasks for
//! which the same cards are the closest have them dealt out in device order, as GPUs are.

use std::collections::{BTreeMap, HashMap};

use crate::map::deal;
use crate::topology::{Kind, ObjectId};
use crate::{Nic, Topology};

/// The cards of each task, as places in the list of `node`, rising. `domains` has the memory domains
/// in which each task has CPUs or GPUs.
pub(crate) fn nics_of_tasks(node: &Topology, domains: &[Vec<ObjectId>]) -> Vec<Vec<usize>> {
    let mut nics = vec![Vec::new(); domains.len()];
    let usable: Vec<usize> = (0..node.nics().len()).filter(|nic| !node.nics()[*nic].down).collect();
    if usable.is_empty() {
        return nics;
    }
    // Many tasks, few different places to be.
    let mut known: HashMap<&[ObjectId], Vec<usize>> = HashMap::new();
    let mut alike: BTreeMap<&[usize], Vec<usize>> = BTreeMap::new();
    for of_task in domains {
        known.entry(of_task).or_insert_with(|| closest(node, of_task, &usable));
    }
    for (task, of_task) in domains.iter().enumerate() {
        alike.entry(&known[&of_task[..]]).or_default().push(task);
    }
    for (near, tasks) in alike {
        deal(near.len(), tasks.len(), |nic, task| nics[tasks[task]].push(near[nic]));
    }
    nics
}

/// The cards that are closest to some domains, all equally close.
fn closest(node: &Topology, domains: &[ObjectId], usable: &[usize]) -> Vec<usize> {
    let packages: Vec<ObjectId> =
        domains.iter().filter_map(|domain| package_of(node, *domain)).collect();
    let distance = |nic: &Nic| {
        if domains.iter().any(|domain| node.is_inside(nic.locality, *domain)) {
            0
        } else if package_of(node, nic.locality).is_some_and(|package| packages.contains(&package))
        {
            1
        } else {
            2
        }
    };
    let distances: Vec<u8> = usable.iter().map(|nic| distance(&node.nics()[*nic])).collect();
    let least = distances.iter().min();
    let near = usable.iter().zip(&distances).filter(|(_, distance)| Some(*distance) == least);
    near.map(|(nic, _)| *nic).collect()
}

/// The package that an object is in; none on machines where there is no such level.
fn package_of(node: &Topology, mut object: ObjectId) -> Option<ObjectId> {
    while node.objects()[object].kind != Kind::Package {
        if object == 0 {
            return None;
        }
        object = node.objects()[object].parent;
    }
    Some(object)
}
