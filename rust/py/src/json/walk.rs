//! From Python objects to JSON text. Runs the objects' own code: `__str__`, `__fspath__`, properties of dataclasses.

use pyo3::exceptions::PyException;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PyMapping, PySet,
    PyString, PyTuple, PyType,
};

use super::text;
use crate::log::utf8;
use crate::redact;

const MOST_DEPTH: usize = 32;
/// A longer integer is written as text.
const MOST_DIGITS: usize = 300;
/// Values of one config, at most.
const MOST_VALUES: usize = 100_000;
/// Bytes of one config, at most: it has to fit where metrics wait, and into one row.
const MOST_BYTES: usize = 4 << 20;
/// A string of the user's is cut here.
const MOST_STRING_BYTES: usize = 1 << 20;
/// Looked at for secrets beyond the cut, so that none is cut in two.
const BEYOND_BYTES: usize = 4096;
/// Text made from an object is cut here.
const MOST_TEXT_BYTES: usize = 2_000;
/// Arrays of more elements are described, not written out.
const MOST_ELEMENTS: usize = 64;

/// The state of one conversion.
pub struct Walk {
    out: Vec<u8>,
    redact: bool,
    values: usize,
    /// Containers we are inside of, by address: they live as long as we are.
    open: Vec<*mut ffi::PyObject>,
}

type Pair<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

impl Walk {
    pub fn new(redact: bool) -> Self {
        Self {
            out: Vec::new(),
            redact,
            values: 0,
            open: Vec::new(),
        }
    }

    /// The text so far.
    pub fn finish(self) -> String {
        String::from_utf8(self.out)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    /// Writes one value.
    ///
    /// # Errors
    /// KeyboardInterrupt, SystemExit and their like, from the value's own code.
    pub fn value(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.values += 1;
        let (length, depth) = (self.out.len(), self.open.len());
        match self.any(value) {
            Err(error) if error.is_instance_of::<PyException>(value.py()) => {
                self.out.truncate(length);
                self.open.truncate(depth);
                self.made(&format!(
                    "<{} that cannot be shown>",
                    class_name(&value.get_type())
                ))
            }
            other => other,
        }
    }

    fn any(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.scalar(value)? || self.container(value)? {
            return Ok(());
        }
        self.object(value)
    }

    fn scalar(&mut self, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        if value.is_none() {
            self.out.extend(b"null");
        } else if value.is_instance_of::<PyBool>() {
            self.out.extend(if value.is_truthy()? {
                &b"true"[..]
            } else {
                b"false"
            });
        } else if let Ok(float) = value.cast::<PyFloat>() {
            text::float(&mut self.out, float.value());
        } else if value.is_instance_of::<PyInt>() {
            // int's own text, whatever a subclass shows.
            let shown = value
                .py()
                .get_type::<PyInt>()
                .call_method1("__repr__", (value,))?;
            let digits = utf8(shown.cast::<PyString>()?)?;
            // Beyond the range of a double strict readers refuse a number.
            let quote = digits.len() > MOST_DIGITS;
            self.out.extend(quote.then_some(b'"'));
            self.out.extend_from_slice(&digits);
            self.out.extend(quote.then_some(b'"'));
        } else if let Ok(string) = value.cast::<PyString>() {
            self.string(&utf8(string)?);
        } else if let Ok(bytes) = value.cast::<PyBytes>() {
            self.bytes(bytes.as_bytes());
        } else if let Ok(bytes) = value.cast::<PyByteArray>() {
            self.bytes(&bytes.to_vec());
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn string(&mut self, string: &[u8]) {
        let limit = MOST_STRING_BYTES + BEYOND_BYTES;
        let read = string.get(..limit).unwrap_or(string);
        let mut clean = if self.redact {
            redact::redact(read).0
        } else {
            read.to_vec()
        };
        if string.len() > limit {
            clean.truncate(MOST_STRING_BYTES);
            while clean.pop_if(|byte| *byte >= 0x80).is_some() {}
            let note = format!("… <cut: {} bytes in all>", string.len());
            clean.extend(note.as_bytes());
        }
        text::string(&mut self.out, &clean);
    }

    /// Whether no more values are taken in.
    fn is_full(&self) -> bool {
        self.values >= MOST_VALUES || self.out.len() >= MOST_BYTES
    }

    fn bytes(&mut self, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(string) if !string.contains(|c: char| c.is_control()) => self.string(bytes),
            _ => self.string(format!("<{} bytes>", bytes.len()).as_bytes()),
        }
    }

    /// Text that we make from an object.
    fn made(&mut self, shown: &str) -> PyResult<()> {
        let end = (0..=MOST_TEXT_BYTES.min(shown.len()))
            .rev()
            .find(|&at| shown.is_char_boundary(at))
            .unwrap_or(0);
        match shown.get(..end) {
            Some(start) if end < shown.len() => self.string(format!("{start}…").as_bytes()),
            _ => self.string(shown.as_bytes()),
        }
        Ok(())
    }

    fn container(&mut self, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        if let Ok(dict) = value.cast::<PyDict>() {
            let items: Vec<Pair<'_>> = dict.items().extract()?;
            self.inside(value, |walk| walk.pairs(&items))?;
        } else if value.is_instance_of::<PyTuple>() && value.hasattr("_fields")? {
            let names: Vec<Bound<'_, PyAny>> = value.getattr("_fields")?.extract()?;
            let items: Vec<Pair<'_>> = names
                .into_iter()
                .zip(value.try_iter()?.collect::<PyResult<Vec<_>>>()?)
                .collect();
            self.inside(value, |walk| walk.pairs(&items))?;
        } else if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
            let items: Vec<Bound<'_, PyAny>> = value.try_iter()?.collect::<PyResult<_>>()?;
            self.inside(value, |walk| walk.array(&items))?;
        } else if value.is_instance_of::<PySet>() || value.is_instance_of::<PyFrozenSet>() {
            self.inside(value, |walk| walk.set(value))?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Goes into a container, unless we are in it already or too deep.
    fn inside(
        &mut self,
        value: &Bound<'_, PyAny>,
        body: impl FnOnce(&mut Self) -> PyResult<()>,
    ) -> PyResult<()> {
        if self.open.contains(&value.as_ptr()) {
            return self.made(&format!(
                "<{} inside itself>",
                class_name(&value.get_type())
            ));
        }
        if self.open.len() >= MOST_DEPTH {
            return self.made("<too deep>");
        }
        self.open.push(value.as_ptr());
        body(self)?;
        self.open.pop();
        Ok(())
    }

    fn array(&mut self, items: &[Bound<'_, PyAny>]) -> PyResult<()> {
        self.out.push(b'[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.out.extend(b", ");
            }
            if self.is_full() {
                self.made(&cut(items.len() - index))?;
                break;
            }
            let before = index.checked_sub(1).and_then(|before| items.get(before));
            if self.redact && before.is_some_and(|flag| is_secret_after(flag, item)) {
                redact::count(1);
                text::string(&mut self.out, redact::MARK);
            } else {
                self.value(item)?;
            }
        }
        self.out.push(b']');
        Ok(())
    }

    /// Sets have no order: the same set gives the same text.
    fn set(&mut self, set: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut texts = Vec::new();
        for item in set.try_iter()? {
            let start = self.out.len();
            if self.is_full() {
                self.made(&cut(set.len()? - texts.len()))?;
                texts.push(self.out.split_off(start));
                break;
            }
            self.value(&item?)?;
            texts.push(self.out.split_off(start));
        }
        texts.sort_unstable();
        self.out.push(b'[');
        self.out.extend(texts.join(&b", "[..]));
        self.out.push(b']');
        Ok(())
    }

    fn pairs(&mut self, items: &[Pair<'_>]) -> PyResult<()> {
        self.out.push(b'{');
        for (index, (key, value)) in items.iter().enumerate() {
            if index > 0 {
                self.out.extend(b", ");
            }
            if self.is_full() {
                let note = quoted_pair("<cut>", &cut(items.len() - index));
                self.out.extend(note.as_bytes());
                break;
            }
            let name = utf8(&match key.cast::<PyString>() {
                Ok(name) => name.clone(),
                Err(_) => key.str()?,
            })?;
            self.string(&name);
            self.out.extend(b": ");
            if self.redact && is_secret(&name, value) {
                redact::count(1);
                text::string(&mut self.out, redact::MARK);
            } else {
                self.value(value)?;
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    fn object(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let kind = value.get_type();
        if let Ok(class) = value.cast::<PyType>() {
            return self.made(&class_name(class));
        }
        if value.hasattr("__fspath__")? {
            return self.value(&value.call_method0("__fspath__")?);
        }
        if let Some(fields) = kind.getattr_opt("__dataclass_fields__")? {
            let mut items: Vec<Pair<'_>> = Vec::new();
            for name in fields.try_iter()? {
                let name = name?;
                let field = value.getattr(name.cast::<PyString>()?)?;
                items.push((name, field));
            }
            return self.inside(value, |walk| walk.pairs(&items));
        }
        if kind.hasattr("dtype")? && kind.hasattr("tolist")? {
            return self.tensor(value);
        }
        if let Ok(mapping) = value.cast::<PyMapping>() {
            let items: Vec<Pair<'_>> = mapping.items()?.extract()?;
            return self.inside(value, |walk| walk.pairs(&items));
        }
        if value.is_callable() && value.hasattr("__qualname__")? {
            return self.made(&class_name(value));
        }
        if kind.hasattr("to_dict")? {
            let fields = value.call_method0("to_dict")?;
            return self.inside(value, |walk| walk.value(&fields));
        }
        self.other(value, &kind)
    }

    fn tensor(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let shape: Vec<usize> = value.getattr("shape")?.extract()?;
        if shape.iter().product::<usize>() <= MOST_ELEMENTS {
            let list = value.call_method0("tolist")?;
            // A number of a kind Python has no type for comes back as it is.
            return if list.get_type().is(value.get_type()) {
                self.made(&list.str()?.to_string_lossy())
            } else {
                self.value(&list)
            };
        }
        let dtype = value.getattr("dtype")?.str()?;
        self.made(&format!(
            "<{} of shape {shape:?}, {dtype}>",
            class_name(&value.get_type())
        ))
    }

    /// Fields where the class has no text of its own (Namespace has, but its fields say more); else the text.
    fn other(&mut self, value: &Bound<'_, PyAny>, kind: &Bound<'_, PyType>) -> PyResult<()> {
        let plain = value.py().get_type::<PyAny>();
        let mute = kind.getattr("__repr__")?.is(&plain.getattr("__repr__")?)
            && kind.getattr("__str__")?.is(&plain.getattr("__str__")?);
        let name = class_name(kind);
        let is_namespace = kind.mro().iter().any(|base| {
            matches!(
                class_name(&base).as_str(),
                "argparse.Namespace" | "types.SimpleNamespace"
            )
        });
        let fields = value
            .getattr_opt("__dict__")?
            .and_then(|fields| fields.cast_into::<PyDict>().ok());
        match fields {
            Some(fields) if is_namespace || (mute && !fields.is_empty()) => {
                let items: Vec<Pair<'_>> = fields.items().extract()?;
                self.inside(value, |walk| walk.pairs(&items))
            }
            _ if mute => self.made(&name),
            _ => self.made(&value.str()?.to_string_lossy()),
        }
    }
}

/// What stands in the place of values for which there is no room.
fn cut(count: usize) -> String {
    format!("<cut: {count} more>")
}

fn quoted_pair(name: &str, value: &str) -> String {
    format!("{}: {}", text::quoted(name), text::quoted(value))
}

/// A value under a name that says secret. A count of tokens is none, nor is an absent password.
fn is_secret(name: &[u8], value: &Bound<'_, PyAny>) -> bool {
    let Ok(name) = std::str::from_utf8(name) else {
        return false;
    };
    match redact::secrecy(name) {
        None => false,
        Some(redact::Secrecy::Sure) => {
            !value.is_none()
                && !value.is_instance_of::<PyBool>()
                && value.is_truthy().unwrap_or(true)
        }
        Some(secrecy @ (redact::Secrecy::Token | redact::Secrecy::Key)) => {
            let text = value
                .cast::<PyString>()
                .ok()
                .and_then(|text| utf8(text).ok());
            let bytes = text.or_else(|| {
                value
                    .cast::<PyBytes>()
                    .ok()
                    .map(|bytes| bytes.as_bytes().to_vec())
            });
            bytes.is_some_and(|bytes| secrecy.covers(&bytes))
        }
    }
}

/// The word after `--name` in the words of a command line. A flag that has no value is followed by a flag.
fn is_secret_after(flag: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> bool {
    let text = |word: &Bound<'_, PyAny>| utf8(word.cast::<PyString>().ok()?).ok();
    let is_flag = |word: &[u8]| word.starts_with(b"--") && !word.contains(&b'=');
    text(flag).is_some_and(|flag| is_flag(&flag) && is_secret(&flag, value))
        && !text(value).is_some_and(|value| value.starts_with(b"-"))
}

fn class_name(class: &Bound<'_, PyAny>) -> String {
    let part = |name: &str| {
        class
            .getattr(name)
            .ok()
            .and_then(|part| part.extract::<String>().ok())
    };
    match (part("__module__"), part("__qualname__")) {
        (Some(module), Some(name)) if module != "builtins" => format!("{module}.{name}"),
        (_, Some(name)) => name,
        _ => "object".to_owned(),
    }
}
