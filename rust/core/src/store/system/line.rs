//! A line of the poller or the monitor: JSON, one object; a sample, a finding or a stack.

use serde_json::Value as Json;

/// More of anything than any machine has; a line is from a process of ours, but it may be damaged.
const MOST_VALUES: usize = 100_000;
const LONGEST_NAME: usize = 200;

/// What the poller found, in one line.
#[derive(Debug, Clone, PartialEq)]
pub enum SystemLine {
    /// Numbers of one moment.
    Sample(SystemSample),
    /// Something that a person should know, as a GPU that is lost.
    Finding(SystemFinding),
    /// Where a process was in its code when it was asked.
    Stack(StackLine),
    /// What somebody who watches the run noticed.
    Note(NoteLine),
}

impl SystemLine {
    /// The same, by a clock that is so much ahead.
    pub(crate) fn shifted(mut self, offset_ns: i64) -> Self {
        let time_ns = match &mut self {
            Self::Sample(sample) => &mut sample.time_ns,
            Self::Finding(finding) => &mut finding.time_ns,
            Self::Stack(stack) => &mut stack.time_ns,
            Self::Note(note) => &mut note.time_ns,
        };
        *time_ns = time_ns.saturating_add(offset_ns);
        self
    }
}

/// Numbers of one moment, from one probe.
#[derive(Debug, Clone, PartialEq)]
pub struct SystemSample {
    pub(crate) host: String,
    pub(super) probe: String,
    pub(super) time_ns: i64,
    pub(super) sources: Vec<SystemSource>,
}

/// What is known of one source.
#[derive(Debug, Clone, PartialEq)]
pub struct SystemSource {
    pub(crate) name: String,
    /// JSON. `None`: the sample says nothing about it.
    pub(super) facts: Option<String>,
    pub(super) values: Vec<(String, f64)>,
}

/// Something that a person should know.
#[derive(Debug, Clone, PartialEq)]
pub struct SystemFinding {
    pub(crate) host: String,
    pub(crate) source: String,
    pub(crate) name: String,
    pub(crate) time_ns: i64,
    pub(crate) text: String,
    /// Who found it: "ingest", or the name of a probe.
    pub(crate) by: String,
}

/// Where a process was in its code.
#[derive(Debug, Clone, PartialEq)]
pub struct StackLine {
    /// The id of its producer.
    pub(super) producer: String,
    pub(super) time_ns: i64,
    /// JSON: host, rank, pid, how, text.
    pub(super) detail: String,
}

/// What somebody who watches the run noticed: a row in `events`, once.
#[derive(Debug, Clone, PartialEq)]
pub struct NoteLine {
    /// One of [`NOTES`].
    pub(super) kind: String,
    pub(super) step: Option<i64>,
    pub(super) time_ns: i64,
    /// JSON. Its field `id` tells it from others of its kind.
    pub(super) detail: String,
    pub(super) id: String,
}

/// The kinds of notes that there are.
const NOTES: [&str; 6] = [
    "detected", "phase", "told", "snapshot", "analysis", "message",
];

/// A line that is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line cannot be read")]
pub struct BadLine;

impl SystemLine {
    /// Read one line.
    ///
    /// # Errors
    /// It is not JSON, or something that every line has is missing.
    pub fn parse(line: &[u8]) -> Result<Self, BadLine> {
        let parsed: Json = serde_json::from_slice(line).map_err(|_| BadLine)?;
        let text = |field: &str| parsed[field].as_str().map(str::to_owned).ok_or(BadLine);
        let time_ns = parsed["time_ns"].as_i64().ok_or(BadLine)?;
        if parsed.get("finding").is_some() {
            return Ok(Self::Finding(SystemFinding {
                host: text("host")?,
                source: text("source")?,
                name: text("finding")?,
                text: text("text")?,
                by: text("by").unwrap_or_default(),
                time_ns,
            }));
        }
        if let Some(stack) = parsed.get("stack") {
            let producer = stack["producer"].as_str().ok_or(BadLine)?.to_owned();
            let detail = stack.to_string();
            return Ok(Self::Stack(StackLine {
                producer,
                time_ns,
                detail,
            }));
        }
        if let Some(note) = parsed.get("note") {
            return Self::note(note, text("kind")?, parsed["step"].as_i64(), time_ns);
        }
        let values = parsed["values"].as_object().ok_or(BadLine)?;
        let sources = values.iter().map(|(name, values)| {
            let facts = parsed["facts"].get(name).map(Json::to_string);
            source(name, values, facts)
        });
        let sample = SystemSample {
            host: text("host")?,
            probe: text("probe")?,
            time_ns,
            sources: sources.collect::<Result<_, _>>()?,
        };
        let count: usize = sample.sources.iter().map(|s| s.values.len()).sum();
        if count > MOST_VALUES {
            return Err(BadLine);
        }
        Ok(Self::Sample(sample))
    }

    fn note(note: &Json, kind: String, step: Option<i64>, time_ns: i64) -> Result<Self, BadLine> {
        let id = note["id"].as_str().ok_or(BadLine)?.to_owned();
        if !NOTES.contains(&kind.as_str()) {
            return Err(BadLine);
        }
        let detail = note.to_string();
        Ok(Self::Note(NoteLine {
            kind,
            step,
            time_ns,
            detail,
            id,
        }))
    }
}

fn source(name: &str, values: &Json, facts: Option<String>) -> Result<SystemSource, BadLine> {
    let values = values.as_object().ok_or(BadLine)?;
    let mut numbers = Vec::with_capacity(values.len());
    for (metric, value) in values {
        let value = value.as_f64().filter(|v| v.is_finite()).ok_or(BadLine)?;
        if metric.len() > LONGEST_NAME {
            return Err(BadLine);
        }
        numbers.push((metric.clone(), value));
    }
    if name.len() > LONGEST_NAME {
        return Err(BadLine);
    }
    Ok(SystemSource {
        name: name.to_owned(),
        facts,
        values: numbers,
    })
}

impl SystemFinding {
    /// What the row in `events` says.
    pub(super) fn json(&self) -> String {
        serde_json::json!({
            "finding": self.name, "host": self.host, "source": self.source, "text": self.text, "by": self.by,
        })
        .to_string()
    }
}
