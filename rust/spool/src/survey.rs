//! All producers of a run, also those whose files cannot be read from here.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::meta::ProducerInfo;
use crate::place::{Place, places};
use crate::stats::{Life, ProducerStats, peek};
use crate::types::ProducerId;

/// A directory that goes while we look is no riddle: the second look finds it gone.
const SECOND_LOOK: Duration = Duration::from_millis(20);

/// One producer, as far as it can be seen from this process.
#[derive(Debug)]
pub struct Sighting {
    /// Which one.
    pub id: ProducerId,
    /// Where its files are, or are said to be.
    pub dir: PathBuf,
    /// What its files say; else why they say nothing. It may be alive, and hold what nobody has read.
    pub seen: Result<(ProducerInfo, ProducerStats, Life), String>,
}

/// Look at every producer that the spool of a run names.
///
/// # Errors
/// The kernel's: the spool itself cannot be listed.
pub fn survey(run_dir: &Path) -> io::Result<Vec<Sighting>> {
    let mut found = Vec::new();
    for place in places(run_dir)? {
        let seen = look(&place).or_else(|_| {
            std::thread::sleep(SECOND_LOOK);
            look(&place)
        });
        if seen.is_ok() || place.is_named() {
            found.push(Sighting {
                id: place.id,
                dir: place.dir,
                seen,
            });
        }
    }
    Ok(found)
}

fn look(place: &Place) -> Result<(ProducerInfo, ProducerStats, Life), String> {
    if !place.dir.is_dir() {
        return Err(format!(
            "{} is not on this machine, or was deleted",
            place.dir.display()
        ));
    }
    peek(&place.dir).map_err(|error| error.to_string())
}
