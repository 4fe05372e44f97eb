//! Intel: data-centre GPUs, and graphics cards that compute and are not part of the CPU.
//!
//! Level Zero counts the tiles of a GPU as devices of their own, unless told otherwise.
//!
//! Source: Level Zero specification, "Device Hierarchy" and "Environment Variables".

use super::files::Files;
use super::recognise::{DISPLAY_OTHER, PciFunction, Uncounted, VGA, Verdict};
use super::{Gpu, Vendor};

pub(super) fn judge(function: &PciFunction) -> Verdict {
    let class = function.class_text();
    match function.class_id {
        DISPLAY_OTHER => Verdict::Gpu(Vendor::Intel, class),
        VGA if function.address.bus == 0 => {
            Verdict::Not("integrated graphics, a part of the CPU".into())
        }
        VGA => match &function.computes {
            Some(sign) => Verdict::Gpu(Vendor::Intel, format!("{class} + {sign}")),
            None => Verdict::Not("nothing says that it computes: no render node".into()),
        },
        0x1200..=0x12ff => Verdict::Not("an accelerator that is no GPU (FPGA, Xeon Phi)".into()),
        _ => Verdict::Not("not of a class that GPUs have (0300, 0380)".into()),
    }
}

/// Adds what the driver says, and takes out the GPUs that this process may not use.
pub(super) fn complete(gpus: Vec<Gpu>, uncounted: &mut Vec<Uncounted>, files: &Files) -> Vec<Gpu> {
    let mut kept = Vec::new();
    for mut gpu in gpus {
        let Some(address) = gpu.pci else {
            kept.push(gpu);
            continue;
        };
        let render_node = files.render_node(address).map(|name| format!("dev/dri/{name}"));
        let obstacle = render_node.as_deref().and_then(|path| files.obstacle(path));
        if let Some(reason) = obstacle.filter(|_| gpu.os_name.is_none()) {
            uncounted.push(Uncounted::gpu(&gpu, reason));
            continue;
        }
        if gpu.tiles == 1 {
            gpu.tiles = tiles(&Files::function(address), files);
        }
        if render_node.is_some() {
            gpu.found += " + /sys";
        }
        gpu.device_file = render_node;
        kept.push(gpu);
    }
    kept
}

/// The number of tiles: folders `tile0`, `tile1` ... of the driver xe, or the GTs of the driver i915,
/// which has one for each tile of a data-centre GPU.
fn tiles(folder: &str, files: &Files) -> u32 {
    let count = |path: &str, prefix: &str| {
        let names = files.names(path);
        let is_one = |name: &&String| {
            name.strip_prefix(prefix).is_some_and(|rest| rest.parse::<u32>().is_ok())
        };
        names.iter().filter(is_one).count() as u32
    };
    let of_xe = count(folder, "tile");
    if of_xe > 0 {
        return of_xe;
    }
    let drm = format!("{folder}/drm");
    let card = files.names(&drm).into_iter().find(|name| name.starts_with("card"));
    card.map_or(1, |card| count(&format!("{drm}/{card}/gt"), "gt").max(1))
}
