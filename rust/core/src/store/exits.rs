//! How producers ended that did not say goodbye, for people and for programs.

use std::os::unix::process::ExitStatusExt;

use rusqlite::Connection;
use serde_json::{Value as Json, json};
use tm_spool::clock;

use super::error::StoreError;
use super::notes::insert_event;
use super::source::{End, Exit};
use super::system::insert_finding;

/// The process of a producer.
struct Process {
    rank: u32,
    host: String,
    pid: u32,
    is_forked: bool,
}

fn process_of(conn: &Connection, producer: i64) -> Result<Process, StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT rank, host, pid, parent IS NOT NULL FROM producers WHERE id = ?1",
    )?;
    Ok(select.query_row([producer], |row| {
        Ok(Process {
            rank: row.get(0)?,
            host: row.get(1)?,
            pid: row.get(2)?,
            is_forked: row.get(3)?,
        })
    })?)
}

/// Write down how a process ended that did not close.
pub(super) fn record_exit(conn: &Connection, producer: i64, end: &End) -> Result<(), StoreError> {
    let Some(exit) = &end.exit else {
        return Ok(());
    };
    let process = process_of(conn, producer)?;
    let told = has_exception(conn, producer)?;
    let finding = finding_of(&process, exit).filter(|_| !told);
    if process.is_forked && finding.is_none() {
        return Ok(());
    }
    let now = clock::wall_ns();
    let text = exit_text(&process, exit);
    let signal = exit.status.and_then(|status| status.signal());
    let detail = json!({
        "signal": signal.map(signal_name),
        "exit_code": exit.status.and_then(|status| status.code()),
        "core_dumped": exit.status.is_some_and(|status| status.core_dumped()),
        "oom_kills": exit.oom_kills,
        "last_step": exit.last_step,
        "text": text,
    });
    let step = exit.last_step.unwrap_or(-1);
    insert_event(conn, producer, "exit", step, now, Some(&detail.to_string()))?;
    match finding {
        Some(name) => tell(conn, &process, name, &text, now),
        None => Ok(()),
    }
}

/// Whether an exception that nobody caught says why it ended.
fn has_exception(conn: &Connection, producer: i64) -> Result<bool, StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT EXISTS(SELECT 1 FROM events WHERE producer = ?1 AND kind = 'exception'
             AND json_valid(detail) AND json_extract(detail, '$.thread') IS NULL)",
    )?;
    Ok(select.query_row([producer], |row| row.get(0))?)
}

/// An exception that nobody caught ends the process, unless it is that of a thread; also told as a finding.
pub(super) fn tell_exception(
    conn: &Connection,
    producer: i64,
    parsed: &Json,
    time_ns: i64,
) -> Result<(), StoreError> {
    let process = process_of(conn, producer)?;
    if process.is_forked || parsed["thread"].is_string() {
        return Ok(());
    }
    let (kind, message) = (
        &parsed["type"],
        parsed["message"].as_str().unwrap_or_default(),
    );
    let kind = kind.as_str().unwrap_or("exception");
    let colon = if message.is_empty() { "" } else { ": " };
    let text = format!("rank {} ended with {kind}{colon}{message}", process.rank);
    let name = if kind == "KeyboardInterrupt" {
        "interrupted"
    } else {
        "exception"
    };
    tell(conn, &process, name, &text, time_ns)
}

fn tell(
    conn: &Connection,
    process: &Process,
    name: &str,
    text: &str,
    time_ns: i64,
) -> Result<(), StoreError> {
    let source = format!("rank{}", process.rank);
    let detail = json!({
        "host": process.host, "source": source, "finding": name, "time_ns": time_ns, "text": text,
    });
    Ok(insert_finding(conn, time_ns, &detail.to_string())?)
}

/// `None`: nobody needs to know. Workers of a data loader end without close(), and are ended.
fn finding_of(process: &Process, exit: &Exit) -> Option<&'static str> {
    let status = exit.status?;
    let name = match (status.signal(), status.code()) {
        (Some(libc::SIGKILL), _) if exit.oom_kills > Some(0) => "out_of_memory",
        (Some(libc::SIGTERM | libc::SIGINT | libc::SIGHUP), _) if process.is_forked => return None,
        (Some(libc::SIGKILL | libc::SIGTERM | libc::SIGINT | libc::SIGHUP), _) => "killed",
        (Some(_), _) => "crashed",
        (None, Some(0)) => return None,
        (None, _) if process.is_forked => return None,
        (None, _) => "exited",
    };
    Some(name)
}

fn exit_text(process: &Process, exit: &Exit) -> String {
    let who = if process.is_forked {
        "a process forked by rank"
    } else {
        "rank"
    };
    let how = match exit.status.map(|status| (status.signal(), status.code())) {
        None => "ended without close(); how is not known".to_owned(),
        Some((Some(signal), _)) => {
            let dumped = exit.status.is_some_and(|status| status.core_dumped());
            let core = if dumped { ", its core was dumped" } else { "" };
            format!("was killed by {}{core}", signal_name(signal))
        }
        Some((None, code)) => {
            let code = code.unwrap_or_default();
            format!("ended with exit code {code}, without close()")
        }
    };
    let is_kill = exit.status.and_then(|status| status.signal()) == Some(libc::SIGKILL);
    let memory = match exit.oom_kills.filter(|kills| is_kill && *kills > 0) {
        Some(1) => "; the kernel killed 1 process there for want of memory meanwhile".to_owned(),
        Some(kills) => {
            format!("; the kernel killed {kills} processes there for want of memory meanwhile")
        }
        None => String::new(),
    };
    let step = exit
        .last_step
        .map_or("; it had logged no step".to_owned(), |step| {
            format!("; its last step was {step}")
        });
    format!(
        "{who} {} (pid {} on {}) {how}{memory}{step}",
        process.rank, process.pid, process.host
    )
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::ExitStatus;

    fn exit(raw: i32, oom_kills: Option<u64>) -> Exit {
        Exit {
            status: Some(ExitStatus::from_raw(raw)),
            oom_kills,
            last_step: Some(42),
        }
    }

    fn process(is_forked: bool) -> Process {
        Process {
            rank: 3,
            host: "node1".into(),
            pid: 77,
            is_forked,
        }
    }

    #[test]
    fn an_end_is_told_by_what_people_can_do_about_it() {
        let of = |raw, oom, forked| finding_of(&process(forked), &exit(raw, oom));
        assert_eq!(of(libc::SIGKILL, Some(1), false), Some("out_of_memory"));
        assert_eq!(of(libc::SIGKILL, Some(0), false), Some("killed"));
        assert_eq!(of(libc::SIGKILL, None, false), Some("killed"));
        assert_eq!(of(libc::SIGTERM, Some(1), false), Some("killed"));
        assert_eq!(of(libc::SIGSEGV | 0x80, None, false), Some("crashed"));
        assert_eq!(of(7 << 8, None, false), Some("exited"));
        assert_eq!(of(0, None, false), None);
        // Forked: workers of a data loader.
        assert_eq!(of(libc::SIGTERM, None, true), None);
        assert_eq!(of(1 << 8, None, true), None);
        assert_eq!(of(libc::SIGSEGV, None, true), Some("crashed"));
        assert_eq!(of(libc::SIGKILL, Some(2), true), Some("out_of_memory"));
    }

    #[test]
    fn the_text_says_who_how_and_how_far() {
        assert_eq!(
            exit_text(&process(false), &exit(libc::SIGKILL, Some(1))),
            "rank 3 (pid 77 on node1) was killed by SIGKILL; the kernel killed 1 process there for want of \
             memory meanwhile; its last step was 42"
        );
        assert_eq!(
            exit_text(&process(true), &exit(libc::SIGSEGV | 0x80, Some(9))),
            "a process forked by rank 3 (pid 77 on node1) was killed by SIGSEGV, its core was dumped; its last \
             step was 42"
        );
        let unknown = Exit {
            status: None,
            oom_kills: None,
            last_step: None,
        };
        assert_eq!(
            exit_text(&process(false), &unknown),
            "rank 3 (pid 77 on node1) ended without close(); how is not known; it had logged no step"
        );
    }
}
