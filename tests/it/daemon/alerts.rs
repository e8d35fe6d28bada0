//! Alerts of the real daemon: an outage of a marketplace from its first 503 to the word that it is over, and what a person
//! says about it.

use super::world::World;
use crate::support::wait::until;
use serde_json::{Value, json};
use std::time::Duration;
use zaikoban::simulator::{SinkMood, Sinks};

const LIMIT: Duration = Duration::from_secs(60);

fn texts(sinks: &Sinks) -> Vec<String> {
    let text = |payload: Value| payload["text"].as_str().unwrap_or_default().to_owned();
    sinks.slacked().into_iter().map(text).collect()
}

#[tokio::test]
async fn an_outage_is_told_once_and_so_is_its_end_and_a_person_has_the_last_word() {
    let sinks = Sinks::start().unwrap();
    let mut world = World::new("alerts", 31, 12).await;
    let (host, port, slack) = (
        sinks.smtp().ip().to_string(),
        sinks.smtp().port().to_string(),
        sinks.slack_url(),
    );
    world.set(&[
        ("ALERTS__EMAIL__HOST", &host),
        ("ALERTS__EMAIL__PORT", &port),
        ("ALERTS__EMAIL__SECURITY", "none"),
        ("ALERTS__EMAIL__FROM", "zaikoban@example.jp"),
        ("ALERTS__EMAIL__TO", "me@example.jp"),
        ("ALERTS__SLACK__WEBHOOK_URL", &slack),
    ]);
    world.launch().await;
    world.register().await;

    world.faults(json!({ "ebay": { "p_503": 1.0 } }));
    world.changes(5.0);
    until("word of the outage", || async {
        texts(&sinks)
            .iter()
            .any(|t| t.contains("eBay is away"))
            .then_some(())
    })
    .await;
    let id = world
        .until("the alert", LIMIT, "/v1/alerts", |answer| {
            let items = answer["items"].as_array()?;
            items.iter().find(|a| a["kind"] == "outage")?["id"].as_i64()
        })
        .await;
    let client = world.client();
    let acked = client
        .post("/v1/alerts/ack", &json!({ "ids": [id], "note": "seen" }))
        .await
        .unwrap();
    assert_eq!(acked["changed"], json!([id]));
    let shown = client.get(&format!("/v1/alerts/{id}")).await.unwrap();
    assert_eq!(shown["status"], "acknowledged");
    assert!(
        shown["to_do"].as_array().is_some_and(|steps| !steps.is_empty()),
        "{shown}"
    );

    world.faults(json!({ "ebay": { "p_503": 0.0 } }));
    until("word of its end", || async {
        texts(&sinks)
            .iter()
            .any(|t| t.contains("over: eBay is away"))
            .then_some(())
    })
    .await;
    let about = texts(&sinks)
        .iter()
        .filter(|t| t.contains("eBay is away"))
        .count();
    assert_eq!(about, 2, "{:?}", texts(&sinks));

    sinks.slack(SinkMood::Gone);
    let tested = client.post("/v1/alerts/test", &json!({})).await.unwrap();
    let of = |name: &str| {
        let items = tested["items"].as_array().unwrap();
        items.iter().find(|i| i["channel"] == name).unwrap()["delivered"].clone()
    };
    assert_eq!(
        (of("email"), of("slack")),
        (json!(true), json!(false)),
        "{tested}"
    );
    let silence = json!({ "kind": "noise", "minutes": 0 });
    let refused = client
        .post("/v1/alerts/silence", &silence)
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("2 problem(s)"), "{refused}");
    let log = std::fs::read_to_string(world.daemon.log()).unwrap();
    assert!(!log.contains("sesame"), "the webhook's address is a secret");
    world.finish().await;
}
