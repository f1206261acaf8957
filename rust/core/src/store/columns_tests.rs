//! Tests of the column codec.

use super::*;
use crate::store::ints::{decode_ints, encode_ints};
use crate::store::numbers::QUICK_LEVEL;
use proptest::prelude::*;

fn floats(slots: Vec<u64>) -> Column {
    Column {
        slots,
        ..Column::default()
    }
}

fn round_trip(column: &Column, rows: usize) -> Vec<u8> {
    let mut out = Vec::new();
    column.encode(&mut out, QUICK_LEVEL).unwrap();
    let back = Column::decode(&out, rows).unwrap();
    assert_eq!(back.rows, column.rows);
    assert_eq!(back.slots, column.slots);
    let n = column.slots.len();
    assert!((0..n).all(|i| back.kind(i) == column.kind(i)));
    assert_eq!(back.bigs, column.bigs);
    out
}

fn noise(seed: u64) -> impl FnMut() -> u64 {
    let mut x = seed | 1;
    move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    }
}

#[test]
fn every_bit_pattern_of_a_float_survives() {
    let mut random = noise(7);
    let specials = [
        f64::NAN.to_bits(),
        0x7ff8_0000_dead_beef,
        0xfff0_0000_0000_0001,
        0x7ff0_0000_0000_0001,
        (-0.0f64).to_bits(),
        0,
        f64::INFINITY.to_bits(),
        f64::NEG_INFINITY.to_bits(),
        1,
        u64::MAX,
    ];
    let mut slots: Vec<u64> = (0..1024).map(|_| random()).collect();
    round_trip(&floats(slots.clone()), 1024);
    for (i, special) in specials.iter().cycle().take(300).enumerate() {
        slots[i * 3] = *special;
    }
    round_trip(&floats(slots), 1024);
    // Mostly round numbers, some NaN with payloads: pco's float modes must not normalise them.
    let mixed: Vec<u64> = (0..1024)
        .map(|i| {
            if i % 5 == 0 {
                specials[i % specials.len()]
            } else {
                (i as f64 * 0.1).to_bits()
            }
        })
        .collect();
    round_trip(&floats(mixed), 1024);
    // f32-born with NaN payloads: must fall back to 64 bits where 32 would lose some.
    let born: Vec<u64> = (0..1024)
        .map(|i| {
            if i == 500 {
                0x7ff8_0000_0000_0001
            } else {
                f64::from(i as f32 * 0.1).to_bits()
            }
        })
        .collect();
    round_trip(&floats(born), 1024);
}

#[test]
fn a_constant_costs_thirteen_bytes_and_a_line_of_steps_twenty_five() {
    assert_eq!(
        round_trip(&floats(vec![0.5f64.to_bits(); 2000]), 2000).len(),
        13
    );
    let steps: Vec<i64> = (0..2000).map(|i| 17 + 3 * i).collect();
    let packed = encode_ints(&steps).unwrap();
    assert_eq!(packed.len(), 25);
    assert_eq!(decode_ints(&packed, 2000).unwrap(), steps);
    assert!(decode_ints(&packed, 1999).is_err());
    let extremes = vec![i64::MIN, i64::MAX, -1, 0, i64::MAX, i64::MIN, 5, 6, 7];
    assert_eq!(
        decode_ints(&encode_ints(&extremes).unwrap(), 9).unwrap(),
        extremes
    );
    assert_eq!(
        decode_ints(&encode_ints(&[]).unwrap(), 0).unwrap(),
        Vec::<i64>::new()
    );
}

#[test]
fn f32_born_values_cost_less_than_four_bytes() {
    let mut random = noise(3);
    let slots: Vec<u64> = (0..1024)
        .map(|_| f64::from((random() >> 40) as f32 / 1e7_f32).to_bits())
        .collect();
    assert!(round_trip(&floats(slots), 1024).len() < 4 * 1024);
}

#[test]
fn big_integers_and_none_survive_between_floats() {
    let column = Column {
        rows: Some(vec![0, 3, 4, 9, 10, 11]),
        slots: vec![1.5f64.to_bits(), 0, 0, 1, i64::MIN as u64, 1],
        types: Some(vec![F64, NONE, BIG_INT, BOOL, I64, BIG_INT]),
        bigs: vec![
            (*b"1180591620717411303424").into(),
            (*b"-99999999999999999999").into(),
        ],
    };
    round_trip(&column, 12);
    assert_eq!(column.number(2), Some(2f64.powi(70)));
    assert_eq!(column.number(1), None);
}

#[test]
fn a_few_bytes_never_ask_for_more_values_than_the_group_has() {
    // Runs of types: 5 bytes each, 16 million values each.
    let mut bomb = vec![TYPED];
    bomb.put_u32(1000);
    for _ in 0..1000 {
        bomb.push(NONE);
        bomb.put_u32(1 << 24);
    }
    assert_eq!(
        Column::decode(&bomb, 1024).unwrap_err().0,
        "more types than values"
    );
    let packed = compress(&vec![0.5f64; 1 << 20], QUICK_LEVEL).unwrap();
    assert!(packed.len() < 100);
    assert!(decompress::<f64>(&packed, 1024).is_err());
    assert!(Column::decode(&[CONST_F64; 9], usize::MAX).is_err());
}

#[test]
fn cut_or_foreign_bytes_are_an_error() {
    let mut out = Vec::new();
    floats((0..100).map(|i| (f64::from(i) * 0.37).to_bits()).collect())
        .encode(&mut out, QUICK_LEVEL)
        .unwrap();
    assert!(Column::decode(&out, 99).is_err());
    assert!(Column::decode(&out[..out.len() / 2], 100).is_err());
    assert!(Column::decode(&[], 1).is_err());
    assert_eq!(
        Column::decode(&[7], 1).unwrap_err().to_string(),
        "a stored column cannot be decoded: unknown encoding 7"
    );
}

proptest! {
    #[test]
    fn any_column_round_trips(
        cells in prop::collection::vec((any::<u64>(), 0u8..5, prop::bool::weighted(0.9)), 0..80),
        typed in any::<bool>(),
    ) {
        let mut column = Column::default();
        let (mut rows, mut types) = (Vec::new(), Vec::new());
        for (row, (slot, kind, present)) in cells.iter().enumerate() {
            if !present {
                continue;
            }
            rows.push(row as u32);
            let kind = if typed { *kind } else { F64 };
            types.push(kind);
            column.slots.push(match kind {
                F64 | I64 => *slot,
                BOOL => slot & 1,
                BIG_INT => {
                    column.bigs.push(format!("{slot}0000").into_bytes().into());
                    column.bigs.len() as u64 - 1
                }
                _ => 0,
            });
        }
        column.rows = (rows.len() != cells.len()).then_some(rows);
        column.types = typed.then_some(types);
        round_trip(&column, cells.len());
    }
}

/// `cargo test --release -p training-monitor-core columns_speed -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn columns_speed() {
    let mut random = noise(11);
    let mut unit = move || (random() >> 11) as f64 / (1u64 << 53) as f64;
    let noisy: Vec<u64> = (0..1_024_000)
        .map(|i| ((-f64::from(i) / 3e5).exp() + 0.1 * unit()).to_bits())
        .collect();
    let born: Vec<u64> = noisy
        .iter()
        .map(|s| f64::from(f64::from_bits(*s) as f32).to_bits())
        .collect();
    for (name, data) in [("noisy f64", noisy), ("f32-born", born)] {
        let (mut out, mut bytes) = (Vec::new(), 0);
        let start = std::time::Instant::now();
        let mut blobs = Vec::new();
        for chunk in data.chunks(1024) {
            floats(chunk.to_vec())
                .encode(&mut out, QUICK_LEVEL)
                .unwrap();
            bytes += out.len();
            blobs.push(out.clone());
        }
        let packed = start.elapsed();
        let start = std::time::Instant::now();
        for blob in &blobs {
            Column::decode(blob, 1024).unwrap();
        }
        let n = data.len() as f64;
        println!(
            "{name}: encode {:.1} M/s, decode {:.1} M/s, {:.2} B/point",
            n / packed.as_secs_f64() / 1e6,
            n / start.elapsed().as_secs_f64() / 1e6,
            bytes as f64 / n
        );
    }
}

#[test]
fn no_flipped_bit_makes_another_value() {
    let mut random = noise(11);
    let typed = Column {
        rows: Some(vec![0, 3, 4, 9]),
        slots: vec![1.5f64.to_bits(), 0, 7, 1],
        types: Some(vec![F64, NONE, I64, BOOL]),
        bigs: Vec::new(),
    };
    let smooth = (0..300).map(|i| f64::from(i as f32).to_bits()).collect();
    let columns = [
        (floats(vec![0.5f64.to_bits(); 20]), 20),
        (floats((0..5).map(|_| random()).collect()), 5),
        (floats(smooth), 300),
        (typed, 10),
    ];
    for (column, rows) in columns {
        let whole = round_trip(&column, rows);
        for bit in 0..whole.len() * 8 {
            let mut harmed = whole.clone();
            harmed[bit / 8] ^= 1 << (bit % 8);
            assert!(Column::decode(&harmed, rows).is_err(), "bit {bit}");
        }
    }
    for ints in [vec![3, 5, 7, 9], vec![3, 5, 8, 13, 21, 34, 55, 89]] {
        let whole = encode_ints(&ints).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut harmed = whole.clone();
            harmed[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_ints(&harmed, ints.len()).is_err(), "bit {bit}");
        }
    }
}
