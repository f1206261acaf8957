//! What a key costs while its bucket grows, and what becomes of it.

use super::*;
use tm_spool::ValueType;

fn bucket_of(value: f64, step: i64) -> Bucket {
    Bucket::of_mark(Mark {
        step,
        boottime_ns: step,
        kind: ValueType::F64 as u8,
        slot: value.to_bits(),
    })
}

#[test]
fn a_key_that_was_logged_once_takes_a_mark() {
    assert!(size_of::<Parts>() <= 40);
    for value in [0.5, -0.0, f64::NAN, f64::INFINITY] {
        let mut parts = Parts::default();
        parts.add(&bucket_of(value, 7));
        assert!(matches!(parts, Parts::One(_)), "{value}");
        assert_eq!(parts.finish().unwrap(), (bucket_of(value, 7), None));
    }
}

#[test]
fn parts_of_one_value_and_of_many_sum_up_alike() {
    let (mut parts, mut whole) = (Parts::default(), Bucket::default());
    for step in 0..3000 {
        let bucket = bucket_of(step as f64, step);
        parts.add(&bucket);
        whole.append(&bucket);
    }
    let (found, pieces) = parts.finish().unwrap();
    assert_eq!(found, whole);
    let pieces = Bucket::decode_all(&pieces.unwrap()).unwrap();
    let counts: Vec<u64> = pieces.iter().map(|piece| piece.n).collect();
    assert_eq!(counts, [1024, 1024, 952]);
}
