//! Databases of earlier formats: read as they are, migrated by the first writer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::Path;
use std::time::Duration;

use common::Run;
use tm_core::RunReader;
use tm_core::store::{SeriesOptions, Values};

/// Two attempts of format 1: 1,500 steps of loss and lr in groups, with text and integers beside them; then
/// two ranks from step 1,200 on, whose frames, some of pairs, are still raw.
const FORMAT_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/format_1.db");

/// The same after a writer of format 2, with a third attempt of 3,000 steps of loss and gain from step 2,000 on.
const FORMAT_2: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/format_2.db");

fn copy(fixture: &str) -> Run {
    let run = Run::new();
    std::fs::copy(Path::new(fixture), run.path().join("training_monitor.db")).unwrap();
    run
}

fn check(reader: &RunReader) {
    let loss = reader.series(b"loss", &SeriesOptions::default()).unwrap();
    assert_eq!(loss.step.len(), 1200 + 2 * 100);
    let Values::F64(values) = &loss.value else {
        panic!("loss is a float");
    };
    assert_eq!((values[0], values[1399]), (2.0, 1.1299));
    assert!(values[700].is_nan());
    let thinned = SeriesOptions {
        max_points: Some(100),
        ..SeriesOptions::default()
    };
    let shown = reader.series(b"loss", &thinned).unwrap();
    assert!(shown.step.len() <= 100 && shown.step.contains(&700) && shown.step.contains(&0));
    let found = reader.statistics(b"loss").unwrap();
    assert_eq!(
        (found.statistics.count, found.statistics.non_finite),
        (1700, 1)
    );
    assert_eq!(found.ranks.keys().copied().collect::<Vec<_>>(), [0, 1]);
    assert_eq!(found.statistics.moments.max(), Some(2.0));
    let epoch = reader.statistics(b"epoch").unwrap().statistics;
    assert_eq!((epoch.count, epoch.moments.mean()), (3, Some(1.0)));
    let metrics = reader.metrics().unwrap();
    let loss = metrics
        .iter()
        .find(|metric| metric.name == b"loss")
        .unwrap();
    assert_eq!(
        (loss.count, loss.first_step, loss.max),
        (1700, Some(0), Some(2.0))
    );
    assert_eq!(loss.min, found.statistics.moments.min());
    assert_eq!(reader.texts(b"note", 5).unwrap().len(), 3);
}

#[test]
fn a_database_of_format_1_is_read_as_it_is() {
    let run = copy(FORMAT_1);
    check(&run.reader());
    assert!(run.reader().ranks().is_ok());
    let version = run
        .reader()
        .query("PRAGMA user_version", Default::default());
    assert!(version.is_err(), "a reader changes nothing");
}

#[test]
fn a_database_of_format_1_is_migrated_by_its_next_writer() {
    let run = copy(FORMAT_1);
    let status = run.ingest().finish(Duration::from_secs(90)).unwrap();
    assert_eq!(status.last_error, None);
    check(&run.reader());
    let rows = |sql: &str| {
        run.reader()
            .query(sql, Default::default())
            .unwrap()
            .rows
            .len()
    };
    assert_eq!(rows("SELECT * FROM stats_state"), 1);
    assert_eq!(rows("SELECT * FROM stats"), 6);
    assert_eq!(rows("SELECT * FROM fresh"), 0);
}

fn check_format_2(reader: &RunReader) {
    let floats = |key: &[u8], options: &SeriesOptions| {
        let series = reader.series(key, options).unwrap();
        match series.value {
            Values::F64(values) => (series.step, values),
            Values::Mixed(_) => panic!("all are floats"),
        }
    };
    let (steps, loss) = floats(b"loss", &SeriesOptions::default());
    assert_eq!((steps.len(), steps.last()), (1400 + 3000, Some(&4999)));
    let logged = (0..3000).map(|step| f64::from((step as f32).sin()));
    assert!(loss[1400..].iter().copied().eq(logged));
    let (_, gain) = floats(b"gain", &SeriesOptions::default());
    assert!(
        gain.iter()
            .copied()
            .eq((0..3000).map(|step| (0.1 * f64::from(step)).cos()))
    );
    let thinned = SeriesOptions {
        max_points: Some(100),
        ..SeriesOptions::default()
    };
    assert!(floats(b"loss", &thinned).0.contains(&700));
    let found = reader.statistics(b"loss").unwrap().statistics;
    assert_eq!((found.count, found.last.unwrap().step), (4700, 4999));
    let metrics = reader.metrics().unwrap();
    let loss = metrics.iter().find(|m| m.name == b"loss").unwrap();
    assert_eq!((loss.count, loss.last_step), (4700, 4999));
    assert_eq!(reader.texts(b"note", 5).unwrap().len(), 3);
}

#[test]
fn a_database_of_format_2_is_read_as_it_is_and_migrated_by_its_next_writer() {
    let run = copy(FORMAT_2);
    check_format_2(&run.reader());
    let ranks = run.reader().ranks().unwrap();
    assert!(
        ranks.iter().any(|rank| rank.step_secs.is_some()),
        "{ranks:?}"
    );
    let ordered = "SELECT order_ns FROM latest WHERE order_ns > 0";
    let error = run.reader().query(ordered, Default::default());
    assert!(error.is_err(), "a reader changes nothing");
    let status = run.ingest().finish(Duration::from_secs(90)).unwrap();
    assert_eq!(status.last_error, None);
    check_format_2(&run.reader());
    let rows = run.reader().query(ordered, Default::default()).unwrap();
    assert!(!rows.rows.is_empty());
}
