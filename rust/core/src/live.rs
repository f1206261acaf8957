//! The pointer of a run directory to its live database on a local disk, and what is found behind it.
//!
//! A file system that cannot hold WAL gets copies; `ingest::home` makes and removes what is named here.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use tm_spool::{ProducerId, clock, is_copied};

/// The name of the database in a run directory, and in a live directory.
pub const DATABASE_NAME: &str = "training_monitor.db";
/// The file in a run directory that says where the live database is.
pub(crate) const POINTER: &str = "training_monitor.live";
/// What a copy and a pointer are called until they are whole.
pub(crate) const COPY_DRAFT: &str = ".training_monitor.db.new";
pub(crate) const POINTER_DRAFT: &str = ".training_monitor.live.new";
/// How the name of the private directories for temporary data begins, as `tm_spool::base_name` makes it.
const BASE_PREFIX: &str = "training_monitor-";

/// Where a live database is, and on which machine that path counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// Its directory; nothing for a pointer that cannot be read.
    pub dir: PathBuf,
    /// The name of the host.
    pub host: String,
    /// A digest of the id of its installation; empty where it has none.
    machine: String,
    boot_id: String,
}

impl Pointer {
    /// To a directory of this machine.
    pub(crate) fn to(dir: PathBuf) -> Self {
        Self {
            dir,
            host: clock::host_name(),
            machine: machine(),
            boot_id: boot_id(),
        }
    }

    /// The pointer of a run directory. `None`: it has none.
    ///
    /// # Errors
    /// The kernel's: it may be there, and cannot be read.
    pub fn read(run_dir: &Path) -> io::Result<Option<Self>> {
        let bytes = match fs::read(run_dir.join(POINTER)) {
            Ok(bytes) => bytes,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let json: Json = serde_json::from_slice(&bytes).unwrap_or_default();
        let text = |field: &str| json[field].as_str().unwrap_or_default().to_owned();
        let dir = PathBuf::from(OsString::from_vec(unescaped(&text("dir"))));
        let named = PathBuf::from(OsString::from_vec(unescaped(&text("run"))));
        let leads_there = || fs::read(named.join(POINTER)).is_ok_and(|theirs| theirs == bytes);
        if is_copied(run_dir, &named) && leads_there() {
            return Ok(None);
        }
        // It is renamed into place when it is on the disk, so this is nothing that we wrote.
        if !is_live_name(&dir) {
            return Ok(Some(Self {
                dir: PathBuf::new(),
                host: "an unknown host".into(),
                machine: String::new(),
                boot_id: String::new(),
            }));
        }
        Ok(Some(Self {
            dir,
            host: text("host"),
            machine: text("machine"),
            boot_id: text("boot_id"),
        }))
    }

    /// Write it, whole or not at all.
    pub(crate) fn write(&self, run_dir: &Path) -> io::Result<()> {
        let json = json!({
            "dir": escaped(self.dir.as_os_str().as_bytes()), "host": self.host,
            "machine": self.machine, "boot_id": self.boot_id,
            "run": escaped(absolute(run_dir).as_os_str().as_bytes()),
        });
        let draft = run_dir.join(POINTER_DRAFT);
        let mut open = OpenOptions::new();
        open.write(true).create(true).truncate(true).mode(0o600);
        let mut file = open.open(&draft)?;
        file.write_all(format!("{json}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, run_dir.join(POINTER))?;
        sync_names(run_dir)
    }

    /// The database behind it.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.dir.join(DATABASE_NAME)
    }

    /// Whether the directory, should it be missing, was lost rather than left on another machine. The host's name
    /// alone proves nothing, nor does the installation: containers share the one, and their image the other.
    #[must_use]
    pub fn is_of_this_machine(&self) -> bool {
        let same = |theirs: &str, ours: &str| !theirs.is_empty() && theirs == ours;
        same(&self.host, &clock::host_name())
            && (same(&self.machine, &machine()) || same(&self.boot_id, &boot_id()))
    }

    /// What the directory is called before the pointer to it stands.
    pub(crate) fn draft(&self) -> PathBuf {
        self.beside("new")
    }

    /// What it is called while it is deleted.
    pub(crate) fn gone(&self) -> PathBuf {
        self.beside("gone")
    }

    fn beside(&self, end: &str) -> PathBuf {
        let name = self.dir.file_name().unwrap_or_default().to_string_lossy();
        self.dir.with_file_name(format!(".{name}.{end}"))
    }
}

fn absolute(dir: &Path) -> PathBuf {
    fs::canonicalize(dir).unwrap_or_else(|_| dir.to_path_buf())
}

/// What a reader finds for a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The database to open.
    pub database: PathBuf,
    /// Where the live one is, of which this is a copy. `None`: this is the live one.
    pub copy_of: Option<Pointer>,
}

/// Find the database of a run directory; anything else is taken for a database itself.
#[must_use]
pub fn find(path: &Path) -> Found {
    let here = |database| Found {
        database,
        copy_of: None,
    };
    if path.ends_with(DATABASE_NAME) || !path.is_dir() {
        return here(path.to_path_buf());
    }
    let copy = path.join(DATABASE_NAME);
    match Pointer::read(path) {
        Ok(Some(pointer)) if pointer.database().is_file() => here(pointer.database()),
        Ok(Some(pointer)) => Found {
            database: copy,
            copy_of: Some(pointer),
        },
        // It went while we looked, or cannot be read: the copy can.
        Ok(None) | Err(_) => here(copy),
    }
}

/// The name of a new live directory: the run's, for people, and a number that no other has.
pub(crate) fn new_name(run_dir: &Path) -> io::Result<String> {
    let run = run_dir.file_name().unwrap_or_default().to_string_lossy();
    let run: String = run.chars().take(40).collect();
    Ok(format!("{run}-{}", ProducerId::random()?))
}

/// A pointer may hold any path: only a directory named as ours are, in a place of ours, counts.
fn is_live_name(dir: &Path) -> bool {
    let name = |path: Option<&Path>| {
        let name = path.and_then(Path::file_name).unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    let own = name(Some(dir));
    let is_numbered = own
        .rsplit_once('-')
        .is_some_and(|(_, id)| id.parse::<ProducerId>().is_ok());
    dir.is_absolute() && is_numbered && name(dir.parent()).starts_with(BASE_PREFIX)
}

/// Bring the names in a directory to the disk, where the file system can.
pub(crate) fn sync_names(dir: &Path) -> io::Result<()> {
    match File::open(dir)?.sync_all() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Not the id itself, which is nobody's business.
fn machine() -> String {
    let id = fs::read("/etc/machine-id").unwrap_or_default();
    let id = id.trim_ascii();
    if id.is_empty() {
        return String::new();
    }
    let low = crc32c::crc32c(id);
    format!("{:08x}{low:08x}", crc32c::crc32c_append(!low, id))
}

fn boot_id() -> String {
    ProducerId(clock::boot_id()).to_string()
}

/// A path may hold any bytes, JSON only text.
fn escaped(path: &[u8]) -> String {
    path.iter()
        .map(|byte| match byte {
            b'%' | 0x80.. => format!("%{byte:02x}"),
            byte => char::from(*byte).to_string(),
        })
        .collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2).unwrap_or(("", part));
        bytes.extend(u8::from_str_radix(code, 16));
        bytes.extend_from_slice(rest.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer_in(base: &Path) -> Pointer {
        let name = new_name(Path::new("/runs/a run")).unwrap();
        Pointer::to(base.join("training_monitor-7").join(name))
    }

    #[test]
    fn a_copied_pointer_leads_nowhere_and_a_renamed_one_does() {
        let root = tempfile::tempdir().unwrap();
        let (run, copy, moved) = (
            root.path().join("run"),
            root.path().join("copy"),
            root.path().join("moved"),
        );
        fs::create_dir(&run).unwrap();
        fs::create_dir(&copy).unwrap();
        pointer_in(Path::new("/var/tmp")).write(&run).unwrap();
        fs::copy(run.join(POINTER), copy.join(POINTER)).unwrap();
        assert_eq!(Pointer::read(&copy).unwrap(), None);
        assert!(Pointer::read(&run).unwrap().is_some());
        fs::rename(&run, &moved).unwrap();
        assert!(Pointer::read(&moved).unwrap().is_some());
    }

    #[test]
    fn a_pointer_is_read_as_it_was_written_whatever_bytes_its_path_holds() {
        let run = tempfile::tempdir().unwrap();
        assert_eq!(Pointer::read(run.path()).unwrap(), None);
        let odd = OsString::from_vec(b"/tmp/100% \xff\"\n".to_vec());
        let pointer = pointer_in(Path::new(&odd));
        pointer.write(run.path()).unwrap();
        assert_eq!(Pointer::read(run.path()).unwrap(), Some(pointer));
    }

    #[test]
    fn a_pointer_to_what_is_no_place_of_ours_leads_nowhere() {
        let run = tempfile::tempdir().unwrap();
        for text in ["", "{", r#"{"dir": "/etc", "host": "a"}"#] {
            fs::write(run.path().join(POINTER), text).unwrap();
            let pointer = Pointer::read(run.path()).unwrap().unwrap();
            assert_eq!(pointer.dir, PathBuf::new());
            assert!(!pointer.is_of_this_machine());
            assert!(find(run.path()).copy_of.is_some());
        }
    }

    #[test]
    fn a_reader_follows_the_pointer_as_far_as_there_is_a_database() {
        let (run, base) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let copy = run.path().join(DATABASE_NAME);
        let pointer = pointer_in(base.path());
        pointer.write(run.path()).unwrap();
        let found = find(run.path());
        assert_eq!(found.database, copy);
        assert_eq!(found.copy_of.as_ref(), Some(&pointer));
        fs::create_dir_all(&pointer.dir).unwrap();
        fs::write(pointer.database(), "x").unwrap();
        assert_eq!(find(run.path()).database, pointer.database());
        assert_eq!(find(run.path()).copy_of, None);
        // The file itself, where it is named.
        assert_eq!(find(&copy).database, copy);
    }

    #[test]
    fn the_same_name_of_a_host_is_not_the_same_machine() {
        let mut pointer = pointer_in(Path::new("/tmp"));
        assert!(pointer.is_of_this_machine());
        pointer.boot_id = "0".repeat(32);
        assert_eq!(pointer.is_of_this_machine(), !machine().is_empty());
        pointer.machine = "another".into();
        assert!(!pointer.is_of_this_machine());
        let other_host = Pointer {
            host: "elsewhere".into(),
            ..pointer_in(Path::new("/tmp"))
        };
        assert!(!other_host.is_of_this_machine());
    }
}
