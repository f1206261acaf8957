//! Statistics against the plain formulas, in any grouping.

use proptest::prelude::*;

use super::*;

fn place(step: usize) -> Place {
    Place {
        step: step as i64,
        attempt: 1,
        order_ns: step as i64,
    }
}

fn folded(values: &[f64], cuts: &[usize]) -> Statistics {
    let mut folder = Folder::default();
    let mut whole = Statistics::default();
    let mut from = 0;
    for to in cuts.iter().copied().chain([values.len()]) {
        let to = to.clamp(from, values.len());
        if to > from {
            let mut part = Statistics::default();
            let stretch = Fold {
                values: &values[from..to],
                first: place(from),
                last: place(to - 1),
            };
            folder.fold(&mut part, &stretch);
            whole.append(&part);
        }
        from = to;
    }
    whole
}

fn near(found: f64, expected: f64, scale: f64) -> bool {
    (found - expected).abs() <= 1e-9 * scale.max(expected.abs()).max(1e-300)
}

fn check(values: &[f64], statistics: &Statistics) {
    let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    assert_eq!(statistics.count, values.len() as u64);
    assert_eq!(statistics.non_finite, (values.len() - finite.len()) as u64);
    assert_eq!(
        statistics.first.map(|s| s.value.to_bits()),
        values.first().map(|v| v.to_bits())
    );
    assert_eq!(
        statistics.last.map(|s| s.value.to_bits()),
        values.last().map(|v| v.to_bits())
    );
    assert_eq!(statistics.sketch.count(), finite.len() as u64);
    if finite.is_empty() {
        assert_eq!(
            (statistics.moments.mean(), statistics.ema_short()),
            (None, None)
        );
        return;
    }
    let n = finite.len() as f64;
    let size = finite.iter().fold(0.0f64, |most, v| most.max(v.abs()));
    let mean = finite.iter().map(|v| v / n).sum::<f64>();
    let variance = finite
        .iter()
        .map(|v| (v - mean) * (v - mean) / n)
        .sum::<f64>();
    assert_eq!(
        statistics.moments.min(),
        finite.iter().copied().reduce(f64::min)
    );
    assert_eq!(
        statistics.moments.max(),
        finite.iter().copied().reduce(f64::max)
    );
    assert!(near(statistics.moments.mean().unwrap(), mean, size));
    assert!(near(
        statistics.moments.variance().unwrap(),
        variance,
        size * size
    ));
    for (alpha, found) in [(0.1, statistics.ema_short()), (0.01, statistics.ema_long())] {
        let ema = finite
            .iter()
            .skip(1)
            .fold(finite[0], |ema, v| ema + alpha * (v - ema));
        assert!(near(found.unwrap(), ema, size), "{found:?} {ema}");
    }
    check_quantiles(finite, statistics);
}

fn check_quantiles(mut finite: Vec<f64>, statistics: &Statistics) {
    finite.sort_by(f64::total_cmp);
    let error = statistics.sketch.relative_error();
    for q in [0.0, 0.01, 0.05, 0.5, 0.95, 0.99, 1.0] {
        let exact = finite[(q * (finite.len() - 1) as f64) as usize];
        let found = statistics.quantile(q).unwrap();
        let allowed = exact.abs() * error * (1.0 + 1e-9) + f64::MIN_POSITIVE / 64.0;
        assert!(
            (found - exact).abs() <= allowed,
            "q {q}: {found:e} for {exact:e}, error {error}"
        );
    }
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -1e3..1e3,
        2 => any::<f32>().prop_map(f64::from),
        1 => (-300.0..300.0f64, any::<bool>()).prop_map(|(e, neg)| if neg { -10f64.powf(e) } else { 10f64.powf(e) }),
        1 => Just(0.0),
        1 => Just(-0.0),
        1 => Just(f64::MIN_POSITIVE / 3.0),
        1 => Just(f64::NAN),
        1 => Just(f64::NEG_INFINITY),
    ]
}

proptest! {
    #[test]
    fn any_grouping_gives_what_the_formulas_give(
        values in proptest::collection::vec(number(), 1..3000),
        cuts in proptest::collection::vec(0..3000usize, 0..5),
    ) {
        // A squared distance beyond the range of floats has no reference value to compare with.
        let values: Vec<f64> = values.into_iter().map(|v| if v.abs() > 1e100 { v.signum() * 1e100 } else { v }).collect();
        let mut cuts = cuts;
        cuts.sort_unstable();
        check(&values, &folded(&values, &cuts));
    }

    #[test]
    fn a_sketch_is_the_same_after_a_trip_through_bytes(values in proptest::collection::vec(any::<f64>(), 0..2000)) {
        let finite: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
        let mut sketch = Sketch::default();
        sketch.add(&finite, &mut sketch::Slots::default());
        prop_assert_eq!(Sketch::from_bytes(&sketch.to_bytes()), Ok(sketch));
    }

    #[test]
    fn bytes_that_are_no_sketch_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(sketch) = Sketch::from_bytes(&bytes) {
            assert!(sketch.quantile(0.5).is_none_or(f64::is_finite));
        }
    }

    #[test]
    fn sketches_merge_in_any_order(
        a in proptest::collection::vec(any::<f64>(), 0..600),
        b in proptest::collection::vec(any::<f64>(), 0..600),
    ) {
        let of = |values: &[f64]| {
            let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
            let mut sketch = Sketch::default();
            sketch.add(&finite, &mut sketch::Slots::default());
            sketch
        };
        let (mut one, mut other) = (of(&a), of(&b));
        one.merge(&of(&b));
        other.merge(&of(&a));
        prop_assert_eq!(one.count(), other.count());
        prop_assert_eq!(one, other);
    }
}

#[test]
fn the_error_stays_below_one_percent_over_nineteen_decades() {
    let values: Vec<f64> = (0..200_000)
        .map(|i| 10f64.powf(f64::from(i) / 200_000.0 * 19.0 - 12.0))
        .collect();
    let statistics = folded(&values, &[]);
    assert!(statistics.sketch.relative_error() < 0.01);
    check_quantiles(values, &statistics);
}

#[test]
fn a_single_spike_does_not_cost_the_small_values_their_precision() {
    let mut values: Vec<f64> = (0..10_000)
        .map(|i| 1e-12 * (1.0 + f64::from(i) / 1e4))
        .collect();
    values.extend([1e300, -1e300, f64::MAX, -f64::MAX, f64::from_bits(1)]);
    let statistics = folded(&values, &[]);
    assert!(statistics.sketch.relative_error() < 0.01);
    check_quantiles(values, &statistics);
}

#[test]
fn values_from_everywhere_stay_within_the_bound_of_memory() {
    let values: Vec<f64> = (0..1_000_000u64)
        .map(|i| f64::from_bits(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .filter(|v| v.is_finite())
        .collect();
    let statistics = folded(&values, &[]);
    assert!(statistics.sketch.memory_bytes() <= 40 << 10);
    check_quantiles(values, &statistics);
}

#[test]
fn a_key_that_is_logged_once_takes_a_few_bytes() {
    let mut statistics = folded(&[0.25], &[]);
    assert!(statistics.sketch.memory_bytes() <= 16);
    let again = Sketch::from_bytes(&statistics.sketch.to_bytes()).unwrap();
    assert!(again.memory_bytes() <= 16);
    statistics.append(&folded(&[0.25; 500], &[]));
    assert_eq!(statistics.sketch.count(), 501);
    check(&[0.25; 501], &statistics);
}

#[test]
fn few_values_make_the_sketch_that_many_make() {
    let values: Vec<f64> = (0..300).map(|i| f64::from(i % 7) - 3.0).collect();
    let mut by_one = Sketch::default();
    let mut slots = sketch::Slots::default();
    for value in &values {
        by_one.add(&[*value], &mut slots);
        let stored = Sketch::from_bytes(&by_one.to_bytes()).unwrap();
        assert_eq!(stored, by_one);
    }
    let mut at_once = Sketch::default();
    at_once.add(&values, &mut slots);
    assert_eq!(by_one, at_once);
    assert_eq!(by_one.count(), 300);
}

#[test]
fn averages_of_ranks_are_weighed_by_their_counts() {
    let (mut one, other) = (folded(&[1.0; 30], &[]), folded(&[4.0; 10], &[]));
    one.merge_rank(&other);
    assert!(near(one.ema_short().unwrap(), 1.75, 1.0));
    assert_eq!((one.count, one.moments.mean()), (40, Some(1.75)));
}
