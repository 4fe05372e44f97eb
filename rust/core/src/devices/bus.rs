//! PCI devices as the kernel lists them, for when libhwloc was built or told to see none.
//!
//! Source: Linux, Documentation/PCI/sysfs-pci.rst, and Documentation/ABI/testing/sysfs-bus-pci and
//! sysfs-class-infiniband.

use super::files::{Files, number};
use super::{Nic, PciAddress, PciFunction, is_high_speed, port_of};

const DEVICES: &str = "sys/bus/pci/devices";
const NETWORK: u16 = 0x02;
/// InfiniBand, as old cards call themselves.
const SERIAL_BUS_INFINIBAND: u16 = 0x0c06;

/// The PCI functions by address, and the network cards among them; all of them at the machine, as
/// it is for others to find out where they are.
pub(crate) fn read_bus(files: &Files) -> (Vec<PciFunction>, Vec<Nic>) {
    let addresses = files.names(DEVICES).into_iter().filter_map(|name| name.parse().ok());
    let mut functions: Vec<PciFunction> =
        addresses.filter_map(|address| function(files, address)).collect();
    functions.sort_by_key(|function| function.address);
    let nics = functions.iter().flat_map(|function| nics_of(files, function)).collect();
    (functions, nics)
}

fn function(files: &Files, address: PciAddress) -> Option<PciFunction> {
    let id = |name: &str| number(&files.text(&format!("{}/{name}", Files::function(address)))?);
    let small = |id: u64| u16::try_from(id).ok();
    Some(PciFunction {
        address,
        // The last byte is the programming interface.
        class_id: small(id("class")? >> 8)?,
        vendor_id: small(id("vendor")?)?,
        device_id: small(id("device")?)?,
        model: None,
        computes: None,
        locality: 0,
    })
}

/// The network cards of a function: its OpenFabrics devices, and the network devices of some makers.
fn nics_of(files: &Files, function: &PciFunction) -> Vec<Nic> {
    if function.class_id >> 8 != NETWORK && function.class_id != SERIAL_BUS_INFINIBAND {
        return Vec::new();
    }
    let folder = Files::function(function.address);
    let nic = |name: String, (port, down)| {
        let pci = Some(function.address);
        Nic { name, port, down, pci, locality: 0 }
    };
    let mut nics = Vec::new();
    if is_high_speed(function.vendor_id) {
        let names = files.names(&format!("{folder}/net")).into_iter();
        nics.extend(names.map(|name| nic(name, (None, false))));
    }
    for name in files.names(&format!("{folder}/infiniband")) {
        let ports = format!("{folder}/infiniband/{name}/ports");
        let mut states: Vec<(u32, String)> = (files.names(&ports).into_iter())
            .filter_map(|port| {
                Some((port.parse().ok()?, files.text(&format!("{ports}/{port}/state"))?))
            })
            .collect();
        states.sort_unstable();
        nics.push(nic(name, port_of(&states)));
    }
    nics
}
