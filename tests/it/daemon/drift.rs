//! Listings that are changed by hand at the simulated eBay, and the run that finds them.

use super::world::{SETTLE, World};
use serde_json::Value;
use zaikoban::simulator::{Order, SetListing};

/// The differences that `listings drift` shows, as `sku kind done`, in order.
fn told(listed: &Value) -> Vec<String> {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let rows = listed["items"].as_array().unwrap().iter();
    let mut told: Vec<String> = rows
        .map(|row| format!("{} {} {}", text(row, "sku"), text(row, "kind"), text(row, "done")))
        .collect();
    told.sort();
    told
}

#[tokio::test]
async fn d25_what_a_hand_changed_at_ebay_is_found_by_the_nights_run_and_put_right() {
    let mut world = World::new("drift", 625, 40).await;
    world.set(&[("SYNC__RECONCILE__CONFIRM_AFTER_S", "1")]);
    world.launch().await;
    world.register().await;
    world.settle(SETTLE).await;
    let listed = world.json("listings list --state active --limit 1000").await;
    let on_sale: Vec<(String, u64)> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| Some((row["sku"].as_str()?.to_owned(), row["quantity"].as_u64()?)))
        .filter(|(_, quantity)| *quantity > 0)
        .take(4)
        .collect();
    let [more, fewer, price, ended] = on_sale.as_slice() else {
        panic!("four are on sale: {listed}");
    };
    let set = |(sku, _): &(String, u64)| SetListing {
        sku: sku.clone(),
        ..SetListing::default()
    };
    let hand = [
        SetListing {
            quantity: Some(u32::try_from(more.1).unwrap() + 5),
            ..set(more)
        },
        SetListing {
            quantity: Some(u32::try_from(fewer.1).unwrap() - 1),
            ..set(fewer)
        },
        SetListing {
            price: Some(1.into()),
            ..set(price)
        },
        SetListing {
            published: Some(false),
            ..set(ended)
        },
    ];
    let order = Order {
        set_listing: hand.into(),
        ..Order::default()
    };
    world.simulator.order(&order).unwrap();
    let ran = world.cli("schedule run reconcile --wait").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let mut expected = [
        format!("{} more pushed", more.0),
        format!("{} fewer adopted", fewer.0),
        format!("{} price pushed", price.0),
        format!("{} ended asked", ended.0),
    ];
    expected.sort();
    assert_eq!(told(&world.json("listings drift").await), expected);
    let open = world.json("listings drift --open --destination ebay").await;
    assert_eq!(
        told(&open),
        [format!("{} ended asked", ended.0)],
        "the others are put right"
    );
    let there: Vec<_> = world.simulator.register();
    let shown = |sku: &str| there.iter().find(|entry| &*entry.sku == sku).unwrap();
    assert_eq!(u64::from(shown(&more.0).quantity), more.1);
    assert_eq!(
        u64::from(shown(&fewer.0).quantity),
        fewer.1 - 1,
        "nothing is raised"
    );
    assert_ne!(shown(&price.0).price.unwrap().amount(), 1.into());
    assert_eq!(&*shown(&ended.0).status, "UNPUBLISHED");
    let holds = world.json("holds list").await;
    let reasons: Vec<&str> = holds["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|h| h["reason"].as_str())
        .collect();
    assert_eq!(reasons, ["remote_end"]);
    // One that a person wants to have read is, at once.
    let id = &open["items"][0]["listing_id"];
    let said = world.said(&format!("listings read {id}")).await;
    assert!(said.contains("1 of 1 listings"), "{said}");
    assert!(world.refused("listings read 999999").await.contains("999999"));
    assert!(
        world
            .refused("listings drift --destination mars")
            .await
            .contains("ebay")
    );
    world.assert_alive();
    world.finish().await;
}
