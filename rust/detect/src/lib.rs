//! Streaming detectors for single series: each sees a point once, in order, and keeps a bounded amount of what was.
//!
//! Nothing here knows runs, files or Python. A detector never looks ahead, and what it says does not depend on how
//! the points were batched.

mod divergence;
mod event;
mod finite;
mod screen;
mod slowdown;
mod spike;
mod window;

pub use divergence::{Divergence, DivergenceLimits};
pub use event::{Event, Point, What};
pub use finite::Finite;
pub use screen::{Limits, Screen};
pub use slowdown::{Slowdown, SlowdownLimits};
pub use spike::{Spike, SpikeLimits};
