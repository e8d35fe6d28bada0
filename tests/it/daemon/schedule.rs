//! The time-table of the real daemon, by its commands.

use super::world::World;
use serde_json::Value;

#[tokio::test]
async fn a_sweep_by_hand_looks_at_every_product_and_a_stopped_daemon_says_what_it_left() {
    let mut world = World::settled("schedule", 611, 120).await;
    let listed = world.json("schedule list").await;
    let names: Vec<&str> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 9, "{listed}");
    // everything is looked at once more, whoever would have been next
    let ran = world.cli("schedule run stock_sweep --wait").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.err.contains("`stock_sweep` completed") && ran.err.contains("120 of 120 done"),
        "{ran:?}"
    );
    let runs = world.json("executions list --process stock_sweep").await;
    let run = &runs["items"][0];
    assert_eq!(
        (&run["status"], &run["errors"]),
        (&"completed".into(), &0.into()),
        "{run}"
    );
    assert!(run["started_by"].as_str().unwrap().starts_with("uid "), "{run}");
    let began: chrono::DateTime<chrono::Utc> = run["started_at"].as_str().unwrap().parse().unwrap();
    let products = world.json("products list --limit 1000").await;
    let since = began - chrono::TimeDelta::seconds(10);
    for product in products["items"].as_array().unwrap() {
        let at: chrono::DateTime<chrono::Utc> =
            product["last_verified_at"].as_str().unwrap().parse().unwrap();
        assert!(at >= since, "{product}");
    }
    // by commands, the other entries
    for name in ["price_sweep", "validation", "health", "clean_up", "daily_summary"] {
        let ran = world.cli(&format!("schedule run {name} --wait")).await;
        assert_eq!(ran.code, Some(0), "{name}: {ran:?}");
    }
    let ran = world.cli("backup").await;
    assert!(ran.code == Some(0) && ran.err.contains("saved in `"), "{ran:?}");
    let card = world.shown(&format!("executions show {}", run["id"])).await;
    assert!(card.contains("stock_sweep completed"), "{card}");
    let summary = world.shown("summary").await;
    assert!(summary.contains("120") && summary.contains("mail"), "{summary}");
    assert!(world.shown("summary --html").await.starts_with("<!DOCTYPE html>"));
    assert!(
        world
            .refused("schedule run every_morning")
            .await
            .contains("stock_sweep"),
        "the names are told"
    );
    assert_eq!(
        world.said("schedule pause backup health").await,
        "paused: backup, health\n"
    );
    assert_eq!(
        world.said("schedule resume backup").await,
        "fires by itself again: backup\n"
    );
    let listed = world.json("schedule list").await;
    let of = |name: &str| -> Value {
        let rows = listed["items"].as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).cloned().unwrap()
    };
    assert_eq!(
        (&of("health")["state"], &of("health")["next_fire_at"]),
        (&"paused".into(), &Value::Null)
    );
    assert_eq!(of("backup")["last"]["status"], "completed");
    assert!(of("backup")["next_fire_at"].is_string());
    world.assert_alive();
    world.finish().await;
}
