//! The variables that make a program use what its task was given.

use std::str::FromStr;

use crate::devices::{Hierarchy, LEVEL_ZERO_ORDER, NO_TILE};
use crate::given::{Terms, counting};
use crate::{Error, Gpu, GpuId, Mapping, Result, Vendor};

/// The variables that name network cards: to UCX, which many MPI libraries are built on, and to
/// NCCL. Who has set one has chosen.
pub const NIC_VARIABLES: [&str; 2] = ["NCCL_IB_HCA", "UCX_NET_DEVICES"];

/// What to put into the environment of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct EnvOptions {
    /// Also pin OpenMP's threads (`OMP_PLACES`, `OMP_PROC_BIND`).
    pub omp_affinity: bool,
    /// Name GPUs by UUID; otherwise by index.
    pub gpu_uuids: bool,
    /// Which GPUs to show.
    pub visible: Visible,
    /// Also name the closest network cards to the libraries that communicate.
    pub nics: bool,
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

impl Visible {
    /// The word for it, which is also what is read.
    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::OwnFirst => "own-first",
            Self::Off => "off",
        }
    }
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
/// A task without GPUs on a node that has some gets a list that hides them. Where tasks came with
/// GPUs of their own, their variables stay as they were.
///
/// # Errors
///
/// [`crate::Error::InvalidParameter`] if there is no such task, [`crate::Error::Device`] if a GPU without UUID
/// is to be named by it.
pub fn variables(
    mapping: &Mapping,
    task: i64,
    options: EnvOptions,
) -> Result<Vec<(String, String)>> {
    let threads = mapping.nthreads(task)?;
    let mut variables = vec![("OMP_NUM_THREADS".to_owned(), threads.to_string())];
    let mut set = |name: &str, value: String| variables.push((name.into(), value));
    if options.omp_affinity {
        set("OMP_PLACES", "threads".into());
        set("OMP_PROC_BIND", "spread".into());
    }
    if options.nics {
        nic_variables(mapping, task, &mut set)?;
    }
    if options.visible != Visible::Off {
        match &mapping.terms().kept {
            Some(kept) => {
                kept[task as usize].iter().for_each(|(name, value)| set(name, value.clone()));
            }
            None => device_variables(mapping, task, options, &mut set)?,
        }
    }
    variables.sort_unstable();
    Ok(variables)
}

fn device_variables(
    mapping: &Mapping,
    task: i64,
    options: EnvOptions,
    set: &mut impl FnMut(&str, String),
) -> Result<()> {
    let all = mapping.topology().gpus();
    let mut shown: Vec<&Gpu> = mapping.gpus(task)?.collect();
    if options.visible == Visible::OwnFirst {
        let own = mapping.gpu_indexes(task)?;
        let others = (0..all.len()).filter(|place| !own.contains(place));
        shown.extend(others.map(|place| &all[place]));
    }
    let has = |vendor| all.iter().any(|gpu| gpu.vendor == vendor);
    for vendor in Vendor::ALL.into_iter().filter(|vendor| has(*vendor)) {
        let of_vendor: Vec<&Gpu> =
            shown.iter().filter(|gpu| gpu.vendor == vendor).copied().collect();
        match vendor {
            Vendor::Nvidia => {
                set("CUDA_VISIBLE_DEVICES", names(&of_vendor, options)?);
                if !options.gpu_uuids {
                    // A number means nothing until the order is agreed: by default CUDA counts the
                    // fastest GPU first.
                    set("CUDA_DEVICE_ORDER", "PCI_BUS_ID".into());
                }
            }
            Vendor::Amd => {
                set("ROCR_VISIBLE_DEVICES", names(&of_vendor, options)?);
                // The layers above count from those GPUs that ROCr shows. Theirs are left alone
                // where they are not set, with one exception: HIP takes the variable of CUDA for
                // its own, which it is not on a node with GPUs of both vendors.
                let mut upper = mapping.terms().upper.clone();
                if has(Vendor::Nvidia) && !upper.contains(&"HIP_VISIBLE_DEVICES") {
                    upper.push("HIP_VISIBLE_DEVICES");
                }
                upper.iter().for_each(|name| set(name, counting(of_vendor.len())));
            }
            Vendor::Intel => level_zero(mapping.terms(), &of_vendor, set),
            Vendor::Unknown => set("VISIBLE_DEVICES", names(&of_vendor, options)?),
        }
    }
    Ok(())
}

/// UCX and NCCL name a card with its port, as `mlx5_0:1`; both are about OpenFabrics devices, and
/// nothing is said to a task that has none.
///
/// Sources: UCX, "How to specify which devices to use"; NCCL, "Environment variables", where `=` asks
/// for these very names: else `mlx5_1` would be `mlx5_10`, too.
fn nic_variables(mapping: &Mapping, task: i64, set: &mut impl FnMut(&str, String)) -> Result<()> {
    let with_port = mapping.nics(task)?.filter_map(|nic| Some((&nic.name, nic.port?)));
    let names: Vec<String> = with_port.map(|(name, port)| format!("{name}:{port}")).collect();
    if !names.is_empty() {
        let list = names.join(",");
        set("NCCL_IB_HCA", format!("={list}"));
        set("UCX_NET_DEVICES", list);
    }
    Ok(())
}

fn names(gpus: &[&Gpu], options: EnvOptions) -> Result<String> {
    let name = |gpu: &&Gpu| match options.gpu_uuids {
        true => gpu.id(GpuId::Uuid),
        false => Ok(gpu.ordinal().to_string()),
    };
    Ok(gpus.iter().map(name).collect::<Result<Vec<_>>>()?.join(","))
}

/// Level Zero has no names but numbers, in PCI order if told so: of tiles by default, of GPUs where
/// the user says so. That it counts tiles is said with the numbers, as older drivers do not by
/// themselves.
fn level_zero(terms: &Terms, gpus: &[&Gpu], set: &mut impl FnMut(&str, String)) {
    let mut entries = Vec::new();
    let hierarchy = terms.hierarchy.unwrap_or(Hierarchy::Flat);
    for gpu in gpus {
        match (hierarchy, terms.tiles.get(&gpu.ordinal())) {
            (Hierarchy::Composite, None) => entries.push(gpu.ordinal().to_string()),
            (Hierarchy::Composite, Some(tiles)) => {
                entries.extend(tiles.iter().map(|tile| format!("{}.{tile}", gpu.ordinal())));
            }
            (Hierarchy::Flat | Hierarchy::Combined, part) => {
                let all: Vec<u32> = (0..gpu.tiles).collect();
                let tiles = part.unwrap_or(&all).iter();
                entries.extend(tiles.map(|tile| (gpu.first_tile + tile).to_string()));
            }
        }
    }
    let mask = if entries.is_empty() { NO_TILE.into() } else { entries.join(",") };
    set("ZE_AFFINITY_MASK", mask);
    set(LEVEL_ZERO_ORDER, "1".into());
    set("ZE_FLAT_DEVICE_HIERARCHY", hierarchy.name().into());
}
