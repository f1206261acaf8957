//! How producers ended that did not say goodbye, for people and for programs.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value as Json, json};
use tm_spool::clock;

use super::error::StoreError;
use super::notes::insert_event;
use super::source::{End, Exit};
use super::system::insert_finding;

/// Between an exception and the end of its process: exit handlers, and what they wait for.
const LEAVING_NS: i64 = 600_000_000_000;

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
    let now = clock::wall_ns();
    let exception = exception_of(conn, producer, exit, now)?;
    let finding = finding_of(&process, exit);
    if process.is_forked && finding.is_none() {
        return Ok(());
    }
    let text = exit_text(&process, exit, exception.as_deref());
    let signal = exit.status.and_then(|status| status.signal());
    let detail = json!({
        "signal": signal.map(signal_name),
        "exit_code": exit.status.and_then(|status| status.code()),
        "core_dumped": exit.status.is_some_and(|status| status.core_dumped()),
        "oom_kills": exit.oom_kills,
        "last_step": exit.last_step,
        "exception": exception,
        "text": text,
    });
    let step = exit.last_step.unwrap_or(-1);
    insert_event(conn, producer, "exit", step, now, Some(&detail.to_string()))?;
    match finding.map(|name| exception.map_or(name, |_| "exception")) {
        Some(name) => tell(conn, &process, name, &text, now),
        None => Ok(()),
    }
}

/// An exception that nobody caught, if it is why the process ended: Python leaves with 1 then, or by SIGINT.
fn exception_of(
    conn: &Connection,
    producer: i64,
    exit: &Exit,
    now_ns: i64,
) -> Result<Option<String>, StoreError> {
    let is_pythons =
        |status: ExitStatus| status.code() == Some(1) || status.signal() == Some(libc::SIGINT);
    if !exit.status.is_some_and(is_pythons) {
        return Ok(None);
    }
    let mut select = conn.prepare_cached(
        "SELECT detail FROM events WHERE producer = ?1 AND kind = 'exception' AND time_ns > ?2
             AND json_valid(detail) AND json_extract(detail, '$.thread') IS NULL
         ORDER BY id DESC LIMIT 1",
    )?;
    let detail: Option<String> = select
        .query_row(params![producer, now_ns - LEAVING_NS], |row| row.get(0))
        .optional()?;
    let parsed: Option<Json> = detail.and_then(|detail| serde_json::from_str(&detail).ok());
    Ok(parsed.map(|parsed| {
        let text = |field: &str| parsed[field].as_str().unwrap_or_default().to_owned();
        match text("message") {
            message if message.is_empty() => text("type"),
            message => format!("{}: {message}", text("type")),
        }
    }))
}

fn tell(
    conn: &Connection,
    process: &Process,
    name: &str,
    text: &str,
    time_ns: i64,
) -> Result<(), StoreError> {
    // Not the source of its samples: those go on for a while, and say nothing about its end.
    let source = if process.is_forked {
        format!("rank{}/{}/end", process.rank, process.pid)
    } else {
        format!("rank{}/end", process.rank)
    };
    let detail = json!({
        "host": process.host, "source": source, "finding": name, "time_ns": time_ns, "text": text,
        "by": "ingest",
    });
    Ok(insert_finding(conn, time_ns, &detail.to_string())?)
}

/// `None`: nobody needs to know. Ctrl-C was meant; workers of a data loader end without close(), and are ended.
fn finding_of(process: &Process, exit: &Exit) -> Option<&'static str> {
    let status = exit.status?;
    let name = match (status.signal(), status.code()) {
        (Some(libc::SIGKILL), _) if exit.oom_kills > Some(0) => "out_of_memory",
        (Some(libc::SIGINT), _) => return None,
        (Some(libc::SIGTERM | libc::SIGHUP), _) if process.is_forked => return None,
        (Some(libc::SIGKILL | libc::SIGTERM | libc::SIGHUP), _) => "killed",
        (Some(_), _) => "crashed",
        (None, Some(0)) => return None,
        (None, _) if process.is_forked => return None,
        (None, _) => "exited",
    };
    Some(name)
}

fn exit_text(process: &Process, exit: &Exit, exception: Option<&str>) -> String {
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
    let exception = exception.map_or(String::new(), |what| format!("; nobody caught {what}"));
    let step = exit
        .last_step
        .map_or("; it had logged no step".to_owned(), |step| {
            format!("; its last step was {step}")
        });
    format!(
        "{who} {} (pid {} on {}) {how}{memory}{step}{exception}",
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
        assert_eq!(of(libc::SIGINT, None, false), None);
        // Forked: workers of a data loader.
        assert_eq!(of(libc::SIGTERM, None, true), None);
        assert_eq!(of(1 << 8, None, true), None);
        assert_eq!(of(libc::SIGSEGV, None, true), Some("crashed"));
        assert_eq!(of(libc::SIGKILL, Some(2), true), Some("out_of_memory"));
    }

    #[test]
    fn an_end_that_was_stored_before_is_not_told_again() {
        use crate::stats::Alphas;
        use crate::store::open::DATABASE_NAME;
        use crate::store::{CommitOptions, RunReader, Store};
        let run = tempfile::tempdir().unwrap();
        let producer = crate::store::tests::producer(run.path());
        let reader = tm_spool::ProducerReader::open(producer.dir()).unwrap();
        // The first writer is killed before it has removed the files of the producer.
        for _ in 0..2 {
            let database = run.path().join(DATABASE_NAME);
            let mut store = Store::open(&database, Alphas::default()).unwrap();
            let mut source = store.register(reader.info()).unwrap();
            source.pending.end = Some(End {
                how: "died",
                accepted_points: 0,
                rejected: "{}".into(),
                homeless_frames: 0,
                exit: Some(exit(libc::SIGSEGV, None)),
            });
            let options = CommitOptions::default();
            store.commit(&mut [&mut source], &options).unwrap();
        }
        let reader = RunReader::open(run.path()).unwrap();
        assert_eq!(reader.findings().unwrap().len(), 1);
        assert_eq!(reader.events("exit").unwrap().len(), 1);
    }

    #[test]
    fn the_text_says_who_how_and_how_far() {
        assert_eq!(
            exit_text(&process(false), &exit(libc::SIGKILL, Some(1)), None),
            "rank 3 (pid 77 on node1) was killed by SIGKILL; the kernel killed 1 process there for want of \
             memory meanwhile; its last step was 42"
        );
        assert_eq!(
            exit_text(&process(true), &exit(libc::SIGSEGV | 0x80, Some(9)), None),
            "a process forked by rank 3 (pid 77 on node1) was killed by SIGSEGV, its core was dumped; its last \
             step was 42"
        );
        assert_eq!(
            exit_text(
                &process(false),
                &exit(1 << 8, None),
                Some("ValueError: bad")
            ),
            "rank 3 (pid 77 on node1) ended with exit code 1, without close(); its last step was 42; nobody caught \
             ValueError: bad"
        );
        let unknown = Exit {
            status: None,
            oom_kills: None,
            last_step: None,
        };
        assert_eq!(
            exit_text(&process(false), &unknown, None),
            "rank 3 (pid 77 on node1) ended without close(); how is not known; it had logged no step"
        );
    }
}
