//! Which of the devices that hwloc lists are GPUs, and how they are numbered.
//!
//! Two sources. hwloc's management-library devices (NVML, ROCm SMI, Level Zero), where libhwloc was
//! built with them, are GPUs by definition and bring their numbers. Everything else is told by
//! vendor and class of the PCI function (classes: PCI Code and ID Assignment Specification). One PCI
//! function is one GPU, unless a management library or the driver reports several partitions of it.

use std::collections::{HashMap, HashSet};

use super::amd::{self, Kfd};
use super::files::Files;
use super::{Gpu, PciAddress, Vendor, intel, nvidia};
use crate::topology::ObjectId;

/// An OS device of hwloc, as far as GPUs are concerned.
#[derive(Clone, Debug)]
pub(crate) struct OsDevice {
    pub(crate) name: String,
    pub(crate) model: Option<String>,
    pub(crate) uuid: Option<String>,
    pub(crate) pci: Option<PciAddress>,
    /// The number of its parts that are devices of their own.
    pub(crate) tiles: u32,
    pub(crate) locality: ObjectId,
}

/// A PCI function.
#[derive(Clone, Debug)]
pub(crate) struct PciFunction {
    pub(crate) address: PciAddress,
    pub(crate) vendor_id: u16,
    pub(crate) device_id: u16,
    pub(crate) class_id: u16,
    pub(crate) model: Option<String>,
    /// What says that programs can compute on it.
    pub(crate) computes: Option<&'static str>,
    pub(crate) locality: ObjectId,
}

impl PciFunction {
    pub(super) fn class_text(&self) -> String {
        format!("PCI class {:04x}", self.class_id)
    }

    fn is_display_or_accelerator(&self) -> bool {
        matches!(self.class_id >> 8, 0x03 | 0x12)
    }
}

/// A display or an accelerator that is not among the GPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncounted {
    /// Where it is.
    pub pci: PciAddress,
    /// Who made it, as a name or a PCI vendor number.
    pub vendor: String,
    /// What it is sold as, if known.
    pub model: Option<String>,
    /// Why it is not counted.
    pub reason: String,
}

impl Uncounted {
    pub(super) fn gpu(gpu: &Gpu, reason: String) -> Self {
        let pci = gpu.pci.expect("only GPUs with a PCI address are left out");
        Self { pci, vendor: gpu.vendor.name().into(), model: gpu.model.clone(), reason }
    }
}

/// What a PCI function is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A GPU, and how that is known.
    Gpu(Vendor, String),
    /// None, and why.
    Not(String),
}

/// The GPUs of a node in device order, and what looks like one.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) gpus: Vec<Gpu>,
    pub(crate) uncounted: Vec<Uncounted>,
}

const NVIDIA: u16 = 0x10de;
const AMD: u16 = 0x1002;
const INTEL: u16 = 0x8086;
const ASPEED: u16 = 0x1a03;
const MATROX: u16 = 0x102b;

/// Display controllers: VGA compatible, 3D, and other.
pub(super) const VGA: u16 = 0x0300;
pub(super) const DISPLAY_3D: u16 = 0x0302;
pub(super) const DISPLAY_OTHER: u16 = 0x0380;

/// Finds the GPUs: those that have an OS device in hwloc's order of these, then the others by PCI
/// address. On a node without displays and accelerators no file is read.
pub(crate) fn find(
    os_devices: &[OsDevice],
    functions: &[PciFunction],
    files: Option<&Files>,
) -> Found {
    let mut gpus = management_devices(os_devices);
    let owned: HashSet<PciAddress> = gpus.iter().filter_map(|gpu| gpu.pci).collect();
    // Where hwloc sees no PCI devices, those that a library told of have no address, and which
    // function is which cannot be told.
    let has_all_of = |vendor_id: u16| {
        let is_one = |gpu: &Gpu| gpu.pci.is_none() && gpu.vendor.name() == vendor_name(vendor_id);
        gpus.iter().any(is_one)
    };
    let mut others: Vec<PciFunction> = functions
        .iter()
        .filter(|function| function.is_display_or_accelerator())
        .filter(|function| !owned.contains(&function.address))
        .filter(|function| !has_all_of(function.vendor_id))
        .cloned()
        .collect();
    others.sort_by_key(|function| function.address);
    let has_amd = gpus.iter().any(|gpu| gpu.vendor == Vendor::Amd)
        || others.iter().any(|function| function.vendor_id == AMD);
    let kfd = files.filter(|_| has_amd).map(Kfd::read).unwrap_or_default();
    let mut uncounted = Vec::new();
    for function in &mut others {
        let has_render_node = |files: &Files| files.render_node(function.address).is_some();
        if function.class_id == VGA && matches!(function.vendor_id, AMD | INTEL) {
            let seen = files.is_some_and(has_render_node).then_some("render node");
            function.computes = function.computes.or(seen);
        }
        match judge(function, &kfd) {
            Verdict::Gpu(vendor, found) => gpus.push(Gpu {
                model: function.model.clone(),
                pci: Some(function.address),
                found,
                ..Gpu::new(0, vendor, function.locality)
            }),
            Verdict::Not(reason) => uncounted.push(Uncounted {
                pci: function.address,
                vendor: vendor_name(function.vendor_id),
                model: function.model.clone(),
                reason,
            }),
        }
    }
    if let Some(files) = files {
        gpus = complete(gpus, &mut uncounted, &kfd, files);
    }
    forget_shared_uuids(&mut gpus);
    number(&mut gpus);
    uncounted.sort_by_key(|device| device.pci);
    Found { gpus, uncounted }
}

/// The GPUs that management libraries told hwloc about. The index is in the name.
fn management_devices(os_devices: &[OsDevice]) -> Vec<Gpu> {
    let mut gpus = Vec::new();
    let mut owner: HashMap<PciAddress, Vendor> = HashMap::new();
    for device in os_devices {
        let Some((library, vendor, index)) = management_device(&device.name) else { continue };
        if let Some(pci) = device.pci {
            // Two management libraries can see one function; the first one counts.
            if *owner.entry(pci).or_insert(vendor) != vendor {
                continue;
            }
        }
        let uuid = device.uuid.clone();
        gpus.push(Gpu {
            os_name: Some(device.name.clone()),
            model: device.model.clone(),
            uuid: match vendor {
                Vendor::Amd => uuid.and_then(|text| amd::uuid_of_text(&text)),
                _ => uuid,
            },
            pci: device.pci,
            tiles: device.tiles.max(1),
            found: format!("hwloc {library}"),
            ..Gpu::new(index, vendor, device.locality)
        });
    }
    gpus
}

/// Library, vendor and number of a management library's device: `nvml3`, `rsmi0`, `ze1`. The tiles of
/// an Intel GPU (`ze1.0`) are parts of it and have no number of their own.
fn management_device(name: &str) -> Option<(&'static str, Vendor, u32)> {
    let families = [
        ("nvml", "NVML", Vendor::Nvidia),
        ("rsmi", "ROCm SMI", Vendor::Amd),
        ("ze", "Level Zero", Vendor::Intel),
    ];
    families.into_iter().find_map(|(prefix, library, vendor)| {
        let digits = name.strip_prefix(prefix)?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        let index = is_number.then(|| digits.parse().ok()).flatten()?;
        Some((library, vendor, index))
    })
}

/// What a display or an accelerator is: a GPU for computing, or something else, such as the display
/// chips of management controllers, FPGAs, and the graphics inside a CPU.
fn judge(function: &PciFunction, kfd: &Kfd) -> Verdict {
    match function.vendor_id {
        NVIDIA => nvidia::judge(function),
        AMD => amd::judge(function, kfd),
        INTEL => intel::judge(function),
        ASPEED | MATROX => Verdict::Not("the display chip of a management controller".into()),
        _ => Verdict::Not("not of a vendor whose GPUs are known".into()),
    }
}

fn vendor_name(vendor_id: u16) -> String {
    match vendor_id {
        NVIDIA => "NVIDIA".into(),
        AMD => "AMD".into(),
        INTEL => "Intel".into(),
        ASPEED => "ASPEED".into(),
        MATROX => "Matrox".into(),
        other => format!("{other:04x}"),
    }
}

/// Has each vendor's GPUs completed from files, in the order that they have.
fn complete(gpus: Vec<Gpu>, uncounted: &mut Vec<Uncounted>, kfd: &Kfd, files: &Files) -> Vec<Gpu> {
    let (from_libraries, from_pci): (Vec<Gpu>, Vec<Gpu>) =
        gpus.into_iter().partition(|gpu| gpu.os_name.is_some());
    let order = |gpus: &[Gpu]| -> HashMap<Option<PciAddress>, usize> {
        gpus.iter().enumerate().map(|(place, gpu)| (gpu.pci, place)).rev().collect()
    };
    let mut all = Vec::new();
    let order_of_libraries = order(&from_libraries);
    for vendor in Vendor::ALL {
        let of_vendor: Vec<Gpu> = (from_libraries.iter().chain(&from_pci))
            .filter(|gpu| gpu.vendor == vendor)
            .cloned()
            .collect();
        if of_vendor.is_empty() {
            continue;
        }
        all.extend(match vendor {
            Vendor::Nvidia => nvidia::complete(of_vendor, uncounted, files),
            Vendor::Amd => kfd.complete(of_vendor, uncounted, files),
            Vendor::Intel => intel::complete(of_vendor, uncounted, files),
            Vendor::Unknown => of_vendor,
        });
    }
    // Stable: partitions, which share an address, stay as they are.
    all.sort_by_key(|gpu| match gpu.os_name {
        Some(_) => (false, order_of_libraries.get(&gpu.pci).copied().unwrap_or(0), None),
        None => (true, 0, gpu.pci),
    });
    all
}

/// Numbers the GPUs that no library has numbered, per vendor: in the order of the vendor's runtime
/// where that is known, else by PCI address, as the vendor's tools do.
fn number(gpus: &mut [Gpu]) {
    for vendor in Vendor::ALL {
        let mut taken: HashSet<u32> = HashSet::new();
        let mut unnumbered = Vec::new();
        for (place, gpu) in gpus.iter().enumerate().filter(|(_, gpu)| gpu.vendor == vendor) {
            match gpu.os_name {
                Some(_) => {
                    taken.insert(gpu.index);
                }
                None => unnumbered.push(place),
            }
        }
        unnumbered.sort_by_key(|place| {
            let gpu = &gpus[*place];
            (gpu.ordinal.unwrap_or(u32::MAX), gpu.pci)
        });
        let mut next = 0;
        for place in unnumbered {
            while !taken.insert(next) {
                next += 1;
            }
            gpus[place].index = next;
        }
    }
    count_tiles(gpus);
}

/// Level Zero is told to count GPUs by PCI address, and counts their tiles in that order.
fn count_tiles(gpus: &mut [Gpu]) {
    let mut intel: Vec<usize> =
        (0..gpus.len()).filter(|place| gpus[*place].vendor == Vendor::Intel).collect();
    if intel.iter().all(|place| gpus[*place].pci.is_some()) {
        intel.sort_by_key(|place| gpus[*place].pci);
    } else {
        intel.sort_by_key(|place| gpus[*place].index);
    }
    let mut first_tile = 0;
    for (ordinal, place) in intel.into_iter().enumerate() {
        gpus[place].ordinal = Some(ordinal as u32);
        gpus[place].first_tile = first_tile;
        first_tile += gpus[place].tiles;
    }
}

/// The partitions of a GPU can report one identity, which then names none of them.
fn forget_shared_uuids(gpus: &mut [Gpu]) {
    let mut count: HashMap<String, usize> = HashMap::new();
    for uuid in gpus.iter().filter_map(|gpu| gpu.uuid.clone()) {
        *count.entry(uuid).or_insert(0) += 1;
    }
    for gpu in gpus {
        gpu.uuid.take_if(|uuid| count[uuid.as_str()] > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(bus: u8, vendor_id: u16, class_id: u16) -> PciFunction {
        let address = PciAddress { domain: 0, bus, device: 0, function: 0 };
        PciFunction {
            address,
            vendor_id,
            device_id: 1,
            class_id,
            model: None,
            computes: None,
            locality: 0,
        }
    }

    fn os_device(name: &str, bus: u8) -> OsDevice {
        let pci = Some(PciAddress { domain: 0, bus, device: 0, function: 0 });
        OsDevice { name: name.into(), model: None, uuid: None, pci, tiles: 0, locality: 0 }
    }

    fn gpus_of(os_devices: &[OsDevice], functions: &[PciFunction]) -> Vec<Gpu> {
        find(os_devices, functions, None).gpus
    }

    #[test]
    fn classes_and_decoys() {
        let computing = |function| PciFunction { computes: Some("render node"), ..function };
        let es1000 = |function| PciFunction { device_id: 0x515e, ..function };
        let table = [
            (function(1, NVIDIA, 0x0302), Some(Vendor::Nvidia)),
            (function(1, NVIDIA, 0x0300), Some(Vendor::Nvidia)),
            (function(1, NVIDIA, 0x0403), None), // its sound device
            (function(1, AMD, 0x0380), Some(Vendor::Amd)),
            (function(1, AMD, 0x1200), Some(Vendor::Amd)),
            (function(1, AMD, 0x0300), None),
            (computing(function(1, AMD, 0x0300)), Some(Vendor::Amd)),
            (es1000(computing(function(1, AMD, 0x0300))), None),
            (function(1, INTEL, 0x0380), Some(Vendor::Intel)),
            (computing(function(1, INTEL, 0x0300)), Some(Vendor::Intel)),
            (function(1, INTEL, 0x0300), None),
            (computing(function(0, INTEL, 0x0300)), None), // inside the CPU
            (function(1, INTEL, 0x1200), None),            // an FPGA
            (function(1, ASPEED, 0x0300), None),
            (function(1, MATROX, 0x0300), None),
            (function(1, 0x1ae0, 0x1200), None), // somebody else's accelerator
        ];
        for (function, vendor) in table {
            let found = find(&[], std::slice::from_ref(&function), None);
            assert_eq!(found.gpus.first().map(|gpu| gpu.vendor), vendor, "{function:?}");
            // Everything else is a GPU, or is shown with the reason why not.
            let is_told = vendor.is_some() || !function.is_display_or_accelerator();
            assert_eq!(found.uncounted.len(), usize::from(!is_told), "{function:?}");
        }
    }

    #[test]
    fn one_function_is_one_gpu_and_partitions_are_several() {
        let functions = [
            function(9, NVIDIA, DISPLAY_3D),
            function(2, NVIDIA, DISPLAY_3D),
            function(4, AMD, 0x1200),
        ];
        let os_devices =
            ["rsmi1", "rsmi0", "card0", "cuda0", "ze0.0"].map(|name| os_device(name, 4));
        let names: Vec<_> =
            gpus_of(&os_devices, &functions).iter().map(|gpu| (gpu.name(), gpu.index)).collect();
        let expected = [("rsmi1", 1), ("rsmi0", 0), ("0000:02:00.0", 0), ("0000:09:00.0", 1)];
        assert_eq!(names, expected.map(|(name, index)| (name.to_owned(), index)));
    }

    #[test]
    fn a_gpu_without_an_address_is_not_counted_twice() {
        let device = OsDevice { pci: None, ..os_device("nvml0", 1) };
        let functions = [function(1, NVIDIA, DISPLAY_3D), function(2, AMD, 0x1200)];
        let gpus = gpus_of(&[device], &functions);
        let names: Vec<_> = gpus.iter().map(Gpu::name).collect();
        assert_eq!(names, ["nvml0", "0000:02:00.0"]);
    }

    #[test]
    fn an_identity_that_several_share_names_none() {
        let device = |name, uuid: &str| OsDevice { uuid: Some(uuid.into()), ..os_device(name, 4) };
        let gpus =
            gpus_of(&[device("rsmi0", "a"), device("rsmi1", "a"), device("rsmi2", "b")], &[]);
        let uuids: Vec<_> = gpus.iter().map(|gpu| gpu.uuid.as_deref()).collect();
        assert_eq!(uuids, [None, None, Some("GPU-000000000000000b")]);
    }

    #[test]
    fn numbers_without_a_library_keep_off_those_with_one() {
        let gpus = gpus_of(
            &[os_device("nvml0", 2)],
            &[function(9, NVIDIA, DISPLAY_3D), function(2, NVIDIA, DISPLAY_3D)],
        );
        assert_eq!(gpus.iter().map(|gpu| gpu.index).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn tiles_are_counted_in_the_order_of_pci_addresses() {
        let device = |name, bus, tiles| OsDevice { tiles, ..os_device(name, bus) };
        let gpus = gpus_of(&[device("ze0", 9, 2), device("ze1", 3, 4), device("ze2", 5, 0)], &[]);
        let tiles: Vec<_> = gpus.iter().map(|gpu| (gpu.ordinal(), gpu.first_tile)).collect();
        assert_eq!(tiles, [(2, 5), (0, 0), (1, 4)]);
    }
}
