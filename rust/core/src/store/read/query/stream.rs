//! All points of some keys, chunk by chunk, on one state of the database: what export writes.

use std::path::Path;
use std::sync::Arc;

use super::plan::Bounds;
use super::pool::{ChunkId, Key, KeyChunk, Pool};
use crate::store::error::StoreError;
use crate::store::keys::{raw_name, readable};
use crate::store::read::series::series_of;
use crate::store::read::{RunReader, Series};

/// Which points to stream.
#[derive(Debug, Clone, Default)]
pub struct StreamOptions {
    /// Only these keys, as bytes, in this order. `None`: all keys, by name.
    pub keys: Option<Vec<Vec<u8>>>,
    /// Only steps from here on. `None`: from the beginning.
    pub since: Option<i64>,
    /// Everything that was stored, repeated and hidden steps too.
    pub raw: bool,
}

/// Some points of one key; their columns are those of [`RunReader::series`].
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// Its name; names that are not UTF-8 exist.
    pub key: Vec<u8>,
    /// The points, merged by step and rank, or raw by attempt and time.
    pub series: Series,
    /// Points read so far, those left out too; of [`PointStream::total`].
    pub read: u64,
}

/// The chunks, by key and step. Memory is that of a chunk as long as the steps of a key grow.
pub struct PointStream {
    pool: Arc<Pool>,
    bounds: Bounds,
    raw: bool,
    key: usize,
    window: usize,
}

impl RunReader {
    /// Stream the points of some keys, or of all.
    ///
    /// # Errors
    /// [`StoreError::NoSuchMetric`] when nobody has logged one of the keys.
    pub fn stream(&self, options: &StreamOptions) -> Result<PointStream, StoreError> {
        PointStream::open(self.path(), options)
    }
}

impl PointStream {
    fn open(path: &Path, options: &StreamOptions) -> Result<Self, StoreError> {
        let pool = Pool::open(path)?;
        let keys = match &options.keys {
            None => pool.keys_where("1", &[])?,
            Some(names) => names
                .iter()
                .map(|name| pool.key_named(name))
                .collect::<Result<_, _>>()?,
        };
        let bounds = Bounds {
            keys,
            from_step: options.since.unwrap_or(i64::MIN),
            ..Bounds::all()
        };
        Ok(Self {
            pool: Arc::new(pool),
            bounds,
            raw: options.raw,
            key: 0,
            window: 0,
        })
    }

    /// How many points are stored in the run.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.pool.total
    }

    /// The next chunk that has a point. `None`: that was all.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, StoreError> {
        while let Some((key, _)) = self.bounds.keys.get(self.key) {
            let key = *key;
            let windows = self.pool.windows(key)?;
            if self.window >= windows.len() {
                (self.key, self.window) = (self.key + 1, 0);
                continue;
            }
            let window = self.window;
            self.window += 1;
            let next = windows.get(window + 1);
            if next.is_some_and(|start| *start <= self.bounds.from_step) {
                continue;
            }
            let id = ChunkId {
                key,
                window,
                raw: self.raw,
                rank: None,
                after_ns: i64::MIN,
                before_ns: i64::MAX,
            };
            let chunk = self.pool.chunk(id, (i64::MIN, i64::MAX))?;
            let series = self.series(&chunk);
            if !series.step.is_empty() {
                return Ok(Some(Chunk {
                    key: self.pool.raw_name(key)?,
                    series,
                    read: self.pool.decoded(),
                }));
            }
        }
        Ok(None)
    }

    fn series(&self, chunk: &KeyChunk) -> Series {
        let from = self.bounds.from_step;
        let positions = (0..chunk.len()).filter(|position| chunk.step(*position) >= from);
        let places: Vec<u32> = positions.map(|position| chunk.at(position)).collect();
        series_of(&chunk.points, &self.pool.origins, &places)
    }
}

impl Pool {
    /// The key of exactly this name.
    fn key_named(&self, name: &[u8]) -> Result<Key, StoreError> {
        let text = readable(name);
        let found = match std::str::from_utf8(name) {
            Ok(exact) => self.keys_where("name = ?1 AND raw IS NULL", &[&exact])?,
            Err(_) => self.keys_where("name = ?1 AND raw = ?2", &[&text, &name])?,
        };
        let first = found.into_iter().next();
        first.ok_or(StoreError::NoSuchMetric { name: text })
    }

    fn raw_name(&self, key: u32) -> Result<Vec<u8>, StoreError> {
        let (name, raw) = self.name_columns(key)?;
        Ok(raw_name(name, raw))
    }
}
