//! Types whose instances hold one plain number that can be read without running Python code.
//!
//! A small direct-mapped table from type to [`Plain`]. Each entry owns a reference to its type, so an address in the
//! table is never reused by another type. An entry is one atomic word, so free-threaded readers see all of it.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt, PyType};
use tm_spool::ValueType;

use super::array;
use super::object::{self, Object};

/// What an instance of a known type holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Plain {
    /// An instance of a subclass of float; numpy's float64 is one.
    Float = 1,
    /// An instance of a subclass of int.
    Int,
    /// numpy scalars, by kind and width.
    F32,
    F16,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    Bool,
    /// A numpy array: of one element, if it is to be accepted.
    Array,
    /// Looked at before, and not plain.
    Other,
}

impl Plain {
    const ALL: [Self; 15] = [
        Self::Float,
        Self::Int,
        Self::F32,
        Self::F16,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::Bool,
        Self::Array,
        Self::Other,
    ];

    /// The kind for numpy's one-letter kind and a width in bytes; nothing for the other dtypes.
    pub fn of_dtype(kind: u8, bytes: usize) -> Option<Self> {
        match (kind, bytes) {
            (b'f', 8) => Some(Self::Float),
            (b'f', 4) => Some(Self::F32),
            (b'f', 2) => Some(Self::F16),
            (b'i', 1) => Some(Self::I8),
            (b'i', 2) => Some(Self::I16),
            (b'i', 4) => Some(Self::I32),
            (b'i', 8) => Some(Self::I64),
            (b'u', 1) => Some(Self::U8),
            (b'u', 2) => Some(Self::U16),
            (b'u', 4) => Some(Self::U32),
            (b'u', 8) => Some(Self::U64),
            (b'b', 1) => Some(Self::Bool),
            _ => None,
        }
    }
}

const ENTRIES: usize = 128;
const TAG_SHIFT: u32 = 56;
const POINTER: u64 = (1 << TAG_SHIFT) - 1;

/// Entries pair with themselves: stored with Release by [`learn`], loaded with Acquire by [`plain`].
static TABLE: [AtomicU64; ENTRIES] = [const { AtomicU64::new(0) }; ENTRIES];

fn entry(kind: *mut ffi::PyTypeObject) -> &'static AtomicU64 {
    let mixed = (kind as u64 >> 4).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 57;
    // Seven bits: always in range; the fallback only spares a panic path.
    TABLE.get(mixed as usize).unwrap_or(&TABLE[0])
}

/// What instances of this type hold, if it is known by now. Runs no Python code.
#[inline]
pub fn plain(kind: *mut ffi::PyTypeObject) -> Option<Plain> {
    let word = entry(kind).load(Ordering::Acquire);
    if word & POINTER != kind as u64 {
        return None;
    }
    Plain::ALL.get((word >> TAG_SHIFT) as usize - 1).copied()
}

/// Looks at a type that is not in the table yet and remembers what its instances hold. May run Python code.
pub fn learn(kind: &Bound<'_, PyType>) {
    if plain(kind.as_type_ptr()).is_some() {
        return;
    }
    let found = classify(kind).unwrap_or(Plain::Other);
    let address = kind.as_ptr() as u64;
    if address & !POINTER != 0 {
        return;
    }
    let owned = kind.clone().into_ptr() as u64;
    let word = owned | (u64::from(found as u8) << TAG_SHIFT);
    let before = entry(kind.as_type_ptr()).swap(word, Ordering::AcqRel) & POINTER;
    if before != 0 {
        // SAFETY: the entry owned this reference and nobody can find it there any more.
        drop(unsafe { Bound::from_owned_ptr(kind.py(), before as Object) });
    }
}

fn classify(kind: &Bound<'_, PyType>) -> Option<Plain> {
    let py = kind.py();
    if kind.is_subclass_of::<PyFloat>().ok()? {
        return Some(Plain::Float);
    }
    if kind.is_subclass_of::<PyInt>().ok()? {
        return Some(Plain::Int);
    }
    // Only when the user has imported numpy already: log() imports nothing heavy.
    let modules = py.import("sys").ok()?.getattr("modules").ok()?;
    let numpy = modules.get_item("numpy").ok()?;
    if kind.is(&numpy.getattr("ndarray").ok()?) {
        return array::prove(&numpy).then_some(Plain::Array);
    }
    if !kind.is_subclass(&numpy.getattr("generic").ok()?).ok()? {
        return None;
    }
    let dtype = numpy.getattr("dtype").ok()?.call1((kind,)).ok()?;
    // A user's subclass of a numpy scalar may add fields anywhere: only numpy's own types are read.
    if !dtype.getattr("type").ok()?.is(kind) {
        return None;
    }
    let letter: String = dtype.getattr("kind").ok()?.extract().ok()?;
    let bytes: usize = dtype.getattr("itemsize").ok()?.extract().ok()?;
    let found = Plain::of_dtype(*letter.as_bytes().first()?, bytes)?;
    prove(kind, found).then_some(found)
}

/// Reads instances of known value and believes the layout only if all are read right.
fn prove(kind: &Bound<'_, PyType>, plain: Plain) -> bool {
    let known: &[f64] = match plain {
        Plain::F32 | Plain::F16 => &[1.5, -0.25, 0.0, 1000.0],
        Plain::I8 | Plain::I16 | Plain::I32 | Plain::I64 => &[1.0, -2.0, 0.0, 100.0],
        Plain::U8 | Plain::U16 | Plain::U32 | Plain::U64 => &[1.0, 2.0, 0.0, 200.0],
        Plain::Bool => &[0.0, 1.0],
        Plain::Float | Plain::Int | Plain::Array | Plain::Other => return false,
    };
    known.iter().all(|&value| {
        let Ok(instance) = kind.call1((value,)) else {
            return false;
        };
        // SAFETY: the instance is alive, and numpy says its number is as wide as this kind.
        let read = unsafe { number(plain, object::content(instance.as_ptr())) };
        match read {
            Some((bits, ValueType::F64)) => f64::from_bits(bits) == value,
            Some((bits, ValueType::I64 | ValueType::Bool)) => bits as i64 as f64 == value,
            _ => false,
        }
    })
}

/// The number of this kind at an address, as a frame keeps it; nothing for what needs more than 64 signed bits.
///
/// # Safety
/// A readable number of that kind must lie at the address.
#[inline]
pub unsafe fn number(plain: Plain, at: *const u8) -> Option<(u64, ValueType)> {
    // SAFETY: as promised by the caller; nothing is assumed about alignment.
    unsafe {
        match plain {
            Plain::Float => Some((at.cast::<u64>().read_unaligned(), ValueType::F64)),
            Plain::F32 => Some(double(f64::from(at.cast::<f32>().read_unaligned()))),
            Plain::F16 => Some(double(super::half::to_f64(
                at.cast::<u16>().read_unaligned(),
            ))),
            Plain::I8 => Some(whole(i64::from(at.cast::<i8>().read()))),
            Plain::I16 => Some(whole(i64::from(at.cast::<i16>().read_unaligned()))),
            Plain::I32 => Some(whole(i64::from(at.cast::<i32>().read_unaligned()))),
            Plain::I64 => Some(whole(at.cast::<i64>().read_unaligned())),
            Plain::U8 => Some(whole(i64::from(at.read()))),
            Plain::U16 => Some(whole(i64::from(at.cast::<u16>().read_unaligned()))),
            Plain::U32 => Some(whole(i64::from(at.cast::<u32>().read_unaligned()))),
            Plain::U64 => i64::try_from(at.cast::<u64>().read_unaligned())
                .ok()
                .map(whole),
            Plain::Bool => Some((u64::from(at.read() != 0), ValueType::Bool)),
            Plain::Int | Plain::Array | Plain::Other => None,
        }
    }
}

fn double(value: f64) -> (u64, ValueType) {
    (value.to_bits(), ValueType::F64)
}

fn whole(value: i64) -> (u64, ValueType) {
    (value as u64, ValueType::I64)
}
