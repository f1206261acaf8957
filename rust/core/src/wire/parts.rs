//! What messages are made of: producers, how they go, and how far they are in the database.

use tm_spool::{GapReason, Life, Mode, ProducerId, ProducerInfo, ProducerStats, Reject};

use super::fields::{Reader, Writer};

/// Lanes of a producer, each with a position.
pub(crate) type Positions = Vec<(u8, u64)>;

/// A producer as its relay presents it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Announced {
    pub info: ProducerInfo,
    /// Added to the wall clock of the relay's machine this gives that of the monitor's, in nanoseconds.
    pub clock_offset_ns: i64,
    /// By how much that may be wrong, in nanoseconds.
    pub clock_error_ns: u64,
}

/// How the process of a producer ended that did not close.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ExitTold {
    /// As of wait(2). `None`: nobody can say.
    pub status: Option<u64>,
    pub oom_kills: Option<u64>,
}

/// How a producer goes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    pub life: Life,
    pub accepted_frames: u64,
    pub accepted_points: u64,
    pub rejected: Vec<u64>,
    /// On its machine, and not in the database.
    pub backlog_bytes: u64,
    /// -1 before the first.
    pub last_step: i64,
    /// It has ended and everything of it was sent before this message.
    pub drained: bool,
    /// `None`: it lives, it closed, or that is not known yet.
    pub exit: Option<ExitTold>,
}

impl State {
    /// What is known of a producer that was just announced.
    pub(crate) fn unknown() -> Self {
        Self {
            life: Life::Alive,
            accepted_frames: 0,
            accepted_points: 0,
            rejected: Vec::new(),
            backlog_bytes: 0,
            last_step: -1,
            drained: false,
            exit: None,
        }
    }

    /// The counters, as those of a producer on this machine are given.
    pub(crate) fn stats(&self) -> ProducerStats {
        let count = |i: usize| self.rejected.get(i).copied().unwrap_or(0);
        ProducerStats {
            accepted_frames: self.accepted_frames,
            accepted_points: self.accepted_points,
            rejected: std::array::from_fn::<u64, { Reject::COUNT }, _>(count),
            backlog_bytes: self.backlog_bytes,
            last_step: self.last_step,
            ..ProducerStats::default()
        }
    }
}

/// How far a producer is in the database.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Durable {
    pub producer: ProducerId,
    pub points: u64,
    pub lanes: Positions,
    /// `None`: nobody asked the training to stop.
    pub stop: Option<String>,
}

pub(super) fn write_positions(out: &mut Writer, positions: &Positions) {
    out.u32(positions.len() as u32);
    for (lane, lsn) in positions {
        out.u8(*lane).u64(*lsn);
    }
}

pub(super) fn read_positions(fields: &mut Reader<'_>) -> Option<Positions> {
    fields.list(9, |fields| Some((fields.u8()?, fields.u64()?)))
}

pub(super) fn write_durable(out: &mut Writer, durable: &Durable) {
    out.id(durable.producer.0).u64(durable.points);
    write_positions(out, &durable.lanes);
    out.u8(u8::from(durable.stop.is_some()));
    durable.stop.as_ref().map(|reason| out.text(reason));
}

pub(super) fn read_durable(fields: &mut Reader<'_>) -> Option<Durable> {
    Some(Durable {
        producer: ProducerId(fields.id()?),
        points: fields.u64()?,
        lanes: read_positions(fields)?,
        stop: match fields.u8()? {
            0 => None,
            1 => Some(fields.text()?),
            _ => return None,
        },
    })
}

pub(super) fn reason_number(reason: GapReason) -> u8 {
    match reason {
        GapReason::Damaged => 1,
        GapReason::DatabaseBehind => 2,
        GapReason::FileLost => 3,
    }
}

pub(super) fn reason_of(number: u8) -> Option<GapReason> {
    Some(match number {
        1 => GapReason::Damaged,
        2 => GapReason::DatabaseBehind,
        3 => GapReason::FileLost,
        _ => return None,
    })
}

pub(super) fn write_announced(out: &mut Writer, announced: &Announced) {
    let info = &announced.info;
    out.id(info.id.0)
        .id(info.parent.unwrap_or_default().0)
        .id(info.boot_id);
    out.u32(info.rank).u32(info.local_rank);
    out.u32(info.world).u32(info.local_world).u32(info.pid);
    out.u64(info.start_ticks).u64(info.pid_ns).u64(info.time_ns);
    out.i64(info.boottime_ns).i64(info.wall_ns);
    out.u8(u8::from(info.mode == Mode::Pwrite));
    out.text(&info.host).text(&info.job_key);
    out.i64(announced.clock_offset_ns)
        .u64(announced.clock_error_ns);
}

pub(super) fn read_announced(fields: &mut Reader<'_>) -> Option<Announced> {
    let id = ProducerId(fields.id()?);
    let parent = ProducerId(fields.id()?);
    let boot_id = fields.id()?;
    let mut number = || fields.u32();
    let (rank, local_rank, world, local_world, pid) =
        (number()?, number()?, number()?, number()?, number()?);
    Some(Announced {
        info: ProducerInfo {
            id,
            parent: (parent != ProducerId::default()).then_some(parent),
            boot_id,
            rank,
            local_rank,
            world,
            local_world,
            pid,
            start_ticks: fields.u64()?,
            pid_ns: fields.u64()?,
            time_ns: fields.u64()?,
            boottime_ns: fields.i64()?,
            wall_ns: fields.i64()?,
            mode: match fields.u8()? {
                0 => Mode::Mmap,
                1 => Mode::Pwrite,
                _ => return None,
            },
            host: fields.text()?,
            job_key: fields.text()?,
        },
        clock_offset_ns: fields.i64()?,
        clock_error_ns: fields.u64()?,
    })
}

pub(super) fn write_state(out: &mut Writer, state: &State) {
    out.u8(match state.life {
        Life::Alive => 0,
        Life::Closed => 1,
        Life::Dead => 2,
    });
    out.u64(state.accepted_frames).u64(state.accepted_points);
    out.u32(state.rejected.len() as u32);
    for count in &state.rejected {
        out.u64(*count);
    }
    out.u64(state.backlog_bytes).i64(state.last_step);
    out.u8(u8::from(state.drained));
    out.u8(u8::from(state.exit.is_some()));
    if let Some(exit) = &state.exit {
        out.maybe(exit.status).maybe(exit.oom_kills);
    }
}

pub(super) fn read_state(fields: &mut Reader<'_>) -> Option<State> {
    Some(State {
        life: match fields.u8()? {
            0 => Life::Alive,
            1 => Life::Closed,
            2 => Life::Dead,
            _ => return None,
        },
        accepted_frames: fields.u64()?,
        accepted_points: fields.u64()?,
        rejected: fields.list(8, Reader::u64)?,
        backlog_bytes: fields.u64()?,
        last_step: fields.i64()?,
        drained: fields.u8()? == 1,
        exit: match fields.u8()? {
            0 => None,
            1 => Some(ExitTold {
                status: fields.maybe()?,
                oom_kills: fields.maybe()?,
            }),
            _ => return None,
        },
    })
}
