//! B14: rows that no rule of ours wrote. Whatever the schema lets a hand put into a column costs that row alone.

use crate::support::pg::TestDb;
use crate::support::wait::until;
use crate::sync::stage::{Stage, usd};
use crate::watch::kit::{Market, Page, Shop, page};
use std::time::Duration;
use uuid::Uuid;
use zaikoban::clock::Clock;
use zaikoban::nodes::{Identity, Keeper, Timing, WATCH};

/// What may be tried on a column of this type.
fn garbage(kind: &str, nullable: bool) -> Vec<&'static str> {
    let mut all = match kind {
        "text" | "character varying" | "character" => vec![
            "''",
            "'nonsense'",
            "E'\\x01\\r\\n\\x1b[31m'",
            "repeat('長', 60)",
            "'{\"a\":'",
            "'-1'",
        ],
        "jsonb" => vec![
            "'null'",
            "'[]'",
            "'\"x\"'",
            "'{}'",
            "'{\"fetched_at\":7,\"explained\":\"perhaps\",\"again_at\":[]}'",
            "'1e400'",
        ],
        "smallint" => vec!["-32768", "0", "1", "10", "32767"],
        "integer" => vec!["-2147483648", "-1", "0", "2147483647"],
        "bigint" => vec!["-9223372036854775808", "-1", "0", "9223372036854775807"],
        "numeric" => vec!["0", "0.01", "9999999999.99", "'NaN'"],
        "real" => vec!["'NaN'", "'Infinity'", "0", "1e-38", "3e38"],
        "timestamp with time zone" => {
            vec![
                "'-infinity'",
                "'infinity'",
                "'0001-01-01'",
                "'9999-12-31'",
                "'294276-12-31'",
            ]
        }
        "date" => vec!["'-infinity'", "'infinity'", "'0001-01-01'", "'9999-12-31'"],
        "boolean" => vec!["true", "false"],
        "uuid" => vec!["'00000000-0000-0000-0000-000000000000'"],
        "ARRAY" => vec!["'{}'", "'{NULL}'", "'{infinity}'"],
        _ => Vec::new(),
    };
    if nullable {
        all.push("NULL");
    }
    all
}

/// Puts one value each into a row of its own, as far as the schema lets it; the row's number and what was put there.
async fn spoil(t: &TestDb, table: &str, key: &str, spared: &[&str], first: i64) -> Vec<(i64, String)> {
    let sql = format!(
        "SELECT string_agg(column_name || ' ' || is_nullable || ' ' || data_type, ',' ORDER BY ordinal_position) \
         FROM information_schema.columns WHERE table_name = '{table}'"
    );
    let (mut row, mut done) = (first, Vec::new());
    for column in t.text(&sql).await.split(',') {
        let (name, rest) = column.split_once(' ').unwrap();
        let (nullable, kind) = rest.split_once(' ').unwrap();
        if spared.contains(&name) {
            continue;
        }
        for value in garbage(kind, nullable == "YES") {
            let mut conn = t.db().conn().await.unwrap();
            let update = format!("UPDATE {table} SET {name} = {value} WHERE {key} = {row}");
            if diesel_async::SimpleAsyncConnection::batch_execute(&mut *conn, &update)
                .await
                .is_ok()
            {
                done.push((row, format!("{table}.{name} = {value}")));
                row += 1;
            }
        }
    }
    done
}

#[actix::test]
async fn b14_no_value_that_the_schema_lets_in_keeps_a_sound_listing_waiting() {
    // Listings 1 to 5 are sound; behind them each has one spoilt value in its own row, or in its job's.
    let mut s = Stage::new(260).await;
    for id in 1..=260 {
        s.want(id, 1, usd(25)).await;
    }
    let listings = spoil(
        &s.t,
        "listing_platforms",
        "id",
        &["id", "product_id", "platform", "sku"],
        6,
    )
    .await;
    let next = listings.last().unwrap().0 + 1;
    let jobs = spoil(
        &s.t,
        "processing_queue",
        "listing_id",
        &["id", "listing_id", "queue_name", "destination", "unique_key"],
        next,
    )
    .await;
    assert!(
        jobs.last().unwrap().0 <= 260,
        "more rows are needed: {:?}",
        jobs.last()
    );
    println!("b14: {} listings and {} jobs", listings.len(), jobs.len());
    s.start();
    for id in 1..=5 {
        s.in_line(id).await;
    }
    // Again, with the spoilt ones known; and again after a restart.
    for price in [26, 27] {
        for id in 1..=5 {
            s.want(id, 1, usd(price)).await;
        }
        for id in 1..=5 {
            s.in_line(id).await;
        }
        s.replace();
    }
    assert_eq!(s.fake.overlaps(), 0);
}

#[actix::test]
async fn b14_no_value_that_the_schema_lets_in_keeps_a_sound_product_unwatched() {
    let shop = Shop::new(160).await;
    let spoilt = spoil(
        &shop.t,
        "inventory_management",
        "id",
        &["id", "product_id", "source_platform", "source_product_id"],
        6,
    )
    .await;
    assert!(
        spoilt.last().unwrap().0 <= 160,
        "more rows are needed: {:?}",
        spoilt.last()
    );
    println!("b14: {} watches", spoilt.len());
    let market = Market::new(&shop.clock, 160);
    (1..=160).for_each(|id| market.set(id, Page::Shows(Box::new(page(&shop.clock, id, 3, 1_010)))));
    let mut watching = shop.watching(&market).await;
    tokio::time::timeout(Duration::from_secs(60), watching.ready.wait_for(|ready| *ready))
        .await
        .expect("it never watches")
        .unwrap();
    until("the sound ones to be seen", || async {
        shop.clock.advance(chrono::TimeDelta::seconds(10));
        let seen = "SELECT count(*) FROM inventory_management WHERE id <= 5 AND current_stock = 3";
        (shop.number(seen).await == 5).then_some(())
    })
    .await;
}

#[tokio::test]
async fn b14_no_value_that_the_schema_lets_in_stops_the_nodes() {
    let t = TestDb::new().await;
    t.run(
        "INSERT INTO nodes (boot, name, version, host, place, pid, can, until) SELECT gen_random_uuid(), 'n' || n, \
         '1', 'h', 'p', n, '{}', clock_timestamp() + interval '10 s' FROM generate_series(6, 120) AS n",
    )
    .await;
    let nodes = spoil(&t, "nodes", "pid", &["boot", "pid"], 6).await;
    let parts = spoil(&t, "leases", "shard", &["name", "shard"], 6).await;
    println!("b14: {} nodes and {} parts of the work", nodes.len(), parts.len());
    assert!(nodes.last().unwrap().0 <= 120 && parts.last().unwrap().0 < 200);
    let who = Identity {
        boot: Uuid::now_v7(),
        name: "a".to_owned(),
        can: vec![WATCH.to_owned()],
    };
    let a = Keeper::join(t.db(), who, &Clock::system(), Timing::default())
        .await
        .unwrap();
    a.look().await.unwrap();
    // Whatever stands beside it: what is free and sound is taken.
    for part in ["watch/000", "watch/200", "watch/255"] {
        assert!(a.ownership().holds(part).is_some(), "{part}");
    }
}
