//! AMD: processing accelerators, displays of class "other", and VGA displays that compute; what the
//! kernel's KFD says of them, whose order is that of ROCm's runtime (ROCr).
//!
//! Source: Linux, drivers/gpu/drm/amd/amdkfd/kfd_topology.c; ROCm documentation, "GPU isolation
//! techniques".

use std::collections::HashMap;

use super::files::{Content, Files, number};
use super::recognise::{DISPLAY_OTHER, PciFunction, Uncounted, VGA, Verdict};
use super::{Gpu, PciAddress, Vendor};

/// The display chip of older servers' management controllers, made by ATI.
const ES1000: u16 = 0x515e;

pub(super) fn judge(function: &PciFunction, kfd: &Kfd) -> Verdict {
    let class = function.class_text();
    match function.class_id {
        _ if function.device_id == ES1000 => {
            Verdict::Not("the display chip of a management controller (ES1000)".into())
        }
        // 0x12xx: processing accelerators.
        DISPLAY_OTHER | 0x1200..=0x12ff => Verdict::Gpu(Vendor::Amd, class),
        VGA if kfd.knows(function.address) => Verdict::Gpu(Vendor::Amd, class),
        VGA => match &function.computes {
            Some(sign) => Verdict::Gpu(Vendor::Amd, format!("{class} + {sign}")),
            None => Verdict::Not(
                "nothing says that it computes: no render node, no KFD node, no co-processor"
                    .into(),
            ),
        },
        _ => Verdict::Not("not of a class that GPUs have (0300, 0380, 12xx)".into()),
    }
}

/// The name that ROCr has for a unique id.
pub(super) fn uuid(unique_id: u64) -> Option<String> {
    (unique_id != 0).then(|| format!("GPU-{unique_id:016x}"))
}

/// The same from the text that hwloc has, hexadecimal digits.
pub(super) fn uuid_of_text(text: &str) -> Option<String> {
    let digits = text.strip_prefix("GPU-").or_else(|| text.strip_prefix("0x")).unwrap_or(text);
    match u64::from_str_radix(digits, 16) {
        Ok(id) => uuid(id),
        Err(_) => Some(text.to_owned()),
    }
}

/// The compute nodes that the kernel lists.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Kfd {
    nodes: Vec<Node>,
    /// Nodes that are there but say too little.
    broken: bool,
    /// Nodes that are hidden from this process.
    locked: bool,
}

/// A GPU in KFD's list, or a partition of one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    address: PciAddress,
    unique_id: u64,
    render_minor: Option<u64>,
}

impl Kfd {
    pub(super) fn read(files: &Files) -> Self {
        const FOLDER: &str = "sys/class/kfd/kfd/topology/nodes";
        let mut numbers: Vec<u64> =
            files.names(FOLDER).iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        let mut kfd = Self::default();
        for node in numbers {
            let path = |name: &str| format!("{FOLDER}/{node}/{name}");
            let (id, properties) = (files.read(&path("gpu_id")), files.read(&path("properties")));
            kfd.add(&id, &properties, &path("properties"), files);
        }
        kfd
    }

    fn add(&mut self, id: &Content, properties: &Content, path: &str, files: &Files) {
        if *id == Content::Forbidden || *properties == Content::Forbidden {
            self.locked = true;
            return;
        }
        match id {
            Content::Text(text) if number(text) == Some(0) => return, // a CPU
            _ => {}
        }
        let text = match properties {
            Content::Text(text) => files.whole_lines(text, path),
            _ => "",
        };
        let value = |key: &str| {
            let mut lines = text.lines().filter_map(|line| line.trim().split_once(' '));
            lines.find(|(name, _)| *name == key).and_then(|(_, value)| number(value))
        };
        let Some(location) = value("location_id") else {
            files.note(format!("/{path} does not say where the GPU is (location_id)"));
            self.broken = true;
            return;
        };
        self.nodes.push(Node {
            address: PciAddress {
                domain: value("domain").unwrap_or(0) as u32,
                // Above these bits some kernels number the partitions.
                bus: (location >> 8) as u8,
                device: (location >> 3) as u8 & 0x1f,
                function: location as u8 & 7,
            },
            unique_id: value("unique_id").unwrap_or(0),
            render_minor: value("drm_render_minor").filter(|minor| *minor > 0),
        });
    }

    fn knows(&self, address: PciAddress) -> bool {
        self.nodes.iter().any(|node| node.address == address)
    }

    /// The GPU, among these addresses, that a node belongs to. Some kernels number the partitions of a
    /// GPU in the place of the PCI function.
    fn owner(node: &Node, addresses: &[PciAddress]) -> Option<PciAddress> {
        let first = PciAddress { function: 0, ..node.address };
        [node.address, first].into_iter().find(|address| addresses.contains(address))
    }

    /// Adds what KFD says, makes a GPU of each partition, and takes out the GPUs that this process
    /// may not use.
    pub(super) fn complete(
        &self,
        gpus: Vec<Gpu>,
        uncounted: &mut Vec<Uncounted>,
        files: &Files,
    ) -> Vec<Gpu> {
        if self.nodes.is_empty() && !self.locked {
            return gpus; // Without KFD nothing is said, and nothing is hidden.
        }
        let addresses: Vec<PciAddress> = gpus.iter().filter_map(|gpu| gpu.pci).collect();
        // By GPU: each node's place in ROCr's order, or why it has none.
        type Ranked<'a> = Vec<(&'a Node, Result<u32, String>)>;
        let mut nodes: HashMap<PciAddress, Ranked<'_>> = HashMap::new();
        let closed = files.obstacle("dev/kfd");
        let mut rank = 0;
        let mut is_sound = !self.broken;
        for node in &self.nodes {
            let Some(owner) = Self::owner(node, &addresses) else {
                files.note(format!("KFD lists a GPU at {}, where none is seen", node.address));
                is_sound = false; // It may be any of them.
                continue;
            };
            let render_node = node.render_minor.map(|minor| format!("dev/dri/renderD{minor}"));
            let obstacle = closed
                .clone()
                .or_else(|| render_node.and_then(|path| files.obstacle(&path)))
                .map_or(Ok(rank), Err);
            rank += u32::from(obstacle.is_ok());
            nodes.entry(owner).or_default().push((node, obstacle));
        }
        let mut kept = Vec::new();
        let mut used: HashMap<PciAddress, usize> = HashMap::new();
        for gpu in gpus {
            let of_gpu = gpu.pci.and_then(|address| nodes.get(&address));
            match (of_gpu, gpu.pci, &gpu.os_name) {
                (Some(of_gpu), Some(address), Some(_)) => {
                    // Partitions that a library lists are in KFD's order.
                    let place = used.entry(address).or_default();
                    let node = of_gpu.get(*place);
                    *place += 1;
                    kept.push(node.map_or(gpu.clone(), |(node, rank)| {
                        with_node(&gpu, node, rank.as_ref().ok().copied(), files)
                    }));
                }
                (Some(of_gpu), _, None) => {
                    for (node, rank) in of_gpu {
                        match rank {
                            Ok(rank) => kept.push(with_node(&gpu, node, Some(*rank), files)),
                            Err(reason) => uncounted.push(Uncounted::gpu(&gpu, reason.clone())),
                        }
                    }
                }
                (None, Some(_), None) if is_sound => {
                    let reason = if self.locked { "a cgroup hides it" } else { "no KFD node" };
                    let reason = format!("the driver does not offer it for computing ({reason})");
                    uncounted.push(Uncounted::gpu(&gpu, reason));
                }
                _ => kept.push(gpu),
            }
        }
        kept
    }
}

fn with_node(gpu: &Gpu, node: &Node, rank: Option<u32>, files: &Files) -> Gpu {
    let mut gpu = gpu.clone();
    gpu.ordinal = rank;
    gpu.uuid = gpu.uuid.or_else(|| uuid(node.unique_id));
    gpu.device_file = node.render_minor.map(|minor| format!("dev/dri/renderD{minor}"));
    // A list of PCI ids has the chip's name; the driver knows what the GPU is sold as.
    if gpu.os_name.is_none() || gpu.model.is_none() {
        let name = gpu.pci.map(|address| format!("{}/product_name", Files::function(address)));
        let name = name.and_then(|path| files.text(&path));
        // A name is one line, as the driver writes it.
        let name = name.and_then(|name| name.trim().lines().next().map(str::to_owned));
        gpu.model = name.or(gpu.model.take());
    }
    gpu.found += " + KFD";
    gpu
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn text(text: &str) -> Content {
        Content::Text(text.into())
    }

    fn kfd(nodes: &[(Content, Content)]) -> (Kfd, Vec<String>) {
        let files = Files::new(Path::new("/nowhere"), &[]);
        let mut kfd = Kfd::default();
        for (id, properties) in nodes {
            kfd.add(id, properties, "properties", &files);
        }
        (kfd, files.into_notes())
    }

    #[test]
    fn nodes() {
        let gpu = text(
            "simd_count 416\nunique_id 13000000000000000001\nlocation_id 49408\ndomain 0\ndrm_render_minor 128\n",
        );
        let (found, notes) =
            kfd(&[(text("0"), text("cpu_cores_count 16\n")), (text("51110"), gpu)]);
        let [node] = &found.nodes[..] else { panic!("{found:?}") };
        assert_eq!(node.address.to_string(), "0000:c1:00.0");
        assert_eq!(uuid(node.unique_id).unwrap(), "GPU-b469471f80140001");
        assert_eq!(node.render_minor, Some(128));
        assert!(notes.is_empty() && !found.broken && !found.locked);
    }

    #[test]
    fn half_written_and_hidden_nodes() {
        let (found, notes) = kfd(&[(text("7"), text("simd_count 4\nlocat"))]);
        assert!(found.nodes.is_empty() && found.broken && notes.len() == 2, "{notes:?}");
        // A number that is cut off would name another GPU.
        let (found, notes) = kfd(&[(text("7"), text("simd_count 4\nlocation_id 494"))]);
        assert!(found.nodes.is_empty() && found.broken && notes.len() == 2, "{notes:?}");
        let (found, notes) = kfd(&[(text("x"), text("location_id zebra\n"))]);
        assert!(found.nodes.is_empty() && found.broken && notes.len() == 1, "{notes:?}");
        let (found, notes) = kfd(&[(Content::Forbidden, Content::Forbidden)]);
        assert!(found.nodes.is_empty() && found.locked && notes.is_empty(), "{notes:?}");
        // Numbers beyond all bounds are taken apart without harm.
        let (found, _) = kfd(&[(text("7"), text("location_id 18446744073709551615\n"))]);
        assert_eq!(found.nodes[0].address.to_string(), "0000:ff:1f.7");
    }

    #[test]
    fn partitions_in_both_spellings_of_the_kernel() {
        let address = |function| PciAddress { domain: 0, bus: 2, device: 0, function };
        let node = |location: u64| {
            let (found, _) = kfd(&[(text("7"), text(&format!("location_id {location}\n")))]);
            Kfd::owner(&found.nodes[0], &[address(0)])
        };
        assert_eq!(node(0x200), Some(address(0)));
        assert_eq!(node(0x203), Some(address(0)));
        assert_eq!(node(0x3000_0200), Some(address(0)));
        assert_eq!(node(0x300), None);
    }

    #[test]
    fn uuids() {
        assert_eq!(uuid_of_text("b469471f80140001").unwrap(), "GPU-b469471f80140001");
        assert_eq!(uuid_of_text("0xff").unwrap(), "GPU-00000000000000ff");
        assert_eq!(uuid_of_text("GPU-00000000000000ff").unwrap(), "GPU-00000000000000ff");
        assert_eq!(uuid_of_text("0"), None);
        assert_eq!(uuid_of_text("what").unwrap(), "what");
    }

    #[test]
    fn hidden_nodes_are_not_counted_and_broken_ones_hide_nothing() {
        let gpu = |bus| {
            let mut gpu = Gpu::new(0, Vendor::Amd, 0);
            gpu.pci = Some(PciAddress { domain: 0, bus, device: 0, function: 0 });
            gpu
        };
        let files = Files::new(Path::new("/"), &[]);
        let (found, _) = kfd(&[(Content::Forbidden, Content::Forbidden)]);
        let mut uncounted = Vec::new();
        assert!(found.complete(vec![gpu(1)], &mut uncounted, &files).is_empty());
        assert!(uncounted[0].reason.contains("a cgroup hides it"), "{uncounted:?}");
        let (found, _) = kfd(&[(Content::Forbidden, Content::Forbidden), (text("7"), text(""))]);
        assert_eq!(found.complete(vec![gpu(1)], &mut Vec::new(), &files).len(), 1);
    }
}
