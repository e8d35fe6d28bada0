//! What a destination would say to what is planned: asked without anything being changed.

use super::world::{READY, World};
use serde_json::{Value, json};
use zaikoban::simulator::Order;

const AMAZON: &str = "amazon_seller";

/// What Amazon shows of each listing.
fn held(world: &World) -> Vec<(Box<str>, u32, u32)> {
    let all = world.simulator.amazon_register();
    let shown = all.iter().map(|l| (l.sku.clone(), l.quantity, l.price_jpy));
    shown.collect()
}

/// The rows of a plan with preview that set something at `destination`.
async fn previews(world: &World, destination: &str) -> Vec<Value> {
    let plan = world.json("listings plan --preview --limit 200").await;
    let rows = plan["items"].as_array().unwrap().clone();
    rows.into_iter()
        .filter(|row| row["destination"] == destination && row["preview"] != Value::Null)
        .collect()
}

fn faults(world: &World, amazon: Value) {
    let order = Order {
        stop_faults: true,
        faults: Some(json!({ "amazon": amazon })),
        ..Order::default()
    };
    world.simulator.order(&order).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_asks_amazon_what_it_would_say_and_nothing_is_changed() {
    let mut world = World::of_all("preview", 31, 6).await;
    // What Amazon refuses stays a plan.
    faults(&world, json!({ "p_invalid": 1.0 }));
    world.launch().await;
    world.register().await;
    let before = held(&world);
    world
        .until("plans for Amazon", READY, "/v1/plan?limit=200", |plan| {
            let rows = plan["items"].as_array()?.iter();
            let planned = rows.filter(|row| row["destination"] == AMAZON && row["steps"] != json!([]));
            (planned.count() == before.len()).then_some(())
        })
        .await;
    let said = world.said("listings pause --destination amazon_seller").await;
    assert!(said.starts_with("paused"), "{said}");
    let refused = previews(&world, AMAZON).await;
    assert_eq!(refused.len(), before.len());
    for row in &refused {
        assert_eq!(row["preview"]["outcome"], "refused", "{row}");
    }
    let id = refused[0]["id"].to_string();
    let shown = world.shown(&format!("listings plan --preview --id {id}")).await;
    assert!(
        shown.contains("would refuse it: ") && shown.contains("under review"),
        "{shown}"
    );
    faults(&world, json!({ "p_500": 1.0 }));
    let shown = world.shown(&format!("listings plan --preview --id {id}")).await;
    assert!(shown.contains("not known: "), "{shown}");
    faults(&world, json!({}));
    let path = format!("/v1/plan?id={id}&preview=true");
    world
        .until(
            "the breaker to open and Amazon to take it",
            READY,
            &path,
            |plan| {
                (plan["items"][0]["preview"] == json!({ "outcome": "taken", "warnings": [] })).then_some(())
            },
        )
        .await;
    let plain = world.json(&format!("listings plan --id {id}")).await;
    assert_eq!(plain["items"][0]["preview"], Value::Null, "nobody asked");
    assert_eq!(held(&world), before);
    world.finish().await;
}
