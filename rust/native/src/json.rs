//! JSON for the engine verbs: Python's own module costs as much to import as a whole interpreter start.

use pyo3::exceptions::{PyRecursionError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use pyrt_core::Error;
use serde_json::{Map, Number, Value};

use crate::errors::Raised;

/// As deep as serde_json itself reads.
const DEPTH_LIMIT: usize = 128;

#[pyfunction]
pub fn json_loads<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let value: Value = serde_json::from_slice(data).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
        Raised::from(Error::spec(format!("line {} column {}", error.line(), error.column()), format!("not JSON: {reason}")))
    })?;
    to_python(py, &value)
}

#[pyfunction]
#[pyo3(signature = (value, *, indent = false))]
pub fn json_dumps(value: &Bound<'_, PyAny>, indent: bool) -> PyResult<String> {
    let value = from_python(value)?;
    let written = if indent { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
    written.map_err(|error| PyValueError::new_err(error.to_string()))
}

pub fn to_python<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(flag) => PyBool::new(py, *flag).to_owned().into_any(),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(integer), ..) => integer.into_pyobject(py)?.into_any(),
            (None, Some(integer), _) => integer.into_pyobject(py)?.into_any(),
            (None, None, float) => float.into_pyobject(py)?,
        },
        Value::String(text) => PyString::new(py, text).into_any(),
        Value::Array(values) => {
            let list = PyList::empty(py);
            for value in values {
                list.append(to_python(py, value)?)?;
            }
            list.into_any()
        }
        Value::Object(members) => {
            let dict = PyDict::new(py);
            for (key, value) in members {
                dict.set_item(key, to_python(py, value)?)?;
            }
            dict.into_any()
        }
    })
}

pub fn from_python(value: &Bound<'_, PyAny>) -> PyResult<Value> {
    convert(value, 0)
}

fn convert(value: &Bound<'_, PyAny>, depth: usize) -> PyResult<Value> {
    if depth > DEPTH_LIMIT {
        return Err(PyRecursionError::new_err(format!("JSON nested deeper than {DEPTH_LIMIT}")));
    }
    if value.is_none() {
        Ok(Value::Null)
    } else if let Ok(flag) = value.cast::<PyBool>() {
        Ok(Value::Bool(flag.is_true()))
    } else if value.is_instance_of::<PyInt>() {
        match value.extract::<i64>() {
            Ok(integer) => Ok(integer.into()),
            Err(_) => Ok(value.extract::<u64>()?.into()),
        }
    } else if value.is_instance_of::<PyFloat>() {
        let float = value.extract()?;
        Number::from_f64(float).map(Value::Number).ok_or_else(|| PyValueError::new_err(format!("{float} is no JSON number")))
    } else if let Ok(text) = value.cast::<PyString>() {
        Ok(Value::String(text.extract()?))
    } else if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        value.try_iter()?.map(|item| convert(&item?, depth + 1)).collect::<PyResult<_>>().map(Value::Array)
    } else if let Ok(dict) = value.cast::<PyDict>() {
        let member = |(key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
            let key = key.extract().map_err(|_| PyTypeError::new_err("JSON keys must be str"))?;
            Ok((key, convert(&value, depth + 1)?))
        };
        dict.iter().map(member).collect::<PyResult<Map<_, _>>>().map(Value::Object)
    } else {
        Err(PyTypeError::new_err(format!("{} cannot be written as JSON", value.get_type().name()?)))
    }
}

/// A value of the core's as dicts, by the names of its fields.
pub fn as_dict<'py>(py: Python<'py>, value: &impl serde::Serialize) -> PyResult<Bound<'py, PyAny>> {
    to_python(py, &serde_json::to_value(value).map_err(|error| PyValueError::new_err(error.to_string()))?)
}

/// Dicts as a value of the core's, by the names of its fields.
pub fn read_as<T: serde::de::DeserializeOwned>(value: &Bound<'_, PyAny>) -> PyResult<T> {
    serde_json::from_value(from_python(value)?).map_err(|error| PyValueError::new_err(error.to_string()))
}
