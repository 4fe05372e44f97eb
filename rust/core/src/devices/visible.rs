//! What a process was given of a node's GPUs: the variables in which runtimes look for the devices
//! that they may show, and the device files that may be opened.
//!
//! Source: CUDA C++ Programming Guide, "CUDA Environment Variables"; ROCm documentation, "GPU
//! isolation techniques"; Level Zero specification, "Environment Variables".

use std::collections::BTreeMap;

use super::{Gpu, Vendor};

/// The variables that count. Others are no concern of a [`View`].
pub const VIEW_VARIABLES: [&str; 8] = [
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
    "ZE_AFFINITY_MASK",
    "ZE_FLAT_DEVICE_HIERARCHY",
    "VISIBLE_DEVICES",
];

/// Has Level Zero number GPUs as they are numbered here. It hides none, so it is not among the above.
pub(crate) const LEVEL_ZERO_ORDER: &str = "ZE_ENABLE_PCI_ID_DEVICE_ORDER";

/// A mask of Level Zero that hides all: an empty one hides nothing, a number that nothing has does.
pub(crate) const NO_TILE: &str = "1000";

/// What one process was given.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct View {
    variables: BTreeMap<String, String>,
    files: Option<Vec<String>>,
}

/// The GPUs that a process sees.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Sight {
    /// Places in the list of GPUs, vendor by vendor, in the order in which the runtime shows them.
    pub shown: Vec<usize>,
    /// The tiles that are shown of a GPU, where not all are.
    pub tiles: BTreeMap<usize, Vec<u32>>,
    /// Variables that hide something of a vendor's GPUs, with their values.
    pub hiding: Vec<(Vendor, &'static str, String)>,
    /// What was odd.
    pub notes: Vec<String>,
}

/// What Level Zero counts as a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hierarchy {
    /// Each tile of a GPU.
    Flat,
    /// The same; tiles know their GPU.
    Combined,
    /// Each GPU.
    Composite,
}

impl Hierarchy {
    pub(crate) const ALL: [Self; 3] = [Self::Flat, Self::Combined, Self::Composite];

    /// The value of the variable that says so.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flat => "FLAT",
            Self::Combined => "COMBINED",
            Self::Composite => "COMPOSITE",
        }
    }
}

impl View {
    /// A view with these variables. Without `files` all device files may be opened; else only these
    /// (`dev/nvidia0`).
    pub fn new(
        variables: impl IntoIterator<Item = (String, String)>,
        files: Option<Vec<String>>,
    ) -> Self {
        let known = |(name, _): &(String, String)| VIEW_VARIABLES.contains(&name.as_str());
        Self { variables: variables.into_iter().filter(known).collect(), files }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    pub(crate) fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// What the lists of GPUs name, where nothing is known of the GPUs themselves.
    pub fn named(&self) -> Vec<&str> {
        let is_list =
            |name: &str| !matches!(name, "CUDA_DEVICE_ORDER" | "ZE_FLAT_DEVICE_HIERARCHY");
        let lists = self.variables.iter().filter(|(name, _)| is_list(name));
        let entries = lists.flat_map(|(_, value)| value.split(',')).map(str::trim);
        entries.filter(|entry| !entry.is_empty()).collect()
    }

    /// What the user says that Level Zero counts, if anything. A mask with tiles (`0.1`) says it, too.
    pub(crate) fn hierarchy(&self) -> Option<Hierarchy> {
        let said = self.get("ZE_FLAT_DEVICE_HIERARCHY").map_or("", str::trim);
        let is_said = |hierarchy: &Hierarchy| hierarchy.name().eq_ignore_ascii_case(said);
        Hierarchy::ALL.into_iter().find(is_said).or_else(|| {
            let has_tiles = self.get("ZE_AFFINITY_MASK").is_some_and(|mask| mask.contains('.'));
            has_tiles.then_some(Hierarchy::Composite)
        })
    }

    /// The variable, not empty, in which HIP looks for the GPUs that it shows of those that ROCr shows.
    fn hip_variable(&self, gpus: &[Gpu]) -> Option<(&'static str, &str)> {
        // On a node with GPUs of NVIDIA their variable is theirs.
        let is_theirs = gpus.iter().any(|gpu| gpu.vendor == Vendor::Nvidia);
        let names = ["HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"];
        names[..if is_theirs { 1 } else { 2 }].iter().find_map(|name| {
            self.get(name).filter(|value| !value.trim().is_empty()).map(|value| (*name, value))
        })
    }

    /// The variables of the layers above ROCr that are set, and that count from those GPUs that
    /// ROCr shows.
    pub(crate) fn upper_variables(&self, gpus: &[Gpu]) -> Vec<&'static str> {
        let mut names: Vec<&str> =
            self.hip_variable(gpus).map(|(name, _)| name).into_iter().collect();
        names.extend(self.get("GPU_DEVICE_ORDINAL").map(|_| "GPU_DEVICE_ORDINAL"));
        names
    }

    /// Whether the variables of ROCr and HIP say the same: schedulers set both, and mean it once.
    pub(crate) fn says_amd_twice(&self, gpus: &[Gpu]) -> bool {
        let below = self.get("ROCR_VISIBLE_DEVICES");
        below.is_some() && self.hip_variable(gpus).map(|(_, value)| value) == below
    }

    /// The GPUs of a node that this process sees.
    ///
    /// Entries of a list are numbers, UUIDs, or beginnings of a UUID that fit one GPU. An entry that
    /// is none of these, such as `NoDevFiles`, hides itself and all that follow; a second entry for
    /// a GPU adds nothing. Level Zero leaves out what it does not understand, and an empty mask
    /// hides nothing there.
    pub fn sight(&self, gpus: &[Gpu]) -> Sight {
        let mut sight = Sight::default();
        for vendor in Vendor::ALL {
            let mut seen: Vec<usize> = (0..gpus.len())
                .filter(|place| gpus[*place].vendor == vendor)
                .filter(|place| self.may_open(&gpus[*place]))
                .collect();
            let all = gpus.iter().filter(|gpu| gpu.vendor == vendor).count();
            if all == 0 {
                continue;
            }
            let numbered = Numbered::new(gpus, &seen, seen.len() < all);
            match vendor {
                Vendor::Nvidia => {
                    self.note_order(gpus, &seen, &mut sight);
                    self.apply(vendor, "CUDA_VISIBLE_DEVICES", &numbered, &mut seen, &mut sight);
                }
                Vendor::Amd => {
                    self.apply(vendor, "ROCR_VISIBLE_DEVICES", &numbered, &mut seen, &mut sight);
                    let hip = self.hip_variable(gpus).filter(|_| !self.says_amd_twice(gpus));
                    if let Some((name, _)) = hip {
                        // Without a list of its own, ROCr shows its GPUs in its own order.
                        let above = match self.get("ROCR_VISIBLE_DEVICES") {
                            Some(_) => &Numbered::in_order(gpus, &seen),
                            None => &numbered,
                        };
                        self.apply(vendor, name, above, &mut seen, &mut sight);
                    }
                }
                Vendor::Intel => self.apply_mask(&numbered, &mut seen, &mut sight),
                Vendor::Unknown => {
                    self.apply(vendor, "VISIBLE_DEVICES", &numbered, &mut seen, &mut sight);
                }
            }
            sight.shown.extend(seen);
        }
        sight
    }

    fn may_open(&self, gpu: &Gpu) -> bool {
        match (&self.files, &gpu.device_file) {
            (Some(files), Some(file)) => files.contains(file),
            _ => true,
        }
    }

    /// Leaves those GPUs that a variable shows, in its order.
    fn apply(
        &self,
        vendor: Vendor,
        name: &'static str,
        numbered: &Numbered<'_>,
        seen: &mut Vec<usize>,
        sight: &mut Sight,
    ) {
        let Some(value) = self.get(name) else { return };
        let all = seen.len();
        let mut shown = Vec::new();
        for entry in value.split(',').map(str::trim) {
            match numbered.find(entry) {
                Entry::Gpu(place) if shown.contains(&place) => {
                    sight.notes.push(format!("{name}={value:?}: {entry:?} names a GPU again"));
                }
                Entry::Gpu(place) => shown.push(place),
                Entry::Untold(why) => {
                    sight.notes.push(format!(
                        "{name}={value:?}: {entry:?} {why}; the variable stays as it is, and the \
                         GPUs of this vendor are not mapped"
                    ));
                    shown.clear();
                    break;
                }
                Entry::Nothing => {
                    // What schedulers write where a job has no GPUs is not odd.
                    let is_meant = matches!(entry, "" | "-1" | "NoDevFiles" | "none" | "void");
                    if !is_meant || !shown.is_empty() {
                        sight.notes.push(format!(
                            "{name}={value:?}: {entry:?} is none of {}; it and all that follow are \
                             hidden",
                            numbered.range()
                        ));
                    }
                    break;
                }
            }
        }
        *seen = shown;
        if seen.len() < all {
            sight.hiding.push((vendor, name, value.into()));
        }
    }

    /// The same for Level Zero, whose mask can show parts of a GPU, and has no order.
    fn apply_mask(&self, numbered: &Numbered<'_>, seen: &mut Vec<usize>, sight: &mut Sight) {
        const NAME: &str = "ZE_AFFINITY_MASK";
        let Some(value) = self.get(NAME).filter(|value| !value.trim().is_empty()) else { return };
        let is_composite = self.hierarchy() == Some(Hierarchy::Composite);
        let mut shown: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for entry in value.split(',').map(str::trim) {
            let (number, tile) = match entry.split_once('.') {
                Some((number, tile)) => (number, Some(tile.parse::<u32>())),
                None => (entry, None),
            };
            let tiles: Vec<(usize, u32)> = match number.parse::<u32>() {
                Ok(number) if is_composite => {
                    let place = numbered.place(number);
                    let of_gpu = place.map(|place| (0..numbered.gpus[place].tiles, place));
                    let all =
                        of_gpu.into_iter().flat_map(|(own, place)| own.map(move |t| (place, t)));
                    // Without a tile all of them are meant.
                    let is_meant = |(_, own): &(usize, u32)| {
                        tile.as_ref().is_none_or(|tile| tile.as_ref() == Ok(own))
                    };
                    all.filter(is_meant).collect()
                }
                Ok(number) => numbered.tile(number).into_iter().collect(),
                Err(_) => Vec::new(),
            };
            if tiles.is_empty() && entry != NO_TILE {
                let what = if is_composite { "GPU" } else { "tile" };
                sight.notes.push(format!(
                    "{NAME}={value:?}: {entry:?} is no {what} of this node (ZE_FLAT_DEVICE_HIERARCHY \
                     decides what is counted); it is left out"
                ));
            }
            for (place, tile) in tiles {
                let of_gpu = shown.entry(place).or_default();
                if !of_gpu.contains(&tile) {
                    of_gpu.push(tile);
                }
            }
        }
        let mut hidden = shown.len() < seen.len();
        seen.retain(|place| shown.contains_key(place));
        for (place, mut tiles) in shown {
            if tiles.len() < numbered.gpus[place].tiles as usize {
                tiles.sort_unstable();
                sight.tiles.insert(place, tiles);
                hidden = true;
            }
        }
        if hidden {
            sight.hiding.push((Vendor::Intel, NAME, value.into()));
        }
    }

    /// Whether CUDA's list has numbers, which mean something only in an order.
    pub(crate) fn numbers_cuda(&self) -> bool {
        let list = self.get("CUDA_VISIBLE_DEVICES");
        list.is_some_and(|list| list.split(',').any(|entry| entry.trim().parse::<u32>().is_ok()))
    }

    /// Numbers mean PCI order here. CUDA by itself counts the fastest GPU first.
    fn note_order(&self, gpus: &[Gpu], seen: &[usize], sight: &mut Sight) {
        let Some(value) = self.get("CUDA_VISIBLE_DEVICES") else { return };
        let differ = seen.windows(2).any(|pair| gpus[pair[0]].model != gpus[pair[1]].model);
        if self.numbers_cuda() && differ && self.get("CUDA_DEVICE_ORDER") != Some("PCI_BUS_ID") {
            sight.notes.push(format!(
                "CUDA_VISIBLE_DEVICES={value:?} has numbers, which are taken in PCI order; on this \
                 node, with GPUs of several models, set CUDA_DEVICE_ORDER=PCI_BUS_ID or use UUIDs"
            ));
        }
    }
}

/// GPUs of one vendor with the numbers that they have for a process.
struct Numbered<'a> {
    gpus: &'a [Gpu],
    /// In the order of the runtime.
    places: Vec<usize>,
    numbers: Vec<u32>,
    /// The number of the first tile of each.
    first_tiles: Vec<u32>,
}

/// What an entry of a list stands for.
enum Entry {
    Gpu(usize),
    /// Something that may well be there, and why it cannot be told.
    Untold(&'static str),
    Nothing,
}

impl<'a> Numbered<'a> {
    /// GPUs as their runtime numbers them: of those that it may open, where it may not open all.
    fn new(gpus: &'a [Gpu], seen: &[usize], anew: bool) -> Self {
        let mut places = seen.to_vec();
        places.sort_by_key(|place| gpus[*place].ordinal());
        if anew {
            return Self::in_order(gpus, &places);
        }
        let numbers = places.iter().map(|place| gpus[*place].ordinal()).collect();
        let first_tiles = places.iter().map(|place| gpus[*place].first_tile).collect();
        Self { gpus, places, numbers, first_tiles }
    }

    /// GPUs numbered as they come.
    fn in_order(gpus: &'a [Gpu], places: &[usize]) -> Self {
        let mut next = 0;
        let first_tiles = places.iter().map(|place| {
            next += gpus[*place].tiles;
            next - gpus[*place].tiles
        });
        let first_tiles = first_tiles.collect();
        let numbers = (0..places.len() as u32).collect();
        Self { gpus, places: places.to_vec(), numbers, first_tiles }
    }

    fn place(&self, number: u32) -> Option<usize> {
        let place = self.numbers.iter().position(|other| *other == number);
        place.map(|place| self.places[place])
    }

    /// The GPU and the tile in it that have a number among all tiles.
    fn tile(&self, number: u32) -> Option<(usize, u32)> {
        self.places.iter().zip(&self.first_tiles).find_map(|(place, first)| {
            let tile = number.checked_sub(*first)?;
            (tile < self.gpus[*place].tiles).then_some((*place, tile))
        })
    }

    fn find(&self, entry: &str) -> Entry {
        if let Ok(number) = entry.parse::<u32>() {
            return self.place(number).map_or(Entry::Nothing, Entry::Gpu);
        }
        if starts_with(entry, "MIG-") {
            return Entry::Untold("is a part of a GPU (MIG), and which one is not known");
        }
        let uuid_of = |place: &&usize| self.gpus[**place].uuid.as_deref();
        let mut fitting = self.places.iter().filter(|place| {
            !entry.is_empty() && uuid_of(place).is_some_and(|uuid| starts_with(uuid, entry))
        });
        match (fitting.next(), fitting.next()) {
            (Some(place), None) => Entry::Gpu(*place),
            (None, _)
                if starts_with(entry, "GPU-")
                    && self.places.iter().any(|place| uuid_of(&place).is_none()) =>
            {
                Entry::Untold("may be a GPU whose UUID is not known")
            }
            _ => Entry::Nothing,
        }
    }

    /// The legal numbers, for people.
    fn range(&self) -> String {
        match (self.numbers.iter().min(), self.numbers.iter().max()) {
            (Some(low), Some(high)) => format!("the GPUs {low} to {high}"),
            _ => "the GPUs that are left, of which there are none".into(),
        }
    }
}

fn starts_with(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|found| found.eq_ignore_ascii_case(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(index: u32, vendor: Vendor, uuid: Option<&str>) -> Gpu {
        Gpu { uuid: uuid.map(str::to_owned), ..Gpu::new(index, vendor, 0) }
    }

    fn sight(gpus: &[Gpu], variables: &[(&str, &str)]) -> Sight {
        let owned = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        View::new(owned, None).sight(gpus)
    }

    fn nvidia() -> [Gpu; 3] {
        let nvidia = |index, uuid| gpu(index, Vendor::Nvidia, Some(uuid));
        [nvidia(1, "GPU-aaaa1111-0"), nvidia(0, "GPU-aaaa2222-0"), nvidia(2, "GPU-bbbb0000-0")]
    }

    #[test]
    fn lists_of_cuda() {
        let cases: &[(&str, &[usize], usize)] = &[
            ("0,1,2", &[1, 0, 2], 0),
            (" 2 , 0 ", &[2, 1], 0),
            ("", &[], 0),
            ("NoDevFiles", &[], 0),
            ("-1", &[], 0),
            ("0,-1,2", &[1], 1),
            ("0,7,1", &[1], 1),
            ("99999999999999999999", &[], 1),
            ("0,,1", &[1], 1),
            ("0,0,1", &[1, 0], 1),
            ("all of them", &[], 1),
            ("GPU-bbbb0000-0", &[2], 0),
            ("gpu-BBBB,0", &[2, 1], 0),
            ("GPU-aaaa,0", &[], 1), // fits two
            ("GPU-aaaa1,2", &[0, 2], 0),
            ("GPU-dddd", &[], 1),
            ("0,MIG-1234,1", &[], 1),
            ("\u{fffd},é,0", &[], 1),
        ];
        for (value, expected, notes) in cases {
            let seen = sight(&nvidia(), &[("CUDA_VISIBLE_DEVICES", value)]);
            assert_eq!(seen.shown, *expected, "{value:?}");
            assert_eq!(seen.notes.len(), *notes, "{value:?} {:?}", seen.notes);
            assert_eq!(seen.hiding.len(), usize::from(expected.len() < 3), "{value:?}");
        }
        assert_eq!(sight(&nvidia(), &[]).shown, [0, 1, 2]);
        assert_eq!(sight(&nvidia(), &[("ROCR_VISIBLE_DEVICES", "0")]).shown, [0, 1, 2]);
    }

    #[test]
    fn a_uuid_that_may_be_there_is_not_called_wrong() {
        let gpus = [gpu(0, Vendor::Nvidia, None)];
        let seen = sight(&gpus, &[("CUDA_VISIBLE_DEVICES", "GPU-1234")]);
        assert!(seen.notes[0].contains("whose UUID is not known"), "{:?}", seen.notes);
    }

    #[test]
    fn numbers_on_a_node_of_several_models_need_an_order() {
        let mut gpus = nvidia();
        gpus[0].model = Some("another".into());
        let numbers = ("CUDA_VISIBLE_DEVICES", "0,1");
        assert_eq!(sight(&gpus, &[numbers]).notes.len(), 1);
        assert!(sight(&gpus, &[numbers, ("CUDA_DEVICE_ORDER", "PCI_BUS_ID")]).notes.is_empty());
        assert!(sight(&gpus, &[("CUDA_VISIBLE_DEVICES", "GPU-bbbb")]).notes.is_empty());
    }

    #[test]
    fn layers_of_rocm() {
        let mut gpus: Vec<Gpu> = (0..4).map(|index| gpu(index, Vendor::Amd, None)).collect();
        gpus[3].uuid = Some("GPU-00000000000000ff".into());
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a [usize]);
        let cases: &[Case<'_>] = &[
            (&[("ROCR_VISIBLE_DEVICES", "2,3")], &[2, 3]),
            (&[("ROCR_VISIBLE_DEVICES", "GPU-00000000000000ff")], &[3]),
            (&[("HIP_VISIBLE_DEVICES", "2,3")], &[2, 3]),
            (&[("CUDA_VISIBLE_DEVICES", "1")], &[1]),
            (&[("HIP_VISIBLE_DEVICES", ""), ("CUDA_VISIBLE_DEVICES", "1")], &[1]),
            // The upper layer counts what the lower one left ...
            (&[("ROCR_VISIBLE_DEVICES", "2,3"), ("HIP_VISIBLE_DEVICES", "1")], &[3]),
            (&[("ROCR_VISIBLE_DEVICES", "2"), ("HIP_VISIBLE_DEVICES", "1")], &[]),
            // ... but a scheduler that says the same twice means it once.
            (&[("ROCR_VISIBLE_DEVICES", "2,3"), ("HIP_VISIBLE_DEVICES", "2,3")], &[2, 3]),
            (&[("GPU_DEVICE_ORDINAL", "1")], &[0, 1, 2, 3]),
        ];
        for (variables, expected) in cases {
            assert_eq!(sight(&gpus, variables).shown, *expected, "{variables:?}");
        }
        let mixed = [gpu(0, Vendor::Nvidia, None), gpu(0, Vendor::Amd, None)];
        assert_eq!(sight(&mixed, &[("CUDA_VISIBLE_DEVICES", "")]).shown, [1]);
    }

    #[test]
    fn masks_of_level_zero() {
        let gpus: Vec<Gpu> = (0..3)
            .map(|index| Gpu { tiles: 2, first_tile: 2 * index, ..gpu(index, Vendor::Intel, None) })
            .collect();
        type Case<'a> = (&'a str, &'a str, &'a [usize], &'a [(usize, u32)], usize);
        let cases: &[Case<'_>] = &[
            ("", "", &[0, 1, 2], &[], 0),
            ("", "2,3", &[1], &[], 0),
            ("FLAT", "5,0", &[0, 2], &[(0, 0), (2, 1)], 0),
            ("combined", "6", &[], &[], 1),
            ("COMPOSITE", "2,0", &[0, 2], &[], 0),
            ("COMPOSITE", "1.1,2", &[1, 2], &[(1, 1)], 0),
            ("COMPOSITE", "1.2,1.x,zebra,7", &[], &[], 4),
            ("COMPOSITE", "0,0.1", &[0], &[], 0),
            // A tile of a GPU can only be meant where GPUs are counted.
            ("", "0.1", &[0], &[(0, 1)], 0),
        ];
        for (hierarchy, mask, shown, tiles, notes) in cases {
            let variables = [("ZE_FLAT_DEVICE_HIERARCHY", *hierarchy), ("ZE_AFFINITY_MASK", mask)];
            let seen = sight(&gpus, &variables);
            assert_eq!(seen.shown, *shown, "{hierarchy} {mask}");
            let parts: BTreeMap<usize, Vec<u32>> =
                tiles.iter().map(|(place, tile)| (*place, vec![*tile])).collect();
            assert_eq!(seen.tiles, parts, "{hierarchy} {mask}");
            assert_eq!(seen.notes.len(), *notes, "{hierarchy} {mask} {:?}", seen.notes);
        }
    }

    #[test]
    fn a_process_counts_the_gpus_that_it_may_open() {
        let mut gpus = nvidia();
        for gpu in &mut gpus {
            gpu.device_file = Some(format!("dev/nvidia{}", gpu.index));
        }
        let files = Some(vec!["dev/nvidia1".to_owned(), "dev/nvidia2".to_owned()]);
        let view = |value: &str| {
            View::new([("CUDA_VISIBLE_DEVICES".to_owned(), value.to_owned())], files.clone())
        };
        assert_eq!(View::new([], files.clone()).sight(&gpus).shown, [0, 2]);
        assert_eq!(view("0").sight(&gpus).shown, [0]);
        assert_eq!(view("1").sight(&gpus).shown, [2]);
        assert!(view("2").sight(&gpus).shown.is_empty());
    }
}
