//! Which of the devices that hwloc lists are GPUs.
//!
//! Two sources. hwloc's management-library devices (NVML, ROCm SMI, Level Zero), where libhwloc was
//! built with them, are GPUs by definition and bring their numbers. Everything else is told by
//! vendor and class of the PCI function (classes: PCI Code and ID Assignment Specification). One PCI
//! function is one GPU, unless a management library reports several partitions of it.

use std::collections::{HashMap, HashSet};

use super::{Gpu, PciAddress, Vendor};
use crate::topology::ObjectId;

/// An OS device of hwloc, as far as GPUs are concerned.
#[derive(Clone, Debug)]
pub(crate) struct OsDevice {
    pub(crate) name: String,
    pub(crate) model: Option<String>,
    pub(crate) uuid: Option<String>,
    pub(crate) pci: Option<PciAddress>,
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
    /// Whether the kernel offers it for rendering or computing: a `renderD*` node or a co-processor.
    pub(crate) computes: bool,
    pub(crate) locality: ObjectId,
}

const NVIDIA: u16 = 0x10de;
const AMD: u16 = 0x1002;
const INTEL: u16 = 0x8086;

/// Display controllers: VGA compatible, 3D, and other.
const VGA: u16 = 0x0300;
const DISPLAY_3D: u16 = 0x0302;
const DISPLAY_OTHER: u16 = 0x0380;

/// The display chip of older servers' management controllers, made by ATI.
const ES1000: u16 = 0x515e;

/// The GPUs of a node in device order: those that have an OS device in hwloc's order of these, then
/// the others by PCI address.
pub(crate) fn gpus_of(os_devices: &[OsDevice], functions: &[PciFunction]) -> Vec<Gpu> {
    let mut gpus: Vec<Gpu> = Vec::new();
    let mut owner: HashMap<PciAddress, Vendor> = HashMap::new();
    for device in os_devices {
        let Some((vendor, index)) = management_device(&device.name) else { continue };
        if let Some(pci) = device.pci {
            // Two management libraries can see one function; the first one counts.
            if *owner.entry(pci).or_insert(vendor) != vendor {
                continue;
            }
        }
        gpus.push(Gpu {
            index,
            vendor,
            os_name: Some(device.name.clone()),
            model: device.model.clone(),
            uuid: device.uuid.clone(),
            pci: device.pci,
            locality: device.locality,
        });
    }
    forget_shared_uuids(&mut gpus);
    let mut others: Vec<_> = functions
        .iter()
        .filter(|function| !owner.contains_key(&function.address))
        .filter_map(|function| vendor_of(function).map(|vendor| (vendor, function)))
        .collect();
    others.sort_by_key(|(_, function)| function.address);
    let mut taken: HashSet<(Vendor, u32)> =
        gpus.iter().map(|gpu| (gpu.vendor, gpu.index)).collect();
    let mut next: HashMap<Vendor, u32> = HashMap::new();
    for (vendor, function) in others {
        let index = next.entry(vendor).or_insert(0);
        while !taken.insert((vendor, *index)) {
            *index += 1;
        }
        gpus.push(Gpu {
            index: *index,
            vendor,
            os_name: None,
            model: function.model.clone(),
            uuid: None,
            pci: Some(function.address),
            locality: function.locality,
        });
    }
    gpus
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

/// Vendor and number of a management library's device: `nvml3`, `rsmi0`, `ze1`. The tiles of an
/// Intel GPU (`ze1.0`) are parts of it and have no number of their own.
fn management_device(name: &str) -> Option<(Vendor, u32)> {
    let families = [("nvml", Vendor::Nvidia), ("rsmi", Vendor::Amd), ("ze", Vendor::Intel)];
    families.into_iter().find_map(|(prefix, vendor)| {
        let digits = name.strip_prefix(prefix)?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten().map(|index| (vendor, index))
    })
}

/// The vendor of a PCI function if it is a GPU for computing. Display chips of management
/// controllers (ASPEED, Matrox, ES1000), FPGAs and the graphics inside a CPU are not.
fn vendor_of(function: &PciFunction) -> Option<Vendor> {
    match (function.vendor_id, function.class_id) {
        (NVIDIA, DISPLAY_3D | VGA) => Some(Vendor::Nvidia),
        (AMD, _) if function.device_id == ES1000 => None,
        // 0x12xx: processing accelerators.
        (AMD, DISPLAY_OTHER | 0x1200..=0x12ff) => Some(Vendor::Amd),
        (AMD, VGA) if function.computes => Some(Vendor::Amd),
        (INTEL, DISPLAY_OTHER) => Some(Vendor::Intel),
        (INTEL, VGA) if function.computes && function.address.bus != 0 => Some(Vendor::Intel),
        _ => None,
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
            computes: false,
            locality: 0,
        }
    }

    fn os_device(name: &str, bus: u8) -> OsDevice {
        let pci = Some(PciAddress { domain: 0, bus, device: 0, function: 0 });
        OsDevice { name: name.into(), model: None, uuid: None, pci, locality: 0 }
    }

    #[test]
    fn classes_and_decoys() {
        let computing = |function| PciFunction { computes: true, ..function };
        let table = [
            (function(1, NVIDIA, 0x0302), Some(Vendor::Nvidia)),
            (function(1, NVIDIA, 0x0300), Some(Vendor::Nvidia)),
            (function(1, NVIDIA, 0x0403), None), // its sound device
            (function(1, AMD, 0x0380), Some(Vendor::Amd)),
            (function(1, AMD, 0x1200), Some(Vendor::Amd)),
            (function(1, AMD, 0x0300), None),
            (computing(function(1, AMD, 0x0300)), Some(Vendor::Amd)),
            (PciFunction { device_id: ES1000, ..computing(function(1, AMD, 0x0300)) }, None),
            (function(1, INTEL, 0x0380), Some(Vendor::Intel)),
            (computing(function(1, INTEL, 0x0300)), Some(Vendor::Intel)),
            (computing(function(0, INTEL, 0x0300)), None), // inside the CPU
            (function(1, INTEL, 0x1200), None),            // an FPGA
            (function(1, 0x1a03, 0x0300), None),           // ASPEED
            (function(1, 0x102b, 0x0300), None),           // Matrox
        ];
        for (function, vendor) in table {
            assert_eq!(vendor_of(&function), vendor, "{function:?}");
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
    fn an_identity_that_several_share_names_none() {
        let device = |name, uuid: &str| OsDevice { uuid: Some(uuid.into()), ..os_device(name, 4) };
        let gpus =
            gpus_of(&[device("rsmi0", "a"), device("rsmi1", "a"), device("rsmi2", "b")], &[]);
        let uuids: Vec<_> = gpus.iter().map(|gpu| gpu.uuid.as_deref()).collect();
        assert_eq!(uuids, [None, None, Some("b")]);
    }

    #[test]
    fn numbers_without_a_library_keep_off_those_with_one() {
        let gpus = gpus_of(
            &[os_device("nvml0", 2)],
            &[function(9, NVIDIA, DISPLAY_3D), function(2, NVIDIA, DISPLAY_3D)],
        );
        assert_eq!(gpus.iter().map(|gpu| gpu.index).collect::<Vec<_>>(), [0, 1]);
    }
}
