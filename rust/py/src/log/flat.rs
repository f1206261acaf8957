//! A dict of anything, flattened into names and values that a frame can hold. Runs the user's code while at it.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use tm_spool::{Reject, ValueType, side_slot};

use super::convert::{self, Converted, Refusal};
use super::tensor::Devices;

/// Dicts within dicts, at most.
const MOST_DEPTH: usize = 16;
/// Values in one call, at most: nested dicts that share parts grow by powers.
const MOST_VALUES: usize = 1 << 20;

/// One thing that was not recorded, and where it stood.
pub struct Note {
    /// The key as far as it is known, clipped.
    pub key: String,
    pub refusal: Refusal,
}

/// What is to be written. The slices run in parallel.
#[derive(Default)]
pub struct Flat {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    pub slots: Vec<u64>,
    pub types: Vec<ValueType>,
    /// Text and digits that slots point into.
    pub side: Vec<u8>,
    pub notes: Vec<Note>,
    pub device_values: u64,
}

impl Flat {
    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, &end)| self.bytes.get(start..end).unwrap_or_default())
    }

    /// Whether every value is a double.
    pub fn is_plain(&self) -> bool {
        self.types.iter().all(|&kind| kind == ValueType::F64)
    }

    /// Takes a mapping apart. References to all keys and values of a dict are taken before any of their code runs.
    ///
    /// # Errors
    /// KeyboardInterrupt, SystemExit and their like, from the user's code.
    pub fn gather(metrics: &Bound<'_, PyAny>, reject_devices: bool) -> PyResult<Self> {
        let mut walk = Walk {
            flat: Self::default(),
            devices: Devices {
                reject: reject_devices,
                synced: 0,
            },
            open: Vec::new(),
        };
        walk.mapping(metrics, &mut Vec::new())?;
        walk.flat.device_values = walk.devices.synced;
        Ok(walk.flat)
    }

    fn push(&mut self, name: &[u8], slot: u64, kind: ValueType) {
        self.bytes.extend_from_slice(name);
        self.ends.push(self.bytes.len());
        self.slots.push(slot);
        self.types.push(kind);
    }

    fn push_side(&mut self, name: &[u8], content: &[u8], kind: ValueType) {
        let place = u32::try_from(self.side.len())
            .ok()
            .zip(u32::try_from(content.len()).ok());
        let Some((offset, len)) = place else {
            self.note(
                name,
                Refusal {
                    why: Reject::TooLarge,
                    what: "a text".into(),
                    cause: None,
                },
            );
            return;
        };
        self.side.extend_from_slice(content);
        self.push(name, side_slot(offset, len), kind);
    }

    /// Copies a value to an earlier place, over what stood there.
    pub fn copy_value(&mut self, from: usize, to: usize) {
        if let Some((&slot, &kind)) = self.slots.get(from).zip(self.types.get(from))
            && let Some((slot_there, kind_there)) =
                self.slots.get_mut(to).zip(self.types.get_mut(to))
        {
            (*slot_there, *kind_there) = (slot, kind);
        }
    }

    /// Keeps the first `n` values. Names are not looked at any more after this.
    pub fn truncate(&mut self, n: usize) {
        self.slots.truncate(n);
        self.types.truncate(n);
    }

    /// Notes what could not be recorded.
    pub fn note(&mut self, name: &[u8], refusal: Refusal) {
        const MOST_BYTES: usize = 120;
        let shown = name.get(..name.len().min(MOST_BYTES)).unwrap_or_default();
        self.notes.push(Note {
            key: String::from_utf8_lossy(shown).into_owned(),
            refusal,
        });
    }
}

struct Walk {
    flat: Flat,
    devices: Devices,
    /// The mappings we are inside of, by address: they live as long as the walk is in them.
    open: Vec<*mut ffi::PyObject>,
}

impl Walk {
    fn mapping(&mut self, mapping: &Bound<'_, PyAny>, path: &mut Vec<u8>) -> PyResult<()> {
        if self.open.len() >= MOST_DEPTH || self.open.contains(&mapping.as_ptr()) {
            let what = "a dict inside itself, or more than 16 dicts deep".into();
            self.flat.note(
                path,
                Refusal {
                    why: Reject::TooDeep,
                    what,
                    cause: None,
                },
            );
            return Ok(());
        }
        let items = match convert::caught(mapping.py(), items_of(mapping))? {
            Ok(items) => items,
            Err(cause) => {
                let what = format!("{} without usable items", convert::name_of(mapping));
                self.flat.note(
                    path,
                    Refusal {
                        why: Reject::BadValue,
                        what,
                        cause: Some(cause),
                    },
                );
                return Ok(());
            }
        };
        self.open.push(mapping.as_ptr());
        let outcome = items.iter().try_for_each(|item| self.item(item, path));
        self.open.pop();
        outcome
    }

    fn item(&mut self, item: &Bound<'_, PyAny>, path: &mut Vec<u8>) -> PyResult<()> {
        let Ok((key, value)) = item.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>() else {
            self.flat.note(
                path,
                Refusal {
                    why: Reject::BadKey,
                    what: "an item that is not a pair".into(),
                    cause: None,
                },
            );
            return Ok(());
        };
        let Ok(name) = key.cast::<PyString>() else {
            let what = format!("a key that is not text: {}", convert::name_of(&key));
            self.flat.note(
                path,
                Refusal {
                    why: Reject::BadKey,
                    what,
                    cause: None,
                },
            );
            return Ok(());
        };
        let outer = path.len();
        if self.open.len() > 1 {
            path.push(b'/');
        }
        path.extend_from_slice(&convert::utf8(name)?);
        let outcome = self.value(&value, path);
        path.truncate(outer);
        outcome
    }

    fn value(&mut self, value: &Bound<'_, PyAny>, path: &mut Vec<u8>) -> PyResult<()> {
        if self.flat.slots.len() >= MOST_VALUES {
            let what = format!("more than {MOST_VALUES} values in one call");
            if self
                .flat
                .notes
                .last()
                .is_none_or(|last| last.refusal.why != Reject::TooLarge)
            {
                self.flat.note(
                    path,
                    Refusal {
                        why: Reject::TooLarge,
                        what,
                        cause: None,
                    },
                );
            }
            return Ok(());
        }
        match convert::value_of(value, &mut self.devices)? {
            Converted::F64(number) => self.flat.push(path, number.to_bits(), ValueType::F64),
            Converted::I64(number) => self.flat.push(path, number as u64, ValueType::I64),
            Converted::Bool(truth) => self.flat.push(path, u64::from(truth), ValueType::Bool),
            Converted::None => self.flat.push(path, 0, ValueType::None),
            Converted::BigInt(digits) => self.flat.push_side(path, &digits, ValueType::BigInt),
            Converted::Text(text) => self.flat.push_side(path, &text, ValueType::Text),
            Converted::Nested(inner) => self.mapping(&inner, path)?,
            Converted::Refused(refusal) => self.flat.note(path, refusal),
        }
        Ok(())
    }
}

/// All pairs of a mapping, with references of their own.
fn items_of<'py>(mapping: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    // A copy that no code of the user's can disturb.
    if let Ok(dict) = mapping.cast_exact::<PyDict>() {
        return Ok(dict.items().iter().collect());
    }
    if mapping.is_instance_of::<PyList>()
        || mapping.is_instance_of::<PyTuple>()
        || mapping.is_instance_of::<PyString>()
    {
        return Err(PyTypeError::new_err("not a dict"));
    }
    // SAFETY: a living object; the result is a new reference or an error.
    let items = unsafe {
        Bound::from_owned_ptr_or_err(mapping.py(), ffi::PyMapping_Items(mapping.as_ptr()))?
    };
    items.try_iter()?.collect()
}
