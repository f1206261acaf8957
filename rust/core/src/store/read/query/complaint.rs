//! Errors of a query in words that help: what was wrong, what there is instead.

use rusqlite::{Connection, Error};

/// How many tables or columns a message names.
const NAMED: usize = 40;

/// What SQLite said about a statement, and what there is instead.
pub(super) fn explain(conn: &Connection, sql: &str, error: &Error) -> String {
    let message = match error {
        Error::SqlInputError { msg, .. } => msg.clone(),
        Error::SqliteFailure(_, Some(message)) => message.clone(),
        Error::MultipleStatement => return "one statement at a time".into(),
        other => other.to_string(),
    };
    let hint = if message.starts_with("no such table") {
        format!("; there are: {}", tables(conn).join(", "))
    } else if message.starts_with("no such column") {
        format!("; {}", columns_of_named(conn, sql))
    } else if message.starts_with("not authorized") || message.contains("prohibited") {
        "; a query may only SELECT".to_owned()
    } else if message.contains("too big") {
        "; a query handles values of up to 1 MiB".to_owned()
    } else if message.starts_with("incomplete input") {
        "; the statement ends too early".to_owned()
    } else {
        String::new()
    };
    format!("{message}{hint}")
}

/// What a query can read, ours first.
fn tables(conn: &Connection) -> Vec<String> {
    let mut names = vec!["points".to_owned(), "raw_points".to_owned()];
    let listed = conn.prepare(
        "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite%'
         ORDER BY name",
    );
    if let Ok(mut select) = listed
        && let Ok(rows) = select.query_map([], |row| row.get::<_, String>(0))
    {
        names.extend(rows.flatten().take(NAMED));
    }
    names
}

/// The columns of the tables that stand in the statement.
fn columns_of_named(conn: &Connection, sql: &str) -> String {
    let lower = sql.to_ascii_lowercase();
    let words: Vec<&str> = lower
        .split(|char: char| !char.is_ascii_alphanumeric() && char != '_')
        .collect();
    let mut told = Vec::new();
    for table in tables(conn) {
        if !words.contains(&table.as_str()) {
            continue;
        }
        let Ok(select) = conn.prepare(&format!("SELECT * FROM {table}")) else {
            continue;
        };
        let mut columns: Vec<String> = select.column_names().map(Into::into).collect();
        if table.ends_with("points") {
            columns.extend(["kind".to_owned(), "bits".to_owned()]);
        }
        told.push(format!("{table} has {}", columns.join(", ")));
    }
    told.join("; ")
}
