//! Metric names: one number per name in the whole run, whoever logs it.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, params};

use super::error::StoreError;

/// The names known so far; new ones are staged until their transaction is durable.
#[derive(Debug, Default)]
pub(crate) struct KeyTable {
    ids: HashMap<Arc<[u8]>, u32>,
    names: HashMap<u32, Arc<[u8]>>,
    staged: Vec<u32>,
}

impl KeyTable {
    pub(crate) fn load(conn: &Connection) -> Result<Self, StoreError> {
        let mut table = Self::default();
        let mut statement = conn.prepare("SELECT id, name, raw FROM keys")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id: u32 = row.get(0)?;
            table.remember(id, raw_name(row.get(1)?, row.get(2)?).into());
        }
        Ok(table)
    }

    fn remember(&mut self, id: u32, name: Arc<[u8]>) {
        self.ids.insert(Arc::clone(&name), id);
        self.names.insert(id, name);
    }

    /// The number of this name; inserts it inside the caller's transaction when it is new.
    pub(crate) fn id(&mut self, conn: &Connection, name: &[u8]) -> Result<u32, StoreError> {
        if let Some(id) = self.ids.get(name) {
            return Ok(*id);
        }
        let mut insert = conn.prepare_cached("INSERT INTO keys(name, raw) VALUES(?1, ?2)")?;
        match std::str::from_utf8(name) {
            Ok(text) => insert.insert(params![text, None::<&[u8]>])?,
            Err(_) => insert.insert(params![readable(name), name])?,
        };
        let id = u32::try_from(conn.last_insert_rowid())
            .map_err(|_| StoreError::Unexpected("more than 2^32 keys".into()))?;
        self.remember(id, name.into());
        self.staged.push(id);
        Ok(id)
    }

    /// The bytes of a name. `None`: no key has this number.
    pub(crate) fn name(&self, id: u32) -> Option<&[u8]> {
        self.names.get(&id).map(|name| &**name)
    }

    /// The transaction is durable: keep what it added.
    pub(crate) fn committed(&mut self) {
        self.staged.clear();
    }

    /// The transaction was rolled back: forget what it added.
    pub(crate) fn rolled_back(&mut self) {
        for id in self.staged.drain(..) {
            if let Some(name) = self.names.remove(&id) {
                self.ids.remove(&*name);
            }
        }
    }
}

/// The exact bytes of a name, from its two columns.
pub(crate) fn raw_name(name: String, raw: Option<Vec<u8>>) -> Vec<u8> {
    raw.unwrap_or_else(|| name.into_bytes())
}

/// A readable form of bytes that are not UTF-8: what is wrong becomes `\xNN`.
pub(crate) fn readable(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len() + 8);
    for chunk in name.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}
