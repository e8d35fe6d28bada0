//! Sealed credentials and tokens on a real PostgreSQL, behind the ports that the adapters ask.

use crate::support::pg::TestDb;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt as _;
use secrecy::ExposeSecret as _;
use std::fs;
use std::time::Duration;
use tempfile::TempDir;
use zaikoban::app::{SealedGrants, SealedTokens};
use zaikoban::domain::Platform;
use zaikoban::platform::ebay::SECRETS;
use zaikoban::platform::oauth::{Grants as _, Kept, NoGrant, TokenStore as _};
use zaikoban::store::credentials::{self, NewCredentials};
use zaikoban::vault::{KeyFile, KeyFileKind, Row, Secrets, Vault, VaultError};

const CANARY: &str = "canary-77aa";
const ROW: Row<'static> = Row {
    platform: "ebay",
    field: credentials::CREDENTIALS,
};

fn vault() -> (TempDir, Vault) {
    let folder = tempfile::tempdir().unwrap();
    let file = KeyFile::new(folder.path().join("keys/zaikoban.key"), KeyFileKind::Own);
    (folder, Vault::new(file))
}

fn tokens(refresh: &str) -> Kept {
    Kept {
        seed: "seed".into(),
        refresh: refresh.into(),
        previous: Some("canary-old".into()),
        access: Some(("canary-access".into(), DateTime::UNIX_EPOCH)),
    }
}

fn secrets(pairs: &[(&str, &str)]) -> Secrets {
    let mut secrets = Secrets::default();
    for (name, value) in pairs {
        secrets.set(*name, (*value).into());
    }
    secrets
}

/// Keeps these secrets of eBay, as a person's order does.
async fn put(t: &TestDb, vault: &Vault, kept: &Secrets, expires_at: Option<DateTime<Utc>>) {
    let mut conn = t.db().conn().await.unwrap();
    let keys = credentials::keys_to_seal(&mut conn, vault)
        .await
        .unwrap()
        .unwrap();
    let new = NewCredentials {
        platform: Platform::Ebay,
        sealed: keys.seal(ROW, &kept.to_text()).unwrap(),
        fields: kept.names(),
        set_by: "uid 1 (me)",
        expires_at,
    };
    credentials::put(&mut conn, &new).await.unwrap();
}

fn grants(t: &TestDb, vault: &Vault, typed: &[(&str, &str)]) -> SealedGrants {
    SealedGrants::new(
        t.db().clone(),
        vault.clone(),
        Platform::Ebay,
        SECRETS,
        secrets(typed),
        &[],
    )
}

#[tokio::test]
async fn tokens_are_kept_sealed_and_come_back() {
    let (t, (_folder, vault)) = (TestDb::new().await, vault());
    let store = SealedTokens::new(t.db().clone(), vault.clone());
    assert!(store.load(Platform::Ebay).await.unwrap().is_none());
    for refresh in ["canary-1", "canary-2"] {
        store.save(Platform::Ebay, &tokens(refresh)).await.unwrap();
        let kept = store.load(Platform::Ebay).await.unwrap().unwrap();
        assert_eq!(kept.refresh.expose_secret(), refresh);
        assert_eq!(kept.previous.unwrap().expose_secret(), "canary-old");
        let (access, ends_at) = kept.access.unwrap();
        assert_eq!(
            (access.expose_secret(), ends_at),
            ("canary-access", DateTime::UNIX_EPOCH)
        );
    }
    assert!(store.load(Platform::Mercari).await.unwrap().is_none());
    let row = t.text("SELECT to_jsonb(o) FROM oauth_tokens o").await;
    assert!(row.contains("zk1.") && !row.contains("canary"), "{row}");
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_undo_a_save() {
    let (t, (_folder, vault)) = (TestDb::new().await, vault());
    let store = SealedTokens::new(t.db().clone(), vault);
    let given = tokens("canary-1");
    // Polled once and dropped: the transaction is a task of its own.
    assert!(store.save(Platform::Ebay, &given).now_or_never().is_none());
    crate::support::wait::until("the tokens", || async {
        store.load(Platform::Ebay).await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn a_database_that_is_away_is_an_error_for_the_caller_and_nothing_else() {
    let t = TestDb::with(|settings| settings.wait_limit = Duration::from_millis(200)).await;
    let (_folder, vault) = vault();
    let store = SealedTokens::new(t.db().clone(), vault.clone());
    let asked = grants(&t, &vault, &[]);
    t.db().close();
    assert!(store.load(Platform::Ebay).await.is_err());
    assert!(store.save(Platform::Ebay, &tokens("canary")).await.is_err());
    assert!(matches!(asked.grant().await, Err(NoGrant::Away(_))));
    // What the settings give is enough without it.
    let typed = [("client_id", "a"), ("client_secret", "b"), ("refresh_token", "c")];
    assert!(grants(&t, &vault, &typed).grant().await.is_ok());
}

#[tokio::test]
async fn tokens_that_no_key_opens_count_as_none() {
    let (t, (_folder, vault)) = (TestDb::new().await, vault());
    let store = SealedTokens::new(t.db().clone(), vault.clone());
    store.save(Platform::Ebay, &tokens("canary")).await.unwrap();
    fs::remove_file(vault.file().path()).unwrap();
    assert!(store.load(Platform::Ebay).await.unwrap().is_none());
    // And no new key is made that would open nothing of what is there.
    let error = store.save(Platform::Ebay, &tokens("canary")).await.unwrap_err();
    assert!(
        error.to_string().contains("Put it back from your backup"),
        "{error}"
    );
    assert!(!vault.file().path().exists());
}

#[tokio::test]
async fn the_settings_stand_over_what_is_kept_and_what_lacks_is_named() {
    let (t, (_folder, vault)) = (TestDb::new().await, vault());
    let typed = grants(&t, &vault, &[("client_id", "typed")]);
    assert_eq!(typed.lacking(), ["client_secret", "refresh_token"]);
    let Err(NoGrant::Lacking(lacking)) = typed.grant().await else {
        panic!("expected that something lacks");
    };
    assert_eq!(lacking, ["client_secret", "refresh_token"]);
    let kept = secrets(&[
        ("client_id", "kept"),
        ("client_secret", CANARY),
        ("refresh_token", "r"),
    ]);
    put(&t, &vault, &kept, None).await;
    // Nobody has looked yet.
    assert_eq!(typed.lacking().len(), 2);
    typed.look().await.unwrap();
    assert!(typed.lacking().is_empty());
    let grant = typed.grant().await.unwrap();
    assert_eq!(
        (&*grant.client_id, grant.client_secret.expose_secret()),
        ("typed", CANARY)
    );
    assert_eq!(typed.typed(), ["client_id"]);
    assert!(!format!("{grant:?}").contains("canary"));
}

#[tokio::test]
async fn a_row_that_was_moved_or_damaged_in_the_database_is_told_and_not_used() {
    let (t, (_folder, vault)) = (TestDb::new().await, vault());
    let store = SealedTokens::new(t.db().clone(), vault.clone());
    store.save(Platform::Ebay, &tokens("canary")).await.unwrap();
    let kept = secrets(&[("client_id", "x")]);
    put(&t, &vault, &kept, None).await;
    let asked = grants(&t, &vault, &[]);
    for (change, words) in [
        (
            "UPDATE encrypted_credentials SET encrypted_key = (SELECT encrypted_tokens FROM oauth_tokens)",
            "was sealed for `ebay/tokens`",
        ),
        (
            "UPDATE encrypted_credentials SET encrypted_key = 'zk1.'",
            "is damaged",
        ),
    ] {
        t.run(change).await;
        let Err(NoGrant::Unreadable(why)) = asked.grant().await else {
            panic!("expected a refusal");
        };
        assert!(why.contains(words), "{why}");
    }
}

#[tokio::test]
async fn what_ends_within_two_weeks_is_named_the_earliest_first() {
    let (t, (_folder, vault)) = (TestDb::new().await, vault());
    let now: DateTime<Utc> = "2026-11-22T00:00:00Z".parse().unwrap();
    let kept = secrets(&[("refresh_token", CANARY)]);
    let mut conn = t.db().conn().await.unwrap();
    for (days, warned) in [(15, false), (14, true), (1, true), (-3, true)] {
        let ends = now + TimeDelta::days(days);
        put(&t, &vault, &kept, Some(ends)).await;
        let ending = credentials::expiring(&mut conn, now, TimeDelta::days(14))
            .await
            .unwrap();
        let ending: Vec<_> = ending.iter().map(|e| (&*e.platform, e.expires_at)).collect();
        let expected = [("ebay", ends)];
        assert_eq!(ending, if warned { &expected[..] } else { &[] }, "{days}");
    }
    put(&t, &vault, &kept, None).await;
    let ending = credentials::expiring(&mut conn, now, TimeDelta::days(14))
        .await
        .unwrap();
    assert_eq!(ending, []);
}

#[tokio::test]
async fn what_is_told_of_credentials_holds_none_of_them() {
    let (t, (_folder, vault)) = (TestDb::new().await, vault());
    put(&t, &vault, &secrets(&[("client_secret", CANARY)]), None).await;
    let mut conn = t.db().conn().await.unwrap();
    let rows = credentials::list(&mut conn).await.unwrap();
    let told = serde_json::to_string(&rows).unwrap();
    assert!(
        told.contains("client_secret") && told.contains("uid 1 (me)"),
        "{told}"
    );
    let table = t.text("SELECT jsonb_agg(c) FROM encrypted_credentials c").await;
    assert!(
        !told.contains("canary") && !told.contains("zk1.") && !table.contains("canary"),
        "{told} {table}"
    );
    assert!(credentials::remove(&mut conn, Platform::Ebay).await.unwrap());
    assert!(!credentials::remove(&mut conn, Platform::Ebay).await.unwrap());
    assert!(matches!(
        vault.keys().unwrap().open(ROW, "zk1."),
        Err(VaultError::Damaged { .. })
    ));
}
