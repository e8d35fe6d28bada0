//! What every destination's adapter does.

use super::mutate;
use super::relay::{Mischief, Relay};
use super::stand::{Shop, tells, wait};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use zaikoban::domain::{ErrorClass, ListingRef, ListingState, ListingStatus, Quantity};
use zaikoban::platform::oauth::NEEDS_REAUTH;
use zaikoban::platform::{EntryOutcome, PlatformError, Revision};

macro_rules! suite {
    ($($shop:ident: $($case:ident)+;)+) => {
        $(mod $shop {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::super::stand::$shop().await).await;
            })+
        })+
    };
}

macro_rules! every_shop {
    ($($shop:ident)+) => {
        suite! {
            $($shop:
                what_is_set_is_shown_and_setting_it_again_is_harmless
                what_is_read_and_found_is_what_is_shown
                what_is_ended_cannot_be_bought_and_can_be_listed_again
                one_that_fails_takes_no_other_along
                each_status_has_its_class
                a_word_on_how_long_to_wait_is_heard
                no_answer_is_unknown_and_never_done
                an_effect_without_an_answer_is_unknown
                a_token_that_ends_between_check_and_use_is_renewed_once
                a_withdrawn_consent_is_told_and_not_asked_for_again
                what_nobody_knows_does_not_matter
                no_answer_with_a_wrong_part_is_read_as_something_else
                no_answer_with_a_wrong_part_makes_a_failure_a_success
                entries_that_come_twice_are_no_success_of_another
                entries_in_another_order_are_the_same
                what_is_not_found_by_somebody_else_is_not_gone
                what_is_no_answer_is_an_error
                another_address_is_not_followed;
            )+
        }
    };
}

every_shop!(ebay mercari amazon_seller);

fn pieces(count: i64) -> Quantity {
    Quantity::new(count).unwrap()
}

impl Shop {
    fn truth(&self, listing: &ListingRef) -> ListingState {
        (self.truth)(&self.simulator, listing)
    }

    fn revision(&self, listing: &ListingRef, count: i64) -> Revision {
        Revision {
            listing: listing.clone(),
            quantity: Some(pieces(count)),
            price: Some((self.money)(count)),
            confirmed: ListingState {
                status: ListingStatus::Active,
                quantity: pieces(1),
                price: Some((self.money)(0)),
            },
        }
    }

    /// One listing set to `count` pieces; what is said of it is checked for secrets.
    async fn set(&self, listing: &ListingRef, count: i64) -> EntryOutcome {
        wait().await;
        let outcomes = self.adapter.revise(&[self.revision(listing, count)]).await;
        let [outcome] = outcomes.try_into().expect("one outcome for one revision");
        self.is_discreet(&format!("{outcome:?}"));
        outcome
    }

    async fn read(&self, listing: &ListingRef) -> Result<ListingState, PlatformError> {
        wait().await;
        let read = self.adapter.read(listing).await;
        self.is_discreet(&format!("{read:?}"));
        read
    }

    fn is_discreet(&self, text: &str) {
        assert!(!tells(text, &self.secrets), "a secret is told: {text}");
    }
}

fn failure(outcome: &EntryOutcome) -> (&PlatformError, bool) {
    match outcome {
        EntryOutcome::Failed { error, unknown } => (error, *unknown),
        EntryOutcome::Accepted { .. } => panic!("expected a failure, got {outcome:?}"),
    }
}

fn is_accepted(outcome: &EntryOutcome) -> bool {
    matches!(outcome, EntryOutcome::Accepted { .. })
}

fn can_be_bought(state: &ListingState) -> bool {
    state.status == ListingStatus::Active && state.quantity > pieces(0)
}

/// The answers to the calls that come from now on, the `nth` of them changed.
fn change_nth(relay: &Relay, nth: usize, change: impl Fn(Value) -> Value + Send + Sync + 'static) {
    let change: Arc<dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync> = Arc::new(move |body: Vec<u8>| {
        let value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        change(value).to_string().into_bytes()
    });
    let mut call = 0;
    relay.plan(move |asked| {
        if asked.is_token() {
            return Mischief::None;
        }
        call += 1;
        match call - 1 == nth {
            true => Mischief::Body(Arc::clone(&change)),
            false => Mischief::None,
        }
    });
}

fn change_all(relay: &Relay, change: fn(Value) -> Value) {
    let change = Arc::new(move |body: Vec<u8>| match serde_json::from_slice(&body) {
        Ok(value) => change(value).to_string().into_bytes(),
        Err(_no_json) => body,
    });
    relay.always(&Mischief::Body(change));
}

async fn what_is_set_is_shown_and_setting_it_again_is_harmless(shop: Shop) {
    for _again in 0..2 {
        let revisions: Vec<Revision> = (3..)
            .zip(&shop.listings)
            .map(|(n, l)| shop.revision(l, n))
            .collect();
        wait().await;
        let outcomes = shop.adapter.revise(&revisions).await;
        assert_eq!(outcomes.len(), revisions.len());
        assert!(outcomes.iter().all(is_accepted), "{outcomes:?}");
        for (n, listing) in (3..).zip(&shop.listings) {
            let shown = shop.truth(listing);
            assert_eq!((shown.quantity, shown.price), (pieces(n), Some((shop.money)(n))));
        }
    }
}

async fn what_is_read_and_found_is_what_is_shown(shop: Shop) {
    for listing in &shop.listings {
        assert_eq!(shop.read(listing).await.unwrap(), shop.truth(listing));
        let found = shop.adapter.find(&listing.sku).await.unwrap();
        let own: Vec<_> = found
            .iter()
            .filter(|f| f.platform_product_id == listing.platform_product_id)
            .collect();
        assert_eq!(own.len(), 1, "{found:?}");
        assert_eq!(own[0].state, shop.truth(listing));
    }
    assert!(shop.adapter.find(&shop.absent.sku).await.unwrap().is_empty());
    let error = shop.read(&shop.absent).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::NotFound, "{error:?}");
}

async fn what_is_ended_cannot_be_bought_and_can_be_listed_again(shop: Shop) {
    let listing = &shop.listings[0];
    assert!(is_accepted(&shop.set(listing, 4).await));
    for _again in 0..2 {
        shop.adapter.end(listing).await.unwrap();
        assert!(!can_be_bought(&shop.truth(listing)));
        assert_eq!(shop.read(listing).await.unwrap(), shop.truth(listing));
    }
    for _again in 0..2 {
        shop.adapter.relist(listing).await.unwrap();
    }
    assert!(is_accepted(&shop.set(listing, 2).await));
    assert!(can_be_bought(&shop.truth(listing)));
}

async fn one_that_fails_takes_no_other_along(shop: Shop) {
    let all = [&shop.listings[0], &shop.absent, &shop.listings[1]];
    let revisions: Vec<Revision> = (5..).zip(all).map(|(n, l)| shop.revision(l, n)).collect();
    let outcomes = shop.adapter.revise(&revisions).await;
    assert_eq!(outcomes.len(), 3);
    // Whether it says so for sure is its own: what is unknown is read.
    let (error, _) = failure(&outcomes[1]);
    assert!(!error.class.is_retryable(), "{error:?}");
    for (n, at) in [(5, 0), (7, 2)] {
        // A batch may be refused as a whole for one of them: then nothing of it was done.
        match &outcomes[at] {
            EntryOutcome::Accepted { .. } => assert_eq!(shop.truth(all[at]).quantity, pieces(n)),
            EntryOutcome::Failed { error, unknown } => {
                assert_eq!(
                    &*error.code,
                    zaikoban::platform::gateway::BATCH_REFUSED,
                    "{error:?}"
                );
                assert!(!unknown && shop.truth(all[at]).quantity != pieces(n));
            }
        }
    }
}

async fn each_status_has_its_class(shop: Shop) {
    let listing = &shop.listings[0];
    assert!(is_accepted(&shop.set(listing, 1).await));
    let before = shop.truth(listing);
    for status in [
        400, 403, 404, 405, 409, 410, 413, 418, 429, 500, 502, 503, 504, 599,
    ] {
        // What has to be known for a write is known before.
        shop.relay.calm();
        assert!(is_accepted(&shop.set(listing, 1).await));
        shop.relay.always(&Mischief::status(status));
        let outcome = shop.set(listing, 9).await;
        let (of_write, unknown) = failure(&outcome);
        let error = shop.read(listing).await.unwrap_err();
        for class in [error.class, of_write.class] {
            let fits = match status {
                429 => matches!(class, ErrorClass::RateLimited { .. }),
                500.. => class == ErrorClass::Transient,
                _ => !matches!(class, ErrorClass::Transient | ErrorClass::RateLimited { .. }),
            };
            assert!(fits, "{status}: {error:?} {of_write:?}");
        }
        // Whether a 5xx was before or after the effect is anybody's guess.
        assert_eq!(unknown, status >= 500, "{status}: {of_write:?}");
        assert!(error.message.contains(&status.to_string()), "{status}: {error:?}");
    }
    shop.relay.calm();
    assert_eq!(shop.truth(listing), before);
    assert_eq!(shop.read(listing).await.unwrap(), before, "it recovers");
}

async fn a_word_on_how_long_to_wait_is_heard(shop: Shop) {
    let listing = &shop.listings[0];
    let said = |status, seconds: &str| {
        let headers = vec![("retry-after", seconds.to_owned())];
        Mischief::Say(status, headers, b"{}".to_vec())
    };
    shop.relay.always(&said(429, "7"));
    let error = shop.read(listing).await.unwrap_err();
    let seven = Some(Duration::from_secs(7));
    assert_eq!(error.class, ErrorClass::RateLimited { retry_after: seven });
    shop.relay.always(&said(503, "7"));
    let error = shop.read(listing).await.unwrap_err();
    assert_eq!((error.class, error.away_for), (ErrorClass::Transient, seven));
    for odd in ["soon", "-1", "99999999999999999999", "１２"] {
        shop.relay.always(&said(429, odd));
        let error = shop.read(listing).await.unwrap_err();
        assert!(
            matches!(error.class, ErrorClass::RateLimited { .. }),
            "{odd}: {error:?}"
        );
    }
}

async fn no_answer_is_unknown_and_never_done(shop: Shop) {
    let listing = &shop.listings[0];
    assert!(is_accepted(&shop.set(listing, 3).await));
    for mischief in [Mischief::CloseBefore, Mischief::SilentBefore] {
        shop.relay.always(&mischief);
        let outcome = shop.set(listing, 8).await;
        let (error, unknown) = failure(&outcome);
        assert_eq!(error.class, ErrorClass::Transient, "{error:?}");
        assert!(unknown, "it cannot know: {error:?}");
        assert_eq!(shop.read(listing).await.unwrap_err().class, ErrorClass::Transient);
    }
    shop.relay.calm();
    assert_eq!(shop.read(listing).await.unwrap().quantity, pieces(3));
}

async fn an_effect_without_an_answer_is_unknown(shop: Shop) {
    let listing = &shop.listings[0];
    for (count, mischief) in [(11, Mischief::CutAfter), (12, Mischief::SilentAfter)] {
        assert!(is_accepted(&shop.set(listing, 2).await));
        shop.relay.always(&mischief);
        let outcome = shop.set(listing, count).await;
        let (error, unknown) = failure(&outcome);
        assert!(unknown, "it was done: {error:?}");
        shop.relay.calm();
        assert_eq!(shop.read(listing).await.unwrap().quantity, pieces(count));
        shop.relay.always(&mischief);
        let error = shop.adapter.end(listing).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Transient, "{error:?}");
        shop.relay.calm();
        assert!(!can_be_bought(&shop.read(listing).await.unwrap()));
        shop.adapter.relist(listing).await.unwrap();
    }
}

async fn a_token_that_ends_between_check_and_use_is_renewed_once(shop: Shop) {
    let Some(expire) = shop.expire else { return };
    let listing = &shop.listings[0];
    assert!(is_accepted(&shop.set(listing, 2).await));
    for count in 3..5 {
        expire(&shop.simulator);
        shop.relay.take();
        assert!(is_accepted(&shop.set(listing, count).await));
        assert_eq!(shop.relay.take_tokens(), 1);
        assert_eq!(shop.truth(listing).quantity, pieces(count));
    }
    // Refused whatever token it is: a person is needed, and nothing of it was done.
    shop.relay.always(&Mischief::status(401));
    let outcome = shop.set(listing, 9).await;
    let (error, unknown) = failure(&outcome);
    assert_eq!(
        (error.class, unknown),
        (ErrorClass::Unauthorized, false),
        "{error:?}"
    );
    assert!(shop.relay.take_tokens() <= 1, "one renewal is enough");
}

async fn a_withdrawn_consent_is_told_and_not_asked_for_again(shop: Shop) {
    let listing = &shop.listings[0];
    shop.read(listing).await.unwrap();
    (shop.revoke)(&shop.simulator);
    let outcome = shop.set(listing, 9).await;
    let (error, unknown) = failure(&outcome);
    assert_eq!(
        (error.class, unknown),
        (ErrorClass::Unauthorized, false),
        "{error:?}"
    );
    if shop.expire.is_some() {
        assert_eq!(&*error.code, NEEDS_REAUTH);
    }
    shop.relay.take();
    let error = shop.read(listing).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unauthorized);
    if shop.expire.is_some() {
        assert_eq!(shop.relay.take_tokens(), 0, "asking again changes nothing");
    }
}

async fn what_nobody_knows_does_not_matter(shop: Shop) {
    let listing = &shop.listings[0];
    change_all(&shop.relay, mutate::enriched);
    assert!(is_accepted(&shop.set(listing, 6).await));
    assert_eq!(shop.read(listing).await.unwrap(), shop.truth(listing));
    assert_eq!(shop.adapter.find(&listing.sku).await.unwrap().len(), 1);
    shop.adapter.end(listing).await.unwrap();
    shop.adapter.relist(listing).await.unwrap();
    assert!(can_be_bought(&shop.truth(listing)) || is_accepted(&shop.set(listing, 6).await));
}

async fn no_answer_with_a_wrong_part_is_read_as_something_else(shop: Shop) {
    let listing = &shop.listings[0];
    shop.relay.take();
    let truth = shop.read(listing).await.unwrap();
    let (mut tried, mut wrong) = (0, Vec::new());
    for (nth, (asked, body)) in shop.relay.take().into_iter().enumerate() {
        let honest: Value = serde_json::from_slice(&body).unwrap();
        for place in mutate::places(&honest) {
            for (what, by) in mutate::replacements() {
                let changed = mutate::replaced(&honest, &place, &by);
                if changed == honest {
                    continue;
                }
                change_nth(&shop.relay, nth, move |_| changed.clone());
                tried += 1;
                if let Ok(read) = shop.read(listing).await
                    && read != truth
                    && !(shop.means)(&place, what)
                {
                    wrong.push(format!("{}: {place} by {what}: {read:?}", asked.what));
                }
            }
        }
    }
    println!("{tried} answers");
    assert!(tried > 50 && wrong.is_empty(), "of {tried}: {wrong:#?}");
}

async fn no_answer_with_a_wrong_part_makes_a_failure_a_success(shop: Shop) {
    let revise = |count| {
        [
            shop.revision(&shop.listings[0], count),
            shop.revision(&shop.absent, count),
        ]
    };
    shop.relay.take();
    let outcomes = shop.adapter.revise(&revise(1)).await;
    failure(&outcomes[1]);
    let (mut tried, mut wrong) = (0, Vec::new());
    for (nth, (asked, body)) in shop.relay.take().into_iter().enumerate() {
        let Ok(honest) = serde_json::from_slice::<Value>(&body) else {
            continue;
        };
        for place in mutate::places(&honest) {
            for (what, by) in mutate::replacements() {
                let changed = mutate::replaced(&honest, &place, &by);
                change_nth(&shop.relay, nth, move |_| changed.clone());
                tried += 1;
                wait().await;
                // Never the same twice in a row, so that it shows what this call did.
                let count = 1 + tried % 7;
                let outcomes = shop.adapter.revise(&revise(count)).await;
                assert_eq!(outcomes.len(), 2);
                if is_accepted(&outcomes[1]) {
                    wrong.push(format!("{}: {place} by {what}: a success", asked.what));
                }
                // What was applied must not be called undone for want of a part of the answer.
                let applied = shop.truth(&shop.listings[0]).quantity == pieces(count);
                if applied
                    && matches!(&outcomes[0], EntryOutcome::Failed { unknown: false, error } if error.class == ErrorClass::Protocol)
                {
                    wrong.push(format!("{}: {place} by {what}: called undone", asked.what));
                }
            }
        }
    }
    println!("{tried} answers");
    assert!(tried > 20 && wrong.is_empty(), "of {tried}: {wrong:#?}");
}

async fn entries_that_come_twice_are_no_success_of_another(shop: Shop) {
    change_all(&shop.relay, mutate::doubled);
    let revisions = [
        shop.revision(&shop.listings[0], 5),
        shop.revision(&shop.absent, 5),
    ];
    wait().await;
    let outcomes = shop.adapter.revise(&revisions).await;
    assert_eq!(outcomes.len(), 2);
    failure(&outcomes[1]);
    if let Ok(read) = shop.read(&shop.listings[0]).await {
        assert_eq!(read, shop.truth(&shop.listings[0]));
    }
}

async fn entries_in_another_order_are_the_same(shop: Shop) {
    change_all(&shop.relay, mutate::turned);
    let all = [&shop.listings[0], &shop.absent, &shop.listings[1]];
    let revisions: Vec<Revision> = (5..).zip(all).map(|(n, l)| shop.revision(l, n)).collect();
    wait().await;
    let outcomes = shop.adapter.revise(&revisions).await;
    failure(&outcomes[1]);
    for (n, at) in [(5, 0), (7, 2)] {
        if is_accepted(&outcomes[at]) {
            assert_eq!(shop.truth(all[at]).quantity, pieces(n));
        }
        assert_eq!(shop.read(all[at]).await.unwrap(), shop.truth(all[at]));
    }
}

/// A gateway, a wrong address or a page of errors says 404, too.
async fn what_is_not_found_by_somebody_else_is_not_gone(shop: Shop) {
    let listing = &shop.listings[0];
    let bodies: [&[u8]; 6] = [
        b"",
        b"{}",
        b"{\"errors\":[]}",
        b"{\"message\":\"no Route matched with those values\"}",
        b"<html><title>404 Not Found</title></html>",
        b"404 page not found",
    ];
    for status in [404, 410] {
        for body in bodies {
            shop.relay
                .always(&Mischief::Say(status, Vec::new(), body.to_vec()));
            let text = String::from_utf8_lossy(body);
            let error = shop.read(listing).await.unwrap_err();
            assert_ne!(error.class, ErrorClass::NotFound, "{status} {text}: {error:?}");
            let found = shop.adapter.find(&listing.sku).await;
            assert!(found.is_err(), "{status} {text}: {found:?}");
            assert!(shop.adapter.reach().await.is_err(), "{status} {text}");
        }
    }
    shop.relay.calm();
    assert_eq!(shop.read(listing).await.unwrap(), shop.truth(listing));
}

async fn what_is_no_answer_is_an_error(shop: Shop) {
    let listing = &shop.listings[0];
    assert!(is_accepted(&shop.set(listing, 3).await));
    let bodies: [&[u8]; 9] = [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\"ok\"",
        b"<html><title>Maintenance</title></html>",
        b"{\"data\":",
        b"\xff\xfe\x00\x00",
        b"{\"a\":1}{\"a\":1}",
    ];
    for body in bodies {
        shop.relay.always(&Mischief::Say(200, Vec::new(), body.to_vec()));
        let text = String::from_utf8_lossy(body);
        assert!(shop.read(listing).await.is_err(), "{text}");
        let outcome = shop.set(listing, 8).await;
        let (error, unknown) = failure(&outcome);
        assert!(unknown, "{text}: {error:?}");
        let ended = shop.adapter.end(listing).await;
        assert_eq!(ended.unwrap_err().class, ErrorClass::Transient, "{text}: look");
        assert!(shop.adapter.relist(listing).await.is_err(), "{text}");
        if serde_json::from_slice::<Value>(body).is_err() {
            assert!(shop.adapter.reach().await.is_err(), "{text}");
        }
    }
    let deep = "[".repeat(100_000).into_bytes();
    let long = vec![b' '; 64 << 20];
    for body in [deep, long] {
        shop.relay.always(&Mischief::Say(200, Vec::new(), body));
        assert!(shop.read(listing).await.is_err());
    }
    shop.relay.calm();
    assert_eq!(shop.read(listing).await.unwrap().quantity, pieces(3));
}

async fn another_address_is_not_followed(shop: Shop) {
    let other = Relay::start(&shop.simulator.urls.ebay).await;
    for status in [301, 302, 307, 308] {
        let headers = vec![("location", other.url.to_string())];
        shop.relay.always(&Mischief::Say(status, headers, Vec::new()));
        assert!(shop.read(&shop.listings[0]).await.is_err(), "{status}");
        failure(&shop.set(&shop.listings[0], 9).await);
    }
    assert!(other.take().is_empty(), "another host was asked");
}
