//! What goes in and what comes out.

/// One value of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Training step.
    pub step: i64,
    /// Wall clock, in seconds since 1970.
    pub time: f64,
    /// The value.
    pub value: f64,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// NaN or infinite, after a finite value or as the first one.
    NonFinite,
    /// Finite again, and for a while.
    FiniteAgain,
    /// A jump away from what was expected.
    Spike,
    /// Back within ten points.
    Recovered,
    /// Back, but later.
    RecoveredLate,
    /// Not back after fifty points: that is the level from now on.
    NotRecovered,
    /// Far from its best, and for a while.
    Divergence,
    /// Near its best again.
    Converging,
    /// Steps take longer than they did.
    Slowdown,
    /// They do not any more.
    UpToSpeed,
}

impl What {
    /// In one word, as the outside spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NonFinite => "non_finite",
            Self::FiniteAgain => "finite_again",
            Self::Spike => "spike",
            Self::Recovered => "recovered",
            Self::RecoveredLate => "recovered_late",
            Self::NotRecovered => "not_recovered",
            Self::Divergence => "divergence",
            Self::Converging => "converging",
            Self::Slowdown => "slowdown",
            Self::UpToSpeed => "up_to_speed",
        }
    }
}

/// Something that a detector noticed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Event {
    /// What.
    pub what: What,
    /// The point at which it was noticed.
    pub at: Point,
    /// The step at which it began.
    pub since: i64,
    /// What was expected.
    pub reference: f64,
    /// How far from that, in standard deviations of the noise; NaN where that has no meaning.
    pub sigma: f64,
    /// The bound that was crossed.
    pub threshold: f64,
}
