//! The variables that make a program use what its task was given.

use crate::{Gpu, GpuId, Mapping, Result, Vendor};

/// What to put into the environment of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct EnvOptions {
    /// Also pin OpenMP's threads (`OMP_PLACES`, `OMP_PROC_BIND`).
    pub omp_affinity: bool,
    /// Name GPUs by UUID; otherwise by index.
    pub gpu_uuids: bool,
}

/// The variables of one task, sorted by name. Nothing is set.
///
/// A task without GPUs on a node that has some gets an empty list, which hides them.
///
/// # Errors
///
/// [`crate::Error::InvalidParameter`] if there is no such task, [`crate::Error::Device`] if a GPU without UUID
/// is to be named by it.
pub fn variables(
    mapping: &Mapping,
    task: i64,
    options: EnvOptions,
) -> Result<Vec<(&'static str, String)>> {
    let threads = mapping.nthreads(task)?;
    let mut variables = vec![("OMP_NUM_THREADS", threads.to_string())];
    if options.omp_affinity {
        variables.push(("OMP_PLACES", "threads".into()));
        variables.push(("OMP_PROC_BIND", "spread".into()));
    }
    let own: Vec<&Gpu> = mapping.gpus(task)?.collect();
    let kind = if options.gpu_uuids { GpuId::Uuid } else { GpuId::Index };
    for vendor in [Vendor::Nvidia, Vendor::Amd, Vendor::Intel, Vendor::Unknown] {
        if !mapping.topology().gpus().iter().any(|gpu| gpu.vendor == vendor) {
            continue;
        }
        let names: Vec<String> = own
            .iter()
            .filter(|gpu| gpu.vendor == vendor)
            .map(|gpu| gpu.id(kind))
            .collect::<Result<_>>()?;
        variables.push((visible_devices(vendor), names.join(",")));
        // An index means nothing until the order is agreed: by default CUDA counts the fastest
        // GPU first, and Level Zero leaves its order open.
        match vendor {
            Vendor::Nvidia if kind == GpuId::Index => {
                variables.push(("CUDA_DEVICE_ORDER", "PCI_BUS_ID".into()));
            }
            Vendor::Intel => variables.push(("ZE_ENABLE_PCI_ID_DEVICE_ORDER", "1".into())),
            _ => {}
        }
    }
    variables.sort_unstable();
    Ok(variables)
}

/// The variable in which a vendor's runtime looks for the devices that it may show.
///
/// For AMD only the lowest layer's: masks of HIP and ROCr compose and could leave nothing.
fn visible_devices(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::Nvidia => "CUDA_VISIBLE_DEVICES",
        Vendor::Amd => "ROCR_VISIBLE_DEVICES",
        Vendor::Intel => "ZE_AFFINITY_MASK",
        Vendor::Unknown => "VISIBLE_DEVICES",
    }
}
