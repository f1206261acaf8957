//! What keeps a query from doing harm: it may read, for a while, in moderation.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
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

/// The clock of one query, and whoever may lose interest in it.
pub(super) struct Guard {
    deadline: Instant,
    caller: Mutex<Caller>,
    /// Written by whoever notices first; read by the same thread when the statement has failed.
    stopped: AtomicU8,
}

struct Caller {
    /// `None`: nobody is asked.
    interrupted: Option<Interrupted>,
    /// `None`: not asked yet.
    asked: Option<Instant>,
}

impl Caller {
    fn has_lost_interest(&mut self) -> bool {
        let Some(interrupted) = &self.interrupted else {
            return false;
        };
        if self.asked.is_some_and(|asked| asked.elapsed() < ASK_EVERY) {
            return false;
        }
        let answer = interrupted();
        self.asked = Some(Instant::now());
        answer
    }
}

impl Guard {
    pub(super) fn new(limit: Duration, interrupted: Option<Interrupted>) -> Self {
        let now = Instant::now();
        let far = now + Duration::from_secs(365 * 86_400);
        Self {
            deadline: now.checked_add(limit).map_or(far, |end| end.min(far)),
            caller: Mutex::new(Caller {
                interrupted,
                asked: None,
            }),
            stopped: AtomicU8::new(RUNNING),
        }
    }

    /// Whether the time is over, or the caller wants no answer any more. To be asked wherever a query can be
    /// busy for long: by both connections, and between two chunks.
    pub(super) fn is_over(&self) -> bool {
        // Held by the question itself where asking leads back here.
        let lost = |mut caller: MutexGuard<'_, Caller>| caller.has_lost_interest();
        if self.caller.try_lock().is_ok_and(lost) {
            self.stopped.store(INTERRUPTED, Ordering::Relaxed);
        }
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

    /// Watch over the connection of the statement.
    pub(super) fn watch(self: &Arc<Self>, conn: &mut Connection) -> Result<()> {
        for (limit, value) in LIMITS {
            conn.set_limit(*limit, *value)?;
        }
        conn.authorizer(Some(authorize))?;
        self.limit_time(conn)
    }

    /// Let a connection do nothing more once it is over.
    pub(super) fn limit_time(self: &Arc<Self>, conn: &mut Connection) -> Result<()> {
        let guard = self.clone();
        conn.progress_handler(INSTRUCTIONS, Some(move || guard.is_over()))
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
