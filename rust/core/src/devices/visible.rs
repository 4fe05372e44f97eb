//! Which GPUs a runtime shows under a variable for visible devices.

use super::{Gpu, Vendor};

/// The GPUs of a vendor that `value` shows, as places in `gpus`, in the order of the value.
///
/// Entries are indexes, UUIDs or beginnings of a UUID that fit one GPU. An entry that is none of
/// these, such as `NoDevFiles`, hides itself and all that follow; a second entry for the same GPU
/// adds nothing. For Intel the GPU of a tile counts (`0.1`).
///
/// Source: CUDA C++ Programming Guide, "CUDA Environment Variables"; ROCm documentation, "GPU
/// isolation techniques"; Level Zero specification, "Environment Variables".
pub fn visible(gpus: &[Gpu], vendor: Vendor, value: &str) -> Vec<usize> {
    let of_vendor: Vec<usize> =
        (0..gpus.len()).filter(|place| gpus[*place].vendor == vendor).collect();
    let mut shown = Vec::new();
    for entry in value.split(',').map(str::trim) {
        let entry = match (vendor, entry.split_once('.')) {
            (Vendor::Intel, Some((card, _tile))) => card,
            _ => entry,
        };
        let Some(place) = find(gpus, &of_vendor, entry) else { break };
        if !shown.contains(&place) {
            shown.push(place);
        }
    }
    shown
}

fn find(gpus: &[Gpu], of_vendor: &[usize], entry: &str) -> Option<usize> {
    let mut fitting: Box<dyn Iterator<Item = usize>> = match entry.parse::<u32>() {
        Ok(index) => Box::new(of_vendor.iter().copied().filter(move |p| gpus[*p].index == index)),
        Err(_) if entry.is_empty() => return None,
        Err(_) => Box::new(of_vendor.iter().copied().filter(|place| {
            let uuid = gpus[*place].uuid.as_deref().unwrap_or_default();
            uuid.get(..entry.len()).is_some_and(|start| start.eq_ignore_ascii_case(entry))
        })),
    };
    match (fitting.next(), fitting.next()) {
        (Some(place), None) => Some(place),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(index: u32, vendor: Vendor, uuid: Option<&str>) -> Gpu {
        let uuid = uuid.map(str::to_owned);
        Gpu { index, vendor, os_name: None, model: None, uuid, pci: None, locality: 0 }
    }

    #[test]
    fn values() {
        let nvidia = |index, uuid| gpu(index, Vendor::Nvidia, Some(uuid));
        let gpus = [
            nvidia(1, "GPU-aaaa1111-0"),
            gpu(0, Vendor::Amd, None),
            nvidia(0, "GPU-aaaa2222-0"),
            nvidia(2, "GPU-bbbb0000-0"),
            gpu(0, Vendor::Intel, None),
            gpu(1, Vendor::Intel, None),
        ];
        let cases: &[(Vendor, &str, &[usize])] = &[
            (Vendor::Nvidia, "0,1,2", &[2, 0, 3]),
            (Vendor::Nvidia, " 2 , 0 ", &[3, 2]),
            (Vendor::Nvidia, "", &[]),
            (Vendor::Nvidia, "NoDevFiles", &[]),
            (Vendor::Nvidia, "-1", &[]),
            (Vendor::Nvidia, "0,7,1", &[2]),
            (Vendor::Nvidia, "0,,1", &[2]),
            (Vendor::Nvidia, "0,0,1", &[2, 0]),
            (Vendor::Nvidia, "GPU-bbbb0000-0", &[3]),
            (Vendor::Nvidia, "gpu-BBBB,0", &[3, 2]),
            // Fits two.
            (Vendor::Nvidia, "GPU-aaaa,0", &[]),
            (Vendor::Nvidia, "GPU-aaaa1,2", &[0, 3]),
            (Vendor::Amd, "0", &[1]),
            (Vendor::Amd, "GPU-0011", &[]),
            (Vendor::Intel, "0.1,1", &[4, 5]),
            (Vendor::Intel, "0.0,0.1", &[4]),
            (Vendor::Unknown, "0", &[]),
        ];
        for (vendor, value, expected) in cases {
            assert_eq!(visible(&gpus, *vendor, value), *expected, "{vendor:?} {value:?}");
        }
    }
}
