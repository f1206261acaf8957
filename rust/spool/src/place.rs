//! Where a producer's files may lie: only where a shared mapping of reserved blocks is kept.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::filesystem::{Holds, filesystem, free_bytes};
use crate::types::{Mode, ProducerId};

/// Where the files of a new producer go.
#[derive(Debug)]
pub(crate) struct Placement {
    /// The directory to make.
    pub(crate) dir: PathBuf,
    pub(crate) mode: Mode,
    /// The file in the run directory that names `dir`. `None`: `dir` is in the run directory.
    pub(crate) pointer: Option<PathBuf>,
}

/// `<run>/.spool/<job>`, the job written as a hash of its key.
#[must_use]
pub fn job_dir(run_dir: &Path, job_key: &str) -> PathBuf {
    let low = crc32c::crc32c(job_key.as_bytes());
    let high = crc32c::crc32c_append(!low, job_key.as_bytes());
    run_dir.join(".spool").join(format!("{high:08x}{low:08x}"))
}

pub(crate) fn choose(
    run_dir: &Path,
    job_key: &str,
    id: ProducerId,
    force: Option<Mode>,
    bytes: u64,
) -> io::Result<Placement> {
    let job = job_dir(run_dir, job_key);
    make_private(&job)?;
    let home = job.join(id.to_string());
    if let Some(mode) = force {
        return Ok(Placement {
            dir: home,
            mode,
            pointer: None,
        });
    }
    if filesystem(&job).holds == Holds::Lanes {
        return Ok(Placement {
            dir: home,
            mode: Mode::Mmap,
            pointer: None,
        });
    }
    if let Some(base) = base_for_lanes(bytes) {
        let pointer = Some(job.join(format!("{id}.at")));
        return Ok(Placement {
            dir: base.join(id.to_string()),
            mode: Mode::Mmap,
            pointer,
        });
    }
    Ok(Placement {
        dir: home,
        mode: Mode::Pwrite,
        pointer: None,
    })
}

/// The first local directory with room for a producer of `bytes`; where none has room, the first.
fn base_for_lanes(bytes: u64) -> Option<PathBuf> {
    let bases = private_bases(Holds::Lanes);
    let roomy = bases
        .iter()
        .find(|base| free_bytes(base).is_ok_and(|free| free > bytes));
    roomy.or(bases.first()).cloned()
}

/// Private directories of this user on file systems of this machine that hold what is asked for, the preferred
/// one first; each is made. `TMPDIR`, `/var/tmp` and `/tmp`; `/dev/shm` only when `TMPDIR` names it.
#[must_use]
pub fn private_bases(holds: Holds) -> Vec<PathBuf> {
    let tmp = std::env::var_os("TMPDIR").map(PathBuf::from);
    let places = tmp
        .into_iter()
        .filter(|dir| dir.is_absolute())
        .chain([PathBuf::from("/var/tmp"), PathBuf::from("/tmp")]);
    let mut bases: Vec<PathBuf> = places
        .filter(|place| filesystem(place).holds >= holds)
        .map(|place| place.join(base_name()))
        // Somebody else's directory under a name we expect must not get our data.
        .filter(|base| make_private(base).is_ok() && is_private(base))
        .filter(|base| filesystem(base).holds >= holds)
        .collect();
    bases.dedup();
    bases
}

/// What the directory of this user in a place for temporary files is called.
#[must_use]
pub fn base_name() -> String {
    format!("training_monitor-{}", user())
}

fn user() -> u32 {
    // SAFETY: geteuid only reads.
    unsafe { libc::geteuid() }
}

/// Whether this is a directory, no link, of this user and closed to others.
#[must_use]
pub fn is_private(dir: &Path) -> bool {
    fs::symlink_metadata(dir)
        .is_ok_and(|m| m.is_dir() && m.uid() == user() && m.mode() & 0o077 == 0)
}

/// Make a directory and its parents, each 0700 whatever the umask; one that is there stays as it is.
///
/// # Errors
/// The kernel's.
pub fn make_private(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent()
        && !parent.as_os_str().is_empty()
    {
        make_private(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(e) => Err(e),
    }
}

/// Where the spool of a run says that a producer is.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) id: ProducerId,
    /// Its directory. Behind a pointer file it may lie on another machine.
    pub(crate) dir: PathBuf,
    /// The entry of the spool that says so: the directory itself, or its pointer file.
    entry: PathBuf,
}

impl Place {
    /// Whether the spool still names the producer: it does not while and after its files are deleted.
    pub(crate) fn is_named(&self) -> bool {
        let gone = self.dir.with_file_name(gone_name(self.id));
        fs::symlink_metadata(&self.entry).is_ok() && fs::symlink_metadata(gone).is_err()
    }
}

/// What a producer's directory is called while it is deleted.
pub(crate) fn gone_name(id: ProducerId) -> String {
    format!(".{id}.gone")
}

/// What the pointer to it is called meanwhile: it leads there, and names no producer any more.
pub(crate) fn gone_pointer(id: ProducerId) -> String {
    format!("{id}{GONE_POINTER}")
}

pub(crate) const GONE_POINTER: &str = ".at.gone";

/// The directories of all producers of a run, those on other disks by their pointer files. What a pointer
/// names and this machine does not have is left out; [`crate::survey`] tells of it.
///
/// # Errors
/// The kernel's, other than a spool that is not there.
pub fn producer_dirs(run_dir: &Path) -> io::Result<Vec<PathBuf>> {
    let dirs = places(run_dir)?.into_iter().map(|place| place.dir);
    Ok(dirs.filter(|dir| dir.is_dir()).collect())
}

/// All places that the spool of a run names, whether or not something is there.
pub(crate) fn places(run_dir: &Path) -> io::Result<Vec<Place>> {
    let mut found = Vec::new();
    for job in entries(&run_dir.join(".spool"))? {
        found.extend(entries(&job)?.into_iter().filter_map(place));
    }
    found.sort_by(|a, b| a.dir.cmp(&b.dir));
    Ok(found)
}

/// Whether a pointer that was written in the run directory `named` stands in another one beside it: a copy, which
/// must not take what the original has. One that was renamed has left no directory behind.
#[must_use]
pub fn is_copied(run_dir: &Path, named: &Path) -> bool {
    if named.as_os_str().is_empty() {
        return false;
    }
    match (fs::metadata(run_dir), fs::metadata(named)) {
        (Ok(here), Ok(there)) => (here.dev(), here.ino()) != (there.dev(), there.ino()),
        _ => false,
    }
}

/// Of a pointer file: `<run>/.spool/<job>/<id>.at`.
pub(crate) fn run_dir_of(pointer: &Path) -> Option<&Path> {
    pointer.ancestors().nth(3)
}

/// `None`: the entry names no producer, or is a copy of one that does.
fn place(entry: PathBuf) -> Option<Place> {
    let name = entry.file_name()?.to_string_lossy().into_owned();
    if let Some(id) = name.strip_suffix(".at") {
        let text = fs::read_to_string(&entry).unwrap_or_default();
        let (target, run_dir) = text.split_once('\n').unwrap_or((&text, ""));
        let (here, named) = (run_dir_of(&entry)?, Path::new(run_dir.trim_end()));
        let theirs = named.join(entry.strip_prefix(here).ok()?);
        if is_copied(here, named) && theirs.is_file() {
            return None;
        }
        return Some(Place {
            id: id.parse().ok()?,
            dir: PathBuf::from(target.trim_end()),
            entry,
        });
    }
    let id = name.parse().ok()?;
    entry.is_dir().then(|| Place {
        id,
        dir: entry.clone(),
        entry,
    })
}

/// The entries of a directory; none, where there is no such directory.
pub(crate) fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(list) => list.map(|e| e.map(|e| e.path())).collect(),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(Vec::new())
        }
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_pointer_names_no_producer_and_a_renamed_one_does() {
        let tmp = tempfile::tempdir().unwrap();
        let at = "j/00112233445566778899aabbccddeeff.at";
        let (run, copy, moved) = (
            tmp.path().join("run"),
            tmp.path().join("copy"),
            tmp.path().join("moved"),
        );
        for dir in [&run, &copy] {
            fs::create_dir_all(dir.join(".spool/j")).unwrap();
            let text = format!("/elsewhere\n{}\n", run.display());
            fs::write(dir.join(".spool").join(at), text).unwrap();
        }
        assert_eq!(places(&run).unwrap().len(), 1);
        assert_eq!(places(&run).unwrap()[0].dir, Path::new("/elsewhere"));
        assert_eq!(places(&copy).unwrap().len(), 0);
        fs::rename(&run, &moved).unwrap();
        assert_eq!(places(&moved).unwrap().len(), 1);
        // The other one is no copy any more: there is nothing that it is one of.
        assert_eq!(places(&copy).unwrap().len(), 1);
    }

    #[test]
    fn a_directory_is_private_whatever_the_umask() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("a/b");
        make_private(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
    }
}
