//! The same question with and without push-down: whatever plan SQLite makes, the rows are the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::{Run, ask, floats};
use proptest::prelude::*;
use tm_core::RunReader;
use tm_core::store::Datum;
use tm_spool::{Flags, Producer, Step, ValueType, side_slot};

const STEPS: i64 = 24;

/// Two attempts of two ranks, steps that repeat, equal points, text; the last attempt is not sealed.
fn mixed_run() -> Run {
    let run = Run::new();
    for (job, from) in [("one", 0), ("two", STEPS / 2)] {
        let ingest = run.ingest();
        for rank in 0..2 {
            let producer = run.producer(job, rank);
            log(&producer, from);
            common::wait("the frames", || producer.backlog_bytes() == 0);
            if job == "one" {
                assert!(producer.close(Duration::from_secs(90)).durable);
            }
        }
        if job == "one" {
            ingest.finish(Duration::from_secs(90)).unwrap();
        }
    }
    run
}

fn log(producer: &Producer, from: i64) {
    let both = floats(producer, &["a", "b"]);
    let c = floats(producer, &["c"]);
    for step in (from..from + STEPS)
        .chain(from..from + 3)
        .chain([from, from])
    {
        let slots = [1.0f64.to_bits(), (step as f64).to_bits()];
        producer
            .append_points(Flags(0), Step(step), both, &slots)
            .unwrap();
        let typed = if step % 2 == 0 {
            producer.append_typed(
                Flags(0),
                Step(step),
                c,
                &[side_slot(0, 2)],
                &[ValueType::Text],
                b"hi",
            )
        } else {
            producer.append_points(Flags(0), Step(step), c, &[0])
        };
        typed.unwrap();
    }
}

/// A condition over the columns of `p`, which may stand without a prefix or with one that stops push-down.
fn clauses() -> impl Strategy<Value = String> {
    let comparison = prop::sample::select(vec!["=", "<", "<=", ">", ">=", "<>", "IS"]);
    let step = (comparison.clone(), -1..STEPS * 2).prop_map(|(op, n)| format!("@step {op} {n}"));
    let key = (
        comparison.clone(),
        prop::sample::select(vec!["a", "b", "c", "d"]),
    )
        .prop_map(|(op, key)| format!("@key {op} '{key}'"));
    let rank = (comparison, 0..3).prop_map(|(op, n)| format!("@rank {op} {n}"));
    let others = prop::sample::select(vec![
        "@key IN ('a', 'c')",
        "@key LIKE 'A'",
        "@step IN (3, 15, 15, 40)",
        "@attempt = 2",
        "@time > 1e9",
        "@time < 1e9",
        "@step BETWEEN 10 AND 14",
        "@kind = 'text'",
    ])
    .prop_map(str::to_owned);
    let leaf = prop_oneof![3 => step, 3 => key, 2 => rank, 1 => others];
    leaf.prop_recursive(3, 8, 2, |inner| {
        (inner.clone(), prop::bool::ANY, inner).prop_map(|(left, both, right)| {
            let word = if both { "AND" } else { "OR" };
            format!("({left} {word} {right})")
        })
    })
}

/// The rows in an order of their own.
fn rows(reader: &RunReader, sql: &str) -> Vec<String> {
    let table = ask(reader, sql);
    let mut rows: Vec<String> = table.rows.iter().map(|row| format!("{row:?}")).collect();
    rows.sort();
    rows
}

fn check(reader: &RunReader, template: &str) {
    for table in ["points", "raw_points"] {
        let sql = template.replace("TABLE", table);
        let pushed = rows(reader, &sql.replace('@', ""));
        let scanned = rows(reader, &sql.replace('@', "+"));
        assert_eq!(pushed, scanned, "{sql}");
    }
}

#[test]
fn an_or_over_two_columns_loses_no_row() {
    let run = mixed_run();
    let reader = run.reader();
    for condition in [
        "@key = 'a' OR @step = 5",
        "(@key = 'a' AND @step >= 10) OR (@key = 'b' AND @step >= 10)",
        "(@key = 'a' AND @rank = 0) OR (@step = 3 AND @rank = 1) OR @key = 'c'",
    ] {
        let select = "SELECT key, step, time, value, rank, attempt, kind FROM TABLE WHERE";
        check(&reader, &format!("{select} {condition}"));
    }
    let keys = ask(
        &reader,
        "SELECT DISTINCT key FROM points WHERE key = 'a' OR step = 5",
    );
    assert_eq!(keys.rows.len(), 3, "{keys:?}");
}

#[test]
fn outer_joins_neither_lose_nor_double_a_row() {
    let run = mixed_run();
    let reader = run.reader();
    for join in [
        "keys k RIGHT JOIN TABLE p ON k.name = @p.key AND @p.step < 5",
        "keys k FULL JOIN TABLE p ON k.name = @p.key AND @p.rank = 1",
        "TABLE p RIGHT JOIN TABLE q ON @p.key = @q.key AND @p.step = @q.step AND @p.rank = @q.rank",
        "TABLE p FULL JOIN TABLE q ON @p.key = 'a' AND @q.key = 'b' AND @p.step = @q.step",
        "TABLE p LEFT JOIN TABLE q ON @q.step = @p.step + 1 AND @q.key = @p.key",
    ] {
        let columns = if join.starts_with("keys") {
            "k.name"
        } else {
            "q.*"
        };
        check(&reader, &format!("SELECT {columns}, p.* FROM {join}"));
    }
    let join = "SELECT count(*) FROM keys k RIGHT JOIN points p ON k.name = p.key AND p.step = 5";
    let count = ask(&reader, join).rows[0][0].clone();
    assert_eq!(
        count,
        ask(&reader, "SELECT count(*) FROM points").rows[0][0]
    );
}

#[test]
fn the_number_of_a_row_is_its_own_and_the_same_in_every_plan() {
    let run = mixed_run();
    let reader = run.reader();
    for table in ["points", "raw_points"] {
        let sql = format!("SELECT count(*), count(DISTINCT rowid) FROM {table}");
        let counts = &ask(&reader, &sql).rows[0];
        assert_eq!(counts[0], counts[1]);
        assert_ne!(counts[0], Datum::Integer(0));
    }
    let select = "SELECT rowid, key, step, rank FROM TABLE WHERE";
    for condition in ["@key = 'b' AND @step > 20", "@rank = 1 AND @time > 1e9"] {
        check(&reader, &format!("{select} {condition}"));
    }
}

#[test]
fn every_condition_finds_what_a_whole_scan_finds() {
    let run = mixed_run();
    let reader = run.reader();
    proptest!(ProptestConfig::with_cases(64), |(clause in clauses())| {
        let columns = "key, step, time, value, rank, attempt, kind, bits";
        check(&reader, &format!("SELECT {columns} FROM TABLE WHERE {clause}"));
    });
}
