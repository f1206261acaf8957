//! The column codec: one key's values in one group as a tag byte and the bytes it announces.
//!
//! Every encoding gives back the exact bits: NaN payloads, -0.0, integers of any size, `None`.

use tm_spool::ValueType;

use super::bytes::{ByteReader, ByteWriter};
use super::checked::COLUMN;
use super::ints::{pack_ints, unpack_ints};
use super::numbers::{ColumnError, check_rows, compress, decompress};

const RAW_F64: u8 = 0;
const CONST_F64: u8 = 1;
const PCO_F64: u8 = 2;
const PCO_F32: u8 = 3;
// 4 is a line of integers: see `ints`.
const TYPED: u8 = 5;
/// Set in the tag when the row numbers come first: the column does not cover every row of its group.
const SPARSE: u8 = 0x80;

/// Below this many values the header of pco costs more than it saves.
const PCO_MIN: usize = 8;

const F64: u8 = ValueType::F64 as u8;
const I64: u8 = ValueType::I64 as u8;
const BOOL: u8 = ValueType::Bool as u8;
const BIG_INT: u8 = ValueType::BigInt as u8;
const NONE: u8 = ValueType::None as u8;

/// The values of one key in the rows of one group, in row order.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Column {
    /// The rows that have a value. `None`: every row has one.
    pub rows: Option<Vec<u32>>,
    /// The 64 bits of each value; for a big integer its index in `bigs`.
    pub slots: Vec<u64>,
    /// The type of each value as the number of a [`ValueType`]. `None`: all are f64.
    pub types: Option<Vec<u8>>,
    /// Big integers in decimal.
    pub bigs: Vec<Box<[u8]>>,
}

impl Column {
    /// The type of value `i`.
    pub(super) fn kind(&self, i: usize) -> u8 {
        self.types
            .as_ref()
            .map_or(F64, |t| t.get(i).copied().unwrap_or(NONE))
    }

    /// Value `i` as a number. `None`: it is a typed null, or there is no such value.
    pub(super) fn number(&self, i: usize) -> Option<f64> {
        let slot = *self.slots.get(i)?;
        match self.kind(i) {
            F64 => Some(f64::from_bits(slot)),
            I64 => Some(slot as i64 as f64),
            BOOL => Some(if slot == 0 { 0.0 } else { 1.0 }),
            BIG_INT => {
                let digits = self.bigs.get(usize::try_from(slot).ok()?)?;
                std::str::from_utf8(digits).ok()?.parse().ok()
            }
            _ => None,
        }
    }

    /// The row of value `i`.
    pub(super) fn row(&self, i: usize) -> usize {
        self.rows
            .as_ref()
            .map_or(i, |rows| rows.get(i).map_or(i, |row| *row as usize))
    }

    /// All values as numbers into `out`, which is cleared first; what is none becomes NaN.
    pub(super) fn numbers(&self, out: &mut Vec<f64>) {
        out.clear();
        if self.types.is_none() {
            out.extend(self.slots.iter().map(|slot| f64::from_bits(*slot)));
        } else {
            out.extend((0..self.slots.len()).map(|i| self.number(i).unwrap_or(f64::NAN)));
        }
    }

    /// Some of the values, with their rows.
    pub(super) fn slice(&self, range: std::ops::Range<usize>) -> Self {
        Self {
            rows: Some(range.clone().map(|i| self.row(i) as u32).collect()),
            slots: self.slots.get(range.clone()).unwrap_or_default().to_vec(),
            types: self
                .types
                .as_ref()
                .map(|types| types.get(range).unwrap_or_default().to_vec()),
            bigs: self.bigs.clone(),
        }
    }

    /// Append the column of a later group, whose rows start at `before` in this one.
    pub(super) fn append(&mut self, later: Self, before: usize) {
        let rows = self.rows.get_or_insert_default();
        rows.extend((0..later.slots.len()).map(|i| (before + later.row(i)) as u32));
        if self.types.is_some() || later.types.is_some() {
            let types = self
                .types
                .get_or_insert_with(|| vec![F64; self.slots.len()]);
            types.extend((0..later.slots.len()).map(|i| later.kind(i)));
        }
        let shift = self.bigs.len() as u64;
        self.slots.extend(
            later
                .slots
                .iter()
                .enumerate()
                .map(|(i, slot)| slot + if later.kind(i) == BIG_INT { shift } else { 0 }),
        );
        self.bigs.extend(later.bigs);
    }

    /// Drop row numbers and types that say nothing; the group has so many rows.
    pub(super) fn settle(&mut self, rows: usize) {
        if self.slots.len() == rows {
            self.rows = None;
        }
        if self
            .types
            .as_ref()
            .is_some_and(|types| types.iter().all(|t| *t == F64))
        {
            self.types = None;
        }
    }

    /// Forget the values, keep the memory.
    pub(super) fn clear(&mut self) {
        self.rows = None;
        self.slots.clear();
        self.types = None;
        self.bigs.clear();
    }

    /// Encode into `out`, which is cleared first.
    pub(super) fn encode(&self, out: &mut Vec<u8>, level: usize) -> Result<(), ColumnError> {
        out.clear();
        out.push(0);
        let mut tag = 0;
        if let Some(rows) = &self.rows {
            tag |= SPARSE;
            out.put_block(&compress(rows, level)?);
        }
        tag |= match &self.types {
            Some(types) if types.iter().any(|t| *t != F64) => {
                self.encode_typed(types, out, level)?;
                TYPED
            }
            _ => encode_floats(&self.slots, out, level)?,
        };
        if let Some(first) = out.first_mut() {
            *first = tag;
        }
        COLUMN.close(out);
        Ok(())
    }

    /// Runs of types, then one block per type that occurs: each kind compresses as if it were alone.
    fn encode_typed(
        &self,
        types: &[u8],
        out: &mut Vec<u8>,
        level: usize,
    ) -> Result<(), ColumnError> {
        out.put_u32(types.chunk_by(|a, b| a == b).count() as u32);
        for run in types.chunk_by(|a, b| a == b) {
            out.push(run.first().copied().unwrap_or(NONE));
            out.put_u32(run.len() as u32);
        }
        let of = |kind: u8| {
            let pairs = types.iter().zip(&self.slots);
            pairs.filter(move |(t, _)| **t == kind).map(|(_, s)| *s)
        };
        let floats: Vec<u64> = of(F64).collect();
        let mut block = vec![0];
        let tag = encode_floats(&floats, &mut block, level)?;
        if let Some(first) = block.first_mut() {
            *first = tag;
        }
        out.put_block(&block);
        for kind in [I64, BOOL] {
            let ints: Vec<i64> = of(kind).map(|s| s as i64).collect();
            out.put_block(&pack_ints(&ints)?);
        }
        for slot in of(BIG_INT) {
            let digits = usize::try_from(slot).ok().and_then(|i| self.bigs.get(i));
            out.put_block(digits.ok_or_else(|| ColumnError::new("no digits"))?);
        }
        Ok(())
    }

    /// Decode what [`Column::encode`] wrote; `rows_in_group` is the number of rows of the group.
    pub(super) fn decode(data: &[u8], rows_in_group: usize) -> Result<Self, ColumnError> {
        check_rows(rows_in_group)?;
        let mut input = ByteReader::new(COLUMN.open(data)?);
        let tag = input.take_u8().ok_or_else(|| ColumnError::new("no tag"))?;
        let tag = COLUMN.plain(tag);
        let rows = if tag & SPARSE == 0 {
            None
        } else {
            let block = input
                .take_block()
                .ok_or_else(|| ColumnError::new("no rows"))?;
            Some(decompress::<u32>(block, rows_in_group)?)
        };
        let n = rows.as_ref().map_or(rows_in_group, Vec::len);
        let mut column = Self {
            rows,
            ..Self::default()
        };
        match tag & !SPARSE {
            TYPED => column.decode_typed(&mut input, n)?,
            float => column.slots = decode_floats(float, input.rest(), n)?,
        }
        let fits = |rows: &Vec<u32>| rows.iter().all(|r| (*r as usize) < rows_in_group);
        if column.slots.len() != n || !column.rows.as_ref().is_none_or(fits) {
            return Err(ColumnError::new(
                "the number of values does not fit the group",
            ));
        }
        Ok(column)
    }

    /// Decode `n` values of several types.
    fn decode_typed(&mut self, input: &mut ByteReader<'_>, n: usize) -> Result<(), ColumnError> {
        let short = || ColumnError::new("cut short");
        let types = decode_types(input, n)?;
        let count = |kind: u8| types.iter().filter(|t| **t == kind).count();
        let block = input.take_block().ok_or_else(short)?;
        let (tag, body) = block.split_first().ok_or_else(short)?;
        let mut floats = decode_floats(*tag, body, count(F64))?.into_iter();
        let mut of = |kind| unpack_ints(input.take_block().ok_or_else(short)?, count(kind));
        let (mut ints, mut bools) = (of(I64)?.into_iter(), of(BOOL)?.into_iter());
        for _ in 0..count(BIG_INT) {
            self.bigs.push(input.take_block().ok_or_else(short)?.into());
        }
        let mut bigs = 0..;
        for kind in &types {
            self.slots.push(match *kind {
                F64 => floats.next().ok_or_else(short)?,
                I64 => ints.next().ok_or_else(short)? as u64,
                BOOL => bools.next().ok_or_else(short)? as u64,
                BIG_INT => bigs.next().unwrap_or_default(),
                _ => 0,
            });
        }
        self.types = Some(types);
        Ok(())
    }
}

/// The types of `n` values from their runs; a damaged length never asks for more memory than that.
fn decode_types(input: &mut ByteReader<'_>, n: usize) -> Result<Vec<u8>, ColumnError> {
    let short = || ColumnError::new("cut short");
    let mut types = Vec::with_capacity(n);
    for _ in 0..input.take_u32().ok_or_else(short)? {
        let kind = input.take_u8().ok_or_else(short)?;
        let run = input.take_u32().ok_or_else(short)? as usize;
        if run > n - types.len() {
            return Err(ColumnError::new("more types than values"));
        }
        types.resize(types.len() + run, kind);
    }
    Ok(types)
}

/// Append the values to `out` in the smallest way, and say which it was.
fn encode_floats(slots: &[u64], out: &mut Vec<u8>, level: usize) -> Result<u8, ColumnError> {
    if let Some(first) = slots.first()
        && slots.iter().all(|s| s == first)
    {
        out.extend_from_slice(&first.to_le_bytes());
        return Ok(CONST_F64);
    }
    if slots.len() >= PCO_MIN {
        let (tag, packed) = match as_singles(slots) {
            Some(singles) => (PCO_F32, compress(&singles, level)?),
            None => {
                let doubles: Vec<f64> = slots.iter().map(|s| f64::from_bits(*s)).collect();
                (PCO_F64, compress(&doubles, level)?)
            }
        };
        if packed.len() < slots.len() * 8 {
            out.extend_from_slice(&packed);
            return Ok(tag);
        }
    }
    for slot in slots {
        out.extend_from_slice(&slot.to_le_bytes());
    }
    Ok(RAW_F64)
}

/// The values as f32. `None`: at least one of them would lose bits.
fn as_singles(slots: &[u64]) -> Option<Vec<f32>> {
    let exact = |slot: &u64| {
        let single = f64::from_bits(*slot) as f32;
        (f64::from(single).to_bits() == *slot).then_some(single)
    };
    slots.iter().map(exact).collect()
}

fn decode_floats(tag: u8, body: &[u8], n: usize) -> Result<Vec<u64>, ColumnError> {
    match tag {
        RAW_F64 => {
            let words = body.as_chunks::<8>().0.iter();
            Ok(words.map(|b| u64::from_le_bytes(*b)).collect())
        }
        CONST_F64 => {
            let slot = body
                .first_chunk::<8>()
                .ok_or_else(|| ColumnError::new("cut short"))?;
            Ok(vec![u64::from_le_bytes(*slot); n])
        }
        PCO_F64 => Ok(decompress::<f64>(body, n)?
            .into_iter()
            .map(f64::to_bits)
            .collect()),
        PCO_F32 => {
            let singles = decompress::<f32>(body, n)?.into_iter();
            Ok(singles.map(|s| f64::from(s).to_bits()).collect())
        }
        other => Err(ColumnError(format!("unknown encoding {other}"))),
    }
}

#[cfg(test)]
#[path = "columns_tests.rs"]
mod tests;
