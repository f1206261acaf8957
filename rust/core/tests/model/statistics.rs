//! The statistics of the store against the plain formulas over everything that was logged.

use tm_core::RunReader;
use tm_core::stats::Statistics;
use tm_core::store::Cell;

use super::Point;

/// A value as statistics see it; text is left out.
fn number(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::F64(value) => Some(*value),
        Cell::I64(value) => Some(*value as f64),
        Cell::Bool(value) => Some(f64::from(u8::from(*value))),
        Cell::BigInt(digits) => Some(digits.parse().unwrap()),
        Cell::None => Some(f64::NAN),
        Cell::Text(_) => None,
    }
}

pub(crate) fn compare(reader: &RunReader, key: &str, points: &[Point]) {
    let found = reader.statistics(key.as_bytes()).unwrap();
    let values: Vec<f64> = points
        .iter()
        .filter_map(|point| number(&point.cell))
        .collect();
    check(&found.statistics, &values, key);
    for (rank, statistics) in &found.ranks {
        let own: Vec<&Point> = points
            .iter()
            .filter(|point| point.rank == *rank && number(&point.cell).is_some())
            .collect();
        let values: Vec<f64> = own.iter().filter_map(|point| number(&point.cell)).collect();
        check(statistics, &values, key);
        // Producers of one rank that log at the same time have no order between them.
        if own
            .windows(2)
            .all(|pair| pair[0].producer == pair[1].producer)
        {
            check_order(statistics, &own, &values, key);
        }
    }
    let summary = reader.summary().unwrap();
    let in_summary = summary.iter().find(|row| row.name == key.as_bytes());
    assert_eq!(
        in_summary.map_or(0, |row| row.statistics.count),
        values.len() as u64
    );
}

fn near(found: f64, expected: f64, scale: f64) -> bool {
    (found - expected).abs() <= 1e-7 * scale.max(expected.abs()).max(1e-290)
}

fn check(statistics: &Statistics, values: &[f64], key: &str) {
    let mut finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    assert_eq!(statistics.count, values.len() as u64, "values of {key}");
    assert_eq!(
        statistics.non_finite,
        (values.len() - finite.len()) as u64,
        "{key}"
    );
    assert_eq!(
        statistics.moments.min(),
        finite.iter().copied().reduce(f64::min),
        "{key}"
    );
    assert_eq!(
        statistics.moments.max(),
        finite.iter().copied().reduce(f64::max),
        "{key}"
    );
    assert_eq!(statistics.sketch.count(), finite.len() as u64, "{key}");
    if finite.is_empty() {
        return;
    }
    let n = finite.len() as f64;
    let size = finite.iter().fold(0.0f64, |most, v| most.max(v.abs()));
    let mean: f64 = finite.iter().map(|v| v / n).sum();
    assert!(
        near(statistics.moments.mean().unwrap(), mean, size),
        "mean of {key}"
    );
    // The squares of larger numbers are beyond the range of floats.
    if size < 1e100 {
        let variance: f64 = finite.iter().map(|v| (v - mean) * (v - mean) / n).sum();
        assert!(
            near(
                statistics.moments.variance().unwrap(),
                variance,
                size * size
            ),
            "{key}"
        );
    }
    finite.sort_by(f64::total_cmp);
    for q in [0.0, 0.05, 0.5, 0.95, 1.0] {
        let exact = finite[(q * (finite.len() - 1) as f64) as usize];
        let error = exact.abs() * statistics.sketch.relative_error() * 1.000_001;
        let found = statistics.quantile(q).unwrap();
        assert!(
            (found - exact).abs() <= error + 1e-308,
            "q {q} of {key}: {found} for {exact}"
        );
    }
}

fn check_order(statistics: &Statistics, points: &[&Point], values: &[f64], key: &str) {
    let ends = (statistics.first.unwrap(), statistics.last.unwrap());
    // The database keeps one NaN and no zero's sign.
    let first = ends.0.value;
    assert!(
        first == values[0] || (first.is_nan() && values[0].is_nan()),
        "first of {key}: {first} for {}",
        values[0]
    );
    assert_eq!(
        ends.1.step,
        points[points.len() - 1].step,
        "last step of {key}"
    );
    let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let size = finite.iter().fold(0.0f64, |most, v| most.max(v.abs()));
    let Some(first) = finite.first() else { return };
    for (alpha, found) in [(0.1, statistics.ema_short()), (0.01, statistics.ema_long())] {
        let step = |ema: f64, v: &f64| ema * (1.0 - alpha) + alpha * v;
        let ema = finite.iter().skip(1).fold(*first, step);
        assert!(
            near(found.unwrap(), ema, size),
            "ema of {key}: {found:?} for {ema}"
        );
    }
}
