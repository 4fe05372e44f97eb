//! The variables that make a program use what its task was given.

use std::str::FromStr;

use crate::{Error, Gpu, GpuId, Mapping, Result, Vendor};

/// What to put into the environment of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct EnvOptions {
    /// Also pin OpenMP's threads (`OMP_PLACES`, `OMP_PROC_BIND`).
    pub omp_affinity: bool,
    /// Name GPUs by UUID; otherwise by index.
    pub gpu_uuids: bool,
    /// Which GPUs to show.
    pub visible: Visible,
}

/// Which GPUs a task sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Visible {
    /// Its own.
    #[default]
    Own,
    /// All of the node, its own first: device 0 is right, and libraries that copy from GPU to GPU
    /// see the peers.
    OwnFirst,
    /// Nothing is said about GPUs.
    Off,
}

impl FromStr for Visible {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "own" => Ok(Self::Own),
            "own-first" => Ok(Self::OwnFirst),
            "off" => Ok(Self::Off),
            other => Err(Error::parameter(
                "visible",
                format!("{other:?}"),
                "it must be \"own\", \"own-first\" or \"off\"",
            )),
        }
    }
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
    if options.visible != Visible::Off {
        variables.extend(device_variables(mapping, task, options)?);
    }
    variables.sort_unstable();
    Ok(variables)
}

fn device_variables(
    mapping: &Mapping,
    task: i64,
    options: EnvOptions,
) -> Result<Vec<(&'static str, String)>> {
    let all = mapping.topology().gpus();
    let mut shown: Vec<&Gpu> = mapping.gpus(task)?.collect();
    if options.visible == Visible::OwnFirst {
        let own = mapping.gpu_indexes(task)?;
        let others = (0..all.len()).filter(|place| !own.contains(place));
        shown.extend(others.map(|place| &all[place]));
    }
    let kind = if options.gpu_uuids { GpuId::Uuid } else { GpuId::Index };
    let mut variables = Vec::new();
    for (vendor, variable) in Vendor::ALL.into_iter().zip(VISIBLE_DEVICES) {
        if !all.iter().any(|gpu| gpu.vendor == vendor) {
            continue;
        }
        let names: Vec<String> = shown
            .iter()
            .filter(|gpu| gpu.vendor == vendor)
            .map(|gpu| gpu.id(kind))
            .collect::<Result<_>>()?;
        variables.push((variable, names.join(",")));
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
    Ok(variables)
}

/// The variables in which runtimes look for the devices that they may show, in the order of
/// [`Vendor::ALL`].
///
/// For AMD only the lowest layer's: masks of HIP and ROCr compose and could leave nothing.
pub const VISIBLE_DEVICES: [&str; 4] =
    ["CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK", "VISIBLE_DEVICES"];
