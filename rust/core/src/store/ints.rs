//! Columns of integers (steps, times): a tag byte, then a line or what pco made of them.

use super::bytes::{ByteReader, ByteWriter};
use super::checked::COLUMN;
use super::numbers::{ColumnError, QUICK_LEVEL, check_rows, compress, decompress};

const PCO: u8 = 2;
const LINE: u8 = 4;

/// Encode integers (steps, times): a straight line is 25 bytes, whatever its length.
pub(super) fn encode_ints(values: &[i64]) -> Result<Vec<u8>, ColumnError> {
    let mut out = pack_ints(values)?;
    COLUMN.close(&mut out);
    Ok(out)
}

/// Integers inside of a column, without a checksum of their own.
pub(super) fn pack_ints(values: &[i64]) -> Result<Vec<u8>, ColumnError> {
    let mut out = Vec::new();
    let (Some(first), count) = (values.first(), values.len()) else {
        return Ok(out);
    };
    let stride = values
        .get(1)
        .map_or(0, |second| second.wrapping_sub(*first));
    if values
        .windows(2)
        .all(|w| matches!(w, [a, b] if b.wrapping_sub(*a) == stride))
    {
        out.push(LINE);
        out.put_u32(count as u32);
        out.extend_from_slice(&first.to_le_bytes());
        out.extend_from_slice(&stride.to_le_bytes());
        return Ok(out);
    }
    out.push(PCO);
    out.extend_from_slice(&compress(values, QUICK_LEVEL)?);
    Ok(out)
}

/// Decode the `n` integers that [`encode_ints`] wrote.
pub(super) fn decode_ints(data: &[u8], n: usize) -> Result<Vec<i64>, ColumnError> {
    unpack_ints(COLUMN.open(data)?, n)
}

pub(super) fn unpack_ints(data: &[u8], n: usize) -> Result<Vec<i64>, ColumnError> {
    let values = match data.split_first() {
        None => Vec::new(),
        Some((tag, body)) if COLUMN.plain(*tag) == LINE => decode_line(body, n)?,
        Some((_, body)) => decompress(body, n)?,
    };
    if values.len() != n {
        return Err(ColumnError(format!("{} values for {n} rows", values.len())));
    }
    Ok(values)
}

fn decode_line(body: &[u8], n: usize) -> Result<Vec<i64>, ColumnError> {
    check_rows(n)?;
    let mut input = ByteReader::new(body);
    let short = || ColumnError::new("cut short");
    let count = input.take_u32().ok_or_else(short)? as usize;
    let first = input.take_u64().ok_or_else(short)? as i64;
    let stride = input.take_u64().ok_or_else(short)? as i64;
    if count > n {
        return Err(ColumnError::new("too many rows"));
    }
    Ok((0..count as i64)
        .map(|i| first.wrapping_add(stride.wrapping_mul(i)))
        .collect())
}
