//! The tables, and the way from an older format to this one.

use rusqlite::{Connection, Transaction};

use super::error::StoreError;

/// The format this build writes; `PRAGMA user_version` of the database.
pub(crate) const FORMAT_VERSION: i64 = 4;
/// "TMdb": tells our database from any other SQLite file.
pub(crate) const APPLICATION_ID: i64 = 0x544d_6462;

/// One step of the format: the statements that lead from the version before to `to`.
struct Migration {
    to: i64,
    sql: &'static str,
}

/// In order; a new format appends its step and never edits an old one.
const MIGRATIONS: &[Migration] = &[
    Migration {
        to: 1,
        sql: include_str!("schema.sql"),
    },
    Migration {
        to: 2,
        sql: concat!(
            include_str!("schema_2_statistics.sql"),
            include_str!("schema_2_system.sql")
        ),
    },
    Migration {
        to: 3,
        sql: include_str!("schema_3.sql"),
    },
    Migration {
        to: 4,
        sql: include_str!("schema_4.sql"),
    },
];

/// Bring the database to [`FORMAT_VERSION`], or say why that cannot be done.
pub(crate) fn migrate(conn: &mut Connection) -> Result<(), StoreError> {
    let found = user_version(conn)?;
    check_version(found)?;
    let mut missing = MIGRATIONS.iter().filter(|step| step.to > found);
    // All of them or none, and a new database waits for the disk once.
    let tx = conn.transaction()?;
    missing.try_for_each(|step| apply(&tx, step))?;
    Ok(tx.commit()?)
}

fn apply(tx: &Transaction<'_>, step: &Migration) -> Result<(), StoreError> {
    tx.execute_batch(step.sql)?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", step.to)?;
    Ok(())
}

pub(crate) fn user_version(conn: &Connection) -> Result<i64, StoreError> {
    Ok(conn.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

/// Refuse what a newer version wrote: reading it with old eyes would be a silent wrong answer.
pub(crate) fn check_version(found: i64) -> Result<(), StoreError> {
    if found > FORMAT_VERSION {
        return Err(StoreError::TooNew {
            found,
            supported: FORMAT_VERSION,
        });
    }
    Ok(())
}

/// Make a database as the first format was, for tests of the way from there to here.
#[cfg(test)]
pub(crate) fn make_format_1(conn: &mut Connection) -> Result<(), StoreError> {
    let tx = conn.transaction()?;
    MIGRATIONS
        .iter()
        .filter(|step| step.to == 1)
        .try_for_each(|step| apply(&tx, step))?;
    Ok(tx.commit()?)
}
