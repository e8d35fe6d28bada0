//! Watches as rows: adding, listing, switching, removing.

use super::kit::{COST, SOURCE, Shop};
use crate::support::pg::TestDb;
use std::collections::HashSet;
use zaikoban::domain::{ProductId, SourceProductId, WatchId};
use zaikoban::store::views::{self, Window};
use zaikoban::store::watches::{self, Added, NewWatch, add, enabled_after, remove, rows_of, set_enabled};

fn new(item: &str, product_id: Option<i64>) -> NewWatch {
    NewWatch {
        product_id: product_id.map(ProductId),
        title: format!("item {item}"),
        source: SOURCE,
        source_url: format!("https://auctions.yahoo.co.jp/jp/auction/{item}"),
        source_product_id: SourceProductId::new(item).unwrap(),
        cost_rule: COST,
        value_at_risk_jpy_per_hour: 12.5,
    }
}

fn ids(added: &[Added]) -> Vec<(bool, WatchId, ProductId)> {
    let id = |a: &Added| match *a {
        Added::New { watch_id, product_id } => (true, watch_id, product_id),
        Added::Duplicate { watch_id, product_id } => (false, watch_id, product_id),
    };
    added.iter().map(id).collect()
}

#[tokio::test]
async fn e6_watches_are_added_once_whatever_is_repeated() {
    let t = TestDb::new().await;
    let mut conn = t.db().conn().await.unwrap();
    let first = add(&mut conn, &[new("a1", None), new("b2", None), new("a1", None)])
        .await
        .unwrap();
    let first = ids(&first);
    assert_eq!(first.iter().map(|f| f.0).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(first[0].1, first[2].1);
    let product = first[0].2;
    let again = add(&mut conn, &[new("c3", Some(product.0)), new("b2", None)])
        .await
        .unwrap();
    let again = ids(&again);
    assert_eq!(again.iter().map(|f| f.0).collect::<Vec<_>>(), [true, false]);
    assert_eq!(again[0].2, product, "a second source of the same product");
    let counts = "SELECT concat_ws(' ', (SELECT count(*) FROM inventory_management), (SELECT count(*) FROM yahoo_scraped_products))";
    assert_eq!(t.text(counts).await, "3 2");
    let row = rows_of(&mut conn, &[first[1].1])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    assert_eq!(
        (row.state, row.value_at_risk_jpy_per_hour, row.enabled),
        (None, 12.5, true)
    );
    assert_eq!(row.source_product_id.as_str(), "b2");
}

#[tokio::test]
async fn ten_thousand_are_added_in_one_go_each_with_its_own_title() {
    let t = TestDb::new().await;
    let many: Vec<NewWatch> = (0..10_000).map(|i| new(&format!("x{i}"), None)).collect();
    let mut conn = t.db().conn().await.unwrap();
    assert_eq!(add(&mut conn, &many).await.unwrap().len(), 10_000);
    let wrong = "SELECT count(*) FROM inventory_management m JOIN yahoo_scraped_products p ON p.id = m.product_id \
                 WHERE p.title <> 'item ' || m.source_product_id OR p.title <> m.title";
    assert_eq!(t.text(wrong).await, "0");
}

#[actix::test]
async fn the_roster_reads_what_is_to_be_watched_chunk_by_chunk() {
    let shop = Shop::new(25).await;
    shop.t
        .run(
            "UPDATE inventory_management SET monitoring_enabled = false WHERE id % 5 = 0; \
                UPDATE inventory_management SET source_product_id = '../etc' WHERE id = 7",
        )
        .await;
    let mut conn = shop.t.db().conn().await.unwrap();
    let (mut good, mut bad, mut after) = (HashSet::new(), Vec::new(), WatchId(0));
    loop {
        let chunk = enabled_after(&mut conn, SOURCE, after, None, 10).await.unwrap();
        if chunk.is_empty() {
            break;
        }
        for row in chunk {
            match row {
                Ok(row) => {
                    after = row.watch_id;
                    good.insert(row.watch_id.0);
                }
                Err(row) => {
                    after = row.watch_id;
                    bad.push(row.to_string());
                }
            }
        }
    }
    assert_eq!(good.len(), 19);
    assert!(!good.contains(&5) && !good.contains(&7));
    assert_eq!(bad.len(), 1);
    assert!(
        bad[0].contains("watch `7`") && bad[0].contains("source_product_id"),
        "{bad:?}"
    );
}

#[actix::test]
async fn pausing_resuming_and_removing_answer_what_moved() {
    let shop = Shop::new(3).await;
    let mut conn = shop.t.db().conn().await.unwrap();
    let (one, two) = (WatchId(1), WatchId(2));
    assert_eq!(set_enabled(&mut conn, &[one, two], false).await.unwrap().len(), 2);
    assert_eq!(
        set_enabled(&mut conn, &[one, two, WatchId(9)], false)
            .await
            .unwrap(),
        []
    );
    // What every node compares with what it watches: a quarantine and its end are seen by who heard of neither.
    let watched = async |shop: &Shop| {
        let mut conn = shop.t.db().conn().await.unwrap();
        let moved = watches::moved(&mut conn, None).await.unwrap();
        moved.iter().any(|m| m.watch_id == WatchId(3) && m.watched)
    };
    assert!(watched(&shop).await);
    watches::quarantine(&mut conn, WatchId(3)).await.unwrap();
    assert!(!watched(&shop).await);
    assert_eq!(
        set_enabled(&mut conn, &[WatchId(3)], true).await.unwrap().len(),
        1
    );
    assert!(watched(&shop).await);
    watches::quarantine(&mut conn, two).await.unwrap();
    assert_eq!(set_enabled(&mut conn, &[two], true).await.unwrap(), [two]);
    assert_eq!(shop.row(2).await.held_reason, None, "resuming ends a quarantine");
    shop.t
        .run("DELETE FROM listing_platforms WHERE product_id = 3")
        .await;
    assert_eq!(remove(&mut conn, &[one, WatchId(3)]).await.unwrap().len(), 2);
    let products = "SELECT string_agg(id::text, ' ' ORDER BY id) FROM yahoo_scraped_products";
    assert_eq!(shop.t.text(products).await, "1 2", "what is still listed stays");
}

#[actix::test]
async fn pages_are_filtered_on_the_server() {
    let shop = Shop::new(30).await;
    shop.t
        .run(
            "UPDATE inventory_management SET current_stock = 0 WHERE id > 20; \
                UPDATE inventory_management SET held_reason = 'price_step', title = 'Leica M3' WHERE id = 4",
        )
        .await;
    let mut conn = shop.t.db().conn().await.unwrap();
    let mut find = async |after: i64, state: Option<&str>, search: Option<&str>| {
        let window = Window { after, limit: 100 };
        let rows = views::products(&mut conn, window, state, search).await.unwrap();
        let id = |row: &serde_json::Value| row["watch_id"].as_i64().unwrap();
        rows.iter().map(id).collect::<Vec<_>>()
    };
    assert_eq!(find(25, Some("out_of_stock"), None).await, [26, 27, 28, 29, 30]);
    assert_eq!(find(0, Some("held"), None).await, [4]);
    for text in ["leica", "x4"] {
        assert_eq!(find(0, None, Some(text)).await, [4], "{text}");
    }
    assert_eq!(find(0, Some("out_of_stock"), Some("x4")).await, [0; 0]);
}

#[actix::test]
async fn a_forgotten_identity_is_learnt_anew_and_the_version_moves() {
    let shop = Shop::new(1).await;
    shop.t
        .run("UPDATE inventory_management SET url_status = 'changed', held_reason = 'title_changed'")
        .await;
    let mut conn = shop.t.db().conn().await.unwrap();
    watches::forget_identity(&mut conn, WatchId(1)).await.unwrap();
    let row = shop.row(1).await;
    assert_eq!(
        (row.title_hash, row.seller_id, row.held_reason),
        (None, None, None)
    );
    assert_eq!(row.version.0, 2);
}
