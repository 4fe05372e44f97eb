//! From hwloc to a [`Topology`]. No other file names hwloc, and none of its objects leave this one.

use std::collections::HashMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hwloc2::object::TopologyObject;
use hwloc2::object::attributes::{ObjectAttributes, PCIDeviceAttributes};
use hwloc2::object::types::{OSDeviceType, ObjectType};
use hwloc2::topology::builder::{TopologyBuilder, TypeFilter};
use hwloc2::topology::export::xml::XMLExportFlags;

use crate::devices::{
    Files, Found, Gpu, Nic, OsDevice, PciAddress, PciFunction, Uncounted, Vendor, find,
    is_high_speed, port_of, read_bus,
};
use crate::topology::{Group, Kind, MAX_INDEX, NumaNode, ObjectId, Topology, Tree};
use crate::{CpuSet, Error, Result, printable, xml};

/// Where a topology comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// This machine, or what the environment puts in its place: `MPIBIND_TOPOFILE`, `HWLOC_XMLFILE`,
    /// `HWLOC_SYNTHETIC` and `HWLOC_FSROOT`, the first that is set and not empty.
    Here {
        /// Device files of GPUs (`dev/nvidia0`) that some process of the job may open, beside those
        /// that this one may.
        open: &'a [String],
    },
    /// A file in hwloc's XML, format 1 or 2.
    Xml(&'a Path),
    /// hwloc's synthetic text, with so many GPUs added to each NUMA node in logical order.
    Synthetic {
        /// Such as `package:2 core:4 pu:2`.
        text: &'a str,
        /// May be shorter than the list of nodes.
        gpus: &'a [i64],
    },
}

/// A topology and what it is the topology of.
#[derive(Clone, Debug)]
pub struct Discovered {
    /// The node.
    pub topology: Arc<Topology>,
    /// Where it came from, in words.
    pub origin: String,
    /// Whether it is the machine that this runs on, as the kernel tells it now.
    pub is_live: bool,
    /// Displays and accelerators that are not among its GPUs, each with the reason.
    pub uncounted: Vec<Uncounted>,
    /// What was odd about its devices.
    pub notes: Vec<String>,
    /// What hwloc made it of.
    pub(crate) material: Material,
}

/// What hwloc makes a topology of, for when it is asked once more.
#[derive(Clone, Debug)]
pub(crate) enum Material {
    /// The file tree of a Linux system, `/` for this machine.
    Root(PathBuf),
    /// The content of an XML file.
    Xml(Arc<str>),
    /// Synthetic text, and whether GPUs were added to it.
    Synthetic { text: String, has_gpus: bool },
    /// Something else.
    Unknown,
}

impl Discovered {
    /// A node that did not come from hwloc.
    pub fn given(topology: Arc<Topology>, origin: String) -> Self {
        Self {
            topology,
            origin,
            is_live: false,
            uncounted: Vec::new(),
            notes: Vec::new(),
            material: Material::Unknown,
        }
    }

    /// The same as what was discovered on this machine, of which it is a copy.
    pub(crate) fn found_here(self) -> Self {
        let material = Material::Root(PathBuf::from("/"));
        Self { origin: THIS_MACHINE.into(), is_live: true, material, ..self }
    }

    /// The node in hwloc's own XML, which `lstopo` and all of hwloc's users read. It has more than
    /// a [`Topology`] keeps: caches that add no structure, distances, memory attributes.
    ///
    /// # Errors
    ///
    /// [`Error::Topology`] if hwloc has not seen this node, or not all of it.
    pub fn to_xml(&self) -> Result<String> {
        let refused = |reason: &str| Error::topology(&self.origin, reason);
        let builder = match &self.material {
            Material::Root(root) => {
                // hwloc itself looks at these whenever it loads a machine.
                let changed = ["HWLOC_XMLFILE", "HWLOC_SYNTHETIC"].map(variable);
                if file_tree() != *root || changed.iter().any(Option::is_some) {
                    return Err(refused(
                        "HWLOC_FSROOT, HWLOC_XMLFILE or HWLOC_SYNTHETIC has changed since it was \
                         discovered, so hwloc would see another machine",
                    ));
                }
                machine_builder(root)
            }
            Material::Xml(text) => TopologyBuilder::new().from_xml(text).ok(),
            Material::Synthetic { has_gpus: true, .. } => {
                return Err(refused(
                    "hwloc's XML cannot hold GPUs that were made up; write it as JSON instead",
                ));
            }
            Material::Synthetic { text, .. } => TopologyBuilder::new().from_synthetic(text).ok(),
            Material::Unknown => {
                return Err(refused(
                    "it did not come from hwloc, and has not all that hwloc's XML holds; \
                     write it as JSON instead",
                ));
            }
        };
        let node = builder
            .and_then(|builder| builder.with_io_type_filter(TypeFilter::KeepImportant).ok())
            .and_then(|builder| builder.build().ok())
            .ok_or_else(|| refused(&refusal()))?;
        let xml = node.export_xml(XMLExportFlags::empty());
        Ok(xml.map_err(|error| refused(&error.to_string()))?.as_str().to_owned())
    }
}

/// The largest file that is read. Files of real machines, the biggest included, have a few megabytes.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// How much work a synthetic text may be for hwloc, whose time to build a machine grows with the
/// square of its CPUs times the widest level: enough for 131,072 CPUs in cores of 64, half a minute.
const MAX_SYNTHETIC_WORK: u64 = 1 << 40;

/// Variables that put another machine in the place of this one, the first first. With the last, hwloc
/// looks at another file tree; `/` is this machine's.
pub const SOURCE_VARIABLES: [&str; 4] =
    ["MPIBIND_TOPOFILE", "HWLOC_XMLFILE", "HWLOC_SYNTHETIC", "HWLOC_FSROOT"];

/// Reads or discovers a topology.
///
/// # Errors
///
/// [`Error::Topology`] that says what is wrong with the source, or [`Error::InvalidParameter`] for
/// bad `gpus`.
pub fn discover(source: Source<'_>) -> Result<Discovered> {
    match source {
        Source::Xml(path) => from_xml(path, &format!("{path:?}")),
        Source::Synthetic { text, gpus } => from_synthetic(text, gpus, format!("{text:?}")),
        Source::Here { open } => {
            if let Some((name, path)) =
                variable("MPIBIND_TOPOFILE").or_else(|| variable("HWLOC_XMLFILE"))
            {
                let origin = format!("{path:?} (from {name})");
                from_xml(Path::new(&path), &origin)
            } else if let Some((name, text)) = variable("HWLOC_SYNTHETIC") {
                let text = text.to_string_lossy();
                from_synthetic(&text, &[], format!("{text:?} (from {name})"))
            } else {
                from_this_machine(open)
            }
        }
    }
}

/// A variable's name and value, if it is set and not empty.
fn variable(name: &'static str) -> Option<(&'static str, OsString)> {
    env::var_os(name).filter(|value| !value.is_empty()).map(|value| (name, value))
}

/// The root of the file tree that hwloc takes for the machine's.
fn file_tree() -> PathBuf {
    variable("HWLOC_FSROOT").map_or_else(|| PathBuf::from("/"), |(_, root)| root.into())
}

/// Whether [`Source::Here`] is the machine that this runs on, and nothing in its place.
pub(crate) fn is_this_machine() -> bool {
    let [others @ .., _root] = SOURCE_VARIABLES;
    others.into_iter().all(|name| variable(name).is_none()) && file_tree() == Path::new("/")
}

/// The version of the interface of the libhwloc that is loaded.
pub(crate) fn interface_version() -> usize {
    hwloc2::hwloc_api_version()
}

/// The version of the libhwloc that is loaded, such as `2.9.0`.
pub fn hwloc_version() -> String {
    // Its calls know the version of its interface only, but it signs what it makes.
    let smallest = TopologyBuilder::new().from_synthetic("pu:1").map(TopologyBuilder::build);
    let signed = smallest.ok().and_then(std::result::Result::ok);
    signed.and_then(|node| info(node.root_object(), &["hwlocVersion"])).unwrap_or_else(|| {
        let interface = hwloc2::hwloc_api_version();
        format!("{}.{}", interface >> 16, (interface >> 8) & 0xff)
    })
}

/// How many PCI devices hwloc sees on this machine, of those that matter to it: none, if it was
/// built or told to look at none.
///
/// # Errors
///
/// [`Error::Topology`] if it sees no machine at all.
pub fn count_pci_devices() -> Result<usize> {
    let node = machine_builder(&file_tree())
        .and_then(|builder| builder.with_io_type_filter(TypeFilter::KeepImportant).ok())
        .and_then(|builder| builder.build().ok())
        .ok_or_else(|| Error::topology("this machine", refusal()))?;
    Ok(node.objects_with_type(ObjectType::PCIDevice).count())
}

/// The device files of GPUs that this process may open (`dev/nvidia0`), sorted.
pub fn open_devices() -> Vec<String> {
    Files::new(&file_tree(), &[]).open_devices()
}

const THIS_MACHINE: &str = "this machine";

fn from_this_machine(open: &[String]) -> Result<Discovered> {
    let root = file_tree();
    let is_live = root == Path::new("/");
    let origin =
        if is_live { THIS_MACHINE.to_owned() } else { format!("{root:?} (from HWLOC_FSROOT)") };
    if !is_live && !root.join("sys").is_dir() {
        let reason = format!(
            "{:?} is not a folder; HWLOC_FSROOT must be the root of a Linux file tree",
            root.join("sys")
        );
        return Err(Error::topology(origin, reason));
    }
    if !is_live {
        check_lists(&root).map_err(|reason| Error::topology(&origin, reason))?;
    }
    let builder = machine_builder(&root).ok_or_else(|| Error::topology(&origin, refusal()))?;
    load(builder, &origin, Some(Files::new(&root, open)), Material::Root(root.clone()))
}

/// Checks the lists that a file tree starts from: libhwloc believes them, and ends the process where one
/// names nothing. The kernel's own are right.
fn check_lists(root: &Path) -> std::result::Result<(), String> {
    for name in ["cpu/online", "cpu/possible", "cpu/present", "node/online", "node/possible"] {
        let path = root.join("sys/devices/system").join(name);
        let Ok(bytes) = fs::read(&path) else { continue };
        // Old kernels ended some of them with a zero byte.
        let is_end = |letter: char| letter.is_whitespace() || letter == '\0';
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end_matches(is_end);
        // Of what is not in order, libhwloc makes nothing; it stops at a line's end.
        let ids: std::result::Result<Vec<u32>, _> =
            text.split([',', '-']).map(str::parse).collect();
        let is_rising = ids.is_ok_and(|ids| ids.is_sorted());
        let list = CpuSet::parse(text).unwrap_or_default();
        if !is_rising || list.last().is_none_or(|last| last > MAX_INDEX) {
            return Err(format!(
                "{path:?} is no rising list of ids from 0 to {MAX_INDEX}, such as 0-3,8"
            ));
        }
    }
    Ok(())
}

fn machine_builder(root: &Path) -> Option<TopologyBuilder> {
    // It tries to reach X servers, by TCP too, and what it tells of screens is not asked for.
    let screens = "gl";
    // It asks the processor that it runs on, also about the machine of a copied tree.
    let processor = "x86";
    let unwanted = if root == Path::new("/") { &[screens][..] } else { &[screens, processor] };
    // An hwloc that has no such part refuses to leave it out.
    let is_there = |part: &&str| TopologyBuilder::new().without_component(part).is_ok();
    let nothing_left_out = TopologyBuilder::new();
    unwanted
        .iter()
        .filter(|part| is_there(part))
        .try_fold(nothing_left_out, |builder, part| builder.without_component(part).ok())
}

fn from_xml(path: &Path, origin: &str) -> Result<Discovered> {
    let text = read_text(path).and_then(|text| xml::checked(&text));
    let text = text.map_err(|reason| Error::topology(origin, reason))?;
    let builder =
        TopologyBuilder::new().from_xml(&text).map_err(|_| Error::topology(origin, refusal()))?;
    load(builder, origin, None, Material::Xml(text.into()))
}

fn read_text(path: &Path) -> std::result::Result<String, String> {
    let metadata =
        fs::metadata(path).map_err(|error| format!("it cannot be opened ({})", plain(&error)))?;
    if !metadata.is_file() {
        // Opening a pipe or a device could wait for ever.
        return Err(
            "it is not a regular file; name an XML file, as `lstopo node.xml` writes it".into()
        );
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(format!(
            "it has {} bytes; no topology needs more than {MAX_FILE_BYTES}",
            metadata.len()
        ));
    }
    let bytes = fs::read(path).map_err(|error| format!("it cannot be read ({})", plain(&error)))?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err("it is empty; write it anew with `lstopo node.xml`".into());
    }
    String::from_utf8(bytes).map_err(|_| "it is not a text in UTF-8, so not hwloc's XML".into())
}

/// The system's words for an error, without its number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn refusal() -> String {
    format!(
        "libhwloc {} refuses it; it may be damaged, or written by a newer hwloc: \
         `lstopo --export-xml-flags v2 node.xml` writes what hwloc 2 reads",
        hwloc_version()
    )
}

fn from_synthetic(text: &str, gpus: &[i64], origin: String) -> Result<Discovered> {
    let nonsense = || {
        let reason = "hwloc does not understand it; write levels from the outside in, such as \
                      \"package:2 [numa] core:18 pu:2\" (see lstopo's manual page)";
        Error::topology(&origin, reason)
    };
    if text.trim().is_empty() {
        return Err(nonsense());
    }
    if synthetic_work(text) > MAX_SYNTHETIC_WORK {
        let reason = "it is too big: hwloc would take minutes to build it; \
                      ask for fewer CPUs, or for more levels with fewer children each";
        return Err(Error::topology(&origin, reason));
    }
    let builder = TopologyBuilder::new().from_synthetic(text).map_err(|_| nonsense())?;
    let (tree, _) = read_tree(builder, &origin, None)?;
    // Node numbers mean places in the finished machine: lay it out once without, once with the GPUs.
    let bare = Topology::new(tree.clone(), &origin)?;
    let tree = with_gpus(tree, bare.numas(), gpus)?;
    let material = Material::Synthetic { text: text.to_owned(), has_gpus: !tree.gpus.is_empty() };
    let topology = Arc::new(Topology::new(tree, &origin)?);
    Ok(Discovered { material, ..Discovered::given(topology, origin) })
}

/// What a synthetic text costs hwloc: the square of the number of CPUs times the widest level.
fn synthetic_work(text: &str) -> u64 {
    let mut depth = 0;
    // Attributes in parentheses and memory in brackets do not multiply.
    let levels: String = (text.chars())
        .filter(|character| {
            match character {
                '(' | '[' => depth += 1,
                ')' | ']' => depth -= 1,
                _ => return depth == 0,
            }
            false
        })
        .collect();
    let count = |level: &str| match level.rsplit(':').next().unwrap_or(level).parse::<u64>() {
        Ok(count) => count.max(1),
        // What is not a number is hwloc's to refuse, unless it is a number too large to count.
        Err(_) if level.len() > 18 => u64::MAX,
        Err(_) => 1,
    };
    let counts: Vec<u64> = levels.split_whitespace().map(count).collect();
    let cpus = counts.iter().copied().fold(1, u64::saturating_mul);
    let widest = counts.iter().copied().max().unwrap_or(1);
    cpus.saturating_mul(cpus).saturating_mul(widest)
}

/// Hangs GPUs below the NUMA nodes of a tree, numbered in order.
fn with_gpus(mut tree: Tree, numas: &[NumaNode], gpus: &[i64]) -> Result<Tree> {
    const MAX_GPUS: i64 = 1024;
    let shown = || format!("{gpus:?}");
    if gpus.len() > numas.len() {
        let legal =
            format!("the machine has {} NUMA nodes; give at most one number for each", numas.len());
        return Err(Error::parameter("gpus", shown(), legal));
    }
    for (numa, count) in numas.iter().zip(gpus) {
        if !(0..=MAX_GPUS).contains(count) {
            return Err(Error::parameter(
                "gpus",
                shown(),
                format!("each number must be 0 to {MAX_GPUS} (GPUs of one NUMA node)"),
            ));
        }
        let domain = tree
            .numas
            .iter()
            .find(|other| other.os_index == numa.os_index)
            .map_or(0, |numa| numa.domain);
        for _ in 0..*count {
            tree.gpus.push(Gpu {
                found: "made up".into(),
                ..Gpu::new(tree.gpus.len() as u32, Vendor::Unknown, domain)
            });
        }
    }
    Ok(tree)
}

fn load(
    builder: TopologyBuilder,
    origin: &str,
    files: Option<Files>,
    material: Material,
) -> Result<Discovered> {
    let (tree, uncounted) = read_tree(builder, origin, files.as_ref())?;
    let is_live = matches!(&material, Material::Root(root) if root == Path::new("/"));
    Ok(Discovered {
        topology: Arc::new(Topology::new(tree, origin)?),
        origin: origin.to_owned(),
        is_live,
        uncounted,
        notes: files.map(Files::into_notes).unwrap_or_default(),
        material,
    })
}

/// Lets hwloc load a topology and copies it.
fn read_tree(
    builder: TopologyBuilder,
    origin: &str,
    files: Option<&Files>,
) -> Result<(Tree, Vec<Uncounted>)> {
    let refused = || Error::topology(origin, refusal());
    let builder =
        builder.with_common_type_filter(TypeFilter::KeepStructure).map_err(|_| refused())?;
    let builder = builder.with_io_type_filter(TypeFilter::KeepImportant).map_err(|_| refused())?;
    let node = builder.build().map_err(|_| refused())?;
    let mut tree = Tree::default();
    let places = read_objects(&node, &mut tree);
    let locality = |object: &TopologyObject| place_of(object, &places);
    let pus = tree.nodes.iter().filter(|node| node.kind == Kind::Pu);
    let largest = pus.filter_map(|node| node.os_index).max().unwrap_or(0);
    for numa in node.objects_with_type(ObjectType::NUMANode) {
        tree.numas.push(NumaNode {
            os_index: os_index(numa).unwrap_or(u32::MAX),
            subtype: numa.subtype().map(|subtype| printable(subtype.to_bytes())),
            bytes: match numa.attributes() {
                Some(ObjectAttributes::NUMANode(memory)) => {
                    memory.local_memory().map_or(0, Into::into)
                }
                _ => 0,
            },
            cpus: numa.cpuset().map(|set| ids_up_to(&set, largest)).unwrap_or_default(),
            domain: locality(numa),
        });
    }
    tree.hidden_cpus = read_hidden_cpus(&node, &places, largest);
    let mut functions = read_functions(&node, &locality);
    let mut nics = read_nics(&node, &locality);
    let os_devices: Vec<OsDevice> = node
        .objects_with_type(ObjectType::OSDevice)
        .map(|device| read_os_device(device, &locality))
        .collect();
    if let Some(files) = files.filter(|_| functions.is_empty()) {
        let (from_kernel, of_kernel) = read_bus(files);
        // Without their PCI functions hwloc may know network cards by name only.
        nics.retain(|nic| of_kernel.iter().all(|other| other.name != nic.name));
        nics.extend(of_kernel);
        functions = from_kernel;
    }
    let Found { mut gpus, uncounted } = find(&os_devices, &functions, files);
    if let Some(files) = files {
        for gpu in &mut gpus {
            improve_locality(&mut gpu.locality, gpu.pci, &tree, files);
        }
        for nic in &mut nics {
            improve_locality(&mut nic.locality, nic.pci, &tree, files);
        }
    }
    (tree.gpus, tree.nics) = (gpus, nics);
    Ok((tree, uncounted))
}

/// Asks the kernel about a device that hwloc could place no better than at the machine. What it does
/// not know of the device it may know of the bridge above.
fn improve_locality(
    locality: &mut ObjectId,
    address: Option<PciAddress>,
    tree: &Tree,
    files: &Files,
) {
    let (0, Some(address)) = (*locality, address) else { return };
    if tree.numas.iter().all(|numa| numa.domain == 0) {
        return; // There is but one place to be.
    }
    const MOST_BRIDGES: usize = 16;
    // The folder of a function is a link to where it is in the tree of bridges.
    let above = |folder: &String| Some(format!("{folder}/.."));
    let folders = std::iter::successors(Some(Files::function(address)), above).take(MOST_BRIDGES);
    let mut functions = folders.take_while(|folder| files.has(&format!("{folder}/vendor")));
    *locality = functions.find_map(|folder| place_of_folder(&folder, tree, files)).unwrap_or(0);
}

/// Where in the machine the kernel says that a PCI function is.
fn place_of_folder(folder: &str, tree: &Tree, files: &Files) -> Option<ObjectId> {
    let text = |name: &str| files.text(&format!("{folder}/{name}"));
    let cpus = text("local_cpulist").and_then(|list| CpuSet::parse(list.trim()).ok());
    let around = cpus.map(|cpus| tree.smallest_around(&cpus));
    let by_node = || {
        // -1 where the system does not know.
        let node: u32 = text("numa_node")?.trim().parse().ok()?;
        tree.numas.iter().find(|numa| numa.os_index == node).map(|numa| numa.domain)
    };
    around.filter(|place| *place > 0).or_else(by_node).filter(|place| *place > 0)
}

/// Copies the CPU side, and returns where each object went, by hwloc's persistent number.
fn read_objects(node: &hwloc2::Topology, tree: &mut Tree) -> HashMap<u64, ObjectId> {
    let mut places = HashMap::new();
    let mut stack = vec![(node.root_object(), None)];
    while let Some((object, parent)) = stack.pop() {
        let Some(kind) = kind_of(object.object_type()) else { continue };
        let id = tree.add(parent, kind, os_index(object));
        if let Some(ObjectAttributes::Group(group)) = object.attributes() {
            tree.nodes[id].group =
                Some(Group { depth: group.depth(), keep: group.merging_prevented() });
        }
        places.insert(object.global_persistent_index(), id);
        let children: Vec<_> = object.normal_children().map(|child| (child, Some(id))).collect();
        stack.extend(children.into_iter().rev());
    }
    places
}

/// The CPUs that exist but may not be used, each with the innermost object that has it.
fn read_hidden_cpus(
    node: &hwloc2::Topology,
    places: &HashMap<u64, ObjectId>,
    largest: u32,
) -> Vec<(u32, ObjectId)> {
    let hidden = |object: &TopologyObject| match (object.cpuset(), object.complete_cpuset()) {
        (Some(usable), Some(all)) => &ids_up_to(&all, largest) - &ids_up_to(&usable, largest),
        _ => CpuSet::new(),
    };
    let mut innermost = Vec::new();
    let mut stack = vec![node.root_object()];
    while let Some(object) = stack.pop() {
        let mut own = hidden(object);
        if own.is_empty() {
            continue;
        }
        for child in object.normal_children() {
            own = &own - &hidden(child);
            stack.push(child);
        }
        let place = place_of(object, places);
        innermost.extend(own.iter().map(|cpu| (cpu, place)));
    }
    innermost
}

fn kind_of(object_type: ObjectType) -> Option<Kind> {
    Some(match object_type {
        ObjectType::Machine => Kind::Machine,
        ObjectType::Group => Kind::Group,
        ObjectType::Package => Kind::Package,
        ObjectType::Die => Kind::Die,
        ObjectType::L5Cache => Kind::L5,
        ObjectType::L4Cache => Kind::L4,
        ObjectType::L3Cache => Kind::L3,
        ObjectType::L3ICache => Kind::L3i,
        ObjectType::L2Cache => Kind::L2,
        ObjectType::L2ICache => Kind::L2i,
        ObjectType::L1Cache => Kind::L1,
        ObjectType::L1ICache => Kind::L1i,
        ObjectType::Core => Kind::Core,
        ObjectType::PU => Kind::Pu,
        _ => return None,
    })
}

/// The closest copied object at or above `object`.
fn place_of(object: &TopologyObject, places: &HashMap<u64, ObjectId>) -> ObjectId {
    std::iter::once(object)
        .chain(object.ancestors())
        .find_map(|object| places.get(&object.global_persistent_index()).copied())
        .unwrap_or(0)
}

fn os_index(object: &TopologyObject) -> Option<u32> {
    object.os_index().and_then(|index| u32::try_from(index).ok())
}

/// The members of a set up to the largest CPU there is: hwloc's sets can be infinite.
fn ids_up_to(set: &hwloc2::cpu::cpuset::CpuSet, largest: u32) -> CpuSet {
    let mut ids = Vec::new();
    // A plain loop, as it stops at the first end: asked once more, hwlocality's iterator starts over,
    // although it says of itself that it is fused.
    for index in set.iter_set() {
        match u32::try_from(usize::from(index)) {
            Ok(id) if id <= largest => ids.push(id),
            _ => break,
        }
    }
    ids.into_iter().collect()
}

fn pci_attributes(object: &TopologyObject) -> Option<&PCIDeviceAttributes> {
    match object.attributes() {
        Some(ObjectAttributes::PCIDevice(pci)) => Some(pci),
        _ => None,
    }
}

fn pci_address(pci: &PCIDeviceAttributes) -> PciAddress {
    let domain = pci.domain().into();
    PciAddress { domain, bus: pci.bus_id(), device: pci.bus_device(), function: pci.function() }
}

/// The PCI function that a device belongs to.
fn function_of(device: &TopologyObject) -> Option<PciAddress> {
    device.ancestors().find_map(pci_attributes).map(pci_address)
}

fn info(object: &TopologyObject, keys: &[&str]) -> Option<String> {
    keys.iter().find_map(|key| object.info(key)).map(|value| printable(value.to_bytes()))
}

fn name(object: &TopologyObject) -> String {
    object.name().map(|name| printable(name.to_bytes())).unwrap_or_default()
}

fn read_os_device(
    device: &TopologyObject,
    locality: &impl Fn(&TopologyObject) -> ObjectId,
) -> OsDevice {
    OsDevice {
        name: name(device),
        model: info(device, &["GPUModel", "LevelZeroDeviceName"]),
        uuid: info(device, &["NVIDIAUUID", "AMDUUID", "LevelZeroUUID"]),
        pci: function_of(device),
        tiles: device
            .io_children()
            .filter(|part| part.object_type() == ObjectType::OSDevice)
            .count() as u32,
        locality: locality(device),
    }
}

fn read_functions(
    node: &hwloc2::Topology,
    locality: &impl Fn(&TopologyObject) -> ObjectId,
) -> Vec<PciFunction> {
    let functions = node.objects_with_type(ObjectType::PCIDevice);
    functions
        .filter_map(|object| {
            let pci = pci_attributes(object)?;
            Some(PciFunction {
                address: pci_address(pci),
                vendor_id: pci.vendor_id(),
                device_id: pci.device_id(),
                class_id: pci.class_id(),
                model: info(object, &["PCIDevice"]),
                computes: object.io_children().find_map(sign_of_compute),
                locality: locality(object),
            })
        })
        .collect()
}

/// What an OS device says about the computing of the PCI function that it belongs to.
fn sign_of_compute(device: &TopologyObject) -> Option<&'static str> {
    match device.attributes() {
        Some(ObjectAttributes::OSDevice(os)) if os.device_type() == OSDeviceType::CoProcessor => {
            Some("co-processor")
        }
        _ => name(device).starts_with("renderD").then_some("render node"),
    }
}

/// Network cards that programs open by themselves: OpenFabrics devices, and the network devices of
/// Slingshot and BXI.
fn read_nics(node: &hwloc2::Topology, locality: &impl Fn(&TopologyObject) -> ObjectId) -> Vec<Nic> {
    let read_nic = |device: &TopologyObject| {
        let Some(ObjectAttributes::OSDevice(attributes)) = device.attributes() else {
            return None;
        };
        let (port, down) = match attributes.device_type() {
            OSDeviceType::OpenFabrics => port_in_use(device),
            OSDeviceType::Network if is_slingshot_or_bxi(device) => (None, false),
            _ => return None,
        };
        let (pci, locality) = (function_of(device), locality(device));
        Some(Nic { name: name(device), port, down, pci, locality })
    };
    node.objects_with_type(ObjectType::OSDevice).filter_map(read_nic).collect()
}

/// Whether a network device is one of Slingshot or BXI: newer versions of hwloc say so, and the PCI
/// function tells who made it.
fn is_slingshot_or_bxi(device: &TopologyObject) -> bool {
    let function = device.ancestors().find_map(pci_attributes);
    let subtype = device.subtype();
    subtype.is_some_and(|subtype| matches!(subtype.to_bytes(), b"Slingshot" | b"BXI"))
        || function.is_some_and(|pci| is_high_speed(pci.vendor_id()))
}

/// The first active port of an OpenFabrics device, or the first where none is active; and whether
/// it is known that none is.
fn port_in_use(device: &TopologyObject) -> (Option<u32>, bool) {
    const MAX_PORTS: u32 = 8;
    let states = (1..=MAX_PORTS)
        .filter_map(|port| Some((port, info(device, &[&format!("Port{port}State")])?)));
    port_of(&states.collect::<Vec<_>>())
}
