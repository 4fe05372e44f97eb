//! The door between Rust and Python: `mpibind._core`. This file lists what goes through it.
#![allow(missing_docs)] // What Python users read stands in mpibind/*.py; the stub is mpibind/_core.pyi.

use pyo3::prelude::*;

mod affinity;
mod arguments;
mod errors;
mod mapping;
mod topology;

#[pymodule]
mod _core {
    #[pymodule_export]
    use crate::affinity::{SavedAffinity, bind, current_cpus};
    #[pymodule_export]
    use crate::mapping::Mapping;
    #[pymodule_export]
    use crate::topology::{Request, Topology, hwloc_version};

    #[pymodule_export]
    #[allow(non_upper_case_globals)]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
