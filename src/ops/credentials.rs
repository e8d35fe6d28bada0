//! What lets the daemon in at the platforms: set, listed, removed, sealed anew, and asked for with a person's consent.
//!
//! A value comes in and is sealed; none ever comes out again, not even a part of one, and no problem shows what was given.

use super::{InputProblem, Ops, OpsError};
use crate::domain::Platform;
use crate::platform::oauth::Consented;
use crate::platform::oauth::consent::code_in;
use crate::platform::{amazon, ebay, mercari};
use crate::store::credentials::{self, Kept, NewCredentials, SealedRow, WARNED_BEFORE};
use crate::store::{Connection, StoreError, errors};
use crate::vault::{Ring, Row, Secrets, Vault, VaultError};
use chrono::{DateTime, NaiveDate, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// The longest value that is taken, in bytes.
const LONGEST: usize = 16 * 1024;

/// What the orders need of the credentials' side of a started daemon.
pub struct CredentialParts {
    /// What seals.
    pub vault: Vault,
    /// The accounts that run.
    pub accounts: HashMap<Platform, Arc<dyn Account>>,
    /// The time of day.
    pub clock: crate::clock::Clock,
    /// The state of the consent that was begun last, by platform; held while credentials are changed, too.
    pub turn: tokio::sync::Mutex<HashMap<Platform, String>>,
}

/// An account at a platform that runs here.
pub trait Account: Send + Sync + 'static {
    /// The fields that the settings give.
    fn typed(&self) -> Vec<&'static str>;
    /// What a person has to do before anything is sent; `None` when nothing lacks.
    fn needs(&self) -> Option<String>;
    /// Credentials were changed: they count from the next request.
    fn changed(&self) -> BoxFuture<'_, ()>;
    /// Asks for a token with the next call, however long it was to rest.
    fn sign_in_again(&self) -> BoxFuture<'_, ()>;
    /// Where a person consents; what comes back holds `state`.
    fn consent<'a>(&'a self, state: &'a str) -> BoxFuture<'a, Result<Consent, NoConsent>>;
    /// The refresh token for a code.
    fn exchange<'a>(&'a self, code: &'a SecretString) -> BoxFuture<'a, Result<Consented, NoConsent>>;
}

/// A consent that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// The page to send the person to.
    pub address: String,
}

/// Why a consent goes no further. The texts hold no secret.
#[derive(Debug)]
pub enum NoConsent {
    /// What is needed first.
    Lacking(String),
    /// The platform said no.
    Refused(String),
    /// The platform or the database cannot be asked now.
    Away(String),
}

/// Secrets to keep, by their names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialsOrder {
    /// Each with its value. None when only the end of what is kept is told.
    pub fields: Secrets,
    /// The last day on which the one that ends holds, by Japan's calendar, where the platform says so: it is warned of
    /// before.
    pub ends_on: Option<NaiveDate>,
}

/// Which secrets to forget; all when none is named.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialsRemoval {
    /// Their names.
    #[serde(default)]
    pub fields: Vec<String>,
}

/// How to seal everything anew.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialsRotation {
    /// With a new key, which is put in front of the others first.
    #[serde(default)]
    pub new_key: bool,
}

/// What a person brought back from the consent page. `Debug` shows nothing of it.
#[derive(Clone, Debug)]
pub struct ConsentAnswer(SecretString);

impl<'de> Deserialize<'de> for ConsentAnswer {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Plain {
            answer: String,
        }
        Plain::deserialize(deserializer).map(|plain| Self(plain.answer.into()))
    }
}

/// The secrets that a platform has, by name.
#[must_use]
pub fn fields_of(platform: Platform) -> &'static [&'static str] {
    match platform {
        Platform::Ebay => ebay::SECRETS,
        Platform::Amazon | Platform::AmazonSeller => amazon::SECRETS,
        Platform::Mercari => mercari::SECRETS,
        Platform::YahooAuction => &[],
    }
}

/// The end of a day in Japan.
fn end_of(day: NaiveDate) -> Option<DateTime<Utc>> {
    let next = day.succ_opt()?.and_hms_opt(0, 0, 0)?;
    let at = next.and_local_timezone(chrono_tz::Asia::Tokyo).earliest()?;
    Some(at.with_timezone(&Utc))
}

/// A platform that has secrets.
fn platform_of(name: &str) -> Result<Platform, OpsError> {
    let known = name
        .parse()
        .ok()
        .filter(|platform| !fields_of(*platform).is_empty());
    known.ok_or_else(|| OpsError::NotFound {
        things: vec![format!(
            "platform `{}` that takes credentials",
            name.chars().take(40).collect::<String>()
        )],
        hint: Some("`zaikoban credentials list` shows those that do"),
    })
}

fn field_problem(platform: Platform, name: &str) -> Option<InputProblem> {
    let known = fields_of(platform);
    (!known.contains(&name)).then(|| {
        // What does not look like a name may be a secret: eBay's end with the sign that parts name and value.
        let got = if is_name(name) {
            name
        } else {
            "something that is no name"
        };
        InputProblem::new("fields", format!("one of {}", known.join(", ")), got)
    })
}

/// Whether a text looks like the name of a field.
#[must_use]
pub fn is_name(text: &str) -> bool {
    (1..=24).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// An end that comes with other secrets than the one which ends is the end of something else.
fn end_problem(platform: Platform, order: &CredentialsOrder) -> Option<InputProblem> {
    let day = order.ends_on?;
    let ending = platform.ending_secret()?;
    let belongs = order.fields.is_empty() || order.fields.get(ending).is_some();
    (!belongs).then(|| {
        let expected = format!("no day without `{ending}`, whose end it is at {platform}");
        InputProblem::new("ends_on", expected, &day.to_string())
    })
}

/// What is wrong with a value; it is not shown.
fn value_problem(name: &str, value: &SecretString) -> Option<InputProblem> {
    let value = value.expose_secret();
    let fits = (1..=LONGEST).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic());
    (!fits).then(|| {
        let got = match value.len() {
            0 => "nothing",
            n if n > LONGEST => "more",
            _ => "white space or other signs in it",
        };
        InputProblem::new(name, "1 to 16384 visible ASCII characters", got)
    })
}

impl From<VaultError> for OpsError {
    fn from(error: VaultError) -> Self {
        Self::Conflict {
            message: format!("{error}; nothing was changed"),
            hint: None,
        }
    }
}

impl From<NoConsent> for OpsError {
    fn from(why: NoConsent) -> Self {
        match why {
            NoConsent::Lacking(what) => Self::Conflict {
                message: format!("before a consent can be asked for, this is needed: {what}"),
                hint: None,
            },
            NoConsent::Refused(message) => Self::Conflict {
                message: format!("{message}; nothing was changed"),
                hint: Some("begin again: `zaikoban credentials authorize ebay`".to_owned()),
            },
            NoConsent::Away(message) => Self::Platform { message },
        }
    }
}

impl Ops {
    /// Each platform that takes credentials: which are set, by whom, sealed with which key, and when they end. No value.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn credentials(&self) -> Result<Value, OpsError> {
        let parts = &self.parts()?.credentials;
        let kept = credentials::list(&mut *self.conn().await?).await?;
        let now = parts.clock.now();
        let rows = Platform::ALL.iter().filter(|p| !fields_of(**p).is_empty());
        let rows = rows.map(|platform| {
            let kept = kept.iter().find(|row| row.platform == platform.as_str());
            view(*platform, kept, parts.accounts.get(platform).map(|a| &**a), now)
        });
        Ok(json!({ "items": rows.collect::<Vec<_>>(), "next": null }))
    }

    /// Keeps secrets of a platform sealed, beside those that it has. They count from the next request on.
    ///
    /// # Errors
    /// [`OpsError::Invalid`] with every problem; [`OpsError::Conflict`] when what is kept cannot be opened or sealed.
    pub async fn set_credentials(
        &self,
        name: &str,
        order: CredentialsOrder,
        by: &str,
    ) -> Result<Value, OpsError> {
        let platform = platform_of(name)?;
        let mut problems: Vec<InputProblem> = order
            .fields
            .iter()
            .filter_map(|(field, value)| {
                field_problem(platform, field).or_else(|| value_problem(field, value))
            })
            .collect();
        if order.fields.is_empty() && order.ends_on.is_none() {
            let expected = format!("at least one of {}", fields_of(platform).join(", "));
            problems.push(InputProblem::new("fields", expected, "none"));
        }
        problems.extend(end_problem(platform, &order));
        let now = self.parts()?.credentials.clock.now();
        let expires_at = order.ends_on.and_then(end_of);
        if let (Some(day), true) = (order.ends_on, expires_at.is_none_or(|at| at <= now)) {
            problems.push(InputProblem::new(
                "ends_on",
                "a day from today on",
                &day.to_string(),
            ));
        }
        OpsError::unless_none(problems)?;
        if order.fields.is_empty() {
            self.has_what_ends(platform).await?;
        }
        self.keep(platform, order.fields, expires_at, by).await
    }

    /// Whether there is something that an end can be told of.
    async fn has_what_ends(&self, platform: Platform) -> Result<(), OpsError> {
        let kept = credentials::list(&mut *self.conn().await?).await?;
        let kept = kept.iter().find(|row| row.platform == platform.as_str());
        let ending = platform.ending_secret().unwrap_or_default();
        if kept.is_some_and(|row| row.fields.iter().any(|field| field == ending)) {
            return Ok(());
        }
        Err(OpsError::NotFound {
            things: vec![format!("kept `{ending}` of `{platform}` that could end")],
            hint: Some("give its value with its end: `zaikoban credentials set` and `--ends-on YYYY-MM-DD`"),
        })
    }

    /// Forgets secrets of a platform, and its tokens with them.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when none of them is kept.
    pub async fn remove_credentials(
        &self,
        name: &str,
        order: CredentialsRemoval,
        by: &str,
    ) -> Result<Value, OpsError> {
        let platform = platform_of(name)?;
        let problems = order
            .fields
            .iter()
            .filter_map(|field| field_problem(platform, field));
        OpsError::unless_none(problems.collect())?;
        let parts = &self.parts()?.credentials;
        let _turn = parts.turn.lock().await;
        let (vault, fields, who) = (parts.vault.clone(), order.fields, by.to_owned());
        let removed = self.parts()?.db.transaction(move |conn| {
            async move { take_out(conn, &vault, platform, fields, &who).await }.boxed()
        });
        let removed = removed.await??;
        if removed.is_empty() {
            return Err(OpsError::NotFound {
                things: vec![format!("such credential of `{platform}`")],
                hint: Some("`zaikoban credentials list` shows which are kept"),
            });
        }
        tracing::info!(by, platform = %platform, "A person removed credentials of `{platform}`: {}", removed.join(", "));
        self.take_effect(platform, by).await?;
        Ok(json!({ "platform": platform, "removed": removed, "needs": self.needs(platform)? }))
    }

    /// Seals everything with the current key, or with a new one, in one transaction: all or nothing.
    ///
    /// # Errors
    /// [`OpsError::Conflict`] when one value cannot be opened, or the key file cannot be written.
    pub async fn rotate_credentials(&self, order: CredentialsRotation, by: &str) -> Result<Value, OpsError> {
        let parts = &self.parts()?.credentials;
        let _turn = parts.turn.lock().await;
        let vault = parts.vault.clone();
        let rotated = self
            .parts()?
            .db
            .transaction(move |conn| async move { reseal(conn, &vault, order.new_key).await }.boxed());
        let (resealed, ids) = rotated.await??;
        let mut ids = ids.into_iter();
        let current = ids.next().unwrap_or_default();
        let old: Vec<String> = ids.collect();
        tracing::info!(
            by,
            key = current,
            "A person sealed {resealed} stored values with the key `{current}`"
        );
        Ok(json!({ "key_id": current, "resealed": resealed, "old_keys": old }))
    }

    /// Begins to ask for a person's consent: where they give it.
    ///
    /// # Errors
    /// [`OpsError::Conflict`] when the account does not run, or something is needed first.
    pub async fn begin_consent(&self, name: &str) -> Result<Value, OpsError> {
        let platform = platform_of(name)?;
        let account = self.account(platform)?;
        // A code works once: whether its token could be kept is asked before.
        let vault = &self.parts()?.credentials.vault;
        credentials::keys_to_seal(&mut *self.conn().await?, vault).await??;
        let state = uuid::Uuid::new_v4().simple().to_string();
        let consent = account.consent(&state).await?;
        self.parts()?
            .credentials
            .turn
            .lock()
            .await
            .insert(platform, state);
        Ok(json!({ "platform": platform, "address": consent.address }))
    }

    /// Ends it with what the person brought back: the refresh token is kept, with the day on which it ends.
    ///
    /// # Errors
    /// [`OpsError::Invalid`] when that is no code; [`OpsError::Conflict`] when the platform refuses it.
    pub async fn end_consent(&self, name: &str, answer: ConsentAnswer, by: &str) -> Result<Value, OpsError> {
        let platform = platform_of(name)?;
        let account = self.account(platform)?;
        let begun = self
            .parts()?
            .credentials
            .turn
            .lock()
            .await
            .get(&platform)
            .cloned();
        let Some(state) = begun else {
            return Err(OpsError::Conflict {
                message: format!("no consent of `{platform}` was begun; nothing was changed"),
                hint: Some(format!("begin with `zaikoban credentials authorize {platform}`")),
            });
        };
        let code = code_in(answer.0.expose_secret(), &state).map_err(|why| {
            let problem = InputProblem::new("answer", why.to_string(), "something else");
            OpsError::all(vec![problem.hint(format!(
                "begin again: `zaikoban credentials authorize {platform}`"
            ))])
        })?;
        let consented = account.exchange(&code).await?;
        // A code counts once, and so does the state that it came with.
        self.parts()?.credentials.turn.lock().await.remove(&platform);
        let lasts = consented
            .lifetime
            .and_then(|l| chrono::TimeDelta::from_std(l).ok());
        let now = self.parts()?.credentials.clock.now();
        let expires_at = lasts.and_then(|l| now.checked_add_signed(l));
        let mut fields = Secrets::default();
        fields.set("refresh_token", consented.refresh);
        self.keep(platform, fields, expires_at, by).await
    }

    /// Seals and keeps, then lets it count.
    async fn keep(
        &self,
        platform: Platform,
        new: Secrets,
        expires_at: Option<DateTime<Utc>>,
        by: &str,
    ) -> Result<Value, OpsError> {
        let parts = &self.parts()?.credentials;
        let _turn = parts.turn.lock().await;
        let (vault, who, set) = (parts.vault.clone(), by.to_owned(), new.names());
        let kept = self.parts()?.db.transaction(move |conn| {
            async move { put_in(conn, &vault, platform, new, expires_at, &who).await }.boxed()
        });
        let expires_at = kept.await??;
        let what = if set.is_empty() {
            "their end".to_owned()
        } else {
            set.join(", ")
        };
        tracing::info!(by, platform = %platform, "A person set credentials of `{platform}`: {what}");
        self.take_effect(platform, by).await?;
        let over: Vec<&str> = match parts.accounts.get(&platform) {
            Some(account) => account
                .typed()
                .into_iter()
                .filter(|f| set.iter().any(|s| s == f))
                .collect(),
            None => Vec::new(),
        };
        Ok(json!({
            "platform": platform,
            "set": set,
            "expires_at": expires_at,
            // Set just now, and nobody said until when it holds: nothing can warn of it.
            "end_unknown_of": platform
                .ending_secret()
                .filter(|ending| expires_at.is_none() && set.iter().any(|s| s == ending)),
            // What the settings give stands over what was just set.
            "overridden": over,
            "runs": parts.accounts.contains_key(&platform),
            "needs": self.needs(platform)?,
        }))
    }

    fn account(&self, platform: Platform) -> Result<Arc<dyn Account>, OpsError> {
        let account = self.parts()?.credentials.accounts.get(&platform).cloned();
        account.ok_or_else(|| OpsError::Conflict {
            message: format!("`{platform}` does not run here"),
            hint: Some(format!(
                "set `platforms.{platform}.enabled = true` and start the daemon again"
            )),
        })
    }

    fn needs(&self, platform: Platform) -> Result<Option<String>, OpsError> {
        let account = self.parts()?.credentials.accounts.get(&platform);
        Ok(account.and_then(|account| account.needs()))
    }

    /// The account uses what is kept now, and the syncers look at what waits.
    async fn take_effect(&self, platform: Platform, by: &str) -> Result<(), OpsError> {
        let parts = self.parts()?;
        if let Some(account) = parts.credentials.accounts.get(&platform) {
            account.changed().await;
            // A breaker that refusals of the old credentials had tripped says nothing of the new ones.
            if let Some(guard) = parts.guards.get(platform.as_str()) {
                guard.reset();
            }
            // What is refused still comes again with the next call.
            errors::end_sign_in(&mut *self.conn().await?, platform, by).await?;
            self.look_now()?;
        }
        Ok(())
    }

    /// What accounts lack, by platform, for the lists of services.
    pub(super) fn lacks(&self, service: &str) -> Option<String> {
        let accounts = &self.parts().ok()?.credentials.accounts;
        let account = accounts.iter().find(|(platform, _)| platform.as_str() == service);
        account?.1.needs()
    }
}

fn view(platform: Platform, kept: Option<&Kept>, account: Option<&dyn Account>, now: DateTime<Utc>) -> Value {
    let typed = account.map(Account::typed).unwrap_or_default();
    let expires_at = kept.and_then(|kept| kept.expires_at);
    let left = expires_at.map(|at| at - now);
    let note = match left {
        Some(left) if left <= chrono::TimeDelta::zero() => {
            Some(format!("they have ended: `{}`", platform.renew_command()))
        }
        Some(left) if left <= WARNED_BEFORE => Some(format!(
            "they end in {} days: `{}`",
            left.num_days(),
            platform.renew_command()
        )),
        _ => account.and_then(Account::needs),
    };
    json!({
        "platform": platform,
        "fields": kept.map(|kept| kept.fields.clone()).unwrap_or_default(),
        "from_settings": typed,
        "runs": account.is_some(),
        "key_id": kept.map(|kept| &kept.key_id),
        "set_by": kept.map(|kept| &kept.set_by),
        "created_at": kept.map(|kept| kept.created_at),
        "updated_at": kept.map(|kept| kept.updated_at),
        "expires_at": expires_at,
        "note": note,
    })
}

/// The vault's word inside of the database's: a transaction that changed nothing may end well.
type Outcome<T> = Result<Result<T, VaultError>, StoreError>;

fn row(platform: Platform) -> Row<'static> {
    Row {
        platform: platform.as_str(),
        field: credentials::CREDENTIALS,
    }
}

/// The secrets in a row.
fn opened(keys: &Ring, found: &SealedRow) -> Result<Secrets, VaultError> {
    let text = keys.open(found.row(), &found.sealed)?;
    Secrets::parse(&text).ok_or_else(|| VaultError::Damaged {
        row: found.row().to_string(),
    })
}

/// Puts `new` in; answers when the credentials end now, where that is known.
async fn put_in(
    conn: &mut Connection,
    vault: &Vault,
    platform: Platform,
    new: Secrets,
    told: Option<DateTime<Utc>>,
    by: &str,
) -> Outcome<Option<DateTime<Utc>>> {
    let keys = match credentials::keys_to_seal(conn, vault).await? {
        Ok(keys) => keys,
        Err(error) => return Ok(Err(error)),
    };
    let before = credentials::list(conn).await?;
    let before = before.into_iter().find(|kept| kept.platform == platform.as_str());
    let found = credentials::find(conn, platform).await?;
    let mut all = match found.map(|found| opened(&keys, &found)).transpose() {
        Ok(all) => all.unwrap_or_default(),
        Err(error) => return Ok(Err(error)),
    };
    let known = before.and_then(|kept| kept.expires_at);
    let expires_at = told.or_else(|| known.filter(|_| !is_renewed(platform, &all, &new)));
    for (name, value) in new.iter() {
        all.set(name, value.clone());
    }
    let sealed = seal_all(conn, &keys, platform, &all, expires_at, by).await?;
    Ok(sealed.map(|()| expires_at))
}

/// Whether `new` replaces the secret that ends by another, which ends at another time. The other secrets, and the same one
/// again, change nothing of what is known.
fn is_renewed(platform: Platform, kept: &Secrets, new: &Secrets) -> bool {
    let Some((name, new)) = platform
        .ending_secret()
        .and_then(|name| Some((name, new.get(name)?)))
    else {
        return false;
    };
    let kept = kept.get(name);
    kept.is_none_or(|kept| kept.expose_secret() != new.expose_secret())
}

async fn seal_all(
    conn: &mut Connection,
    keys: &Ring,
    platform: Platform,
    all: &Secrets,
    expires_at: Option<DateTime<Utc>>,
    by: &str,
) -> Outcome<()> {
    let sealed = match keys.seal(row(platform), &all.to_text()) {
        Ok(sealed) => sealed,
        Err(error) => return Ok(Err(error)),
    };
    let new = NewCredentials {
        platform,
        sealed,
        fields: all.names(),
        set_by: by,
        expires_at,
    };
    credentials::put(conn, &new).await?;
    Ok(Ok(()))
}

/// Takes out `fields`, or all; answers those that were there. To forget all, nothing needs to be opened.
async fn take_out(
    conn: &mut Connection,
    vault: &Vault,
    platform: Platform,
    fields: Vec<String>,
    by: &str,
) -> Outcome<Vec<String>> {
    let kept = credentials::list(conn).await?;
    let kept = kept.into_iter().find(|kept| kept.platform == platform.as_str());
    let names = kept.as_ref().map(|kept| kept.fields.clone()).unwrap_or_default();
    let goes = |name: &String| fields.is_empty() || fields.contains(name);
    let (gone, stays): (Vec<String>, Vec<String>) = names.into_iter().partition(goes);
    if stays.is_empty() {
        let had_any = credentials::remove(conn, platform).await?;
        // Tokens alone, of keys that the settings give.
        let only_tokens = had_any && gone.is_empty();
        return Ok(Ok(if only_tokens {
            vec!["tokens".to_owned()]
        } else {
            gone
        }));
    }
    let Some(found) = credentials::find(conn, platform)
        .await?
        .filter(|_| !gone.is_empty())
    else {
        return Ok(Ok(Vec::new()));
    };
    let outcome = vault.keys().and_then(|keys| Ok((opened(&keys, &found)?, keys)));
    let (mut all, keys) = match outcome {
        Ok(opened) => opened,
        Err(error) => return Ok(Err(error)),
    };
    for name in &gone {
        drop(all.remove(name));
    }
    let lasting = kept.and_then(|kept| kept.expires_at);
    let expires_at = lasting.filter(|_| {
        stays
            .iter()
            .any(|name| platform.ending_secret() == Some(name.as_str()))
    });
    let sealed = seal_all(conn, &keys, platform, &all, expires_at, by).await?;
    Ok(sealed.map(|()| gone))
}

/// Opens everything before anything is sealed; answers how many values, and the keys' names.
async fn reseal(conn: &mut Connection, vault: &Vault, new_key: bool) -> Outcome<(usize, Vec<String>)> {
    let sealed = credentials::all_for_change(conn).await?;
    let before = if sealed.is_empty() {
        vault.keys_or_first()
    } else {
        vault.keys()
    };
    let open_all = |keys: &Ring| -> Result<Vec<SecretString>, VaultError> {
        sealed
            .iter()
            .map(|row| keys.open(row.row(), &row.sealed))
            .collect()
    };
    let outcome = before.and_then(|keys| {
        let plain = open_all(&keys)?;
        let keys = if new_key { vault.add_key()? } else { keys };
        let again = sealed.iter().zip(&plain);
        let again = again.map(|(row, plain)| keys.seal(row.row(), plain.expose_secret()));
        Ok((again.collect::<Result<Vec<_>, _>>()?, keys))
    });
    let (again, keys) = match outcome {
        Ok(done) => done,
        Err(error) => return Ok(Err(error)),
    };
    for (old, new) in sealed.iter().zip(&again) {
        credentials::reseal(conn, old, new).await?;
    }
    Ok(Ok((
        again.len(),
        keys.ids().into_iter().map(str::to_owned).collect(),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(named: &[(&str, &str)]) -> Secrets {
        let mut all = Secrets::default();
        for (name, value) in named {
            all.set(*name, (*value).into());
        }
        all
    }

    #[test]
    fn a_known_end_goes_with_the_secret_that_it_belongs_to_and_with_no_other() {
        use Platform::{Amazon, AmazonSeller, Ebay, Mercari};
        for (platform, name, renewed) in [
            (Amazon, "client_secret", true),
            (Amazon, "refresh_token", false),
            (Amazon, "client_id", false),
            (AmazonSeller, "client_secret", true),
            (AmazonSeller, "refresh_token", false),
            (Ebay, "refresh_token", true),
            (Ebay, "client_secret", false),
            (Mercari, "token", true),
        ] {
            let (old, new) = (secrets(&[(name, "old")]), secrets(&[(name, "new")]));
            assert_eq!(is_renewed(platform, &old, &new), renewed, "{platform} {name}");
            assert!(
                !is_renewed(platform, &old, &old),
                "the same again: {platform} {name}"
            );
        }
    }

    #[test]
    fn a_day_is_taken_with_the_secret_that_ends_or_alone() {
        for platform in Platform::ALL.iter().copied() {
            for name in fields_of(platform).iter().copied() {
                let mut order = CredentialsOrder {
                    fields: secrets(&[(name, "x")]),
                    ends_on: NaiveDate::from_ymd_opt(2027, 5, 1),
                };
                let taken = platform.ending_secret() == Some(name);
                assert_eq!(
                    end_problem(platform, &order).is_none(),
                    taken,
                    "{platform} {name}"
                );
                order.fields = Secrets::default();
                assert!(end_problem(platform, &order).is_none(), "{platform} alone");
            }
        }
    }

    #[test]
    fn every_platform_that_takes_secrets_has_one_that_ends() {
        for platform in Platform::ALL.iter().copied() {
            let fields = fields_of(platform);
            let known = platform
                .ending_secret()
                .is_some_and(|name| fields.contains(&name));
            assert_eq!(known, !fields.is_empty(), "{platform}");
        }
    }
}
