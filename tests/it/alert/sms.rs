//! Text messages: who gets one, who is not told twice, and what stands in the way.

use super::stage::Stage;
use crate::support::wait::until;
use zaikoban::domain::AlertChannel;
use zaikoban::simulator::{SinkMood, Sinks};

const HANA: &str = "+819012345678";
const KEN: &str = "+818012345678";
/// Twilio's own example of a number that is none.
const NOBODY: &str = "+15005550001";

/// A trouble that wakes people.
async fn critical(s: &Stage, code: &str) {
    s.error(code, "critical", "ebay", 1).await;
}

fn told(s: &Stage, number: &str) -> usize {
    s.sinks.texted().iter().filter(|text| text.to == number).count()
}

fn health(s: &Stage) -> zaikoban::alert::ChannelHealth {
    s.desk.health()[&AlertChannel::Sms].clone()
}

#[actix::test]
async fn what_is_critical_is_texted_to_everybody_and_nothing_else_is() {
    let s = Stage::start().await;
    s.error("refused", "high", "mercari", 1).await;
    s.slacked(1).await;
    critical(&s, "oversold").await;
    s.texted(2).await;
    s.until_none_waits().await;
    let texts = s.sinks.texted();
    assert_eq!((texts.len(), told(&s, HANA), told(&s, KEN)), (2, 1, 1));
    assert_eq!(texts[0].sender, "+815012345678");
    let body = &texts[0].body;
    assert!(
        body.contains("緊急") && body.contains("zaikoban alerts show "),
        "{body}"
    );
    assert!(body.encode_utf16().count() <= 201, "{body}");
}

#[actix::test]
async fn a_number_that_is_none_keeps_nobody_from_being_told_and_nobody_is_told_twice() {
    let s = Stage::with(&[("SMS__TO", &format!("{HANA},{KEN},{NOBODY}"))]).await;
    critical(&s, "oversold").await;
    s.texted(2).await;
    s.until_none_waits().await;
    critical(&s, "revoked").await;
    s.texted(4).await;
    s.until_none_waits().await;
    assert_eq!((told(&s, HANA), told(&s, KEN)), (2, 2));
    let channel = s
        .desk
        .channels()
        .into_iter()
        .find(|c| c.name() == AlertChannel::Sms);
    let probed = channel.unwrap().probe().await.unwrap_err();
    assert!(
        probed.needs_a_person && probed.message.contains("…0001"),
        "{probed}"
    );
    assert!(
        !format!("{probed:?}").contains(NOBODY),
        "a number is somebody's own"
    );
}

/// What Twilio refuses with an unknown code may be about one number alone.
#[actix::test]
async fn a_refusal_that_is_not_understood_keeps_nobody_else_from_being_told() {
    let s = Stage::with(&[("SMS__TO", &format!("+15005550002,{HANA},{KEN}"))]).await;
    critical(&s, "oversold").await;
    s.texted(2).await;
    s.until_none_waits().await;
    // Nor from what happens next, and nobody is told twice.
    critical(&s, "revoked").await;
    s.texted(4).await;
    s.until_none_waits().await;
    assert_eq!((told(&s, HANA), told(&s, KEN)), (2, 2));
    let channels = s.desk.channels();
    let channel = channels.iter().find(|c| c.name() == AlertChannel::Sms).unwrap();
    let probed = channel.probe().await.unwrap_err();
    assert!(
        probed.needs_a_person && probed.message.contains("21699"),
        "{probed}"
    );
}

/// It may be the account's then.
#[actix::test]
async fn a_refusal_that_is_not_understood_and_leaves_nobody_told_waits_for_a_person() {
    let s = Stage::with(&[("SMS__TO", "+15005550002")]).await;
    critical(&s, "oversold").await;
    s.until("a refusal", |s| health(s).needs_a_person).await;
    assert!(health(&s).error.unwrap().contains("21699"));
}

#[actix::test]
async fn where_every_number_is_refused_the_message_waits_for_a_person() {
    let s = Stage::with(&[("SMS__TO", NOBODY)]).await;
    critical(&s, "oversold").await;
    s.until("a refusal", |s| health(s).needs_a_person).await;
    assert!(health(&s).error.unwrap().contains("21211"));
    // The way to the others is not in its way.
    s.mailed(1).await;
    until("a later try", || async {
        (s.next_due(AlertChannel::Sms).await > 250).then_some(())
    })
    .await;
}

#[actix::test]
async fn an_outage_delays_a_text_and_its_end_brings_it() {
    let s = Stage::with(&[("SMS__PER_HOUR", "2")]).await;
    s.sinks.text(SinkMood::Unavailable);
    critical(&s, "oversold").await;
    s.mailed(1).await;
    // What was not sent uses up nothing of the hour.
    s.until("failures", |s| health(s).failures >= 3).await;
    assert!(s.sinks.texted().is_empty());
    s.sinks.text(SinkMood::Well);
    s.texted(2).await;
    s.until_none_waits().await;
    assert_eq!((told(&s, HANA), told(&s, KEN)), (1, 1));
}

#[actix::test]
async fn what_twilio_says_is_told_and_no_secret_with_it() {
    let s = Stage::start().await;
    for (mood, said, person) in [
        (SinkMood::Strange, "where 201 was expected", false),
        (SinkMood::Gone, "alerts.sms.auth_token", true),
        (SinkMood::Busy(600), "429", false),
    ] {
        s.sinks.text(mood);
        let tested = s.desk.test(Some(AlertChannel::Sms)).await;
        let error = tested[0].error.clone().unwrap();
        assert!(error.contains(said), "{error}");
        assert!(
            !error.contains(Sinks::TWILIO_TOKEN) && !error.contains(Sinks::TWILIO_SID),
            "{error}"
        );
        let channel = s
            .desk
            .channels()
            .into_iter()
            .find(|c| c.name() == AlertChannel::Sms);
        let probed = channel.unwrap().probe().await.unwrap_err();
        assert_eq!(probed.needs_a_person, person, "{probed}");
    }
    s.sinks.text(SinkMood::Well);
    let channel = s
        .desk
        .channels()
        .into_iter()
        .find(|c| c.name() == AlertChannel::Sms);
    assert!(channel.unwrap().probe().await.unwrap().contains("active"));
    assert!(s.desk.test(Some(AlertChannel::Sms)).await[0].delivered);
}

#[actix::test]
async fn no_more_texts_go_out_in_an_hour_than_are_allowed() {
    let s = Stage::with(&[("SMS__PER_HOUR", "2")]).await;
    critical(&s, "oversold").await;
    s.texted(2).await;
    critical(&s, "revoked").await;
    s.until("a word about it", |s| {
        health(s)
            .error
            .is_some_and(|said| said.contains("alerts.sms.per_hour"))
    })
    .await;
    until("the rest of the hour", || async {
        (s.next_due(AlertChannel::Sms).await > 3_000).then_some(())
    })
    .await;
    assert_eq!(s.sinks.texted().len(), 2);
}
