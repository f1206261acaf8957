//! What may happen to a run in the model, and how proptest makes it.

use proptest::prelude::*;
use tm_core::store::Cell;

use super::KEYS;

/// A value as proptest makes it.
#[derive(Debug, Clone)]
pub(crate) enum Logged {
    Float(u64),
    Int(i64),
    Bool(bool),
    Big(String),
    None,
    Text(String),
}

impl Logged {
    pub(crate) fn cell(&self) -> Cell {
        match self {
            Self::Float(bits) => Cell::F64(f64::from_bits(*bits)),
            Self::Int(v) => Cell::I64(*v),
            Self::Bool(v) => Cell::Bool(*v),
            Self::Big(v) => Cell::BigInt(v.clone()),
            Self::None => Cell::None,
            Self::Text(v) => Cell::Text(v.clone().into_bytes()),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// One call with these keys; `repeat` times with rising steps.
    Log {
        who: usize,
        keys: Vec<usize>,
        step: i64,
        values: Vec<Logged>,
        pairs: bool,
        repeat: u16,
    },
    Start {
        rank: u32,
        next_job: bool,
    },
    Close {
        who: usize,
    },
    KillIngest,
    FinishIngest,
    StartIngest,
    /// No file of this process may grow for a while, so commits fail until it may again.
    FailCommits,
    Compare,
}

fn value() -> impl Strategy<Value = Logged> {
    prop_oneof![
        6 => any::<u64>().prop_map(Logged::Float),
        4 => any::<f32>().prop_map(|v| Logged::Float(f64::from(v).to_bits())),
        2 => any::<i64>().prop_map(Logged::Int),
        1 => any::<bool>().prop_map(Logged::Bool),
        1 => "-?[1-9][0-9]{20,40}".prop_map(Logged::Big),
        1 => Just(Logged::None),
        1 => ".{0,12}".prop_map(Logged::Text),
    ]
}

fn floats() -> impl Strategy<Value = Logged> {
    any::<u64>().prop_map(Logged::Float)
}

fn log() -> impl Strategy<Value = Op> {
    let keys = proptest::sample::subsequence((0..KEYS.len()).collect::<Vec<_>>(), 1..=KEYS.len());
    let values = prop_oneof![
        proptest::collection::vec(floats(), KEYS.len()),
        proptest::collection::vec(value(), KEYS.len()),
    ];
    let repeat = prop_oneof![4 => Just(1u16), 1 => 1..1500u16];
    (
        any::<usize>(),
        keys,
        -3..40i64,
        values,
        prop::bool::weighted(0.2),
        repeat,
    )
        .prop_map(|(who, keys, step, values, pairs, repeat)| Op::Log {
            who,
            keys,
            step,
            values,
            pairs,
            repeat,
        })
}

pub(crate) fn ops(failing: u32) -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        12 => log(),
        2 => (0..3u32, prop::bool::weighted(0.4)).prop_map(|(rank, next_job)| Op::Start { rank, next_job }),
        1 => any::<usize>().prop_map(|who| Op::Close { who }),
        2 => Just(Op::KillIngest),
        1 => Just(Op::FinishIngest),
        3 => Just(Op::StartIngest),
        2 => Just(Op::Compare),
        failing => Just(Op::FailCommits),
    ];
    proptest::collection::vec(op, 1..40)
}
