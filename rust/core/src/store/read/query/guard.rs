//! What keeps a query from doing harm: it may read, for a while, in moderation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, Result};

use super::Interrupted;

/// SQLite looks up after so many of its instructions, a microsecond or so.
const INSTRUCTIONS: i32 = 100;
/// The caller is asked whether to stop only so often: that may cost more than a look at the clock.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Longer values could keep a single function, `instr` say, busy past every time limit.
const VALUE_BYTES: i32 = 1 << 20;
const LIMITS: &[(Limit, i32)] = &[
    (Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, 200_000),
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 512),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 200),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 100),
    (Limit::SQLITE_LIMIT_ATTACHED, 0),
    (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
];
/// Functions that reach outside of the query.
const FORBIDDEN: &[&str] = &[
    "load_extension",
    "fts3_tokenizer",
    "readfile",
    "writefile",
    "edit",
];

const RUNNING: u8 = 0;
const TOO_LONG: u8 = 1;
const INTERRUPTED: u8 = 2;

/// Why a query was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    TooLong,
    Interrupted,
}

/// The clock of one query.
pub(super) struct Guard {
    deadline: Instant,
    /// Written by whoever notices first; read by the same thread when the statement has failed.
    stopped: AtomicU8,
}

impl Guard {
    pub(super) fn new(limit: Duration) -> Self {
        let now = Instant::now();
        let far = now + Duration::from_secs(365 * 86_400);
        Self {
            deadline: now.checked_add(limit).map_or(far, |end| end.min(far)),
            stopped: AtomicU8::new(RUNNING),
        }
    }

    /// Whether the time is over.
    pub(super) fn is_over(&self) -> bool {
        if Instant::now() >= self.deadline {
            self.stopped.store(TOO_LONG, Ordering::Relaxed);
        }
        self.stopped.load(Ordering::Relaxed) != RUNNING
    }

    /// Why the query was stopped. `None`: it was not.
    pub(super) fn stop(&self) -> Option<Stop> {
        match self.stopped.load(Ordering::Relaxed) {
            RUNNING => None,
            INTERRUPTED => Some(Stop::Interrupted),
            _ => Some(Stop::TooLong),
        }
    }

    /// Watch over a connection.
    pub(super) fn watch(
        self: &Arc<Self>,
        conn: &mut Connection,
        interrupted: Option<Interrupted>,
    ) -> Result<()> {
        for (limit, value) in LIMITS {
            conn.set_limit(*limit, *value)?;
        }
        conn.authorizer(Some(authorize))?;
        let guard = self.clone();
        let mut asked = Instant::now();
        let watch = move || {
            if let Some(interrupted) = &interrupted
                && asked.elapsed() >= ASK_EVERY
            {
                asked = Instant::now();
                if interrupted() {
                    guard.stopped.store(INTERRUPTED, Ordering::Relaxed);
                }
            }
            guard.is_over()
        };
        conn.progress_handler(INSTRUCTIONS, Some(watch))
    }
}

/// Reading and computing; nothing else, whatever its name.
fn authorize(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => {
            Authorization::Allow
        }
        AuthAction::Function { function_name } => {
            let name = function_name.to_ascii_lowercase();
            if FORBIDDEN.contains(&name.as_str()) {
                Authorization::Deny
            } else {
                Authorization::Allow
            }
        }
        _ => Authorization::Deny,
    }
}
