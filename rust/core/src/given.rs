//! What the tasks of a node were given of its GPUs before anything was mapped.

use std::collections::BTreeMap;

use crate::devices::{Hierarchy, LEVEL_ZERO_ORDER, Sight, View};
use crate::{Gpu, Vendor};

/// The GPUs of a job on a node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Given {
    /// The GPUs that some task sees, by place, rising.
    pub(crate) together: Vec<usize>,
    /// The GPUs of each task, by place, rising, where tasks see different ones: whoever started them
    /// has dealt the GPUs out already.
    pub(crate) own: Option<Vec<Vec<usize>>>,
    pub(crate) terms: Terms,
    pub(crate) notes: Vec<String>,
}

/// How variables must be written so that they go with those that are there.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Terms {
    /// What Level Zero counts, if the user says so.
    pub(crate) hierarchy: Option<Hierarchy>,
    /// The tiles of the GPUs (by ordinal) of which not all were given.
    pub(crate) tiles: BTreeMap<u32, Vec<u32>>,
    /// Variables of the layers above ROCr that are set, and would count from what ROCr shows.
    pub(crate) upper: Vec<&'static str>,
    /// The variables of each task that stay as they are.
    pub(crate) kept: Option<Vec<Vec<(String, String)>>>,
}

impl Given {
    /// Puts the views of a node's tasks together: none, one that all have, or one for each.
    pub(crate) fn new(views: &[View], gpus: &[Gpu]) -> Option<Self> {
        let first = views.first()?;
        let sights: Vec<Sight> = views.iter().map(|view| view.sight(gpus)).collect();
        let sorted = |sight: &Sight| {
            let mut shown = sight.shown.clone();
            shown.sort_unstable();
            shown
        };
        let own: Vec<Vec<usize>> = sights.iter().map(sorted).collect();
        let mut together: Vec<usize> = own.iter().flatten().copied().collect();
        together.sort_unstable();
        together.dedup();
        let are_alike = (own.iter().zip(&sights))
            .all(|(shown, sight)| *shown == own[0] && sight.tiles == sights[0].tiles);
        let mut notes: Vec<String> = Vec::new();
        for note in sights.iter().flat_map(|sight| &sight.notes) {
            if !notes.contains(note) {
                notes.push(note.clone());
            }
        }
        let mut terms = Terms::default();
        if are_alike {
            let by_ordinal =
                |(place, tiles): (&usize, &Vec<u32>)| (gpus[*place].ordinal(), tiles.clone());
            terms.hierarchy = first.hierarchy();
            terms.tiles = sights[0].tiles.iter().map(by_ordinal).collect();
            terms.upper = first.upper_variables(gpus);
            if together.len() < gpus.len() {
                notes.insert(0, restricted(&sights[0], together.len(), gpus.len()));
            }
        } else {
            terms.kept = Some(views.iter().map(|view| kept(view, gpus)).collect());
            notes.insert(
                0,
                "the tasks of this node came with GPUs of their own (their variables or device files \
                 differ): each keeps its own"
                    .into(),
            );
        }
        Some(Self { together, own: (!are_alike).then_some(own), terms, notes })
    }
}

fn restricted(sight: &Sight, shown: usize, all: usize) -> String {
    let variables: Vec<String> =
        sight.hiding.iter().map(|(_, name, value)| format!("{name}={value:?}")).collect();
    let what = match variables.is_empty() {
        true => "the device files that may be opened show".to_owned(),
        false if variables.len() == 1 => format!("{} shows", variables[0]),
        false => format!("{} show", variables.join(" and ")),
    };
    format!("{what} {shown} of the {all} GPUs of this node; only these are mapped")
}

/// The variables of a task that keeps its own GPUs. They stay as they are, except that numbers need
/// an order, and that what is said twice of AMD's GPUs is said once.
fn kept(view: &View, gpus: &[Gpu]) -> Vec<(String, String)> {
    let mut variables = view.variables().clone();
    let has = |vendor| gpus.iter().any(|gpu| gpu.vendor == vendor);
    if has(Vendor::Nvidia) && view.numbers_cuda() {
        variables.entry("CUDA_DEVICE_ORDER".into()).or_insert_with(|| "PCI_BUS_ID".into());
    }
    if has(Vendor::Intel) && view.get("ZE_AFFINITY_MASK").is_some() {
        variables.insert(LEVEL_ZERO_ORDER.into(), "1".into());
    }
    if has(Vendor::Amd) && view.says_amd_twice(gpus) {
        let sight = view.sight(gpus);
        let count = sight.shown.iter().filter(|place| gpus[**place].vendor == Vendor::Amd).count();
        for name in view.upper_variables(gpus) {
            variables.insert(name.into(), counting(count));
        }
    }
    variables.into_iter().collect()
}

/// All of so many devices.
pub(crate) fn counting(count: usize) -> String {
    (0..count).map(|number| number.to_string()).collect::<Vec<_>>().join(",")
}
