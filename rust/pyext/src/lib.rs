//! The door between Rust and Python: `mpibind._core`. This file lists what goes through it.
#![allow(missing_docs)] // The documentation that users see stands in mpibind/_core.pyi and above it.

use pyo3::prelude::*;

#[pymodule]
mod _core {
}
