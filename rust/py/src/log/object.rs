//! What the fast path knows of CPython and numpy objects: where the plain number inside one lies.
//!
//! The limited API offers a call per number. The layouts read here are public headers (`floatobject.h`, numpy's
//! `arrayscalars.h` and `ndarraytypes.h`) and unchanged since long before Python 3.10, but nobody promises them for
//! ever: each is proved on known values before it is first used, and where the proof fails the call is used.

use std::ffi::c_int;
use std::mem::size_of;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pyo3::ffi;

/// A borrowed pointer to a Python object, non-null and alive for as long as its owner says.
pub type Object = *mut ffi::PyObject;

const HEAD: usize = size_of::<ffi::PyObject>();

/// Set once at import, before any other thread can log, when floats keep their value right after the head.
static FLOAT_VALUE_FOLLOWS_HEAD: AtomicBool = AtomicBool::new(false);
/// Where the items of a tuple begin; 0 as long as that is not known. Set once, with the above.
static TUPLE_ITEMS: AtomicUsize = AtomicUsize::new(0);

/// Reads a `T` at `offset` bytes into the object.
///
/// # Safety
/// The object must be alive and hold a readable `T` there.
#[inline(always)]
pub unsafe fn field<T: Copy>(object: Object, offset: usize) -> T {
    // SAFETY: the caller vouches for the place; unaligned reads ask for nothing more.
    unsafe { object.cast::<u8>().add(offset).cast::<T>().read_unaligned() }
}

/// Where the content of an object begins: after its head.
///
/// # Safety
/// The object must be alive.
#[inline(always)]
pub unsafe fn content(object: Object) -> *const u8 {
    // SAFETY: every object is at least as long as its head.
    unsafe { object.cast::<u8>().add(HEAD) }
}

/// The type of an object.
///
/// # Safety
/// The object must be alive.
#[inline(always)]
pub unsafe fn type_of(object: Object) -> *mut ffi::PyTypeObject {
    // SAFETY: as promised by the caller.
    unsafe { ffi::Py_TYPE(object) }
}

/// Whether floats can be read in place. Relaxed: written once during import, which precedes every call of `log()`.
#[inline(always)]
pub fn floats_lie_open() -> bool {
    FLOAT_VALUE_FOLLOWS_HEAD.load(Ordering::Relaxed)
}

/// The value of a float or of an instance of a subclass of float. Runs no Python code.
///
/// # Safety
/// The object must be alive and such an instance; `open` is [`floats_lie_open`]; the caller is attached.
#[inline(always)]
pub unsafe fn float(object: Object, open: bool) -> f64 {
    if open {
        // SAFETY: a subclass of float starts with float's own struct, whose value was proved to lie here.
        unsafe { field(object, HEAD) }
    } else {
        // SAFETY: for a float or a subclass this reads the same field and cannot fail.
        unsafe { ffi::PyFloat_AsDouble(object) }
    }
}

/// How many items a tuple has.
///
/// # Safety
/// A living, exact tuple.
#[inline(always)]
pub unsafe fn tuple_size(tuple: Object) -> usize {
    // SAFETY: as promised by the caller.
    let size = unsafe {
        match TUPLE_ITEMS.load(Ordering::Relaxed) {
            0 => ffi::PyTuple_Size(tuple),
            _ => field(tuple, HEAD),
        }
    };
    size as usize
}

/// An item of a tuple, borrowed.
///
/// # Safety
/// A living, exact tuple with more than `index` items.
#[inline(always)]
pub unsafe fn tuple_item(tuple: Object, index: usize) -> Object {
    // SAFETY: as promised by the caller.
    unsafe {
        match TUPLE_ITEMS.load(Ordering::Relaxed) {
            0 => ffi::PyTuple_GetItem(tuple, index as isize),
            items => field(tuple, items + index * size_of::<Object>()),
        }
    }
}

/// The value of an int, or nothing when it needs more than 64 bits. Runs no Python code.
///
/// # Safety
/// The object must be alive and an instance of int or of a subclass; the caller is attached to the interpreter.
#[inline(always)]
pub unsafe fn int(object: Object) -> Option<i64> {
    let mut overflow: c_int = 0;
    // SAFETY: as promised by the caller; for an int this cannot raise.
    let value = unsafe { ffi::PyLong_AsLongLongAndOverflow(object, &raw mut overflow) };
    (overflow == 0).then_some(value)
}

/// How many references an object has, as far as its low 32 bits tell. Immortal objects show a very large number on
/// every version of Python, so "more than one" is always meant well.
///
/// # Safety
/// The object must be alive.
#[inline]
pub unsafe fn references(object: Object) -> u32 {
    #[cfg(Py_GIL_DISABLED)]
    // SAFETY: as promised by the caller.
    return u32::try_from(unsafe { ffi::Py_REFCNT(object) }).unwrap_or(u32::MAX);
    #[cfg(not(Py_GIL_DISABLED))]
    // SAFETY: the count is the first field; its upper half holds flags on Python 3.14 and later, and this is little
    // endian on every platform we build for.
    unsafe {
        field::<u32>(object, 0)
    }
}

/// Proves on known values where floats and tuples keep theirs. Called once, by the import of the module.
pub fn prove_layouts() {
    let ours = cfg!(all(
        target_pointer_width = "64",
        target_endian = "little",
        not(Py_GIL_DISABLED)
    ));
    FLOAT_VALUE_FOLLOWS_HEAD.store(ours && prove_floats(), Ordering::Relaxed);
    TUPLE_ITEMS.store(if ours { find_tuple_items() } else { 0 }, Ordering::Relaxed);
}

fn prove_floats() -> bool {
    let known = [1.5, -0.0, f64::MIN_POSITIVE, f64::MAX, 12_345.678_9];
    known.iter().all(|&value| {
        // SAFETY: the import holds the interpreter; the new float is alive until the release below. It is at least a
        // head and a double long, so the read stays inside.
        unsafe {
            let object = ffi::PyFloat_FromDouble(value);
            if object.is_null() {
                ffi::PyErr_Clear();
                return false;
            }
            let read: f64 = field(object, HEAD);
            ffi::Py_DecRef(object);
            read.to_bits() == value.to_bits()
        }
    })
}

/// The items follow the size, on Python 3.14 and later with a hash in between.
fn find_tuple_items() -> usize {
    // SAFETY: the import holds the interpreter; the tuple has four items, so the reads stay inside.
    unsafe {
        let known = [
            ffi::Py_None(),
            ffi::Py_True(),
            ffi::Py_False(),
            ffi::Py_True(),
        ];
        let tuple = ffi::PyTuple_New(4);
        if tuple.is_null() {
            ffi::PyErr_Clear();
            return 0;
        }
        for (index, &item) in known.iter().enumerate() {
            ffi::Py_IncRef(item);
            ffi::PyTuple_SetItem(tuple, index as isize, item);
        }
        let word = size_of::<Object>();
        let starts_at = |at: usize| {
            let shown = known.iter().take(3).enumerate();
            shown
                .into_iter()
                .all(|(index, &item)| field::<Object>(tuple, at + index * word) == item)
        };
        let sized = field::<isize>(tuple, HEAD) == 4;
        let found = [HEAD + word, HEAD + 2 * word]
            .into_iter()
            .find(|&at| sized && starts_at(at));
        ffi::Py_DecRef(tuple);
        found.unwrap_or(0)
    }
}
