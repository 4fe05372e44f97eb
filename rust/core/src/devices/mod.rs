//! GPUs and network cards: what they are called and where they hang.

use std::fmt;
use std::str::FromStr;

use crate::topology::ObjectId;
use crate::{Error, Result};

mod amd;
mod bus;
mod files;
mod intel;
mod nics;
mod nvidia;
mod recognise;
mod visible;

pub(crate) use bus::read_bus;
pub(crate) use files::Files;
pub(crate) use nics::{is_high_speed, port_of};
pub use recognise::Uncounted;
pub(crate) use recognise::{Found, OsDevice, PciFunction, find};
pub(crate) use visible::{Hierarchy, LEVEL_ZERO_ORDER, NO_TILE};
pub use visible::{Sight, VIEW_VARIABLES, View};

/// Who made a GPU, which decides the variable that programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Vendor {
    Nvidia,
    Amd,
    Intel,
    Unknown,
}

impl Vendor {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Nvidia, Self::Amd, Self::Intel, Self::Unknown];

    /// The name as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Vendor::Nvidia => "NVIDIA",
            Vendor::Amd => "AMD",
            Vendor::Intel => "Intel",
            Vendor::Unknown => "unknown",
        }
    }
}

/// Where a device sits on the PCI bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub struct PciAddress {
    pub domain: u32,
    pub bus: u8,
    pub device: u8,
    pub function: u8,
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bus, device, function } = self;
        write!(f, "{domain:04x}:{bus:02x}:{device:02x}.{function:x}")
    }
}

impl FromStr for PciAddress {
    type Err = String;

    /// Reads `0000:3b:00.0`. The error is the text of what is wrong.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let fields = || {
            let (rest, function) = text.split_once('.')?;
            let mut parts = rest.split(':').map(|part| u32::from_str_radix(part, 16).ok());
            let (domain, bus, device) = (parts.next()??, parts.next()??, parts.next()??);
            let small = |number: u32| u8::try_from(number).ok();
            let function = small(u32::from_str_radix(function, 16).ok()?)?;
            let address = Self { domain, bus: small(bus)?, device: small(device)?, function };
            parts.next().is_none().then_some(address)
        };
        fields().ok_or_else(|| format!("{text:?} is not a PCI address such as 0000:3b:00.0"))
    }
}

/// A GPU, or one partition of a GPU that is cut into several.
#[derive(Clone, Debug, PartialEq)]
pub struct Gpu {
    /// The number that the vendor's tools give it (`nvidia-smi`, `rocm-smi`), per vendor.
    pub index: u32,
    /// The number that the vendor's runtime gives it, where that is known by other means.
    pub ordinal: Option<u32>,
    /// How many parts the runtime counts as devices of their own: the tiles of an Intel GPU.
    pub tiles: u32,
    /// The number of the first of these, over all the vendor's GPUs of the node.
    pub first_tile: u32,
    /// Who made it.
    pub vendor: Vendor,
    /// The OS device's name (`nvml0`, `rsmi3`), where hwloc knows one.
    pub os_name: Option<String>,
    /// What it is sold as, if known.
    pub model: Option<String>,
    /// Its identity across reboots and machines, if known.
    pub uuid: Option<String>,
    /// Its place on the PCI bus; none on machines made of synthetic text.
    pub pci: Option<PciAddress>,
    /// The file through which programs reach it, below the root: `dev/nvidia0`.
    pub device_file: Option<String>,
    /// How it was found, in words.
    pub found: String,
    /// The closest object above it that is not an I/O device.
    pub locality: ObjectId,
}

/// A network card.
#[derive(Clone, Debug, PartialEq)]
pub struct Nic {
    /// The OS device's name, such as `mlx5_0`.
    pub name: String,
    /// The port in use of an OpenFabrics device; none for others.
    pub port: Option<u32>,
    /// Whether it is known that no port is active. Such a card gets no tasks.
    pub down: bool,
    /// Its place on the PCI bus.
    pub pci: Option<PciAddress>,
    /// The closest object above it that is not an I/O device.
    pub locality: ObjectId,
}

/// The kinds of name that a user can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum GpuId {
    /// `0`
    #[default]
    Index,
    /// `GPU-3f5c...`
    Uuid,
    /// `0000:3b:00.0`
    Pci,
    /// `nvml0`
    Name,
}

impl FromStr for GpuId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "index" => Ok(Self::Index),
            "uuid" => Ok(Self::Uuid),
            "pci" => Ok(Self::Pci),
            "name" => Ok(Self::Name),
            other => Err(Error::parameter(
                "gpu_ids",
                format!("{other:?}"),
                "it must be \"index\", \"uuid\", \"pci\" or \"name\"",
            )),
        }
    }
}

impl GpuId {
    /// The word for it, which is also what is read.
    pub fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Uuid => "uuid",
            Self::Pci => "pci",
            Self::Name => "name",
        }
    }
}

impl Gpu {
    /// Whether the two are one GPU, seen in a node and in a part of it.
    pub fn is_same(&self, other: &Self) -> bool {
        self.key() == other.key()
    }

    /// What no two GPUs of a node have in common.
    pub(crate) fn key(&self) -> (Vendor, u32) {
        (self.vendor, self.index)
    }

    /// A GPU of which no more is known.
    pub fn new(index: u32, vendor: Vendor, locality: ObjectId) -> Self {
        Self {
            index,
            ordinal: None,
            tiles: 1,
            first_tile: index,
            vendor,
            os_name: None,
            model: None,
            uuid: None,
            pci: None,
            device_file: None,
            found: String::new(),
            locality,
        }
    }

    /// The number by which the vendor's runtime knows it.
    pub fn ordinal(&self) -> u32 {
        self.ordinal.unwrap_or(self.index)
    }

    /// A name that always exists: the OS device's, else the PCI address, else the index.
    pub fn name(&self) -> String {
        match (&self.os_name, self.pci) {
            (Some(name), _) => name.clone(),
            (None, Some(pci)) => pci.to_string(),
            (None, None) => format!("gpu{}", self.index),
        }
    }

    /// The name of one kind.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if this GPU has none of that kind.
    pub fn id(&self, kind: GpuId) -> Result<String> {
        let lacks = |identity| Error::Device {
            device: self.name(),
            identity,
            advice: "ask for gpu_ids=\"index\" instead".into(),
        };
        match kind {
            GpuId::Index => Ok(self.index.to_string()),
            GpuId::Uuid => self.uuid.clone().ok_or_else(|| lacks("UUID")),
            GpuId::Pci => self.pci.map(|pci| pci.to_string()).ok_or_else(|| lacks("PCI address")),
            GpuId::Name => Ok(self.name()),
        }
    }
}
