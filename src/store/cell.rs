//! A column of one row that may hold what its type here cannot: `infinity` as a time, `NaN` as an amount, a number in
//! JSON that no float reaches. All of these are values to PostgreSQL, and no CHECK keeps them out.
//!
//! The driver gives up a whole result when one value of it cannot be read, and with it every other row. A cell keeps the
//! trouble for the row's own reader instead, so that one row that a hand has spoilt costs nobody but itself.

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::Jsonb;
use serde_json::json;

/// What was read, or why it could not be.
#[derive(Clone, Debug, FromSqlRow)]
pub(super) struct Cell<T>(Result<T, String>);

impl<T, ST> FromSql<ST, Pg> for Cell<T>
where
    T: FromSql<ST, Pg>,
{
    fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(T::from_sql(bytes).map_err(|error| error.to_string())))
    }
}

impl<T> Cell<T> {
    /// The value of `column`, or what is wrong with it.
    pub(super) fn read(self, column: &str) -> Result<T, String> {
        self.0
            .map_err(|error| format!("`{column}` cannot be read: {error}"))
    }
}

/// The same for a column that may be empty.
pub(super) fn read<T>(cell: Option<Cell<T>>, column: &str) -> Result<Option<T>, String> {
    cell.map(|cell| cell.read(column)).transpose()
}

/// JSON that another hand may have written. What no float reaches or nobody nests is kept as text, under `unreadable`.
#[derive(Clone, Debug, FromSqlRow)]
pub(super) struct Json(pub(super) serde_json::Value);

impl FromSql<Jsonb, Pg> for Json {
    fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Self> {
        // the first byte is the format's version
        let text = bytes.as_bytes().get(1..).unwrap_or_default();
        let kept = |_| json!({ "unreadable": String::from_utf8_lossy(text) });
        Ok(Self(serde_json::from_slice(text).unwrap_or_else(kept)))
    }
}
