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
/// With more layouts the caller writes pairs.
pub const MAX_LAYOUTS: usize = 4096;
/// No more than this many keys in all layouts together; then pairs.
const MAX_LAYOUT_KEYS: usize = 4 << 20;

const NAME: &str = "dict";
const HEADER_BYTES: u64 = 64;
/// On a disk too full for a whole step the file grows by this much.
const LEAST_BYTES: u64 = 64 << 10;
const DICT_MAGIC: [u8; 8] = *b"TMDICT01";
const RECORD_HEAD: usize = 16;
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
        let mut fresh = Vec::new();
        let mut defined: Vec<(&[u8], KeyId)> = Vec::new();
        let from = ids.len();
        let result = names.into_iter().try_for_each(|name| {
            if name.len() > MAX_KEY_BYTES {
                return Err(Reject::KeyTooLong);
            }
            let id = match inner.keys.get(name) {
                Some(id) => *id,
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
        let written = result.and_then(|()| inner.append(&fresh));
        if written.is_err() {
            for (name, _) in defined {
                inner.keys.remove(name);
            }
            ids.truncate(from);
        }
        written
    }

    /// The id of this layout, defined where it is new.
    pub(crate) fn layout(&self, keys: &[KeyId]) -> Result<LayoutId, Reject> {
        let mut inner = self.lock();
        if let Some(id) = inner.layouts.get(keys) {
            return Ok(*id);
        }
        if inner.layouts.len() >= MAX_LAYOUTS || inner.layout_keys + keys.len() > MAX_LAYOUT_KEYS {
            return Err(Reject::TooManyLayouts);
        }
        let id = LayoutId(inner.layouts.len() as u32);
        let ids: Vec<u8> = keys.iter().flat_map(|k| k.0.to_le_bytes()).collect();
        let mut fresh = Vec::new();
        record(inner.seed, LAYOUT, id.0, &ids, &mut fresh);
        inner.append(&fresh)?;
        inner.layouts.insert(keys.into(), id);
        inner.layout_keys += keys.len();
        Ok(id)
    }
}

impl Inner {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Reject> {
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
        file.write_all_at(bytes, self.end)
            .map_err(|_| Reject::NoSpace)?;
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

/// The reader's side.
#[derive(Debug)]
pub(crate) struct DictReader {
    file: File,
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

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    pub(crate) fn tail(&mut self) -> io::Result<DictTail> {
        let mut tail = DictTail::default();
        let mut bytes = vec![0u8; 256 * 1024];
        loop {
            let got = self.file.read_at(&mut bytes, self.at)?;
            let used = parse(self.seed, &bytes[..got], &mut tail);
            self.at += used as u64;
            // A record is at most 16 MiB (a layout of 4 M keys): make room for it and read again.
            let need = bytes
                .get(..4)
                .and_then(|b| b.try_into().ok())
                .map_or(0, u32::from_le_bytes) as usize;
            if used == 0 && got == bytes.len() && need > got && need <= 4 * MAX_LAYOUT_KEYS + 64 {
                bytes.resize(need.div_ceil(8) * 8 + 8, 0);
            } else if used == 0 || got < bytes.len() {
                return Ok(tail);
            }
        }
    }
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
