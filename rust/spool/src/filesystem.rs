//! What a file system is able to hold: mapped lanes, a live database, or only files.
//!
//! An allow-list, because what is not known may be anything. A mapped lane needs stores that cannot fail: blocks
//! allocated once and overwritten in place. The database needs what SQLite's WAL does: shared memory that all
//! processes see, and locks between them, so a file system of this machine alone.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What may lie on a file system. Each kind holds what the ones before it hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holds {
    /// Files, written by system calls.
    Files,
    /// The database as well: WAL works.
    Database,
    /// Mapped lanes as well: a store into allocated blocks never fails.
    Lanes,
}

/// A file system as this package sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// What people call it; "unknown" when it is not on the list.
    pub name: &'static str,
    /// What may lie on it.
    pub holds: Holds,
    /// Its content is gone after a reboot.
    pub in_memory: bool,
}

const UNKNOWN: FileSystem = plain("unknown");

const fn plain(name: &'static str) -> FileSystem {
    known(name, Holds::Files)
}

const fn known(name: &'static str, holds: Holds) -> FileSystem {
    FileSystem {
        name,
        holds,
        in_memory: false,
    }
}

const OVERLAY: i64 = 0x794c_7630;

/// By the number in `statfs`. What overwrites by writing elsewhere (btrfs, zfs, f2fs, bcachefs) may run out of
/// space under a mapping, whatever was allocated.
const LIST: [(i64, FileSystem); 28] = [
    (0xEF53, known("ext4", Holds::Lanes)),
    (0x5846_5342, known("xfs", Holds::Lanes)),
    (
        0x0102_1994,
        FileSystem {
            in_memory: true,
            ..known("tmpfs", Holds::Lanes)
        },
    ),
    (0x9123_683E, known("btrfs", Holds::Database)),
    (0x2FC1_2FC1, known("zfs", Holds::Database)),
    (0xF2F5_2010, known("f2fs", Holds::Database)),
    (0xCA45_1A4E, known("bcachefs", Holds::Database)),
    (0x3153_464A, known("jfs", Holds::Database)),
    (0x6969, plain("NFS")),
    (0x517B, plain("SMB")),
    (0xFF53_4D42, plain("CIFS")),
    (0xFE53_4D42, plain("SMB2")),
    (0x6573_5546, plain("FUSE")),
    (0x0BD0_0BD0, plain("Lustre")),
    (0x4750_4653, plain("GPFS")),
    (0x1983_0326, plain("BeeGFS")),
    (0x00C3_6400, plain("Ceph")),
    (0x0102_1997, plain("9p")),
    (0x5346_414F, plain("AFS")),
    (0x6B41_4653, plain("AFS")),
    (0x7375_7245, plain("Coda")),
    (0x7461_636F, plain("OCFS2")),
    (0x0116_1970, plain("GFS2")),
    (0xAAD7_AAEA, plain("PanFS")),
    (0x786F_4256, plain("vboxsf")),
    (0xBACB_ACBC, plain("vmhgfs")),
    (0x4D44, plain("FAT")),
    (0x2011_BAB0, plain("exFAT")),
];

/// The file system below `path`.
#[must_use]
pub fn filesystem(path: &Path) -> FileSystem {
    let Some(facts) = Facts::of(path) else {
        return UNKNOWN;
    };
    if facts.magic == OVERLAY {
        return judge_overlay(upper_of(path).map(|upper| filesystem(&upper)), &facts);
    }
    by_magic(facts.magic)
}

fn by_magic(magic: i64) -> FileSystem {
    let found = LIST.iter().find(|(known, _)| *known == magic);
    found.map_or(UNKNOWN, |(_, kind)| *kind)
}

/// Files of an overlay lie on its upper layer. In a container that one is out of sight, but `statfs` still gives its
/// figures: btrfs has no number of inodes, zfs larger blocks, FUSE and ramfs mostly neither.
fn judge_overlay(upper: Option<FileSystem>, facts: &Facts) -> FileSystem {
    let as_ext4 = facts.inodes > 0 && facts.blocks > 0 && facts.block_bytes == PAGE_BYTES;
    let hidden = if as_ext4 {
        known("overlay", Holds::Lanes)
    } else {
        known("overlay", Holds::Database)
    };
    let upper = upper.unwrap_or(hidden);
    FileSystem {
        name: if upper.holds == Holds::Lanes {
            "overlay"
        } else {
            upper.name
        },
        ..upper
    }
}

const PAGE_BYTES: u64 = 4096;

struct Facts {
    magic: i64,
    inodes: u64,
    blocks: u64,
    block_bytes: u64,
}

impl Facts {
    /// `None`: the kernel does not say.
    #[cfg(target_os = "linux")]
    fn of(path: &Path) -> Option<Self> {
        let name = CString::new(path.as_os_str().as_bytes()).ok()?;
        // SAFETY: statfs is plain data and `name` a valid C string; the kernel fills the struct.
        unsafe {
            let mut stat: libc::statfs = std::mem::zeroed();
            (libc::statfs(name.as_ptr(), &mut stat) == 0).then_some(Self {
                magic: stat.f_type as i64 & 0xFFFF_FFFF,
                inodes: stat.f_files as u64,
                blocks: stat.f_blocks as u64,
                block_bytes: stat.f_bsize as u64,
            })
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn of(_path: &Path) -> Option<Self> {
        None
    }
}

/// The upper layer of the overlay that `path` lies on. `None`: it cannot be seen from this mount namespace.
fn upper_of(path: &Path) -> Option<PathBuf> {
    let device = fs::metadata(path).ok()?.dev();
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let wanted = format!("{}:{}", libc::major(device), libc::minor(device));
    let upper = upper_in(&mounts, &wanted)?;
    (upper.is_absolute() && upper.is_dir()).then_some(upper)
}

/// The upper layer of the overlay with this device number, by `/proc/self/mountinfo`.
fn upper_in(mounts: &str, device: &str) -> Option<PathBuf> {
    let line = mounts
        .lines()
        .find(|line| line.split(' ').nth(2) == Some(device))?;
    let (_, options) = line.rsplit_once(" - overlay ")?;
    let options = options.split_ascii_whitespace().next_back()?;
    let upper = options
        .split(',')
        .find_map(|option| option.strip_prefix("upperdir="))?;
    Some(PathBuf::from(upper.replace("\\040", " ")))
}

/// Bytes free for this user on the file system below `path`.
///
/// # Errors
/// The kernel's.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: statvfs is plain data and `name` a valid C string; the kernel fills the struct.
    unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        if libc::statvfs(name.as_ptr(), &mut stat) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((stat.f_bavail as u64).saturating_mul(stat.f_frsize as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(inodes: u64, blocks: u64, block_bytes: u64) -> Facts {
        Facts {
            magic: OVERLAY,
            inodes,
            blocks,
            block_bytes,
        }
    }

    #[test]
    fn what_is_not_on_the_list_holds_files_only() {
        assert_eq!(filesystem(Path::new("/proc")), UNKNOWN);
        assert_eq!(filesystem(Path::new("/no/such/place")), UNKNOWN);
        assert_eq!(by_magic(0x8584_58f6).holds, Holds::Files, "ramfs");
    }

    #[test]
    fn network_file_systems_hold_neither_lanes_nor_database() {
        for magic in [0x6969, 0xFF53_4D42, 0x6573_5546, 0x0BD0_0BD0, 0x4750_4653] {
            let found = by_magic(magic);
            assert_eq!(found.holds, Holds::Files, "{found:?}");
            assert_ne!(found.name, "unknown");
        }
    }

    #[test]
    fn what_overwrites_elsewhere_holds_no_mapped_lanes() {
        for magic in [0x9123_683E, 0x2FC1_2FC1, 0xF2F5_2010, 0xCA45_1A4E] {
            assert_eq!(by_magic(magic).holds, Holds::Database);
        }
    }

    #[test]
    fn numbers_are_listed_once() {
        let mut numbers: Vec<i64> = LIST.iter().map(|(magic, _)| *magic).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), LIST.len());
    }

    #[test]
    fn an_overlay_is_what_its_upper_layer_is() {
        let known_ext4 = by_magic(0xEF53);
        let over = |upper, facts| judge_overlay(upper, &facts);
        assert_eq!(over(Some(known_ext4), facts(0, 0, 1)).holds, Holds::Lanes);
        assert_eq!(over(Some(UNKNOWN), facts(9, 9, 4096)), UNKNOWN);
        // Out of sight: judged by its figures.
        assert_eq!(over(None, facts(9, 9, 4096)).holds, Holds::Lanes);
        assert_eq!(over(None, facts(0, 9, 4096)).holds, Holds::Database);
        assert_eq!(over(None, facts(9, 9, 131_072)).holds, Holds::Database);
    }

    #[test]
    fn the_upper_layer_is_found_by_the_device_number() {
        let mounts = "22 1 253:0 / / rw - ext4 /dev/vda rw\n\
            77 22 0:51 / /merged rw,relatime shared:3 - overlay over rw,lowerdir=/a,upperdir=/b\\040c,workdir=/d\n";
        assert_eq!(upper_in(mounts, "0:51"), Some(PathBuf::from("/b c")));
        assert_eq!(upper_in(mounts, "253:0"), None);
        assert_eq!(upper_in(mounts, "0:52"), None);
    }
}
