//! The messages between a relay and the monitor, as `docs/wire.md` describes them.
//!
//! `"TMR1" · u8 kind · u8 version · u16 0 · u32 crc32c · u32 length of the fields · fields · body`. The sum is of
//! the eight bytes before it, the length, and the fields. A body of frames or definitions has sums of its own.

use tm_spool::{GapReason, ProducerId};

use super::fields::{Reader, Writer};
use super::packed::Packed;
use super::parts::{
    Announced, Durable, Positions, State, read_announced, read_durable, read_positions, read_state,
    reason_number, reason_of, write_announced, write_durable, write_positions, write_state,
};

/// The version of this format. Another one is refused.
pub(crate) const VERSION: u8 = 1;
const MAGIC: [u8; 4] = *b"TMR1";
pub(super) const HEAD_BYTES: usize = 16;

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    // From the relay.
    Hello {
        relay: [u8; 16],
        host: String,
        run: String,
        jobs: Vec<String>,
        version: String,
    },
    Announce(Announced),
    /// Records of the dictionary; `first` is where they lie in its file.
    Define {
        producer: ProducerId,
        first: u64,
        records: Vec<u8>,
    },
    Frames {
        producer: ProducerId,
        lane: u8,
        /// Where the message before ended.
        prev: u64,
        /// Where the first frame lies; between `prev` and here are only marks.
        first: u64,
        /// Where reading goes on.
        end: u64,
        bytes: Vec<u8>,
    },
    Gap {
        producer: ProducerId,
        lane: u8,
        first: u64,
        end: u64,
        frames_lost: Option<u64>,
        reason: GapReason,
    },
    State {
        producer: ProducerId,
        state: State,
    },
    /// Lines of JSON about the machine. Numbered from 1 by each relay.
    Samples {
        number: u64,
        /// Added to their times it gives those of the monitor's clock.
        clock_offset_ns: i64,
        lines: Vec<u8>,
    },
    Ping {
        wall_ns: i64,
    },
    Bye,
    // From the monitor.
    Welcome {
        run: String,
        window_bytes: u64,
    },
    Refuse {
        reason: String,
    },
    Resume {
        producer: ProducerId,
        /// Where to go on: what lies before is here.
        received: Positions,
        durable: Positions,
        /// How far the dictionary is here.
        definitions: u64,
    },
    Marks {
        window_bytes: u64,
        producers: Vec<Durable>,
    },
    Done {
        producer: ProducerId,
    },
    Pong {
        /// That of the ping.
        wall_ns: i64,
        /// The clock of the monitor.
        here_ns: i64,
    },
    /// Begin again with `Hello` on a new connection.
    Restart {
        reason: String,
    },
}

impl Message {
    fn kind(&self) -> u8 {
        match self {
            Self::Hello { .. } => 1,
            Self::Announce(_) => 2,
            Self::Define { .. } => 3,
            Self::Frames { .. } => 4,
            Self::Gap { .. } => 5,
            Self::State { .. } => 6,
            Self::Samples { .. } => 7,
            Self::Ping { .. } => 8,
            Self::Bye => 9,
            Self::Welcome { .. } => 65,
            Self::Refuse { .. } => 66,
            Self::Resume { .. } => 67,
            Self::Marks { .. } => 68,
            Self::Done { .. } => 69,
            Self::Pong { .. } => 70,
            Self::Restart { .. } => 71,
        }
    }

    /// The bytes of this message.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (mut out, body) = self.encode_head();
        out.extend(body);
        out
    }

    /// The same, with the body as it is: frames are many bytes, and copied often enough.
    pub(crate) fn pack(self) -> Packed {
        let (head, _) = self.encode_head();
        let body = match self {
            Self::Frames { bytes, .. } => bytes,
            Self::Define { records, .. } => records,
            _ => Vec::new(),
        };
        Packed { head, body }
    }

    /// Everything before the body, and the body.
    fn encode_head(&self) -> (Vec<u8>, &[u8]) {
        let mut fields = Writer::default();
        let body: &[u8] = self.write(&mut fields);
        let fields = fields.bytes;
        let mut out = Vec::with_capacity(HEAD_BYTES + fields.len());
        out.extend(MAGIC);
        out.extend([self.kind(), VERSION, 0, 0]);
        let len = (fields.len() as u32).to_le_bytes();
        let sum = sum(&out, &len, &fields);
        out.extend(sum.to_le_bytes());
        out.extend(len);
        out.extend(fields);
        (out, body)
    }

    /// Write the fields; returns the body.
    fn write(&self, out: &mut Writer) -> &[u8] {
        match self {
            Self::Hello {
                relay,
                host,
                run,
                jobs,
                version,
            } => {
                out.id(*relay).text(host).text(run).text(version);
                out.u32(jobs.len() as u32);
                for job in jobs {
                    out.text(job);
                }
            }
            Self::Announce(announced) => write_announced(out, announced),
            Self::Define {
                producer,
                first,
                records,
            } => {
                out.id(producer.0).u64(*first);
                return records;
            }
            Self::Frames {
                producer,
                lane,
                prev,
                first,
                end,
                bytes,
            } => {
                out.id(producer.0).u8(*lane);
                out.u64(*prev).u64(*first).u64(*end);
                return bytes;
            }
            Self::Gap {
                producer,
                lane,
                first,
                end,
                frames_lost,
                reason,
            } => {
                out.id(producer.0).u8(*lane).u64(*first).u64(*end);
                out.maybe(*frames_lost).u8(reason_number(*reason));
            }
            Self::State { producer, state } => {
                out.id(producer.0);
                write_state(out, state);
            }
            Self::Samples {
                number,
                clock_offset_ns,
                lines,
            } => {
                out.u64(*number).i64(*clock_offset_ns);
                out.text(&String::from_utf8_lossy(lines));
            }
            Self::Ping { wall_ns } => {
                out.i64(*wall_ns);
            }
            Self::Bye => {}
            Self::Welcome { run, window_bytes } => {
                out.text(run).u64(*window_bytes);
            }
            Self::Refuse { reason } | Self::Restart { reason } => {
                out.text(reason);
            }
            Self::Resume {
                producer,
                received,
                durable,
                definitions,
            } => {
                out.id(producer.0).u64(*definitions);
                write_positions(out, received);
                write_positions(out, durable);
            }
            Self::Marks {
                window_bytes,
                producers,
            } => {
                out.u64(*window_bytes).u32(producers.len() as u32);
                for durable in producers {
                    write_durable(out, durable);
                }
            }
            Self::Done { producer } => {
                out.id(producer.0);
            }
            Self::Pong { wall_ns, here_ns } => {
                out.i64(*wall_ns).i64(*here_ns);
            }
        }
        &[]
    }

    /// The message that these bytes are. `None`: they are none of this version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let [
            m0,
            m1,
            m2,
            m3,
            kind,
            version,
            _,
            _,
            c0,
            c1,
            c2,
            c3,
            l0,
            l1,
            l2,
            l3,
        ] = *head;
        if [m0, m1, m2, m3] != MAGIC || version != VERSION {
            return None;
        }
        let len = [l0, l1, l2, l3];
        let (fields, body) = rest.split_at_checked(u32::from_le_bytes(len) as usize)?;
        if sum(head.first_chunk::<8>()?, &len, fields) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return None;
        }
        let mut reader = Reader::new(fields);
        let message = Self::read(kind, &mut reader, body)?;
        let has_body = matches!(message, Self::Define { .. } | Self::Frames { .. });
        (reader.is_done() && (has_body || body.is_empty())).then_some(message)
    }

    fn read(kind: u8, fields: &mut Reader<'_>, body: &[u8]) -> Option<Self> {
        Some(match kind {
            1 => Self::Hello {
                relay: fields.id()?,
                host: fields.text()?,
                run: fields.text()?,
                version: fields.text()?,
                jobs: fields.list(4, Reader::text)?,
            },
            2 => Self::Announce(read_announced(fields)?),
            3 => Self::Define {
                producer: ProducerId(fields.id()?),
                first: fields.u64()?,
                records: body.to_vec(),
            },
            4 => Self::Frames {
                producer: ProducerId(fields.id()?),
                lane: fields.u8()?,
                prev: fields.u64()?,
                first: fields.u64()?,
                end: fields.u64()?,
                bytes: body.to_vec(),
            },
            5 => Self::Gap {
                producer: ProducerId(fields.id()?),
                lane: fields.u8()?,
                first: fields.u64()?,
                end: fields.u64()?,
                frames_lost: fields.maybe()?,
                reason: reason_of(fields.u8()?)?,
            },
            6 => Self::State {
                producer: ProducerId(fields.id()?),
                state: read_state(fields)?,
            },
            7 => Self::Samples {
                number: fields.u64()?,
                clock_offset_ns: fields.i64()?,
                lines: fields.text()?.into_bytes(),
            },
            8 => Self::Ping {
                wall_ns: fields.i64()?,
            },
            9 => Self::Bye,
            _ => return Self::read_answer(kind, fields),
        })
    }

    /// What only the monitor sends.
    fn read_answer(kind: u8, fields: &mut Reader<'_>) -> Option<Self> {
        Some(match kind {
            65 => Self::Welcome {
                run: fields.text()?,
                window_bytes: fields.u64()?,
            },
            66 => Self::Refuse {
                reason: fields.text()?,
            },
            67 => {
                let (producer, definitions) = (ProducerId(fields.id()?), fields.u64()?);
                Self::Resume {
                    producer,
                    definitions,
                    received: read_positions(fields)?,
                    durable: read_positions(fields)?,
                }
            }
            68 => Self::Marks {
                window_bytes: fields.u64()?,
                producers: fields.list(29, read_durable)?,
            },
            69 => Self::Done {
                producer: ProducerId(fields.id()?),
            },
            70 => Self::Pong {
                wall_ns: fields.i64()?,
                here_ns: fields.i64()?,
            },
            71 => Self::Restart {
                reason: fields.text()?,
            },
            _ => return None,
        })
    }
}

fn sum(head: &[u8], len: &[u8], fields: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(head), len), fields)
}
