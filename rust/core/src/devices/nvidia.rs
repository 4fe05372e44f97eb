//! NVIDIA: everything of class 3D or VGA, and what the driver says in `/proc/driver/nvidia`.
//!
//! Source: NVIDIA driver README, "The /proc Interface".

use super::files::{Content, Files};
use super::recognise::{DISPLAY_3D, PciFunction, Uncounted, VGA, Verdict};
use super::{Gpu, Vendor};

pub(super) fn judge(function: &PciFunction) -> Verdict {
    match function.class_id {
        DISPLAY_3D | VGA => Verdict::Gpu(Vendor::Nvidia, function.class_text()),
        _ => Verdict::Not("not of a class that GPUs have (0300, 0302)".into()),
    }
}

/// Adds what the driver says, and takes out the GPUs that this process may not use.
pub(super) fn complete(gpus: Vec<Gpu>, uncounted: &mut Vec<Uncounted>, files: &Files) -> Vec<Gpu> {
    let known = files.names("proc/driver/nvidia/gpus");
    if known.is_empty() {
        return gpus; // Without the driver nothing is said, and nothing is hidden.
    }
    let nodes = files.names("dev");
    let node_number = |name: &str| name.strip_prefix("nvidia").map(str::parse::<u32>);
    let has_nodes = nodes.iter().any(|name| matches!(node_number(name), Some(Ok(_))));
    if !has_nodes {
        files.note(
            "there are no files /dev/nvidia0, /dev/nvidia1 ... although the driver is there: they \
             come with the first use of a GPU, or this container has none of the GPUs"
                .into(),
        );
    }
    let seen: Vec<String> =
        gpus.iter().filter_map(|gpu| gpu.pci).map(|address| address.to_string()).collect();
    for unseen in known.iter().filter(|address| !seen.contains(address)) {
        files.note(format!("the driver lists a GPU at {unseen}, where none is seen"));
    }
    let mut kept = Vec::new();
    for mut gpu in gpus {
        let Some(address) = gpu.pci else {
            kept.push(gpu);
            continue;
        };
        let path = format!("proc/driver/nvidia/gpus/{address}/information");
        let obstacle = match files.read(&path) {
            Content::Text(text) => {
                read_information(&mut gpu, &text, &path, files);
                let node = gpu.device_file.as_ref().filter(|_| has_nodes);
                node.and_then(|node| files.obstacle(node))
            }
            // A container's own view of this folder lists the GPUs that it was given.
            Content::Missing if !known.contains(&address.to_string()) => {
                Some(format!("the driver does not show it: there is no /{path}"))
            }
            _ => {
                files.note(format!("/{path} cannot be read; what it says of the GPU is unknown"));
                None
            }
        };
        match obstacle {
            Some(reason) if gpu.os_name.is_none() => uncounted.push(Uncounted::gpu(&gpu, reason)),
            _ => kept.push(gpu),
        }
    }
    kept
}

fn read_information(gpu: &mut Gpu, text: &str, path: &str, files: &Files) {
    let text = files.whole_lines(text, path);
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        let value = lines.find(|(name, _)| name.trim() == key)?.1.trim();
        (!value.is_empty()).then(|| value.to_owned())
    };
    // A list of PCI ids has the chip's name; the driver knows what the GPU is sold as.
    if gpu.os_name.is_none() || gpu.model.is_none() {
        gpu.model = value("Model").or(gpu.model.take());
    }
    if gpu.uuid.is_none() {
        gpu.uuid = value("GPU UUID").filter(|uuid| is_uuid(uuid));
        if gpu.uuid.is_none() {
            // The driver writes question marks until it has woken the GPU for the first time.
            files.note(format!("/{path} has no GPU UUID (yet)"));
        }
    }
    match value("Device Minor").map(|minor| minor.parse::<u32>()) {
        Some(Ok(minor)) => gpu.device_file = Some(format!("dev/nvidia{minor}")),
        _ => files.note(format!("/{path} has no Device Minor")),
    }
    gpu.found += " + /proc";
}

fn is_uuid(text: &str) -> bool {
    text.strip_prefix("GPU-").is_some_and(|rest| {
        let groups = rest.split('-').map(str::len);
        groups.eq([8, 4, 4, 4, 12]) && rest.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(text: &str) -> (Gpu, Vec<String>) {
        let mut gpu = Gpu::new(0, Vendor::Nvidia, 0);
        let files = Files::new(Path::new("/"), &[]);
        read_information(&mut gpu, text, "information", &files);
        (gpu, files.into_notes())
    }

    #[test]
    fn a_whole_file() {
        let (gpu, notes) = read(
            "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 18\n\
             GPU UUID: \t GPU-3f5c0e1a-1111-2222-3333-444455556666\n\
             Bus Location: \t 0000:1b:00.0\nDevice Minor: \t 3\n",
        );
        assert_eq!(gpu.model.as_deref(), Some("NVIDIA H100 80GB HBM3"));
        assert_eq!(gpu.uuid.as_deref(), Some("GPU-3f5c0e1a-1111-2222-3333-444455556666"));
        assert_eq!(gpu.device_file.as_deref(), Some("dev/nvidia3"));
        assert!(notes.is_empty(), "{notes:?}");
    }

    #[test]
    fn the_driver_knows_the_model_better_than_a_list_of_pci_ids() {
        let files = Files::new(Path::new("/"), &[]);
        let model = |os_name: Option<&str>, text: &str| {
            let mut gpu = Gpu::new(0, Vendor::Nvidia, 0);
            (gpu.os_name, gpu.model) = (os_name.map(str::to_owned), Some("GH100".into()));
            read_information(&mut gpu, text, "information", &files);
            gpu.model.unwrap()
        };
        assert_eq!(model(None, "Model: NVIDIA H100\n"), "NVIDIA H100");
        assert_eq!(model(None, ""), "GH100");
        assert_eq!(model(Some("nvml0"), "Model: NVIDIA H100\n"), "GH100");
    }

    #[test]
    fn half_written_and_nonsense_files_tell_less() {
        for (text, count) in [
            ("", 2),
            ("Model", 3),
            ("GPU UUID: GPU-????????-????-????-????-????????????\nDevice Minor: 1\n", 1),
            ("Device Minor: 1\nGPU UUID: GPU-3f5c0e1a-1111-2222-3333-44445555", 2),
            ("Device Minor: 1\nGPU UUID: GPU-3f5c0e1a-1111-2222-3333-44445555\n", 1),
            ("GPU UUID: none\nDevice Minor: -1\n", 2),
            ("GPU UUID: \u{fffd}\u{fffd}\0\nDevice Minor: 99999999999999\n", 2),
        ] {
            let (gpu, notes) = read(text);
            assert_eq!((gpu.uuid, notes.len()), (None, count), "{text:?} {notes:?}");
        }
    }
}
