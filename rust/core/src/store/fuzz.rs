//! Hostile bytes into the column codec and the scan: no panic, and no more memory than a group may need.
//!
//! `BOLERO_RANDOM_ITERATIONS=1000000 cargo test -p training-monitor-core fuzz` is the long form.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::alloc::System;

use bolero::{TypeGenerator, check};
use cap::Cap;

use super::columns::Column;
use super::ints::{decode_ints, encode_ints};
use super::numbers::QUICK_LEVEL;

/// Bytes that claim billions of rows end here, not in the kernel's hands.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, 1 << 30);

const ROUNDS: usize = 1_000;

/// How bytes that were a column came to be none.
#[derive(Debug, TypeGenerator)]
enum Harm {
    Flip { at: u16, mask: u8 },
    Cut(u16),
    Insert { at: u16, bytes: Vec<u8> },
}

fn harm(bytes: &mut Vec<u8>, harms: &[Harm]) {
    for harm in harms {
        match harm {
            Harm::Flip { at, mask } => {
                let len = bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(usize::from(*at) % len) {
                    *byte ^= mask;
                }
            }
            Harm::Cut(at) => bytes.truncate(usize::from(*at)),
            Harm::Insert { at, bytes: more } => {
                let at = usize::from(*at).min(bytes.len());
                bytes.splice(at..at, more.iter().copied());
            }
        }
    }
}

/// Whatever was decoded keeps the promises that its readers rely on.
fn check_column(bytes: &[u8], rows: usize) {
    let Ok(column) = Column::decode(bytes, rows) else {
        return;
    };
    let n = column.slots.len();
    assert!(n <= rows);
    assert!(column.types.as_ref().is_none_or(|types| types.len() == n));
    assert!(column.rows.as_ref().map_or(n == rows, |at| at.len() == n));
    assert!(
        column
            .rows
            .iter()
            .flatten()
            .all(|row| (*row as usize) < rows)
    );
    for i in 0..=n {
        column.number(i);
    }
}

#[test]
fn fuzz_column_of_any_bytes() {
    check!()
        .with_type::<(u32, Vec<u8>)>()
        .with_iterations(ROUNDS)
        .for_each(|(rows, bytes)| {
            check_column(bytes, *rows as usize);
            check_column(bytes, *rows as usize % 2048);
            let _ = decode_ints(bytes, *rows as usize);
        });
}

#[test]
fn fuzz_column_that_was_harmed() {
    check!()
        .with_type::<(Vec<(u64, u8)>, bool, bool, Vec<Harm>)>()
        .with_iterations(ROUNDS)
        .for_each(|(cells, is_typed, is_sparse, harms)| {
            let mut column = Column {
                slots: cells.iter().map(|(slot, _)| *slot).collect(),
                types: is_typed.then(|| cells.iter().map(|(_, kind)| kind % 6).collect()),
                ..Column::default()
            };
            if *is_typed {
                for (slot, kind) in column.slots.iter_mut().zip(cells.iter().map(|c| c.1 % 6)) {
                    if kind == tm_spool::ValueType::BigInt as u8 {
                        column.bigs.push(slot.to_string().into_bytes().into());
                        *slot = column.bigs.len() as u64 - 1;
                    }
                }
            }
            if *is_sparse {
                column.rows = Some((0..cells.len() as u32).map(|row| row * 2).collect());
            }
            let mut bytes = Vec::new();
            column.encode(&mut bytes, QUICK_LEVEL).unwrap();
            harm(&mut bytes, harms);
            check_column(&bytes, cells.len() * if *is_sparse { 2 } else { 1 });
        });
}

#[test]
fn fuzz_integers_that_were_harmed() {
    check!()
        .with_type::<(Vec<i64>, Vec<Harm>)>()
        .with_iterations(ROUNDS)
        .for_each(|(values, harms)| {
            let mut bytes = encode_ints(values).unwrap();
            harm(&mut bytes, harms);
            if let Ok(found) = decode_ints(&bytes, values.len()) {
                assert_eq!(found.len(), values.len());
                assert!(!harms.is_empty() || found == *values);
            }
        });
}
