//! `encrypted_credentials` and `oauth_tokens`: sealed texts, and what may be told of them without opening one.
//!
//! Nothing here seals or opens; but which keys may seal is decided here ([`keys_to_seal`]), because a first key may only
//! be made while nothing in these tables needs another one.

use super::StoreError;
use crate::domain::Platform;
use crate::vault::{Ring, Row, Sealed, Vault, VaultError};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde::Serialize;

/// The field of a [`Row`] of `encrypted_credentials`.
pub const CREDENTIALS: &str = "credentials";
/// The field of a [`Row`] of `oauth_tokens`.
pub const TOKENS: &str = "tokens";
/// How long before its end a credential is warned about.
pub const WARNED_BEFORE: TimeDelta = TimeDelta::days(14);

/// What is told of one platform's credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, QueryableByName)]
pub struct Kept {
    /// The platform's name.
    #[diesel(sql_type = Text)]
    pub platform: String,
    /// The names of the secrets that are set.
    #[diesel(sql_type = Array<Text>)]
    pub fields: Vec<String>,
    /// The key that sealed them.
    #[diesel(sql_type = Text)]
    pub key_id: String,
    /// Who set one last.
    #[diesel(sql_type = Text)]
    pub set_by: String,
    /// When they end, where that is known.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub expires_at: Option<DateTime<Utc>>,
    /// When the first was set.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// When one was set last.
    #[diesel(sql_type = Timestamptz)]
    pub updated_at: DateTime<Utc>,
}

/// A platform's credentials as they are kept from now on.
#[derive(Clone, Debug)]
pub struct NewCredentials<'a> {
    /// Whose.
    pub platform: Platform,
    /// All of its secrets, sealed as one.
    pub sealed: Sealed,
    /// Their names.
    pub fields: Vec<String>,
    /// Who set them.
    pub set_by: &'a str,
    /// When they end, where that is known.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A sealed text and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct SealedRow {
    /// The platform's name.
    #[diesel(sql_type = Text)]
    pub platform: String,
    /// [`CREDENTIALS`] or [`TOKENS`].
    #[diesel(sql_type = Text)]
    pub field: String,
    /// The text.
    #[diesel(sql_type = Text)]
    pub sealed: String,
}

impl SealedRow {
    /// What it was sealed for.
    #[must_use]
    pub fn row(&self) -> Row<'_> {
        Row {
            platform: &self.platform,
            field: &self.field,
        }
    }
}

/// A credential that ends soon, or has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, QueryableByName)]
pub struct Expiring {
    /// Whose.
    #[diesel(sql_type = Text)]
    pub platform: String,
    /// When.
    #[diesel(sql_type = Timestamptz)]
    pub expires_at: DateTime<Utc>,
}

/// What is told of every platform's credentials.
///
/// # Errors
/// When the database is away or refuses.
pub async fn list(conn: &mut AsyncPgConnection) -> Result<Vec<Kept>, StoreError> {
    let rows = diesel::sql_query(
        "SELECT platform, fields, key_id, set_by, expires_at, created_at, updated_at FROM encrypted_credentials \
         ORDER BY platform",
    )
    .get_results(conn)
    .await?;
    Ok(rows)
}

/// A platform's sealed credentials.
///
/// # Errors
/// When the database is away or refuses.
pub async fn find(conn: &mut AsyncPgConnection, platform: Platform) -> Result<Option<SealedRow>, StoreError> {
    let rows: Vec<SealedRow> = diesel::sql_query(
        "SELECT platform, 'credentials' AS field, encrypted_key AS sealed FROM encrypted_credentials WHERE platform = $1",
    )
    .bind::<Text, _>(platform.as_str())
    .get_results(conn)
    .await?;
    Ok(rows.into_iter().next())
}

/// A platform's sealed tokens.
///
/// # Errors
/// When the database is away or refuses.
pub async fn find_tokens(
    conn: &mut AsyncPgConnection,
    platform: Platform,
) -> Result<Option<SealedRow>, StoreError> {
    let rows: Vec<SealedRow> = diesel::sql_query(
        "SELECT platform, 'tokens' AS field, encrypted_tokens AS sealed FROM oauth_tokens WHERE platform = $1",
    )
    .bind::<Text, _>(platform.as_str())
    .get_results(conn)
    .await?;
    Ok(rows.into_iter().next())
}

/// Every sealed text, locked until the transaction ends.
///
/// # Errors
/// When the database is away or refuses.
pub async fn all_for_change(conn: &mut AsyncPgConnection) -> Result<Vec<SealedRow>, StoreError> {
    let mut all: Vec<SealedRow> = diesel::sql_query(
        "SELECT platform, 'credentials' AS field, encrypted_key AS sealed FROM encrypted_credentials \
         ORDER BY platform FOR UPDATE",
    )
    .get_results(conn)
    .await?;
    let tokens: Vec<SealedRow> = diesel::sql_query(
        "SELECT platform, 'tokens' AS field, encrypted_tokens AS sealed FROM oauth_tokens ORDER BY platform FOR UPDATE",
    )
    .get_results(conn)
    .await?;
    all.extend(tokens);
    Ok(all)
}

/// Keeps a platform's credentials, in place of those it had.
///
/// # Errors
/// When the database is away or refuses.
pub async fn put(conn: &mut AsyncPgConnection, new: &NewCredentials<'_>) -> Result<(), StoreError> {
    diesel::sql_query(
        "INSERT INTO encrypted_credentials AS c (platform, encrypted_key, key_id, fields, set_by, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (platform) DO UPDATE SET \
         encrypted_key = excluded.encrypted_key, key_id = excluded.key_id, fields = excluded.fields, \
         set_by = excluded.set_by, expires_at = excluded.expires_at, updated_at = clock_timestamp()",
    )
    .bind::<Text, _>(new.platform.as_str())
    .bind::<Text, _>(&new.sealed.text)
    .bind::<Text, _>(&new.sealed.key_id)
    .bind::<Array<Text>, _>(&new.fields)
    .bind::<Text, _>(new.set_by)
    .bind::<Nullable<Timestamptz>, _>(new.expires_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps a platform's tokens, in place of those it had.
///
/// # Errors
/// When the database is away or refuses.
pub async fn save_tokens(
    conn: &mut AsyncPgConnection,
    platform: Platform,
    sealed: &Sealed,
) -> Result<(), StoreError> {
    diesel::sql_query(
        "INSERT INTO oauth_tokens (platform, encrypted_tokens, key_id) VALUES ($1, $2, $3) \
         ON CONFLICT (platform) DO UPDATE SET encrypted_tokens = excluded.encrypted_tokens, \
         key_id = excluded.key_id, updated_at = clock_timestamp()",
    )
    .bind::<Text, _>(platform.as_str())
    .bind::<Text, _>(&sealed.text)
    .bind::<Text, _>(&sealed.key_id)
    .execute(conn)
    .await?;
    Ok(())
}

/// Puts a text that was sealed anew in the place of the old one. Who set it and when stays.
///
/// # Errors
/// When the database is away or refuses.
pub async fn reseal(
    conn: &mut AsyncPgConnection,
    old: &SealedRow,
    sealed: &Sealed,
) -> Result<(), StoreError> {
    let statement = if old.field == TOKENS {
        "UPDATE oauth_tokens SET encrypted_tokens = $2, key_id = $3 WHERE platform = $1"
    } else {
        "UPDATE encrypted_credentials SET encrypted_key = $2, key_id = $3 WHERE platform = $1"
    };
    diesel::sql_query(statement)
        .bind::<Text, _>(&old.platform)
        .bind::<Text, _>(&sealed.text)
        .bind::<Text, _>(&sealed.key_id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Forgets a platform's credentials and tokens; answers whether there were any.
///
/// # Errors
/// When the database is away or refuses.
pub async fn remove(conn: &mut AsyncPgConnection, platform: Platform) -> Result<bool, StoreError> {
    let mut removed = 0_usize;
    for table in ["encrypted_credentials", "oauth_tokens"] {
        let rows = diesel::sql_query(format!("DELETE FROM {table} WHERE platform = $1"))
            .bind::<Text, _>(platform.as_str())
            .execute(conn)
            .await?;
        removed = removed.saturating_add(rows);
    }
    Ok(removed > 0)
}

/// What ends between now and `within` from now, and what has ended, the earliest first.
///
/// # Errors
/// When the database is away or refuses.
pub async fn expiring(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    within: TimeDelta,
) -> Result<Vec<Expiring>, StoreError> {
    let until = now.checked_add_signed(within).unwrap_or(now);
    let rows = diesel::sql_query(
        "SELECT platform, expires_at FROM encrypted_credentials WHERE expires_at <= $1 ORDER BY expires_at, platform",
    )
    .bind::<Timestamptz, _>(until)
    .get_results(conn)
    .await?;
    Ok(rows)
}

/// The keys to seal with. The first one is made while nothing is kept sealed; afterwards a file that is gone is a trouble,
/// because a new key would open nothing of what is there.
///
/// # Errors
/// Outside, when the database is away or refuses; inside, when there is no key that can be used.
pub async fn keys_to_seal(
    conn: &mut AsyncPgConnection,
    vault: &Vault,
) -> Result<Result<Ring, VaultError>, StoreError> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let sealed: Count = diesel::sql_query(
        "SELECT (SELECT count(*) FROM encrypted_credentials) + (SELECT count(*) FROM oauth_tokens) AS count",
    )
    .get_result(conn)
    .await?;
    Ok(if sealed.count == 0 {
        vault.keys_or_first()
    } else {
        vault.keys()
    })
}
