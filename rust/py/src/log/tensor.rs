//! One number out of an array-like: numpy's rarer scalars and arrays, torch, jax and their like.
//!
//! Nothing is imported: an object is known by `dtype`, `item()` and `device`, which all these libraries share.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;
use tm_spool::Reject;

use super::convert::{self, Converted, Refusal, name_of};

/// How values on devices are taken in one call, and how many were fetched.
pub struct Devices {
    pub reject: bool,
    pub synced: u64,
}

/// The only element of an array-like, if it is a real number.
pub fn value_of<'py>(
    value: &Bound<'py, PyAny>,
    dtype: &Bound<'py, PyAny>,
    devices: &mut Devices,
) -> PyResult<Converted<'py>> {
    let py = value.py();
    let kind = dtype_kind(dtype)?;
    if !matches!(kind, None | Some('f' | 'i' | 'u' | 'b' | 'V')) {
        return Ok(Converted::bad(format!(
            "{} of dtype {}",
            name_of(value),
            text(dtype)
        )));
    }
    if element_count(value)? != Some(1) {
        return Ok(Converted::bad(format!(
            "{} that is not one number (shape {})",
            name_of(value),
            shape(value)
        )));
    }
    if is_masked(value)? {
        return Ok(Converted::bad("a masked value"));
    }
    if on_device(value)? {
        if devices.reject {
            let what = format!("{} on a device", name_of(value));
            return Ok(Converted::Refused(Refusal {
                why: Reject::DeviceTensor,
                what,
                cause: None,
            }));
        }
        devices.synced += 1;
    }
    let item = value.call_method0(intern!(py, "item"))?;
    // A wider float has no Python number: item() hands it back as it is.
    if item.hasattr(intern!(py, "dtype"))? {
        let float: f64 = item.extract()?;
        return convert::exactly(&item, float);
    }
    convert::builtin(&item)?
        .filter(is_number)
        .map_or_else(|| Ok(Converted::bad(name_of(value))), Ok)
}

fn is_number(converted: &Converted<'_>) -> bool {
    matches!(
        converted,
        Converted::F64(_) | Converted::I64(_) | Converted::Bool(_) | Converted::BigInt(_)
    )
}

/// numpy's letter for a dtype; nothing where dtypes have none (torch).
fn dtype_kind(dtype: &Bound<'_, PyAny>) -> PyResult<Option<char>> {
    let Some(kind) = dtype.getattr_opt(intern!(dtype.py(), "kind"))? else {
        return Ok(None);
    };
    Ok(kind
        .cast::<PyString>()
        .ok()
        .and_then(|kind| kind.to_str().ok()?.chars().next()))
}

fn element_count(value: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
    let py = value.py();
    if let Some(numel) = value.getattr_opt(intern!(py, "numel"))? {
        return Ok(numel.call0()?.extract().ok());
    }
    let Some(size) = value.getattr_opt(intern!(py, "size"))? else {
        return Ok(None);
    };
    Ok(size.extract().ok())
}

fn is_masked(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = value.py();
    let module = value.get_type().module()?;
    if !module
        .to_str()
        .is_ok_and(|module| module.starts_with("numpy.ma"))
    {
        return Ok(false);
    }
    value
        .getattr(intern!(py, "mask"))?
        .call_method0(intern!(py, "any"))?
        .is_truthy()
}

/// Whether fetching the value waits for something other than this processor.
fn on_device(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = value.py();
    let Some(device) = value.getattr_opt(intern!(py, "device"))? else {
        return Ok(false);
    };
    if let Ok(name) = device.cast::<PyString>() {
        return Ok(name.to_str()? != "cpu");
    }
    for attribute in [intern!(py, "type"), intern!(py, "platform")] {
        if let Some(kind) = device.getattr_opt(attribute)?
            && let Ok(kind) = kind.cast::<PyString>()
        {
            return Ok(kind.to_str()? != "cpu");
        }
    }
    // An object of its own kind without a name for it: cupy's, which is always a GPU.
    device.hasattr(intern!(py, "id"))
}

fn text(object: &Bound<'_, PyAny>) -> String {
    object.str().map_or_else(
        |_| "?".to_owned(),
        |text| text.to_string_lossy().chars().take(80).collect(),
    )
}

fn shape(value: &Bound<'_, PyAny>) -> String {
    value
        .getattr(intern!(value.py(), "shape"))
        .map_or_else(|_| "unknown".to_owned(), |shape| text(&shape))
}
