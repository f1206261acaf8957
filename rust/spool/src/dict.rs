//! The `dict` file: definitions of keys and layouts, appended before their first use.
//!
//! A record is `u32 len · u32 crc · u32 kind · u32 id · payload`, 8-aligned; the payload of a key is its
//! bytes, of a layout its key ids. A reader stops at length 0 and at a record that does not validate yet.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::files::{Dir, Kept, allocate};
use crate::types::{KeyId, LayoutId, ProducerId, Reject};

/// A longer key is rejected.
pub const MAX_KEY_BYTES: usize = 64 * 1024;
/// Further keys are rejected: whoever puts the step into a name would fill memory and disk with names.
pub const MAX_KEYS: usize = 1 << 18;
/// The names of all keys together.
const MAX_NAME_BYTES: u64 = 256 << 20;
/// With more layouts the caller writes pairs.
pub const MAX_LAYOUTS: usize = 4096;
/// No more than this many keys in all layouts together; then pairs.
const MAX_LAYOUT_KEYS: usize = 4 << 20;

const NAME: &str = "dict";
const HEADER_BYTES: u64 = 64;
/// Where the first record of a dictionary stands in its file.
pub const DICT_START: u64 = HEADER_BYTES;
/// On a disk too full for a whole step the file grows by this much.
const LEAST_BYTES: u64 = 64 << 10;
const DICT_MAGIC: [u8; 8] = *b"TMDICT01";
const RECORD_HEAD: usize = 16;
/// Read at once.
const READ_BYTES: usize = 256 << 10;
const KEY: u32 = 1;
const LAYOUT: u32 = 2;

/// The producer's side: numbers keys and layouts and writes their definitions.
#[derive(Debug)]
pub(crate) struct Dict {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: Kept,
    seed: u32,
    end: u64,
    allocated: u64,
    grow_bytes: u64,
    keys: HashMap<Box<[u8]>, KeyId>,
    layouts: HashMap<Box<[KeyId]>, LayoutId>,
    layout_keys: usize,
    /// Records whose write failed on the way. A reader may have seen the first of them, so their numbers are
    /// theirs for good, and nothing else is ever written in their place.
    owed: Vec<u8>,
    /// Keys and layouts from these numbers on are among the owed.
    owed_from: (usize, usize),
}

impl Dict {
    pub(crate) fn create(dir: &Dir, id: ProducerId, grow_bytes: u64) -> io::Result<Self> {
        let (file, grow_bytes) = dir
            .create(NAME, grow_bytes as usize)
            .map(|file| (file, grow_bytes))
            .or_else(|_| {
                dir.create(NAME, LEAST_BYTES as usize)
                    .map(|file| (file, LEAST_BYTES))
            })?;
        file.write_all_at(&DICT_MAGIC, 0)?;
        Ok(Self {
            inner: Mutex::new(Inner {
                file: Kept::new(file)?,
                seed: crc32c::crc32c(&id.0),
                end: HEADER_BYTES,
                allocated: grow_bytes,
                grow_bytes,
                keys: HashMap::new(),
                layouts: HashMap::new(),
                layout_keys: 0,
                owed: Vec::new(),
                owed_from: (0, 0),
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ids of these keys, defined in one write where they are new.
    pub(crate) fn keys<'k>(
        &self,
        names: impl Iterator<Item = &'k [u8]>,
        ids: &mut Vec<KeyId>,
    ) -> Result<(), Reject> {
        let mut inner = self.lock();
        inner.settle();
        let before = (inner.keys.len(), inner.layouts.len());
        let mut fresh = Vec::new();
        let mut defined: Vec<(&[u8], KeyId)> = Vec::new();
        let from = ids.len();
        let result = names.into_iter().try_for_each(|name| {
            if name.len() > MAX_KEY_BYTES {
                return Err(Reject::KeyTooLong);
            }
            let id = match inner.keys.get(name) {
                Some(id) if inner.is_owed_key(*id) => return Err(Reject::NoSpace),
                Some(id) => *id,
                None if !inner.owed.is_empty() => return Err(Reject::NoSpace),
                None if inner.keys.len() >= MAX_KEYS || inner.end >= MAX_NAME_BYTES => {
                    return Err(Reject::TooManyKeys);
                }
                None => {
                    let id = KeyId((inner.keys.len()) as u32);
                    record(inner.seed, KEY, id.0, name, &mut fresh);
                    // Held in the map at once, so that a name that comes twice has one id.
                    inner.keys.insert(name.into(), id);
                    defined.push((name, id));
                    id
                }
            };
            ids.push(id);
            Ok(())
        });
        let written = result.and_then(|()| inner.append(fresh, before));
        if written.is_err() {
            ids.truncate(from);
            if inner.owed.is_empty() {
                for (name, _) in defined {
                    inner.keys.remove(name);
                }
            }
        }
        written
    }

    /// The id of this layout, defined where it is new.
    pub(crate) fn layout(&self, keys: &[KeyId]) -> Result<LayoutId, Reject> {
        let mut inner = self.lock();
        inner.settle();
        match inner.layouts.get(keys) {
            Some(id) if inner.is_owed_layout(*id) => return Err(Reject::NoSpace),
            Some(id) => return Ok(*id),
            None if !inner.owed.is_empty() => return Err(Reject::NoSpace),
            None => {}
        }
        if inner.layouts.len() >= MAX_LAYOUTS || inner.layout_keys + keys.len() > MAX_LAYOUT_KEYS {
            return Err(Reject::TooManyLayouts);
        }
        let id = LayoutId(inner.layouts.len() as u32);
        let ids: Vec<u8> = keys.iter().flat_map(|k| k.0.to_le_bytes()).collect();
        let mut fresh = Vec::new();
        record(inner.seed, LAYOUT, id.0, &ids, &mut fresh);
        let before = (inner.keys.len(), inner.layouts.len());
        let written = inner.append(fresh, before);
        if written.is_ok() || !inner.owed.is_empty() {
            inner.layouts.insert(keys.into(), id);
            inner.layout_keys += keys.len();
        }
        written.map(|()| id)
    }
}

impl Inner {
    /// Try again to write what is owed.
    fn settle(&mut self) {
        if !self.owed.is_empty() {
            let owed = std::mem::take(&mut self.owed);
            if self.append(owed.clone(), self.owed_from).is_err() {
                self.owed = owed;
            }
        }
    }

    fn is_owed_key(&self, id: KeyId) -> bool {
        !self.owed.is_empty() && id.0 as usize >= self.owed_from.0
    }

    fn is_owed_layout(&self, id: LayoutId) -> bool {
        !self.owed.is_empty() && id.0 as usize >= self.owed_from.1
    }

    /// Write records; `from` is how many keys and layouts there were before them. After an error they are owed,
    /// unless nothing of them can have been written.
    fn append(&mut self, bytes: Vec<u8>, from: (usize, usize)) -> Result<(), Reject> {
        if bytes.is_empty() {
            return Ok(());
        }
        let end = self.end + bytes.len() as u64;
        let file = self.file.get().map_err(|_| Reject::NoSpace)?;
        // Eight bytes more: the zero that stops the reader.
        while end + 8 > self.allocated {
            allocate(file, self.allocated as usize, self.grow_bytes as usize)
                .map_err(|_| Reject::NoSpace)?;
            self.allocated += self.grow_bytes;
        }
        if file.write_all_at(&bytes, self.end).is_err() {
            (self.owed, self.owed_from) = (bytes, from);
            return Err(Reject::NoSpace);
        }
        self.end = end;
        Ok(())
    }
}

pub(crate) fn record(seed: u32, kind: u32, id: u32, payload: &[u8], out: &mut Vec<u8>) {
    let from = out.len();
    let len = RECORD_HEAD + payload.len();
    out.extend((len as u32).to_le_bytes());
    out.extend([0; 4]);
    out.extend(kind.to_le_bytes());
    out.extend(id.to_le_bytes());
    out.extend(payload);
    out.resize(from + len.div_ceil(8) * 8, 0);
    let sum = sum(seed, len as u32, &out[from + 8..from + len]);
    out[from + 4..from + 8].copy_from_slice(&sum.to_le_bytes());
}

fn sum(seed: u32, len: u32, rest: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &len.to_le_bytes()), rest)
}

/// Definitions read since the last call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DictTail {
    /// New keys, as bytes (UTF-8, lone surrogates passed through).
    pub keys: Vec<(KeyId, Vec<u8>)>,
    /// New layouts.
    pub layouts: Vec<(LayoutId, Vec<KeyId>)>,
}

/// The reader's side. Another file than a real one is for tests of reads that fail.
#[derive(Debug)]
pub(crate) struct DictReader<F = File> {
    file: F,
    seed: u32,
    at: u64,
}

impl DictReader {
    pub(crate) fn open(dir: &Dir, id: ProducerId) -> io::Result<Self> {
        Ok(Self {
            file: dir.open_file(NAME)?,
            seed: crc32c::crc32c(&id.0),
            at: HEADER_BYTES,
        })
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

impl<F: FileExt> DictReader<F> {
    /// The whole records from `at` on, as they lie in the file: about `most` bytes, one record at least where
    /// there is one.
    pub(crate) fn records(&self, at: u64, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0u8; most];
        loop {
            let got = self.file.read_at(&mut bytes, at)?;
            let used = parse(self.seed, &bytes[..got], &mut DictTail::default());
            match wanted(&bytes, got, used) {
                Some(more) => bytes.resize(more, 0),
                None => {
                    bytes.truncate(used);
                    return Ok(bytes);
                }
            }
        }
    }

    /// The definitions since the last call that succeeded.
    pub(crate) fn tail(&mut self) -> io::Result<DictTail> {
        let from = self.at;
        // What was taken before an error is taken again: its caller never saw it.
        self.tail_on().inspect_err(|_| self.at = from)
    }

    fn tail_on(&mut self) -> io::Result<DictTail> {
        let mut tail = DictTail::default();
        let mut bytes = vec![0u8; READ_BYTES];
        loop {
            let got = self.file.read_at(&mut bytes, self.at)?;
            let used = parse(self.seed, &bytes[..got], &mut tail);
            self.at += used as u64;
            if let Some(more) = wanted(&bytes, got, used) {
                bytes.resize(more, 0);
            } else if used == 0 || got < bytes.len() {
                return Ok(tail);
            }
        }
    }
}

/// How many bytes have to be read at once, because the first record is larger than these. `None`: it is not.
fn wanted(bytes: &[u8], got: usize, used: usize) -> Option<usize> {
    let need = bytes
        .get(..4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_le_bytes) as usize;
    // A record is at most 16 MiB: a layout of 4 M keys.
    let is_larger =
        used == 0 && got == bytes.len() && need > got && need <= 4 * MAX_LAYOUT_KEYS + 64;
    is_larger.then(|| need.div_ceil(8) * 8 + 8)
}

/// Take whole, valid records; returns how many bytes they were.
pub(crate) fn parse(seed: u32, bytes: &[u8], tail: &mut DictTail) -> usize {
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + RECORD_HEAD) {
        let word = |i: usize| head[i..i + 4].try_into().map_or(0, u32::from_le_bytes);
        let len = word(0) as usize;
        let padded = len.div_ceil(8) * 8;
        let Some(rest) = bytes.get(at + 8..at + len.max(8)) else {
            break;
        };
        if len < RECORD_HEAD || at + padded > bytes.len() || sum(seed, word(0), rest) != word(4) {
            break;
        }
        let payload = &rest[8..];
        match word(8) {
            KEY => tail.keys.push((KeyId(word(12)), payload.to_vec())),
            LAYOUT => {
                let ids = payload
                    .as_chunks::<4>()
                    .0
                    .iter()
                    .map(|b| KeyId(u32::from_le_bytes(*b)));
                tail.layouts.push((LayoutId(word(12)), ids.collect()));
            }
            _ => {}
        }
        at += padded;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// A file whose second read fails, once.
    struct Flaky {
        bytes: Vec<u8>,
        reads: Cell<u32>,
    }

    impl FileExt for Flaky {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            self.reads.set(self.reads.get() + 1);
            if self.reads.get() == 2 {
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            let rest = self.bytes.get(offset as usize..).unwrap_or_default();
            let count = rest.len().min(buf.len());
            buf[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }

        fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(libc::EBADF))
        }
    }

    #[test]
    fn definitions_read_before_an_error_are_read_again() {
        let mut bytes = vec![0; HEADER_BYTES as usize];
        // More than one read takes.
        let name = vec![b'k'; MAX_KEY_BYTES];
        for id in 0..10 {
            record(7, KEY, id, &name, &mut bytes);
        }
        let mut reader = DictReader {
            file: Flaky {
                bytes,
                reads: Cell::new(0),
            },
            seed: 7,
            at: HEADER_BYTES,
        };
        assert!(reader.tail().is_err());
        let ids: Vec<u32> = reader.tail().unwrap().keys.iter().map(|k| k.0.0).collect();
        assert_eq!(ids, (0..10).collect::<Vec<_>>());
        assert_eq!(reader.tail().unwrap(), DictTail::default());
    }
}
