//! One pass over a dict: addresses of its keys, values as bits, no Python code run, no reference taken.

use std::mem::MaybeUninit;
use std::ptr;

use pyo3::ffi;
use tm_spool::ValueType;

use super::array;
use super::layouts;
use super::object::{self, Object};
use super::types::{self, Plain};

/// Where a walk puts what it finds. The slices are as long as each other and outlive the call that owns them.
pub struct Room<'a> {
    pub keys: &'a mut [MaybeUninit<Object>],
    pub slots: &'a mut [MaybeUninit<u64>],
    pub types: &'a mut [MaybeUninit<ValueType>],
}

/// What a walk found.
pub enum Walk {
    /// All of the dict is in the room.
    Whole(Found),
    /// A value needs Python code, or a type is not known yet.
    Slow,
    /// The dict is larger than the room.
    Larger,
}

/// The first `n` places of the room are filled.
pub struct Found {
    pub n: usize,
    /// Of the keys' addresses, in order.
    pub hash: u64,
    /// Some value is not a double.
    pub typed: bool,
}

/// Walks an exact dict.
///
/// # Safety
/// `dict` is an exact, living dict; the caller is attached to the interpreter, and without a GIL is inside the dict's
/// critical section.
#[inline(always)]
pub unsafe fn walk(dict: Object, room: &mut Room<'_>) -> Walk {
    let mut found = Found {
        n: 0,
        hash: layouts::START,
        typed: false,
    };
    let mut position: ffi::Py_ssize_t = 0;
    let (mut key, mut value): (Object, Object) = (ptr::null_mut(), ptr::null_mut());
    let float_type = &raw mut ffi::PyFloat_Type;
    let open = object::floats_lie_open();
    let places = room
        .keys
        .iter_mut()
        .zip(room.slots.iter_mut())
        .zip(room.types.iter_mut());
    for ((key_place, slot), value_type) in places {
        // SAFETY: the dict is exact and nothing below changes it.
        if unsafe { ffi::PyDict_Next(dict, &raw mut position, &raw mut key, &raw mut value) } == 0 {
            return Walk::Whole(found);
        }
        found.hash = layouts::fold(found.hash, key);
        key_place.write(key);
        // SAFETY: the dict keeps the value alive, as no Python code runs before the next turn.
        unsafe {
            let kind = object::type_of(value);
            if kind == float_type {
                slot.write(object::float(value, open).to_bits());
                value_type.write(ValueType::F64);
            } else if let Some((bits, other)) = read(value, kind) {
                slot.write(bits);
                value_type.write(other);
                found.typed |= other != ValueType::F64;
            } else {
                return Walk::Slow;
            }
        }
        found.n += 1;
    }
    // SAFETY: as above.
    match unsafe { ffi::PyDict_Next(dict, &raw mut position, &raw mut key, &raw mut value) } {
        0 => Walk::Whole(found),
        _ => Walk::Larger,
    }
}

/// A value that is not an exact float, if it can be had without running Python code.
///
/// # Safety
/// The object is alive and of this type; the caller is attached to the interpreter.
#[inline]
pub unsafe fn read(value: Object, kind: *mut ffi::PyTypeObject) -> Option<(u64, ValueType)> {
    // SAFETY: the reads fit the type, exact or proved; see `types`.
    unsafe {
        if kind == &raw mut ffi::PyLong_Type {
            return object::int(value).map(|value| (value as u64, ValueType::I64));
        }
        if kind == &raw mut ffi::PyBool_Type {
            return Some((u64::from(ptr::eq(value, ffi::Py_True())), ValueType::Bool));
        }
        if ptr::eq(value, ffi::Py_None()) {
            return Some((0, ValueType::None));
        }
        match types::plain(kind)? {
            Plain::Float => Some((
                object::float(value, object::floats_lie_open()).to_bits(),
                ValueType::F64,
            )),
            Plain::Int => object::int(value).map(|value| (value as u64, ValueType::I64)),
            Plain::Array => {
                let (plain, at) = array::element(value)?;
                types::number(plain, at)
            }
            Plain::Other => None,
            plain => types::number(plain, object::content(value)),
        }
    }
}
