//! One value, owned: what a reader gets and what the plain tables show.

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};
use tm_spool::{Value, ValueType};

/// A value of a series.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// A float, its NaN payload kept.
    F64(f64),
    /// An integer of 64 bits.
    I64(i64),
    /// True or false.
    Bool(bool),
    /// A larger integer, in decimal.
    BigInt(String),
    /// Logged as `None`.
    None,
    /// Text; lone surrogates are passed through (WTF-8), so these are bytes.
    Text(Vec<u8>),
}

impl Cell {
    /// The value of a frame, owned.
    #[must_use]
    pub fn from_value(value: Value<'_>) -> Self {
        match value {
            Value::F64(v) => Self::F64(v),
            Value::I64(v) => Self::I64(v),
            Value::Bool(v) => Self::Bool(v),
            Value::BigInt(digits) => Self::BigInt(String::from_utf8_lossy(digits).into_owned()),
            Value::None => Self::None,
            Value::Text(bytes) => Self::Text(bytes.to_vec()),
        }
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> ValueType {
        match self {
            Self::F64(_) => ValueType::F64,
            Self::I64(_) => ValueType::I64,
            Self::Bool(_) => ValueType::Bool,
            Self::BigInt(_) => ValueType::BigInt,
            Self::None => ValueType::None,
            Self::Text(_) => ValueType::Text,
        }
    }

    /// As strict JSON: what is not finite becomes text, so does what is not UTF-8.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::F64(v) => match serde_json::Number::from_f64(*v) {
                Some(number) => number.into(),
                None => not_finite_name(*v).into(),
            },
            Self::I64(v) => (*v).into(),
            Self::Bool(v) => (*v).into(),
            Self::BigInt(digits) => digits.as_str().into(),
            Self::None => serde_json::Value::Null,
            Self::Text(bytes) => String::from_utf8_lossy(bytes).into(),
        }
    }

    /// From the `value` and `kind` columns of the table `latest`.
    pub(crate) fn from_sql(value: ValueRef<'_>, kind: u8) -> Self {
        match (ValueType::from_u8(kind), value) {
            (Some(ValueType::F64), ValueRef::Real(v)) => Self::F64(v),
            (Some(ValueType::F64), ValueRef::Integer(v)) => Self::F64(v as f64),
            (Some(ValueType::F64), ValueRef::Text(b"Infinity")) => Self::F64(f64::INFINITY),
            (Some(ValueType::F64), ValueRef::Text(b"-Infinity")) => Self::F64(f64::NEG_INFINITY),
            (Some(ValueType::F64), _) => Self::F64(f64::NAN),
            (Some(ValueType::I64), ValueRef::Integer(v)) => Self::I64(v),
            (Some(ValueType::Bool), ValueRef::Integer(v)) => Self::Bool(v != 0),
            (Some(ValueType::BigInt), ValueRef::Text(digits)) => {
                Self::BigInt(String::from_utf8_lossy(digits).into_owned())
            }
            (Some(ValueType::Text), ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => {
                Self::Text(bytes.to_vec())
            }
            _ => Self::None,
        }
    }
}

/// How JSON and the plain tables spell a float that is not finite.
fn not_finite_name(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::F64(v) if v.is_finite() => (*v).into(),
            Self::F64(v) => ToSqlOutput::Borrowed(ValueRef::Text(not_finite_name(*v).as_bytes())),
            Self::I64(v) => (*v).into(),
            Self::Bool(v) => (*v).into(),
            Self::BigInt(digits) => ToSqlOutput::Borrowed(ValueRef::Text(digits.as_bytes())),
            Self::None => ToSqlOutput::Borrowed(ValueRef::Null),
            Self::Text(bytes) => text_or_blob(bytes),
        })
    }
}

/// Bytes as TEXT where they are valid UTF-8, else as BLOB.
pub(crate) fn text_or_blob(bytes: &[u8]) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(match std::str::from_utf8(bytes) {
        Ok(_) => ValueRef::Text(bytes),
        Err(_) => ValueRef::Blob(bytes),
    })
}
