//! What every source's adapter does.

use super::mutate;
use super::relay::{Mischief, Relay};
use super::stand::{Spring, tells, wait};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use zaikoban::domain::{ErrorClass, ItemStatus, Observation, SourceProductId};
use zaikoban::platform::PlatformError;

macro_rules! every_source {
    ($($source:ident: $($case:ident)+;)+) => {
        $(mod $source {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::super::stand::$source().await).await;
            })+
        })+
    };
}

every_source! {
    yahoo:
        what_is_observed_is_what_is_offered
        an_item_that_is_not_there_takes_no_other_along
        each_status_has_its_class
        a_word_on_how_long_to_wait_is_heard
        no_answer_is_no_reading
        what_is_not_found_by_somebody_else_is_not_gone
        what_is_no_answer_is_an_error
        another_address_is_not_followed;
    amazon_offers:
        what_is_observed_is_what_is_offered
        an_item_that_is_not_there_takes_no_other_along
        each_status_has_its_class
        a_word_on_how_long_to_wait_is_heard
        no_answer_is_no_reading
        what_is_not_found_by_somebody_else_is_not_gone
        entries_in_another_order_are_the_same
        what_is_no_answer_is_an_error
        another_address_is_not_followed
        no_answer_with_a_wrong_part_is_read_as_something_else;
    amazon_competitive:
        what_is_observed_is_what_is_offered
        an_item_that_is_not_there_takes_no_other_along
        each_status_has_its_class
        no_answer_is_no_reading
        what_is_not_found_by_somebody_else_is_not_gone
        entries_in_another_order_are_the_same
        no_answer_with_a_wrong_part_is_read_as_something_else;
}

type Look = Result<Observation, PlatformError>;

impl Spring {
    async fn observe(&self, ids: &[SourceProductId]) -> Vec<Look> {
        wait().await;
        let mut looks = Vec::new();
        for some in ids.chunks(self.adapter.batch_size()) {
            let seen = self.adapter.observe(some).await;
            assert_eq!(seen.len(), some.len());
            looks.extend(seen);
        }
        assert!(!tells(&format!("{looks:?}"), &self.secrets), "a secret is told");
        looks
    }

    async fn one(&self) -> Look {
        let looks = self.observe(&self.ids[..1]).await;
        let [look] = looks.try_into().unwrap();
        look
    }

    /// What of it is not what is offered.
    fn differs(&self, id: &SourceProductId, seen: &Observation) -> Option<String> {
        let (stock, price) = (self.truth)(&self.simulator, id);
        let read = seen.buy_now_price.unwrap_or(seen.price).amount();
        // What nobody offers has no price.
        let priced = stock == 0 || read == price.into();
        let right = seen.stock.get() == stock && priced && &seen.source_product_id == id;
        (!right).then(|| format!("{seen:?} in place of {stock} for {price}"))
    }
}

async fn what_is_observed_is_what_is_offered(spring: Spring) {
    for (id, look) in spring.ids.iter().zip(spring.observe(&spring.ids).await) {
        assert_eq!(spring.differs(id, &look.unwrap()), None);
    }
}

async fn an_item_that_is_not_there_takes_no_other_along(spring: Spring) {
    let ids = [
        spring.ids[0].clone(),
        spring.absent.clone(),
        spring.ids[1].clone(),
    ];
    let looks = spring.observe(&ids).await;
    assert!(looks[0].is_ok() && looks[2].is_ok(), "{looks:?}");
    match &looks[1] {
        Ok(seen) => assert_eq!(seen.status, ItemStatus::Removed, "{seen:?}"),
        Err(error) => assert_eq!(error.class, ErrorClass::NotFound, "{error:?}"),
    }
}

async fn each_status_has_its_class(spring: Spring) {
    for status in [400, 403, 405, 418, 429, 500, 502, 503, 504, 599] {
        spring.relay.always(&Mischief::status(status));
        let error = spring.one().await.unwrap_err();
        let fits = match status {
            429 => matches!(error.class, ErrorClass::RateLimited { .. }),
            500.. => error.class == ErrorClass::Transient,
            _ => !matches!(
                error.class,
                ErrorClass::Transient | ErrorClass::RateLimited { .. } | ErrorClass::NotFound
            ),
        };
        assert!(fits, "{status}: {error:?}");
    }
    spring.relay.calm();
    assert!(spring.one().await.is_ok(), "it recovers");
}

/// A gateway, a wrong address or a page of errors says 404, too.
async fn what_is_not_found_by_somebody_else_is_not_gone(spring: Spring) {
    let bodies: [&[u8]; 6] = [
        b"",
        b"{}",
        b"{\"errors\":[]}",
        b"{\"errors\":[{\"code\":\"NOT_FOUND\",\"message\":\"no such path\"}]}",
        b"<html><title>404</title></html>",
        b"404 page not found",
    ];
    // With its title known, and without.
    for first in [false, true] {
        if first {
            assert!(spring.one().await.is_ok());
        }
        for body in bodies {
            for status in [404, 410] {
                spring
                    .relay
                    .always(&Mischief::Say(status, Vec::new(), body.to_vec()));
                let text = String::from_utf8_lossy(body);
                match spring.one().await {
                    Ok(seen) => panic!("{status} {text}: {seen:?}"),
                    Err(error) => assert_ne!(error.class, ErrorClass::NotFound, "{status} {text}: {error:?}"),
                }
            }
        }
        spring.relay.calm();
    }
}

async fn entries_in_another_order_are_the_same(spring: Spring) {
    let turned = Arc::new(|body: Vec<u8>| match serde_json::from_slice(&body) {
        Ok(value) => mutate::turned(value).to_string().into_bytes(),
        Err(_no_json) => body,
    });
    spring.relay.always(&Mischief::Body(turned));
    for (id, look) in spring.ids.iter().zip(spring.observe(&spring.ids).await) {
        assert_eq!(spring.differs(id, &look.unwrap()), None);
    }
}

async fn a_word_on_how_long_to_wait_is_heard(spring: Spring) {
    let said = |status, seconds: &str| {
        let headers = vec![("retry-after", seconds.to_owned())];
        Mischief::Say(status, headers, b"{}".to_vec())
    };
    spring.relay.always(&said(429, "7"));
    let seven = Some(Duration::from_secs(7));
    let error = spring.one().await.unwrap_err();
    assert_eq!(error.class, ErrorClass::RateLimited { retry_after: seven });
    spring.relay.always(&said(503, "7"));
    let error = spring.one().await.unwrap_err();
    assert_eq!((error.class, error.away_for), (ErrorClass::Transient, seven));
}

async fn no_answer_is_no_reading(spring: Spring) {
    for mischief in [
        Mischief::CloseBefore,
        Mischief::SilentBefore,
        Mischief::CutAfter,
        Mischief::SilentAfter,
    ] {
        spring.relay.always(&mischief);
        assert_eq!(spring.one().await.unwrap_err().class, ErrorClass::Transient);
    }
    spring.relay.calm();
    assert!(spring.one().await.is_ok());
}

async fn what_is_no_answer_is_an_error(spring: Spring) {
    let bodies: [&[u8]; 8] = [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\"ok\"",
        b"<html><title>Maintenance</title></html>",
        b"{\"responses\":",
        b"\xff\xfe\x00\x00",
    ];
    for body in bodies {
        spring
            .relay
            .always(&Mischief::Say(200, Vec::new(), body.to_vec()));
        let error = spring.one().await.unwrap_err();
        assert_ne!(
            error.class,
            ErrorClass::NotFound,
            "{}",
            String::from_utf8_lossy(body)
        );
    }
    for body in ["[".repeat(100_000).into_bytes(), vec![b' '; 64 << 20]] {
        spring.relay.always(&Mischief::Say(200, Vec::new(), body));
        assert!(spring.one().await.is_err());
    }
    spring.relay.calm();
    assert!(spring.one().await.is_ok());
}

async fn another_address_is_not_followed(spring: Spring) {
    let other = Relay::start(&spring.simulator.urls.yahoo).await;
    for status in [301, 302, 307, 308] {
        let headers = vec![("location", other.url.to_string())];
        spring.relay.always(&Mischief::Say(status, headers, Vec::new()));
        assert!(spring.one().await.is_err(), "{status}");
    }
    assert!(other.take().is_empty(), "another host was asked");
}

/// For sources whose answers are JSON; Yahoo!'s pages have `yahoo::mutation`.
async fn no_answer_with_a_wrong_part_is_read_as_something_else(spring: Spring) {
    // Titles are asked for once: what is asked from now on is asked each time.
    spring.one().await.unwrap();
    spring.relay.take();
    spring.one().await.unwrap();
    let (mut tried, mut wrong) = (0, Vec::new());
    for (nth, (asked, body)) in spring.relay.take().into_iter().enumerate() {
        let honest: Value = serde_json::from_slice(&body).unwrap();
        for place in mutate::places(&honest) {
            for (what, by) in mutate::replacements() {
                let changed = mutate::replaced(&honest, &place, &by);
                if changed == honest {
                    continue;
                }
                let changed = changed.to_string().into_bytes();
                let mut call = 0;
                spring.relay.plan(move |asked| {
                    call += usize::from(!asked.is_token());
                    let changed = changed.clone();
                    match !asked.is_token() && call - 1 == nth {
                        true => Mischief::Body(Arc::new(move |_| changed.clone())),
                        false => Mischief::None,
                    }
                });
                tried += 1;
                // An offer that is not shown was not made.
                let is_offer = place
                    .rsplit_once('/')
                    .is_some_and(|(list, _)| list.ends_with("/Offers"));
                match spring.one().await {
                    Ok(_) if is_offer && what == "gone" => {}
                    Ok(seen) => {
                        let differs = spring.differs(&spring.ids[0], &seen);
                        wrong.extend(differs.map(|d| format!("{}: {place} by {what}: {d}", asked.what)));
                    }
                    Err(error) if error.class == ErrorClass::NotFound => {
                        wrong.push(format!("{}: {place} by {what}: gone", asked.what));
                    }
                    Err(_) => {}
                }
            }
        }
    }
    println!("{tried} answers");
    assert!(tried > 50 && wrong.is_empty(), "of {tried}: {wrong:#?}");
}
