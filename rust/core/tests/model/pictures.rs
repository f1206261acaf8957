//! Thinned series and zooms against the whole series that they stand for.

use tm_core::RunReader;
use tm_core::store::{Cell, Series, SeriesOptions, Values};

const MOST: usize = 40;

pub(crate) fn compare(reader: &RunReader, key: &str) {
    for since in [None, Some(7)] {
        for rank in [None, Some(1)] {
            let all = SeriesOptions {
                since,
                rank,
                ..SeriesOptions::default()
            };
            let whole = reader.series(key.as_bytes(), &all).unwrap();
            let thinned = SeriesOptions {
                max_points: Some(MOST),
                ..all
            };
            let shown = reader.series(key.as_bytes(), &thinned).unwrap();
            check_shown(&places(&whole), &places(&shown), key);
            let stretches = reader.zoom(key.as_bytes(), 10, &all).unwrap();
            let count: u64 = stretches.iter().map(|stretch| stretch.count).sum();
            assert_eq!(
                count,
                whole.step.len() as u64,
                "points in the zoom of {key}"
            );
        }
    }
}

type Place = (i64, u32, u32, String);

fn places(series: &Series) -> Vec<(Place, f64)> {
    let cells: Vec<Cell> = match &series.value {
        Values::F64(values) => values.iter().map(|value| Cell::F64(*value)).collect(),
        Values::Mixed(cells) => cells.clone(),
    };
    let place = |at: usize| {
        let cell = match &cells[at] {
            Cell::F64(value) => format!("{:016x}", value.to_bits()),
            other => format!("{other:?}"),
        };
        (
            (series.step[at], series.rank[at], series.attempt[at], cell),
            number(&cells[at]),
        )
    };
    (0..series.step.len()).map(place).collect()
}

fn number(cell: &Cell) -> f64 {
    match cell {
        Cell::F64(value) => *value,
        Cell::I64(value) => *value as f64,
        Cell::Bool(value) => f64::from(u8::from(*value)),
        Cell::BigInt(digits) => digits.parse().unwrap(),
        Cell::None | Cell::Text(_) => f64::NAN,
    }
}

fn check_shown(whole: &[(Place, f64)], shown: &[(Place, f64)], key: &str) {
    assert!(shown.len() <= MOST, "{} of {key}", shown.len());
    assert!(whole.len() > MOST || whole.len() == shown.len(), "{key}");
    assert!(
        shown
            .iter()
            .all(|point| whole.iter().any(|known| known.0 == point.0)),
        "{key}"
    );
    assert!(
        shown.is_sorted_by_key(|(place, _)| (place.0, place.1)),
        "{key}"
    );
    let extremes = |points: &[(Place, f64)]| {
        let finite = || {
            points
                .iter()
                .map(|(_, value)| *value)
                .filter(|value| value.is_finite())
        };
        let has = |test: fn(f64) -> bool| points.iter().any(|(_, value)| test(*value));
        (
            finite().reduce(f64::min),
            finite().reduce(f64::max),
            has(f64::is_nan),
            has(|value| value == f64::INFINITY),
            has(|value| value == f64::NEG_INFINITY),
        )
    };
    assert_eq!(extremes(shown), extremes(whole), "extremes of {key}");
}
