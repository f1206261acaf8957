//! Looks for a pattern in files, line by line, until there are enough hits or the time is over.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use regex_automata::hybrid::LazyStateID;
use regex_automata::util::start;

use super::pattern::Pattern;

/// A clock is read so often: a byte costs nanoseconds, or, where the automaton is large and meets something new,
/// tens of microseconds.
const BYTES_PER_LOOK: usize = 32;
/// Of a line so much is shown, so much of it before the end of the hit.
const SHOWN_CHARS: usize = 200;
const SHOWN_BEFORE: usize = 140;

/// Bounds of a search.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    /// Hits at most; one per line.
    pub limit: usize,
    /// Of a file that is larger, only the beginning is searched.
    pub most_file_bytes: u64,
    /// After so long it ends with what it has.
    pub within: Duration,
}

/// A line that holds the pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Which of the files, from 0.
    pub file: usize,
    /// Which line, from 1.
    pub line: usize,
    /// The line; of a long one what is around the hit, with `…` where it was cut.
    pub text: String,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// The hits, in the order of the files and lines.
    pub hits: Vec<Hit>,
    /// There are more hits, or there may be: the time was over.
    pub more: bool,
    /// The time was over before everything was searched.
    pub timed_out: bool,
    /// Files that could not be read, from 0.
    pub unread: Vec<usize>,
}

/// Look for a pattern in files; links are not followed, and what is no file is not read.
pub fn search<P: AsRef<Path>>(files: &[P], pattern: &mut Pattern, bounds: Search) -> Found {
    let mut found = Found::default();
    let mut clock = Clock::new(bounds.within);
    let mut text = Vec::new();
    for (file, path) in files.iter().enumerate() {
        if read(path.as_ref(), bounds.most_file_bytes, &mut text).is_err() {
            found.unread.push(file);
            continue;
        }
        let mut lines = Lines {
            text: &text,
            at: 0,
            number: 0,
        };
        loop {
            match lines.next_hit(pattern, &mut clock) {
                Ok(Some(_)) if found.hits.len() == bounds.limit => {
                    found.more = true;
                    return found;
                }
                Ok(Some((line, text))) => found.hits.push(Hit { file, line, text }),
                Ok(None) => break,
                Err(TimeIsOver) => {
                    (found.more, found.timed_out) = (true, true);
                    return found;
                }
            }
        }
    }
    found
}

fn read(path: &Path, most_bytes: u64, into: &mut Vec<u8>) -> io::Result<()> {
    into.clear();
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    file.take(most_bytes).read_to_end(into)?;
    Ok(())
}

struct TimeIsOver;

struct Clock {
    end: Option<Instant>,
    bytes: usize,
}

impl Clock {
    fn new(within: Duration) -> Self {
        Self {
            end: Instant::now().checked_add(within),
            bytes: 0,
        }
    }

    fn tick(&mut self) -> Result<(), TimeIsOver> {
        self.bytes += 1;
        if self.bytes < BYTES_PER_LOOK {
            return Ok(());
        }
        self.bytes = 0;
        match self.end {
            Some(end) if Instant::now() >= end => Err(TimeIsOver),
            _ => Ok(()),
        }
    }
}

struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    number: usize,
}

impl Lines<'_> {
    /// The next line with the pattern: its number and what is shown of it.
    fn next_hit(
        &mut self,
        pattern: &mut Pattern,
        clock: &mut Clock,
    ) -> Result<Option<(usize, String)>, TimeIsOver> {
        while self.at < self.text.len() {
            let start = self.at;
            let rest = self.text.get(start..).unwrap_or_default();
            let (hit, length) = first_hit(rest, pattern, clock)?;
            self.number += 1;
            self.at = start + length + 1;
            if let Some(end) = hit {
                let line = rest.get(..length).unwrap_or_default();
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                return Ok(Some((self.number, shown(line, end))));
            }
        }
        Ok(None)
    }
}

/// Where the first hit in the first line ends, if there is one, and how long that line is.
fn first_hit(
    text: &[u8],
    pattern: &mut Pattern,
    clock: &mut Clock,
) -> Result<(Option<usize>, usize), TimeIsOver> {
    let Pattern { dfa, cache } = pattern;
    let length_from = |at: usize| {
        let rest = text.get(at..).unwrap_or_default();
        at + rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len())
    };
    // The configuration has no bytes on which it quits and never gives up: nothing here fails.
    let Ok(mut state) = dfa.start_state(cache, &start::Config::new()) else {
        return Ok((None, length_from(0)));
    };
    for (at, &byte) in text.iter().enumerate() {
        clock.tick()?;
        if byte == b'\n' || (byte == b'\r' && text.get(at + 1) == Some(&b'\n')) {
            let hit = ends_with_hit(dfa, cache, state).then_some(at);
            return Ok((hit, length_from(at)));
        }
        let Ok(next) = dfa.next_state(cache, state, byte) else {
            return Ok((None, length_from(at)));
        };
        state = next;
        if state.is_tagged() {
            if state.is_match() {
                // An automaton of this kind says so one byte later.
                return Ok((Some(at), length_from(at)));
            }
            if state.is_dead() || state.is_quit() {
                return Ok((None, length_from(at)));
            }
        }
    }
    let hit = ends_with_hit(dfa, cache, state).then_some(text.len());
    Ok((hit, text.len()))
}

fn ends_with_hit(
    dfa: &regex_automata::hybrid::dfa::DFA,
    cache: &mut regex_automata::hybrid::dfa::Cache,
    state: LazyStateID,
) -> bool {
    dfa.next_eoi_state(cache, state)
        .is_ok_and(|last| last.is_match())
}

/// A line as text, cut around the place where the hit ends.
fn shown(line: &[u8], end: usize) -> String {
    // Cut as bytes first: a line may be a megabyte.
    let (from, to) = (
        end.saturating_sub(4 * SHOWN_CHARS),
        end.saturating_add(4 * SHOWN_CHARS),
    );
    let to = to.min(line.len());
    let before = String::from_utf8_lossy(line.get(from..end.min(line.len())).unwrap_or_default());
    let after = String::from_utf8_lossy(line.get(end.min(line.len())..to).unwrap_or_default());
    let (before_chars, after_chars) = (before.chars().count(), after.chars().count());
    if from == 0 && to == line.len() && before_chars + after_chars <= SHOWN_CHARS {
        return format!("{before}{after}");
    }
    let kept_before = before_chars.min(SHOWN_BEFORE.max(SHOWN_CHARS.saturating_sub(after_chars)));
    let kept_after = after_chars.min(SHOWN_CHARS - kept_before);
    let head = if from > 0 || kept_before < before_chars {
        "…"
    } else {
        ""
    };
    let tail = if to < line.len() || kept_after < after_chars {
        "…"
    } else {
        ""
    };
    let before: String = before.chars().skip(before_chars - kept_before).collect();
    let after: String = after.chars().take(kept_after).collect();
    format!("{head}{before}{after}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn bounds() -> Search {
        Search {
            limit: 100,
            most_file_bytes: 1 << 30,
            within: Duration::from_secs(60),
        }
    }

    fn found_in(text: &str, pattern: &str) -> Vec<(usize, String)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, text).unwrap();
        let mut pattern = Pattern::new(pattern, true, false).unwrap();
        let found = search(&[path], &mut pattern, bounds());
        assert!(!found.more && found.unread.is_empty());
        found
            .hits
            .into_iter()
            .map(|hit| (hit.line, hit.text))
            .collect()
    }

    #[test]
    fn lines_are_found_by_their_numbers() {
        let text = "import os\r\nloss = 1\n\nloss += 2";
        assert_eq!(
            found_in(text, "^loss"),
            [(2, "loss = 1".into()), (4, "loss += 2".into())]
        );
        assert_eq!(found_in(text, "os$"), [(1, "import os".into())]);
        assert_eq!(found_in(text, "^$"), [(3, String::new())]);
        assert_eq!(found_in(text, r"\bos\b"), [(1, "import os".into())]);
        assert_eq!(found_in("", "x"), []);
        assert_eq!(found_in("é = 1\n", "^.. =").len(), 0);
    }

    #[test]
    fn no_hit_spans_two_lines() {
        assert_eq!(found_in("a\nb", r"a\sb"), []);
        assert_eq!(found_in("a\nb", r"a(.|\n)b"), []);
    }

    #[test]
    fn a_long_line_is_cut_around_the_hit() {
        let text = format!("{}needle{}", "é".repeat(5000), "x".repeat(5000));
        let hits = found_in(&text, "needle");
        let shown = &hits[0].1;
        assert!(shown.contains("needle") && shown.starts_with('…') && shown.ends_with('…'));
        assert!(shown.chars().count() <= SHOWN_CHARS + 2);
    }

    #[test]
    fn enough_hits_end_the_search_and_more_are_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "x\n".repeat(10)).unwrap();
        let mut pattern = Pattern::new("x", false, false).unwrap();
        for (limit, more) in [(9, true), (10, false)] {
            let found = search(&[&path], &mut pattern, Search { limit, ..bounds() });
            assert_eq!((found.hits.len(), found.more), (limit, more));
        }
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
        let mut pattern = Pattern::new("x", false, false).unwrap();
        let files = [link, dir.path().to_path_buf(), "/dev/zero".into()];
        assert_eq!(search(&files, &mut pattern, bounds()).unread, [0, 1, 2]);
    }
}
