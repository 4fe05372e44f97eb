//! Nodes and mappings as JSON, and back: the schema of docs/json.md.
//!
//! The records below are the schema. They stand apart from the types that they record, so that these
//! can change without changing what programs read. Any change to what a reader would find here asks
//! for a new [`VERSION`], except a new field that may be missing.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::devices::{Hierarchy, LEVEL_ZERO_ORDER, PciAddress};
use crate::discover::Discovered;
use crate::given::Terms;
use crate::mapping::MappingBuilder;
use crate::topology::{Group, LaidOut};
use crate::{
    CpuSet, Error, Gpu, GpuId, Kind, MAX_TASKS, MAX_THREADS, Mapping, Nic, NumaNode, Result,
    Topology, Uncounted, VIEW_VARIABLES,
};

/// The version of the schema that is written, and the only one there is so far.
pub const VERSION: u32 = 1;

const TOPOLOGY: &str = "mpibind topology";
const MAPPING: &str = "mpibind mapping";

/// A mapping, with all that it needs to be one again.
#[derive(Clone, Debug)]
pub struct Saved {
    /// The mapping.
    pub mapping: Mapping,
    /// The whole node, of which the mapping may have used a part.
    pub node: Discovered,
    /// How GPUs are named in it.
    pub gpu_ids: GpuId,
}

impl Saved {
    /// Writes it as JSON, on one line.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if a GPU has no name of the kind asked for.
    pub fn to_json(&self) -> Result<String> {
        let Self { mapping, node, gpu_ids } = self;
        let task = |task: i64| {
            Ok(TaskRecord {
                cpus: mapping.cpus(task)?.to_vec(),
                nthreads: mapping.nthreads(task)?,
                gpus: mapping.gpu_ids(task, *gpu_ids)?,
                gpu_places: mapping.gpu_places(task, &node.topology)?,
                nics: mapping.nics(task)?.map(|nic| nic.name.clone()).collect(),
            })
        };
        let is_part = **mapping.topology() != *node.topology;
        Ok(write(&MappingRecord {
            format: MAPPING.into(),
            version: VERSION,
            gpu_ids: gpu_ids.name().into(),
            tasks: (0..mapping.ntasks() as i64).map(task).collect::<Result<_>>()?,
            warnings: mapping.warnings().to_vec(),
            notes: mapping.notes().to_vec(),
            terms: TermsRecord::of(mapping.terms()),
            node: TopologyRecord::of_node(node),
            mapped: is_part.then(|| TopologyRecord::of(mapping.topology(), &node.origin)),
        }))
    }

    /// Reads what [`Self::to_json`] wrote.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] that says what is wrong with the text, and where.
    pub fn from_json(text: &str) -> Result<Self> {
        let record: MappingRecord = read(text, MAPPING)?;
        record.restore().map_err(|reason| wrong(text, format!("it is a mapping, but {reason}")))
    }
}

impl Discovered {
    /// Writes the node as JSON, on one line.
    pub fn to_json(&self) -> String {
        write(&TopologyRecord::of_node(self))
    }

    /// Reads what [`Self::to_json`] wrote.
    ///
    /// # Errors
    ///
    /// As [`Saved::from_json`].
    pub fn from_json(text: &str) -> Result<Self> {
        let record: TopologyRecord = read(text, TOPOLOGY)?;
        record.restore().map_err(|reason| wrong(text, format!("it is a topology, but {reason}")))
    }
}

#[derive(Serialize, Deserialize)]
struct MappingRecord {
    format: String,
    version: u32,
    /// How GPUs are named in `tasks`.
    gpu_ids: String,
    tasks: Vec<TaskRecord>,
    warnings: Vec<String>,
    notes: Vec<String>,
    /// How variables must be written, where the job came with some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    terms: Option<TermsRecord>,
    /// The whole node.
    node: TopologyRecord,
    /// The part of it that was mapped, where that is not all.
    mapped: Option<TopologyRecord>,
}

#[derive(Serialize, Deserialize)]
struct TaskRecord {
    cpus: Vec<u32>,
    nthreads: u32,
    /// For people and other programs; what counts are the places.
    gpus: Vec<String>,
    /// Places in the list of the node's GPUs, from 0.
    gpu_places: Vec<usize>,
    /// Names of network cards, which no two of a node share.
    #[serde(default)]
    nics: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct TermsRecord {
    /// What Level Zero counts.
    hierarchy: Option<String>,
    /// The numbers of GPUs of which some tiles were given only, each with these.
    tiles: Vec<(u32, Vec<u32>)>,
    /// Variables that count from what ROCr shows.
    upper: Vec<String>,
    /// The variables that each task keeps.
    kept: Option<Vec<BTreeMap<String, String>>>,
}

#[derive(Serialize, Deserialize)]
struct TopologyRecord {
    format: String,
    version: u32,
    origin: String,
    /// Objects are numbered through all levels, the machine being 0.
    levels: Vec<LevelRecord>,
    numas: Vec<NumaRecord>,
    gpus: Vec<GpuRecord>,
    nics: Vec<NicRecord>,
    #[serde(default)]
    uncounted: Vec<UncountedRecord>,
    /// What was odd about the devices.
    #[serde(default)]
    notes: Vec<String>,
    /// CPUs that may not be used, and the innermost objects that they belong to.
    hidden_cpus: Vec<(u32, usize)>,
}

/// A column for each field, since a machine can have a hundred thousand objects.
#[derive(Serialize, Deserialize)]
struct LevelRecord {
    kind: String,
    os_indexes: Vec<Option<u32>>,
    parents: Vec<usize>,
    /// hwloc's depth of each group and whether it must stay, on levels of groups only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<Option<(usize, bool)>>>,
}

#[derive(Serialize, Deserialize)]
struct NumaRecord {
    os_index: u32,
    subtype: Option<String>,
    /// Bytes.
    memory: u64,
    cpus: String,
    object: usize,
}

#[derive(Serialize, Deserialize)]
struct GpuRecord {
    index: u32,
    vendor: String,
    /// What it is called, which without an OS device is made of the rest.
    #[serde(skip_deserializing)]
    name: String,
    os_name: Option<String>,
    model: Option<String>,
    uuid: Option<String>,
    pci: Option<String>,
    /// The number that the vendor's runtime gives it, where that is not `index`.
    ordinal: Option<u32>,
    #[serde(default = "one")]
    tiles: u32,
    /// Without, each GPU is one tile.
    first_tile: Option<u32>,
    device_file: Option<String>,
    #[serde(default)]
    found: String,
    object: usize,
}

fn one() -> u32 {
    1
}

#[derive(Serialize, Deserialize)]
struct UncountedRecord {
    pci: String,
    vendor: String,
    model: Option<String>,
    reason: String,
}

#[derive(Serialize, Deserialize)]
struct NicRecord {
    name: String,
    pci: Option<String>,
    port: Option<u32>,
    #[serde(default)]
    down: bool,
    object: usize,
}

fn write(record: &impl Serialize) -> String {
    serde_json::to_string(record).expect("records of text and numbers can be written as JSON")
}

/// Reads a record, after a look at what it says it is.
fn read<'a, Record: Deserialize<'a>>(text: &'a str, format: &str) -> Result<Record> {
    #[derive(Deserialize)]
    struct Header {
        format: Option<serde_json::Value>,
        version: Option<serde_json::Value>,
    }
    let header: Header = serde_json::from_str(text).map_err(|error| {
        let reason =
            if error.is_data() { "it is JSON, but of something else" } else { "it is not JSON" };
        wrong(
            text,
            format!(
                "{reason} ({error}); it must be the JSON of a{}; the name of a file is given as \
                 pathlib.Path",
                article(format)
            ),
        )
    })?;
    let said = header.format.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
    if said != format {
        let other = [TOPOLOGY, MAPPING].contains(&said);
        let advice = if other { ": read it as what it is" } else { "" };
        let shown: String = said.chars().take(40).collect();
        return Err(wrong(text, format!("its \"format\" is {shown:?}, not {format:?}{advice}")));
    }
    match header.version.as_ref().and_then(serde_json::Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => {}
        Some(version) if version > u64::from(VERSION) => {
            let reason = format!(
                "its \"version\" is {version}, and mpibind {} reads version {VERSION}; \
                 a newer mpibind wrote it, and a newer mpibind reads it",
                env!("CARGO_PKG_VERSION")
            );
            return Err(wrong(text, reason));
        }
        _ => return Err(wrong(text, format!("its \"version\" must be {VERSION}"))),
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let (path, cause) = (error.path().to_string(), error.into_inner());
        let place = if path == "." { String::new() } else { format!(" at {path}") };
        wrong(text, format!("it is a{}, but not whole{place}: {cause}", article(format)))
    })
}

/// The last word of a format, ready to follow "a".
fn article(format: &str) -> &str {
    &format["mpibind".len()..]
}

fn wrong(text: &str, reason: String) -> Error {
    let mut head: String = text.chars().take(40).collect();
    if head.len() < text.len() {
        head.push_str("...");
    }
    Error::parameter("text", format!("{head:?}"), reason)
}

/// The last steps of reading say what is wrong as the end of a sentence.
type Restored<T> = std::result::Result<T, String>;

impl MappingRecord {
    fn restore(self) -> Restored<Saved> {
        let gpu_ids: GpuId = self.gpu_ids.parse().map_err(|error: Error| error.to_string())?;
        let node = self.node.restore()?;
        let topology = match self.mapped {
            None => Arc::clone(&node.topology),
            Some(record) => {
                record
                    .restore()
                    .map_err(|reason| format!("its part that was mapped: {reason}"))?
                    .topology
            }
        };
        if self.tasks.is_empty() || self.tasks.len() > MAX_TASKS as usize {
            return Err(format!("it has {} tasks; it must be 1 to {MAX_TASKS}", self.tasks.len()));
        }
        all_plain(self.warnings.iter().chain(&self.notes))?;
        let legal = topology.cpus();
        let mut builder = MappingBuilder::new(self.tasks.len(), 0);
        let mut gpus = Vec::with_capacity(self.tasks.len());
        let mut nics = Vec::with_capacity(self.tasks.len());
        for (number, task) in self.tasks.iter().enumerate() {
            let at = |reason: String| format!("tasks[{number}] {reason}");
            if task.cpus.is_empty() {
                return Err(at("has no CPUs".into()));
            }
            // As many as can be asked for: numpy's arrays of them have 32 bits, one for the sign.
            if !(1..=MAX_THREADS).contains(&i64::from(task.nthreads)) {
                let found = task.nthreads;
                return Err(at(format!("has {found} threads; it must be 1 to {MAX_THREADS}")));
            }
            if task.cpus.windows(2).any(|pair| pair[0] >= pair[1]) {
                return Err(at("has CPUs that do not rise".into()));
            }
            if let Some(cpu) = task.cpus.iter().find(|cpu| !legal.contains(**cpu)) {
                return Err(at(format!("has CPU {cpu}, and its node has {legal}")));
            }
            builder.push(&task.cpus, task.nthreads as usize);
            gpus.push(task.restore_gpus(&node.topology, &topology, gpu_ids).map_err(at)?);
            nics.push(task.restore_nics(&topology).map_err(at)?);
        }
        let mut mapping = builder.finish(topology, gpus, nics, self.warnings);
        self.notes.into_iter().for_each(|note| mapping.note(note));
        if let Some(terms) = self.terms {
            mapping.set_terms(terms.restore(mapping.ntasks())?);
        }
        Ok(Saved { mapping, node, gpu_ids })
    }
}

impl TermsRecord {
    fn of(terms: &Terms) -> Option<Self> {
        let kept = |tasks: &Vec<Vec<(String, String)>>| {
            tasks.iter().map(|variables| variables.iter().cloned().collect()).collect()
        };
        (*terms != Terms::default()).then(|| Self {
            hierarchy: terms.hierarchy.map(|hierarchy| hierarchy.name().into()),
            tiles: terms.tiles.iter().map(|(gpu, tiles)| (*gpu, tiles.clone())).collect(),
            upper: terms.upper.iter().map(|name| (*name).into()).collect(),
            kept: terms.kept.as_ref().map(kept),
        })
    }

    fn restore(self, ntasks: usize) -> Restored<Terms> {
        let hierarchy = |word: String| one_of(Hierarchy::ALL, Hierarchy::name, "hierarchy", &word);
        // Else a mapping could set any variable at all.
        let variable = |name: &str| one_of(VIEW_VARIABLES, |name| name, "variable for GPUs", name);
        let kept = self.kept.unwrap_or_default();
        if !kept.is_empty() && kept.len() != ntasks {
            return Err(format!("its terms keep the variables of {} tasks", kept.len()));
        }
        let mut names =
            kept.iter().flat_map(BTreeMap::keys).filter(|name| *name != LEVEL_ZERO_ORDER);
        names.try_for_each(|name| variable(name).map(|_| ()))?;
        all_plain(kept.iter().flat_map(BTreeMap::values))?;
        let kept: Vec<Vec<_>> = kept.into_iter().map(|task| task.into_iter().collect()).collect();
        Ok(Terms {
            hierarchy: self.hierarchy.map(hierarchy).transpose()?,
            tiles: self.tiles.into_iter().collect(),
            upper: self.upper.iter().map(|name| variable(name)).collect::<Restored<_>>()?,
            kept: (!kept.is_empty()).then_some(kept),
        })
    }
}

impl TaskRecord {
    /// The places of the GPUs in the part of the node that was mapped.
    fn restore_gpus(
        &self,
        node: &Topology,
        mapped: &Topology,
        kind: GpuId,
    ) -> Restored<Vec<usize>> {
        let mut places = Vec::with_capacity(self.gpu_places.len());
        let mut names = Vec::with_capacity(self.gpu_places.len());
        for place in &self.gpu_places {
            let found = node.gpus().get(*place).and_then(|gpu| {
                let in_part = mapped.gpus().iter().position(|other| other.is_same(gpu))?;
                Some((gpu, in_part))
            });
            let Some((gpu, in_part)) = found else {
                return Err(format!("has a GPU that the node has not: gpu_places {place}"));
            };
            names.push(gpu.id(kind).map_err(|error| error.to_string())?);
            places.push(in_part);
        }
        if names != self.gpus {
            return Err(format!(
                "has gpus {:?}, but those of its gpu_places are {names:?}",
                self.gpus
            ));
        }
        Ok(places)
    }

    /// The places of the network cards in the part of the node that was mapped.
    fn restore_nics(&self, mapped: &Topology) -> Restored<Vec<usize>> {
        let place = |name: &String| {
            let found = mapped.nics().iter().position(|nic| nic.name == *name);
            found.ok_or_else(|| format!("has the network card {name:?}, which its node has not"))
        };
        self.nics.iter().map(place).collect()
    }
}

impl TopologyRecord {
    fn of_node(node: &Discovered) -> Self {
        let uncounted = |device: &Uncounted| UncountedRecord {
            pci: device.pci.to_string(),
            vendor: device.vendor.clone(),
            model: device.model.clone(),
            reason: device.reason.clone(),
        };
        Self {
            uncounted: node.uncounted.iter().map(uncounted).collect(),
            notes: node.notes.clone(),
            ..Self::of(&node.topology, &node.origin)
        }
    }

    fn of(topology: &Topology, origin: &str) -> Self {
        let pci = |pci: Option<PciAddress>| pci.map(|pci| pci.to_string());
        Self {
            format: TOPOLOGY.into(),
            version: VERSION,
            origin: origin.strip_suffix(FROM_JSON).unwrap_or(origin).into(),
            levels: topology
                .levels()
                .iter()
                .map(|level| LevelRecord::of(topology, level))
                .collect(),
            numas: (topology.numas().iter())
                .map(|numa| NumaRecord {
                    os_index: numa.os_index,
                    subtype: numa.subtype.clone(),
                    memory: numa.bytes,
                    cpus: numa.cpus.to_string(),
                    object: numa.domain,
                })
                .collect(),
            gpus: (topology.gpus().iter())
                .map(|gpu| GpuRecord {
                    index: gpu.index,
                    vendor: gpu.vendor.name().into(),
                    name: gpu.name(),
                    os_name: gpu.os_name.clone(),
                    model: gpu.model.clone(),
                    uuid: gpu.uuid.clone(),
                    pci: pci(gpu.pci),
                    ordinal: gpu.ordinal,
                    tiles: gpu.tiles,
                    first_tile: Some(gpu.first_tile),
                    device_file: gpu.device_file.clone(),
                    found: gpu.found.clone(),
                    object: gpu.locality,
                })
                .collect(),
            nics: (topology.nics().iter())
                .map(|nic| NicRecord {
                    name: nic.name.clone(),
                    pci: pci(nic.pci),
                    port: nic.port,
                    down: nic.down,
                    object: nic.locality,
                })
                .collect(),
            uncounted: Vec::new(),
            notes: Vec::new(),
            hidden_cpus: topology.hidden_cpus().to_vec(),
        }
    }

    fn restore(self) -> Restored<Discovered> {
        all_plain(self.notes.iter().chain([&self.origin]))?;
        let levels = self.levels.into_iter().map(LevelRecord::restore).collect::<Restored<_>>()?;
        let numas = self.numas.into_iter().map(NumaRecord::restore).collect::<Restored<_>>()?;
        let gpus = self.gpus.into_iter().map(GpuRecord::restore).collect::<Restored<_>>()?;
        let nics = self.nics.into_iter().map(NicRecord::restore).collect::<Restored<_>>()?;
        let topology = Topology::from_levels(levels, numas, gpus, nics, self.hidden_cpus)?;
        let uncounted = self.uncounted.into_iter().map(UncountedRecord::restore);
        Ok(Discovered {
            uncounted: uncounted.collect::<Restored<_>>()?,
            notes: self.notes,
            ..Discovered::given(Arc::new(topology), self.origin + FROM_JSON)
        })
    }
}

/// What is said about the origin of a node that has been in JSON: "this machine" may be another.
const FROM_JSON: &str = " (from JSON)";

impl LevelRecord {
    fn of(topology: &Topology, level: &crate::Level) -> Self {
        let objects = &topology.objects()[level.objects.clone()];
        let group = |group: Group| (group.depth, group.keep);
        let has_groups = objects.iter().any(|object| object.group.is_some());
        Self {
            kind: level.kind.name().into(),
            os_indexes: objects.iter().map(|object| object.os_index).collect(),
            parents: objects.iter().map(|object| object.parent).collect(),
            groups: has_groups
                .then(|| objects.iter().map(|object| object.group.map(group)).collect()),
        }
    }

    fn restore(self) -> Restored<Vec<LaidOut>> {
        let kind = one_of(Kind::ALL, Kind::name, "kind of level", &self.kind)?;
        let count = self.os_indexes.len();
        let groups = self.groups.unwrap_or_else(|| vec![None; count]);
        if self.parents.len() != count || groups.len() != count {
            return Err(format!("its columns of {} differ in length", self.kind));
        }
        let rows = self.os_indexes.into_iter().zip(self.parents).zip(groups);
        let object = |((os_index, parent), group): ((_, _), Option<(usize, bool)>)| LaidOut {
            kind,
            os_index,
            parent,
            group: group.map(|(depth, keep)| Group { depth, keep }),
        };
        Ok(rows.map(object).collect())
    }
}

impl NumaRecord {
    fn restore(self) -> Restored<NumaNode> {
        let cpus = if self.cpus.is_empty() {
            CpuSet::new()
        } else {
            CpuSet::parse(&self.cpus)
                .map_err(|reason| format!("the CPU list of NUMA node {} {reason}", self.os_index))?
        };
        all_plain(&self.subtype)?;
        let Self { os_index, subtype, memory: bytes, object: domain, .. } = self;
        Ok(NumaNode { os_index, subtype, bytes, cpus, domain })
    }
}

impl GpuRecord {
    fn restore(self) -> Restored<Gpu> {
        let names = [&self.os_name, &self.model, &self.uuid, &self.device_file];
        all_plain(names.into_iter().flatten().chain([&self.found]))?;
        Ok(Gpu {
            index: self.index,
            vendor: one_of(crate::Vendor::ALL, crate::Vendor::name, "vendor", &self.vendor)?,
            os_name: self.os_name,
            model: self.model,
            uuid: self.uuid,
            pci: pci_address(self.pci)?,
            ordinal: self.ordinal,
            tiles: self.tiles,
            first_tile: self.first_tile.unwrap_or(self.index),
            device_file: self.device_file,
            found: self.found,
            locality: self.object,
        })
    }
}

impl UncountedRecord {
    fn restore(self) -> Restored<Uncounted> {
        let Self { pci, vendor, model, reason } = self;
        all_plain([&vendor, &reason].into_iter().chain(&model))?;
        Ok(Uncounted { pci: pci.parse()?, vendor, model, reason })
    }
}

impl NicRecord {
    fn restore(self) -> Restored<Nic> {
        all_plain([&self.name])?;
        Ok(Nic {
            name: self.name,
            port: self.port,
            down: self.down,
            pci: pci_address(self.pci)?,
            locality: self.object,
        })
    }
}

/// Refuses texts that could not be a variable's value, or would do something to a terminal.
fn all_plain<'a>(texts: impl IntoIterator<Item = &'a String>) -> Restored<()> {
    match texts.into_iter().find(|text| text.chars().any(char::is_control)) {
        None => Ok(()),
        Some(text) => {
            let shown: String = text.chars().take(40).collect();
            Err(format!("its text {shown:?} has a control character; what mpibind writes has none"))
        }
    }
}

fn pci_address(text: Option<String>) -> Restored<Option<PciAddress>> {
    text.map(|text| text.parse()).transpose()
}

/// The value that has a name.
fn one_of<T: Copy, const N: usize>(
    all: [T; N],
    name: fn(T) -> &'static str,
    what: &str,
    text: &str,
) -> Restored<T> {
    all.into_iter().find(|value| name(*value) == text).ok_or_else(|| {
        let legal = all.map(name).join(", ");
        format!("its {what} {text:?} is none of {legal}")
    })
}
