//! Token, environment, registered address and cost points: what is about the shop as a whole.

use super::{Rig, adapter, failure, is_accepted};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;
use secrecy::SecretString;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use zaikoban::domain::ErrorClass;
use zaikoban::platform::Destination;
use zaikoban::platform::mercari::{ADDRESS_NOT_REGISTERED, Keys, POINTS_SPENT, TOKEN_REFUSED};
use zaikoban::platform::oauth::{NEEDS_CREDENTIALS, NoGrant};
use zaikoban::simulator::MercariSettings;

/// A token that a person may give, change and take away.
#[derive(Default)]
struct Given(Mutex<Option<SecretString>>);

impl Keys for Given {
    fn token(&self) -> BoxFuture<'_, Result<SecretString, NoGrant>> {
        ready(self.0.lock().clone().ok_or(NoGrant::Lacking(vec!["token"]))).boxed()
    }

    fn is_lacking(&self) -> bool {
        self.0.lock().is_none()
    }
}

#[tokio::test]
async fn a_refused_token_is_not_shown_again_until_there_is_another_or_a_person_says_so() {
    let rig = Rig::new();
    let keys = Arc::new(Given::default());
    let credentials = rig.running.catalogue().credentials;
    let url = rig.running.urls.mercari.parse().unwrap();
    let mercari = adapter(&url, &credentials.mercari_client_name, 100, keys.clone());
    let lacking = mercari.reach().await.unwrap_err();
    assert_eq!(
        (lacking.class, &*lacking.code),
        (ErrorClass::Unauthorized, NEEDS_CREDENTIALS)
    );
    assert!(lacking.message.contains("`zaikoban credentials set mercari`"));
    assert!(mercari.rests_for().is_some());
    *keys.0.lock() = Some("msp_canary-not-the-one".into());
    assert_eq!(mercari.rests_for(), None);
    for _ in 0..3 {
        let refused = mercari.read(&rig.listing(0)).await.unwrap_err();
        assert_eq!(
            (refused.class, &*refused.code),
            (ErrorClass::Unauthorized, TOKEN_REFUSED)
        );
        assert!(refused.message.contains("`zaikoban credentials set mercari`"));
        assert!(!format!("{refused:?}").contains("canary"));
    }
    assert_eq!(rig.asked(), 1, "it is shown once");
    assert!(mercari.rests_for().is_some());
    mercari.retry_now();
    assert!(mercari.rests_for().is_none());
    assert!(mercari.reach().await.is_err());
    assert_eq!(rig.asked(), 2);
    // Another token counts at once.
    *keys.0.lock() = Some((&*credentials.mercari_token).into());
    mercari.reach().await.unwrap();
    assert_eq!(mercari.rests_for(), None);
    // And is refused when it is revoked.
    rig.faults(&json!({ "revoked": true }));
    let outcomes = mercari.revise(&[rig.quantity(0, 3)]).await;
    let (error, unknown) = failure(&outcomes[0]);
    assert_eq!((error.class, unknown), (ErrorClass::Unauthorized, false));
}

#[tokio::test]
async fn a_token_of_the_other_environment_and_a_name_that_mercari_did_not_assign_are_told() {
    let rig = Rig::new();
    rig.faults(&json!({ "wrong_environment": true }));
    let error = rig.mercari.reach().await.unwrap_err();
    assert_eq!(
        (error.class, &*error.code),
        (ErrorClass::Unauthorized, TOKEN_REFUSED)
    );
    assert!(
        error.message.contains("platforms.mercari.endpoint"),
        "{}",
        error.message
    );
    rig.faults(&json!({}));
    let token = &*rig.running.catalogue().credentials.mercari_token;
    let url = rig.running.urls.mercari.parse().unwrap();
    let stranger = adapter(&url, "Somebody", 100, Arc::new(SecretString::from(token)));
    let error = stranger.reach().await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unauthorized);
    assert!(
        error.message.contains("platforms.mercari.client_name"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn an_address_that_is_not_registered_never_means_that_a_listing_is_gone() {
    let rig = Rig::new();
    rig.faults(&json!({ "unregistered": true }));
    let listing = rig.listing(0);
    let mut told = vec![
        rig.mercari.read(&listing).await.unwrap_err(),
        rig.mercari.find(&listing.sku).await.unwrap_err(),
        rig.mercari.end(&listing).await.unwrap_err(),
        rig.mercari.relist(&listing).await.unwrap_err(),
        rig.mercari.reach().await.unwrap_err(),
    ];
    for outcome in rig
        .mercari
        .revise(&[rig.quantity(0, 3), rig.quantity(1, 3)])
        .await
    {
        let (error, unknown) = failure(&outcome);
        assert!(!unknown);
        told.push(error.clone());
    }
    for error in told {
        assert_eq!(
            (error.class, &*error.code),
            (ErrorClass::Blocked, ADDRESS_NOT_REGISTERED)
        );
        assert!(
            error.message.contains("register the address"),
            "{}",
            error.message
        );
    }
}

#[tokio::test]
async fn no_more_is_asked_than_the_hour_allows() {
    let rig = Rig::with(MercariSettings::default(), 3);
    let some = [rig.quantity(0, 3), rig.quantity(1, 3)];
    assert!(rig.mercari.revise(&some).await.iter().all(is_accepted));
    rig.mercari.reach().await.unwrap();
    assert_eq!(rig.mercari.rests_for(), None);
    rig.mercari.reach().await.unwrap();
    let asked = rig.asked();
    let outcomes = rig.mercari.revise(&some).await;
    for outcome in &outcomes {
        let (error, unknown) = failure(outcome);
        assert_eq!((&*error.code, unknown), (POINTS_SPENT, false));
        let ErrorClass::RateLimited {
            retry_after: Some(wait),
        } = error.class
        else {
            panic!("{error:?}");
        };
        assert!(
            wait > Duration::from_secs(3_500) && wait <= Duration::from_secs(3_610),
            "{wait:?}"
        );
    }
    assert_eq!(rig.asked(), asked, "nothing was sent");
    assert!(
        rig.mercari
            .rests_for()
            .is_some_and(|rest| rest > Duration::from_secs(3_500))
    );
}

#[tokio::test]
async fn the_shop_s_own_count_stands_over_ours() {
    let rig = Rig::with(
        MercariSettings {
            points_per_hour: 2,
            ..MercariSettings::default()
        },
        10_000,
    );
    rig.mercari.reach().await.unwrap();
    rig.mercari.reach().await.unwrap();
    let outcomes = rig.mercari.revise(&[rig.quantity(0, 3)]).await;
    let (error, unknown) = failure(&outcomes[0]);
    let told = Some(Duration::from_secs(2));
    assert_eq!(
        (error.class, unknown),
        (ErrorClass::RateLimited { retry_after: told }, false)
    );
    assert_eq!(rig.entry(0).quantity, 1);
}
