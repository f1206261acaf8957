//! What SQLite tells about a WHERE clause, and which chunks that leaves.

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::vtab::{Filters, IndexConstraintOp as Op, IndexInfo};
use rusqlite::{Result, ToSql};

use super::pool::{Key, Pool};
use crate::store::error::StoreError;

/// The columns of `points`, in the order of its declaration.
pub(super) const KEY: i32 = 0;
pub(super) const STEP: i32 = 1;
pub(super) const TIME: i32 = 2;
pub(super) const VALUE: i32 = 3;
pub(super) const RANK: i32 = 4;
pub(super) const ATTEMPT: i32 = 5;
pub(super) const KIND: i32 = 6;

/// Choose what to push down. Each choice is two letters of the index string, column and operator, and one
/// argument; SQLite still checks every row, so that a bound may be generous.
pub(super) fn choose(pool: &Pool, raw: bool, info: &mut IndexInfo) -> Result<bool> {
    let mut codes = String::new();
    let mut rows = pool.total.max(1) as f64;
    let mut one_key = false;
    let mut taken = Vec::new();
    for (at, constraint) in info.constraints().enumerate() {
        let column = constraint.column();
        if !constraint.is_usable() || !matches!(column, KEY | STEP | TIME | RANK) {
            continue;
        }
        let Some(code) = code(column, &constraint.operator()) else {
            continue;
        };
        let share = match (column, code) {
            (KEY, '=') => pool.keys.max(1) as f64,
            (STEP, '=') => (pool.total as f64 / pool.keys.max(1) as f64).max(1.0),
            _ => 2.0,
        };
        taken.push((at, column, code, share));
    }
    for (at, column, code, share) in taken {
        // A comparison under another collation is not the one of the names.
        if column == KEY && info.collation(at)? != "BINARY" {
            continue;
        }
        one_key |= column == KEY && code == '=';
        rows = (rows / share).max(1.0);
        codes.push(letter(column));
        codes.push(code);
        info.constraint_usage(at)
            .set_argv_index((codes.len() / 2) as i32);
    }
    info.set_order_by_consumed(is_ordered(pool, raw, one_key, info));
    info.set_estimated_rows(rows as i64);
    info.set_estimated_cost(rows * 2.0 + 50.0);
    info.set_idx_str(&codes);
    Ok(true)
}

/// Chunks come by key, step, rank; an IN on the key makes SQLite disregard this by itself.
fn is_ordered(pool: &Pool, raw: bool, one_key: bool, info: &IndexInfo) -> bool {
    if !pool.unique_names {
        return false;
    }
    let wanted: Vec<i32> = info.order_bys().map(|order| order.column()).collect();
    let ascending = info.order_bys().all(|order| !order.is_order_by_desc());
    let given: &[i32] = if raw { &[KEY] } else { &[KEY, STEP, RANK] };
    let given_for_one = if raw { &[][..] } else { &[STEP, RANK] };
    ascending
        && !wanted.is_empty()
        && (given.starts_with(&wanted) || (one_key && given_for_one.starts_with(&wanted)))
}

fn letter(column: i32) -> char {
    match column {
        KEY => 'k',
        STEP => 's',
        TIME => 't',
        _ => 'r',
    }
}

/// `None`: this operator is left to SQLite.
fn code(column: i32, operator: &Op) -> Option<char> {
    Some(match operator {
        Op::SQLITE_INDEX_CONSTRAINT_EQ => '=',
        Op::SQLITE_INDEX_CONSTRAINT_LT => '<',
        Op::SQLITE_INDEX_CONSTRAINT_LE => '(',
        Op::SQLITE_INDEX_CONSTRAINT_GT => '>',
        Op::SQLITE_INDEX_CONSTRAINT_GE => ')',
        Op::SQLITE_INDEX_CONSTRAINT_LIKE if column == KEY => 'L',
        Op::SQLITE_INDEX_CONSTRAINT_GLOB if column == KEY => 'G',
        _ => return None,
    })
}

/// What is left to read.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    pub keys: Vec<Key>,
    pub from_step: i64,
    pub to_step: i64,
    pub rank: Option<u32>,
    pub after_ns: i64,
    pub before_ns: i64,
}

impl Bounds {
    /// Everything.
    pub(super) fn all() -> Self {
        Self {
            keys: Vec::new(),
            from_step: i64::MIN,
            to_step: i64::MAX,
            rank: None,
            after_ns: i64::MIN,
            before_ns: i64::MAX,
        }
    }

    /// The bounds that the arguments of a plan give.
    pub(super) fn of(
        pool: &Pool,
        raw: bool,
        codes: &str,
        arguments: &Filters<'_>,
    ) -> std::result::Result<Self, StoreError> {
        let mut bounds = Self::all();
        let mut condition = String::from("1");
        let mut names: Vec<Argument<'_>> = Vec::new();
        let codes: Vec<char> = codes.chars().collect();
        for (pair, value) in codes.as_chunks::<2>().0.iter().zip(arguments.iter()) {
            let [column, code] = *pair;
            match column {
                'k' => {
                    names.push(Argument(value));
                    condition.push_str(&format!(" AND name {} ?{}", operator(code), names.len()));
                }
                's' => bounds.narrow_steps(code, value),
                't' => bounds.narrow_time(raw, code, value),
                _ => {
                    if let (ValueRef::Integer(rank), '=') = (value, code) {
                        // A rank that no u32 holds is nobody's; SQLite drops what comes.
                        bounds.rank = u32::try_from(rank).ok().or(Some(u32::MAX));
                    }
                }
            }
        }
        let values: Vec<&dyn ToSql> = names.iter().map(|name| name as &dyn ToSql).collect();
        if bounds.from_step <= bounds.to_step {
            bounds.keys = pool.keys_where(&condition, &values)?;
        }
        Ok(bounds)
    }

    fn narrow_steps(&mut self, code: char, value: ValueRef<'_>) {
        // A step against text or a blob follows rules that SQLite may keep to itself.
        let (low, high) = match value {
            ValueRef::Integer(step) => (step, step),
            ValueRef::Real(step) => (step.floor() as i64, step.ceil() as i64),
            _ => return,
        };
        if matches!(code, '=' | '>' | ')') {
            self.from_step = self.from_step.max(low);
        }
        if matches!(code, '=' | '<' | '(') {
            self.to_step = self.to_step.min(high);
        }
    }

    fn narrow_time(&mut self, raw: bool, code: char, value: ValueRef<'_>) {
        /// Rounding of wall clock seconds in a float, and more.
        const SLACK_NS: i64 = 1_000_000;
        let secs = match value {
            ValueRef::Integer(secs) => secs as f64,
            ValueRef::Real(secs) => secs,
            _ => return,
        };
        let time_ns = (secs * 1e9) as i64;
        if matches!(code, '=' | '>' | ')') {
            self.after_ns = self.after_ns.max(time_ns.saturating_sub(SLACK_NS));
        }
        // Merged, a later value must be seen even when only earlier ones are asked for.
        if raw && matches!(code, '=' | '<' | '(') {
            self.before_ns = self.before_ns.min(time_ns.saturating_add(SLACK_NS));
        }
    }
}

fn operator(code: char) -> &'static str {
    match code {
        '<' => "<",
        '(' => "<=",
        '>' => ">",
        ')' => ">=",
        'L' => "LIKE",
        'G' => "GLOB",
        _ => "=",
    }
}

/// A value of one statement as the argument of another.
struct Argument<'a>(ValueRef<'a>);

impl ToSql for Argument<'_> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            ValueRef::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text)),
            other => ToSqlOutput::Owned(Value::try_from(other)?),
        })
    }
}
