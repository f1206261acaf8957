//! What is asked of kept code: lines that hold a pattern, names that a glob means, how two texts differ.

mod difference;
mod names;
mod pattern;
mod scan;

pub use difference::unified;
pub use names::Names;
pub use pattern::{Pattern, PatternError};
pub use scan::{Found, Hit, Search, search};
