//! The door between Rust and Python: `mpibind._core`. This file lists what goes through it.
#![allow(missing_docs)] // What Python users read stands in mpibind/*.py; the stub is mpibind/_core.pyi.

use pyo3::prelude::*;

mod affinity;
mod arguments;
mod errors;
mod mapping;
mod report;
mod settings;
mod topology;

// Every class is frozen and the core shares nothing that changes: Python needs no GIL for it.
#[pymodule(gil_used = false)]
mod _core {
    use pyo3::panic::PanicException;
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::affinity::{
        SavedAffinity, SavedMemory, bind, cpu_quota, cpuset_cpus, current_cpus, memory_policy,
        started_gpus, thread_cpus, thread_pools,
    };
    #[pymodule_export]
    use crate::mapping::Mapping;
    #[pymodule_export]
    use crate::report::{Sight, findings, named_gpus, sight};
    #[pymodule_export]
    use crate::settings::{Settings, heed_choice, place, rank_line, run, started_by};
    #[pymodule_export]
    use crate::topology::{
        Request, Topology, count_pci_devices, hwloc_version, id_list, ids_of, open_devices,
    };

    // Where all ranks have to hear of an error, or a command to say it in words, a panic counts.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("PanicException", module.py().get_type::<PanicException>())
    }

    #[pymodule_export]
    const MAX_IDS: usize = mpibind_core::MAX_IDS;

    #[pymodule_export]
    const NIC_VARIABLES: [&str; 2] = mpibind_core::env::NIC_VARIABLES;

    #[pymodule_export]
    const SOURCE_VARIABLES: [&str; 4] = mpibind_core::discover::SOURCE_VARIABLES;

    #[pymodule_export]
    const VIEW_VARIABLES: [&str; 8] = mpibind_core::VIEW_VARIABLES;

    #[pymodule_export]
    #[allow(non_upper_case_globals)]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
