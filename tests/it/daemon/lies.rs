//! Pages that are no item pages, or other ones than agreed: nothing is sold, emptied or priced by them.

use super::world::World;
use crate::support::long::long_or;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::Duration;
use zaikoban::app::rehearsal::compare::rows;
use zaikoban::simulator::{Order, SetItem, Status};

/// Five thousand in a long run. Fewer meet the same rules: what counts is that all of a source lie at once.
fn products() -> u32 {
    long_or(5_000, 1_000)
}
/// How long pages lie at most until enough of them were met.
const LIES: Duration = Duration::from_secs(240);
/// All of them are looked at once more.
const LOOKED_AT: Duration = Duration::from_secs(240);

#[tokio::test]
async fn whatever_thousands_of_pages_lie_nothing_is_pushed() {
    let mut world = World::new("lies", 201, products()).await;
    world.set(&[
        ("PLATFORMS__YAHOO_AUCTION__REQUESTS_PER_SECOND", "250"),
        ("WATCH__MAX_INTERVAL_S", long_or("60", "25")),
    ]);
    world.launch().await;
    world.register().await;
    world.settle(LOOKED_AT).await;
    // Being turned away shuts the gate after a handful of pages, so it is the trips that say how long it went on: 2, 4
    // and 8 s of silence, each ended by another login page.
    let three_trips = |before: &Value, now: &Value| trips(now) >= trips(before) + 3;
    nothing_is_pushed(&mut world, json!({ "p_login": 1.0 }), three_trips).await;
    let all_failed = |before: &Value, now: &Value| failed(now) >= failed(before) + u64::from(products());
    for drift in ["rename_bidorbuy", "drop_quantity"] {
        let faults = json!({ "p_drift": 1.0, "drift": drift });
        nothing_is_pushed(&mut world, faults, all_failed).await;
    }
    world.finish().await;
}

/// Looks that gave nothing, of all classes.
fn failed(status: &Value) -> u64 {
    let classes = status["watch"]["yahoo"]["errors"].as_array().unwrap();
    classes.iter().map(|class| class["count"].as_u64().unwrap()).sum()
}

/// How often the source's breaker tripped.
fn trips(status: &Value) -> u64 {
    let platforms = status["platforms"].as_array().unwrap();
    let yahoo = platforms.iter().find(|p| p["name"] == "yahoo_auction").unwrap();
    yahoo["counts"]["trips"].as_u64().unwrap()
}

async fn nothing_is_pushed(world: &mut World, yahoo: Value, enough: impl Fn(&Value, &Value) -> bool) {
    let client = world.client();
    let (asked, before) = (world.asked(), client.get("/v1/status").await.unwrap());
    let errors = ids(&rows(&client, "/v1/errors?").await.unwrap());
    let holds = ids(&rows(&client, "/v1/holds?").await.unwrap());

    world.faults(json!({ "yahoo": yahoo }));
    let all_lie = |status: &Value| enough(&before, status).then_some(());
    world.until("enough lies", LIES, "/v1/status", all_lie).await;
    let told = |page: &Value| {
        page["items"]
            .as_array()
            .is_some_and(|all| !new(all, &errors).is_empty())
    };
    let limit = Duration::from_secs(30);
    world
        .until("a row for the operator", limit, "/v1/errors?limit=1000", |page| {
            told(page).then_some(())
        })
        .await;

    let writes = world.writes(asked);
    assert!(
        writes.is_empty(),
        "{} writes, the first: {:?}",
        writes.len(),
        writes[0]
    );
    let troubled = rows(&client, "/v1/errors?").await.unwrap();
    let troubles = new(&troubled, &errors);
    assert!(
        (1..=3).contains(&troubles.len()),
        "one trouble is one row: {troubles:#?}"
    );
    let held = rows(&client, "/v1/holds?").await.unwrap();
    let emptying = new(&held, &holds)
        .into_iter()
        .find(|hold| hold["meanwhile"] == "zero" || hold["proposed_stock"] == 0);
    assert_eq!(emptying, None, "no hold empties anything");

    // What sells out behind the lies is seen once they end.
    let sold_out = Order {
        stop_faults: true,
        set: sold_out(world, 10),
        ..Order::default()
    };
    world.simulator.order(&sold_out).unwrap();
    world.assert_converged(LOOKED_AT).await;
    assert!(
        world.writes(asked).len() >= 10,
        "the sold-out listings were emptied"
    );
}

/// The end of `many` items that can be had.
fn sold_out(world: &World, many: usize) -> Vec<SetItem> {
    let truth = world.simulator.truth().into_iter();
    let open = truth.filter(|item| item.status == Status::Open && item.buy_now_jpy.is_some());
    let ended = open.take(many).map(|item| SetItem {
        id: item.id.into(),
        stock: Some(0),
        ..SetItem::default()
    });
    ended.collect()
}

fn ids(rows: &[Value]) -> HashSet<i64> {
    rows.iter().filter_map(|row| row["id"].as_i64()).collect()
}

/// Rows that were not there before.
fn new<'a>(rows: &'a [Value], before: &HashSet<i64>) -> Vec<&'a Value> {
    let id = |row: &Value| row["id"].as_i64().unwrap();
    rows.iter().filter(|row| !before.contains(&id(row))).collect()
}
