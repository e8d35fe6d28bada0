//! From a trouble in the tables to a message that arrived: the real alerter and senders on a real PostgreSQL, with a mail
//! server, Slack and a webhook that can be away.

mod sinks;
mod sms;
pub mod stage;
mod store;

use crate::support::wait::until;
use serde_json::json;
use stage::{Nothing, Stage};
use std::sync::Arc;
use zaikoban::alert::heartbeat;
use zaikoban::clock::Clock;
use zaikoban::domain::{AlertChannel, AlertStatus};
use zaikoban::simulator::{SinkMood, Sinks};
use zaikoban::store::status::connect_waiting;
use zaikoban::store::{PoolSettings, StatusBoard};
use zaikoban::supervision::Life;

#[actix::test]
async fn a_trouble_reaches_mail_slack_and_webhook_once() {
    let s = Stage::start().await;
    s.error("contract", "high", "yahoo_auction", 1).await;
    s.slacked(1).await;
    s.mailed(1).await;
    s.hooked(1).await;
    // Met again and again, it is the same.
    for _ in 0..3 {
        s.t.run("UPDATE inventory_errors SET count = count + 1, last_seen_at = now()")
            .await;
        s.looked().await;
    }
    assert_eq!(
        (
            s.sinks.slacked().len(),
            s.sinks.mails().len(),
            s.sinks.hooked().len()
        ),
        (1, 1, 1)
    );
    let alerts = s.alerts().await;
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].status, AlertStatus::Open);
}

#[actix::test]
async fn b14_what_no_number_and_no_calendar_holds_keeps_no_trouble_from_being_told() {
    let s = Stage::start().await;
    s.t.run(
        "INSERT INTO inventory_errors (error_type, error_code, error_message, severity, fingerprint, count, created_at,
             last_seen_at) SELECT 'api_error', 'wild', 'refused', 'high', 'x' || i, 5000000000000000000, 'infinity',
             '-infinity' FROM generate_series(1, 2) i",
    )
    .await;
    s.error("contract", "high", "yahoo_auction", 1).await;
    s.slacked(2).await;
}

#[actix::test]
async fn ten_thousand_products_that_fail_at_once_are_one_message() {
    let s = Stage::start().await;
    s.t.run(
        "INSERT INTO inventory_errors (error_type, error_code, error_message, platform, severity, fingerprint, product_id) \
         SELECT 'api_error', 'ebay_25002', 'refused', 'ebay', 'high', 'x' || i, i FROM generate_series(1, 10000) i",
    )
    .await;
    s.slacked(1).await;
    s.looked().await;
    assert_eq!(s.sinks.slacked().len(), 1);
    assert_eq!(s.alerts().await[0].count, 10_000);
    assert_eq!(s.alerts().await[0].facts.products.len(), 20);
}

#[actix::test]
async fn an_outage_of_slack_delays_and_loses_nothing_and_the_other_channels_go_on() {
    let s = Stage::start().await;
    s.sinks.slack(SinkMood::Unavailable);
    for code in ["a", "b", "c", "d", "e"] {
        s.error(code, "high", "ebay", 1).await;
    }
    s.mailed_alerts(5).await;
    assert!(s.sinks.slacked().is_empty());
    s.until("Slack is known to fail", |s| {
        s.desk.health()[&AlertChannel::Slack].failing_since.is_some()
    })
    .await;
    s.sinks.slack(SinkMood::Well);
    s.slacked(1).await;
    let text = s.sinks.slacked()[0].to_string();
    for code in ["（a）", "（b）", "（c）", "（d）", "（e）"] {
        assert!(text.contains(code), "{code} in {text}");
    }
    s.until_none_waits().await;
    assert_eq!(s.sinks.slacked().len(), 1, "all that waited is one message");
}

#[actix::test]
async fn what_was_over_before_slack_came_back_is_one_message_that_says_so() {
    let s = Stage::start().await;
    s.sinks.slack(SinkMood::Unavailable);
    s.error("contract", "high", "ebay", 1).await;
    s.mailed(1).await;
    let id = s.alerts().await[0].id;
    s.t.run(&format!(
        "UPDATE alerts SET status = 'resolved', resolved_at = now(), resolved_by = 'hana' WHERE id = {id}; \
         UPDATE inventory_errors SET resolved = true"
    ))
    .await;
    s.sinks.slack(SinkMood::Well);
    s.slacked(1).await;
    s.until_none_waits().await;
    let slacked = s.sinks.slacked();
    assert_eq!(slacked.len(), 1);
    assert!(
        slacked[0]["text"].as_str().unwrap().contains("復旧"),
        "{}",
        slacked[0]
    );
}

#[actix::test]
async fn a_word_to_wait_is_kept_and_a_strange_200_is_no_arrival() {
    let s = Stage::start().await;
    s.sinks.slack(SinkMood::Strange);
    s.error("contract", "high", "ebay", 1).await;
    s.until("a failure", |s| {
        s.desk.health()[&AlertChannel::Slack].failures >= 1
    })
    .await;
    let said = s.desk.health()[&AlertChannel::Slack].error.clone().unwrap();
    assert!(said.contains("where `ok` was expected"), "{said}");
    s.sinks.slack(SinkMood::Busy(600));
    s.until("a word to wait", |s| {
        s.desk.health()[&AlertChannel::Slack]
            .error
            .as_deref()
            .is_some_and(|e| e.contains("429"))
    })
    .await;
    // What is being sent is due when its lease ends; then by Slack's word.
    until("the word to be kept", || async {
        let due = s.next_due(AlertChannel::Slack).await;
        (due > 500 && due <= 600).then_some(())
    })
    .await;
}

#[actix::test]
async fn a_channel_that_is_gone_is_told_over_the_others() {
    let s = Stage::start().await;
    s.sinks.slack(SinkMood::Gone);
    s.error("contract", "high", "ebay", 1).await;
    s.until("the failure", |s| {
        s.desk.health()[&AlertChannel::Slack].needs_a_person
    })
    .await;
    s.until("a mail about it", |s| s.sinks.mails().len() >= 2).await;
    let alerts = s.alerts().await;
    assert!(
        alerts.iter().any(|a| a.fingerprint == "channel slack"),
        "{alerts:?}"
    );
    let shown = format!("{:?} {:?}", s.desk.health(), alerts);
    assert!(
        !shown.contains("sesame"),
        "the webhook's address is a secret: {shown}"
    );
}

#[actix::test]
async fn a_killed_alerter_and_killed_senders_tell_once() {
    let mut s = Stage::start().await;
    s.sinks.mail(SinkMood::Silent);
    s.error("contract", "high", "ebay", 1).await;
    // That Slack took it is written down: killed before, it would be told there once more.
    s.until_delivered(AlertChannel::Slack).await;
    s.until_sending(AlertChannel::Email).await;
    s.kill();
    // The lease of the mail that was under way runs out.
    s.t.run("UPDATE alert_deliveries SET lease_until = now() - interval '1 s' WHERE status = 'sending'")
        .await;
    s.sinks.mail(SinkMood::Well);
    s.restart();
    s.mailed(1).await;
    s.until_none_waits().await;
    s.looked().await;
    assert_eq!((s.sinks.slacked().len(), s.sinks.mails().len()), (1, 1));
}

#[actix::test]
async fn a_hold_is_told_with_its_products_and_over_when_a_person_has_decided() {
    let s = Stage::start().await;
    s.t.run(
        "INSERT INTO yahoo_scraped_products (id, title) VALUES (7, E'<!channel> lamp\\r\\nBcc: x@example.com'); \
         INSERT INTO inventory_management (id, product_id, source_platform, source_url, source_product_id) \
           VALUES (7, 7, 'yahoo', 'https://example.invalid/7', 'x7'); \
         INSERT INTO holds (product_id, watch_id, reason, detail, base_version, meanwhile, default_action, deadline) \
           VALUES (7, 7, 'mass_change', '{}', 1, 'keep', 'recheck', now() + interval '12 h')",
    )
    .await;
    s.mailed(1).await;
    let mail = s.sinks.mails()[0].clone();
    let head = mail.split("\r\n\r\n").next().unwrap();
    assert!(!head.to_lowercase().contains("\r\nbcc:"), "{head}");
    s.slacked(1).await;
    let slack = s.sinks.slacked()[0].to_string();
    assert!(
        !slack.contains("<!") && slack.contains("&lt;!channel&gt;"),
        "{slack}"
    );
    s.t.run("UPDATE holds SET status = 'accepted', decided_at = now(), decided_by = 'hana'")
        .await;
    s.until_status(1, AlertStatus::Resolved).await;
    assert_eq!(s.sinks.mails().len(), 1, "who decided knows");
}

#[actix::test]
async fn the_webhook_is_signed_as_its_receiver_expects() {
    use hmac::Mac as _;
    let s = Stage::start().await;
    s.error("contract", "high", "ebay", 1).await;
    s.hooked(1).await;
    let hooked = s.sinks.hooked()[0].clone();
    let timestamp = &hooked.headers["x-zaikoban-timestamp"];
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(stage::SECRET.as_bytes()).unwrap();
    mac.update(format!("{timestamp}.").as_bytes());
    mac.update(&hooked.body);
    let expected: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(hooked.headers["x-zaikoban-signature"], format!("v1={expected}"));
    let body: serde_json::Value = serde_json::from_slice(&hooked.body).unwrap();
    assert_eq!(body["alerts"][0]["level"], json!("error"));
}

#[actix::test]
async fn a_database_that_is_away_is_told_from_the_spool_and_its_return_too() {
    let mut s = Stage::start().await;
    s.kill();
    // Whoever waits for a database that nobody answers for tells the board so.
    let board = StatusBoard::new(Clock::system());
    let nobody = PoolSettings::new("postgres://nobody@127.0.0.1:9/x");
    let (waits, life) = (board.clone(), Life::detached("database"));
    let waiting = tokio::task::spawn_local(async move {
        let _never = connect_waiting(&nobody, &waits, &life).await;
    });
    let spool = tokio::task::spawn_local(s.spool().keep_watch(board, s.desk.clone()));
    s.sinks.mail(SinkMood::Unavailable);
    s.slacked(1).await;
    let told = s.sinks.slacked()[0]["text"].as_str().unwrap().to_owned();
    assert!(told.contains("データベースにつながりません"), "{told}");
    spool.abort();
    waiting.abort();
    // Killed meanwhile: what was told stands in the file.
    s.sinks.mail(SinkMood::Well);
    s.restart();
    s.slacked(2).await;
    let told = s.sinks.slacked()[1]["text"].as_str().unwrap().to_owned();
    assert!(told.contains("復旧"), "{told}");
    s.until_none_waits().await;
    assert!(
        s.sinks.mails().is_empty(),
        "who heard nothing of it hears nothing of its end"
    );
    s.looked().await;
    assert_eq!(s.sinks.slacked().len(), 2, "once");
    assert_eq!(s.alerts().await[0].status, AlertStatus::Resolved);
}

#[actix::test]
async fn a_reader_who_is_gone_keeps_nothing_from_the_others() {
    let s = Stage::with(&[("EMAIL__TO", "nobody@example.jp, me@example.jp")]).await;
    s.error("contract", "high", "ebay", 1).await;
    s.mailed(1).await;
    s.until_none_waits().await;
    assert!(
        s.sinks.mails()[0].contains("To: me@example.jp"),
        "{}",
        s.sinks.mails()[0]
    );
    assert_eq!(s.sinks.mails().len(), 1);
}

#[actix::test]
async fn the_heartbeat_beats_while_the_database_answers_and_is_silent_while_it_does_not() {
    let sinks = Sinks::start().unwrap();
    let url = sinks.ping_url();
    let s = Stage::with(&[("HEARTBEAT__URL", &url), ("HEARTBEAT__EVERY_S", "10")]).await;
    let beat = |board: &StatusBoard| {
        let life = Life::detached("alert/heartbeat");
        let ownership = s.parts.ownership.clone();
        tokio::task::spawn_local(heartbeat(
            s.desk.clone(),
            board.clone(),
            Arc::new(Nothing),
            ownership,
            life,
        ))
    };
    // A board on which nobody says that the database answers.
    let silent = beat(&StatusBoard::new(Clock::system()));
    let board = StatusBoard::new(Clock::system());
    let settings = s.t.db().settings().clone();
    connect_waiting(&settings, &board, &Life::detached("database"))
        .await
        .unwrap();
    assert!(board.watch().borrow().is_up());
    let beats = beat(&board);
    s.until("a beat", |_| sinks.pings() >= 1).await;
    assert_eq!(sinks.pings(), 1, "one of the two");
    silent.abort();
    beats.abort();
}

#[actix::test]
async fn a_test_says_what_came_back_from_each_channel() {
    let s = Stage::start().await;
    s.sinks.mail(SinkMood::Gone);
    let tested = s.desk.test(None).await;
    let of = |channel| tested.iter().find(|t| t.channel == channel).unwrap();
    assert!(of(AlertChannel::Slack).delivered && of(AlertChannel::Webhook).delivered);
    let mail = of(AlertChannel::Email);
    assert!(
        !mail.delivered && mail.error.as_deref().unwrap().contains("550"),
        "{mail:?}"
    );
}
