//! The one place where the core's errors become Python exceptions.

use mpibind_core::Error;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Turns a core error into the exception that `mpibind.errors` has for it, fields included.
pub(crate) fn to_python(py: Python<'_>, error: &Error) -> PyErr {
    exception(py, error).unwrap_or_else(|broken| {
        // Only if mpibind/errors.py itself cannot be imported.
        let fallback = PyRuntimeError::new_err(error.to_string());
        fallback.set_cause(py, Some(broken));
        fallback
    })
}

fn exception(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let fields = PyDict::new(py);
    let class = match error {
        Error::InvalidParameter { parameter, value, legal, .. } => {
            fields.set_item("parameter", parameter)?;
            fields.set_item("value", value)?;
            fields.set_item("legal", legal)?;
            "InvalidParameterError"
        }
        Error::Launcher(_) => "LauncherError",
        Error::Topology { origin, reason } => {
            fields.set_item("origin", origin)?;
            fields.set_item("reason", reason)?;
            "TopologyError"
        }
        Error::Device { device, identity, .. } => {
            fields.set_item("device", device)?;
            fields.set_item("identity", identity)?;
            "DeviceError"
        }
        Error::Affinity { wanted, refused, errno, reason } => {
            fields.set_item("wanted", wanted.to_string())?;
            fields.set_item("refused", refused.to_string())?;
            fields.set_item("errno", errno)?;
            fields.set_item("reason", reason)?;
            "AffinityError"
        }
        Error::Memory { policy, reason } => {
            fields.set_item("wanted", policy)?;
            fields.set_item("refused", policy)?;
            fields.set_item("errno", py.None())?;
            fields.set_item("reason", reason)?;
            "AffinityError"
        }
    };
    let exception = py.import("mpibind.errors")?.getattr(class)?.call1((error.to_string(),))?;
    for (name, value) in fields {
        exception.setattr(name.extract::<String>()?.as_str(), value)?;
    }
    Ok(PyErr::from_value(exception))
}

/// Raises the core's errors as exceptions.
pub(crate) trait OrRaise<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for mpibind_core::Result<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| to_python(py, &error))
    }
}
