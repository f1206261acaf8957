//! Taking a directory out of the way that stands where a producer's should, and is none.

use std::io;
use std::path::{Path, PathBuf};

use crate::clock;
use crate::files::Dir;
use crate::meta;

/// Rename the directory, so that nobody takes it for a producer's again. If its producer lives in spite of a damaged
/// `meta`, it is told to make a new one.
///
/// # Errors
/// The kernel's.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    if let Ok(dir) = Dir::open(path) {
        meta::tell_lost(&dir);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".damaged-{}", clock::wall_ns() / 1_000_000));
    let aside = path.with_file_name(name);
    std::fs::rename(path, &aside)?;
    Ok(aside)
}

/// Whether a producer has written here: something may be lost with it.
#[must_use]
pub fn holds_lanes(path: &Path) -> bool {
    let names = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut names = names.map(|entry| entry.file_name());
    names.any(|name| name.as_encoded_bytes().starts_with(b"lane"))
}
