//! Arguments as Python users write them. A wrong type is a TypeError that names the parameter and
//! shows the value; what cannot be passed on is an error of the core.

use std::path::PathBuf;

use mpibind_core::{CpuSet, Error, MAX_IDS};
use pyo3::exceptions::{PyTypeError, PyUnicodeEncodeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyString};

use crate::errors::{OrRaise, to_python};

type Argument<'a, 'py> = &'a Bound<'py, PyAny>;

/// A whole number: an int or what counts as one (numpy's integers). Numbers beyond 64 bits become
/// the nearest that fits, and are out of every range all the same.
pub(crate) fn int(name: &'static str, value: Argument<'_, '_>) -> PyResult<i64> {
    let index = value.py().import("operator")?.call_method1("index", (value,));
    let index = index.map_err(|error| refused(name, "an integer", value, error))?;
    match index.extract::<i64>() {
        Ok(number) => Ok(number),
        Err(_) if index.lt(0)? => Ok(i64::MIN),
        Err(_) => Ok(i64::MAX),
    }
}

/// Yes or no: a bool, numpy's, or the 0 and 1 of C programs.
pub(crate) fn flag(name: &'static str, value: Argument<'_, '_>) -> PyResult<bool> {
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(flag.is_true());
    }
    // Which is no bool and no integer either. Told by its name: numpy need not be there.
    let kind = value.get_type().fully_qualified_name()?;
    if kind == "numpy.bool" || kind == "numpy.bool_" {
        return value.is_truthy();
    }
    match int(name, value) {
        Ok(number @ 0..=1) => Ok(number == 1),
        Ok(_) => Err(wrong_type(name, "True or False", value)),
        Err(error) => Err(refused(name, "True or False", value, error)),
    }
}

/// A word.
pub(crate) fn word(name: &'static str, value: Argument<'_, '_>) -> PyResult<String> {
    value.extract().map_err(|error| refused(name, "text", value, error))
}

/// The name of a file.
pub(crate) fn path(name: &'static str, value: Argument<'_, '_>) -> PyResult<PathBuf> {
    value.extract().map_err(|error| refused(name, "a path", value, error))
}

/// Several whole numbers.
pub(crate) fn ints(name: &'static str, value: Argument<'_, '_>) -> PyResult<Vec<i64>> {
    numbers(name, "a sequence of integers", value)
}

/// Ids as text (`"0-3,8"`) or as integers; comes back as text.
pub(crate) fn ids(name: &'static str, value: Argument<'_, '_>) -> PyResult<String> {
    if value.is_instance_of::<PyString>() {
        return word(name, value);
    }
    let ids = numbers(name, "text such as \"0-3,8\" or integers", value)?;
    Ok(ids.iter().map(i64::to_string).collect::<Vec<_>>().join(","))
}

fn numbers(name: &'static str, wanted: &str, value: Argument<'_, '_>) -> PyResult<Vec<i64>> {
    if value.is_instance_of::<PyString>() || value.is_instance_of::<PyBytes>() {
        return Err(wrong_type(name, wanted, value));
    }
    let items = value.try_iter().map_err(|error| refused(name, wanted, value, error))?;
    let mut numbers = Vec::new();
    for item in items {
        if numbers.len() == MAX_IDS {
            return Err(to_python(value.py(), &Error::endless(name, shown(value))));
        }
        let number = int(name, &item?);
        numbers.push(number.map_err(|error| refused(name, wanted, value, error))?);
    }
    Ok(numbers)
}

/// Ids, as a set.
pub(crate) fn id_set(name: &'static str, value: Argument<'_, '_>) -> PyResult<CpuSet> {
    CpuSet::parse_parameter(name, &ids(name, value)?).or_raise(value.py())
}

/// What is raised where Python's own error would not name the parameter. What has nothing to do with
/// the value, such as an interrupt, is raised as it is.
fn refused(name: &'static str, wanted: &str, value: Argument<'_, '_>, error: PyErr) -> PyErr {
    let py = value.py();
    if error.is_instance_of::<PyTypeError>(py) {
        wrong_type(name, wanted, value)
    } else if error.is_instance_of::<PyUnicodeEncodeError>(py) {
        to_python(py, &Error::no_text(name, shown(value)))
    } else {
        error
    }
}

fn wrong_type(name: &str, wanted: &str, value: Argument<'_, '_>) -> PyErr {
    let kind = value.get_type().name();
    let kind = kind.map_or_else(|_| "object".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!("{name} must be {wanted}, not {} ({kind})", shown(value)))
}

/// A value as one would write it, or its beginning.
fn shown(value: Argument<'_, '_>) -> String {
    let text = value.repr().map_or_else(|_| String::new(), |text| text.to_string());
    text.chars().take(60).collect()
}
