//! The one number in a numpy array of one element, read from the array's public struct (`ndarraytypes.h`).
//!
//! The struct has kept its layout from numpy 1.7 to 2.x; it is proved on arrays of known content before first use.

use std::mem::size_of;

use pyo3::ffi;
use pyo3::prelude::*;

use super::object::{Object, field};
use super::types::{self, Plain};

const HEAD: usize = size_of::<ffi::PyObject>();
const DATA: usize = HEAD;
const DIMENSIONS: usize = HEAD + 8;
const SHAPE: usize = HEAD + 16;
const DESCRIPTION: usize = HEAD + 40;
const DESCRIPTION_KIND: usize = HEAD + 8;
const DESCRIPTION_ORDER: usize = HEAD + 10;
const DESCRIPTION_NUMBER: usize = HEAD + 12;
/// Arrays of one element with more axes than this go the slow way.
const MOST_AXES: usize = 4;

/// The element of an array of exactly one, with what it is: its address is valid while the array lives.
///
/// # Safety
/// The object must be alive and an exact `numpy.ndarray` whose layout [`prove`] has accepted.
pub unsafe fn element(array: Object) -> Option<(Plain, *const u8)> {
    // SAFETY: offsets of the proved struct; the description is owned by the array.
    unsafe {
        let axes = usize::try_from(field::<i32>(array, DIMENSIONS)).ok()?;
        if axes > MOST_AXES {
            return None;
        }
        let shape: *const isize = field(array, SHAPE);
        if (0..axes).any(|axis| shape.add(axis).read() != 1) {
            return None;
        }
        let description: Object = field(array, DESCRIPTION);
        let order: u8 = field(description, DESCRIPTION_ORDER);
        if !(order == b'=' || order == b'|' || order == b'<') {
            return None;
        }
        let plain = plain(
            field(description, DESCRIPTION_KIND),
            field(description, DESCRIPTION_NUMBER),
        )?;
        Some((plain, field(array, DATA)))
    }
}

/// numpy's type numbers are part of its ABI; the letter must agree, so user dtypes never match.
fn plain(kind: u8, number: i32) -> Option<Plain> {
    let bytes = match (kind, number) {
        (b'b', 0) | (b'i', 1) | (b'u', 2) => 1,
        (b'i', 3) | (b'u', 4) | (b'f', 23) => 2,
        (b'i', 5) | (b'u', 6) | (b'f', 11) => 4,
        (b'i', 7 | 9) | (b'u', 8 | 10) | (b'f', 12) => 8,
        _ => return None,
    };
    Plain::of_dtype(kind, bytes)
}

/// Whether arrays of known content are read right.
pub fn prove(numpy: &Bound<'_, PyAny>) -> bool {
    cfg!(all(
        target_pointer_width = "64",
        target_endian = "little",
        not(Py_GIL_DISABLED)
    )) && try_prove(numpy).unwrap_or(false)
}

fn try_prove(numpy: &Bound<'_, PyAny>) -> PyResult<bool> {
    let array = numpy.getattr("array")?;
    let known = [
        (array.call1((1.5f64, "f8"))?, Some(1.5f64.to_bits())),
        (array.call1((-2.5f32, "f4"))?, Some((-2.5f64).to_bits())),
        (array.call1((vec![7i64], "i8"))?, Some(7)),
        (array.call1((vec![vec![3u16]], "u2"))?, Some(3)),
        (array.call1((true, "?"))?, Some(1)),
        (array.call1((vec![1.0f64, 2.0], "f8"))?, None),
        (array.call1((1.5f64, ">f8"))?, None),
        (array.call1((1.5f64, "c16"))?, None),
    ];
    Ok(known.iter().all(|(array, expected)| {
        // SAFETY: exact, living arrays of numpy's public struct.
        let read =
            unsafe { element(array.as_ptr()).and_then(|(plain, at)| types::number(plain, at)) };
        read.map(|(bits, _)| bits) == *expected
    }))
}
