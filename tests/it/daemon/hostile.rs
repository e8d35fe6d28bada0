//! E8: the one corpus of hostile values, sent into every door and page of a real daemon and looked for at every exit.

use super::cli::run;
use super::world::World;
use crate::support::hostile;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;
use zaikoban::app::rehearsal::{Markets, csv, registered};

/// What a person is shown: one line feed after the other, and nothing that moves a cursor or turns a text around.
fn is_inert(text: &str) -> bool {
    !text
        .chars()
        .any(|c| (c.is_control() && c != '\n' && c != '\t') || ('\u{202a}'..='\u{202e}').contains(&c))
}

fn shown(text: &str) -> String {
    text.chars()
        .take(60)
        .collect::<String>()
        .escape_debug()
        .to_string()
}

#[tokio::test]
async fn e8_a_hostile_value_is_inert_wherever_it_comes_in_and_goes_out() {
    let all = hostile::all();
    let products = u32::try_from(all.len()).unwrap() + 3;
    let mut world = World::new("e8", 508, products).await;
    let items: Vec<Box<str>> = world
        .simulator
        .catalogue()
        .products
        .iter()
        .map(|p| p.item_id.clone())
        .collect();
    for (item, title) in items.iter().zip(&all) {
        let order = json!({ "set": { "id": item, "title": title, "pinned": true } });
        world.simulator.script(&order).unwrap();
    }
    world.launch().await;
    let process = world.daemon.pid();
    // By the list: titles of the catalogue come from the pages, those of the list from the corpus.
    world.register().await;
    the_list(&world, &all).await;
    the_door(&world, &all).await;
    the_command_line(&world, &all).await;
    world.run_for(Duration::from_secs(2)).await;
    what_goes_out(&world).await;
    assert_eq!(world.daemon.pid(), process, "the same process all the time");
    world.finish().await;
}

/// Each value as a title, an address and a SKU of an import: taken or refused with the place, never a trouble of ours.
async fn the_list(world: &World, all: &[String]) {
    let client = world.client();
    let good = String::from_utf8(csv(&registered(&world.simulator.catalogue(), Markets::Two))).unwrap();
    let address = good.lines().nth(1).unwrap().split(',').next().unwrap().to_owned();
    for (nth, value) in all.iter().enumerate() {
        let quoted = format!("\"{}\"", value.replace('"', "\"\""));
        for (columns, row) in [
            ("source_url,title", format!("{address},{quoted}")),
            ("source_url,sku", format!("{address},{quoted}")),
            ("source_url", quoted.clone()),
        ] {
            let body = format!("{columns}\n{row}\n").into_bytes();
            let answer = client
                .post_text("/v1/products/import/try", "text/csv", body)
                .await;
            told_plainly(&answer, &format!("value {nth} as {columns}"));
        }
    }
    for bytes in hostile::BYTES {
        let body = [b"source_url,title\n", address.as_bytes(), b",", *bytes, b"\n"].concat();
        let answer = client
            .post_text("/v1/products/import/try", "text/csv", body)
            .await;
        told_plainly(&answer, "bytes that are no text");
    }
}

/// Each value in every text of every order, and in paths and queries.
async fn the_door(world: &World, all: &[String]) {
    let client = world.client();
    for (nth, value) in all.iter().enumerate() {
        let in_query: String = url::form_urlencoded::byte_serialize(value.as_bytes())
            .take(8_000)
            .collect();
        for path in [
            format!("/v1/products?state={in_query}"),
            format!("/v1/listings?state={in_query}&destination={in_query}"),
            format!("/v1/errors?severity={in_query}&after={in_query}"),
            format!("/v1/queue?status={in_query}"),
            format!("/v1/{}", in_query.replace('+', "%20")),
        ] {
            let answer = client.get(&path).await;
            told_plainly(&answer, &format!("value {nth} in a query"));
        }
        for (path, body) in [
            (
                "/v1/products",
                json!({ "source_url": value, "title": value, "cost_rule": value }),
            ),
            (
                "/v1/listings",
                json!({ "product_id": 1, "destination": value, "sku": value }),
            ),
            ("/v1/listings/push", json!({ "destination": value })),
            ("/v1/holds/accept", json!({ "ids": [1], "note": value })),
            (
                "/v1/holds/edit",
                json!({ "id": 1, "price": value, "stock": value, "note": value }),
            ),
            ("/v1/errors/resolve", json!({ "ids": [1_000_000], "note": value })),
            ("/v1/alerts/ack", json!({ "ids": [1_000_000], "note": value })),
            (
                "/v1/alerts/silence",
                json!({ "kind": value, "platform": value, "minutes": 1, "note": value }),
            ),
            ("/v1/alerts/test", json!({ "channel": value })),
            (
                "/v1/credentials/mercari",
                json!({ "fields": { "client_id": value } }),
            ),
            ("/v1/credentials/mercari", json!({ "fields": { (value): "x" } })),
            ("/v1/fault", json!({ "kind": value, "child": value })),
        ] {
            let answer = client.post(path, &body).await;
            told_plainly(&answer, &format!("value {nth} to {path}"));
        }
    }
    // What no serializer would write.
    for body in [
        "{\"note\":\"\\ud800\",\"ids\":[1]}",
        "{\"ids\":[1e400]}",
        "{\"ids\":[NaN]}",
        "{\"ids\":[1],\"ids\":[2]}",
        "{\"ids\":[-9223372036854775809]}",
        "[]",
        "\"",
        "",
    ] {
        let answer = client
            .post_text("/v1/holds/accept", "application/json", body.as_bytes().to_vec())
            .await;
        assert!(answer.is_err(), "{body}: {answer:?}");
        told_plainly(&answer, body);
    }
    let deep = ["[".repeat(100_000), "]".repeat(100_000)].concat();
    let answer = client
        .post_text("/v1/holds/accept", "application/json", deep.into_bytes())
        .await;
    told_plainly(&answer, "a hundred thousand levels");
}

/// A success, or a refusal of what was given that names it; never an error of ours.
fn told_plainly<E: std::fmt::Display>(answer: &Result<Value, E>, what: &str) {
    if let Err(error) = answer {
        let told = error.to_string();
        for trouble in [
            "panic",
            "HTTP 500",
            "internal",
            "the database refused",
            "no daemon answers",
        ] {
            assert!(!told.contains(trouble), "{what}: {}", shown(&told));
        }
        assert!(is_inert(&told), "{what}: {}", shown(&told));
    }
}

/// Each value where a command takes a text.
async fn the_command_line(world: &World, all: &[String]) {
    let socket = world.daemon.socket();
    // A process can be given neither a NUL nor a text without end.
    let can_be_given = |value: &&String| !value.contains('\0') && value.len() < 100_000;
    for value in all.iter().filter(can_be_given) {
        for words in [
            vec!["products", "show", value],
            vec!["products", "add", value],
            vec!["holds", "reject", "1", "--note", value],
            vec![value.as_str()],
        ] {
            let ran = run(&socket, &words).await;
            assert!(
                ran.code.is_some_and(|code| code < 100),
                "{}: {ran:?}",
                shown(value)
            );
            // What a shell's user typed may be repeated to him; what turns his terminal about may not.
            assert!(
                !ran.err.contains('\u{1b}') && !ran.out.contains('\u{1b}'),
                "{}",
                shown(value)
            );
            assert!(!ran.err.contains("panicked"), "{}: {}", shown(value), ran.err);
        }
    }
}

/// Everything that the daemon shows and writes.
async fn what_goes_out(world: &World) {
    for words in [
        "products list",
        "listings list",
        "errors list",
        "alerts list",
        "holds list",
        "status",
        "queue list",
        "listings plan",
        "tree",
    ] {
        let ran = world.cli(words).await;
        assert!(ran.code.is_some_and(|code| code < 100), "{words}: {ran:?}");
        for line in ran.out.lines() {
            assert!(is_inert(line), "{words}: {}", shown(line));
        }
        let data = world.cli(&format!("--json {words}")).await;
        let parsed: Result<Value, _> = serde_json::from_str(&data.out);
        assert!(parsed.is_ok(), "--json {words}: {}", shown(&data.out));
        assert!(
            is_inert(&data.out),
            "--json {words}: control characters are escaped"
        );
    }
    let metrics = world.client().text("/metrics").await.unwrap();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let value = line.rsplit(' ').next().unwrap();
        let ours = line.starts_with("zaikoban_") || line.starts_with("process_");
        assert!(value.parse::<f64>().is_ok() && ours, "{line}");
    }
    let log = fs::read_to_string(world.daemon.log()).unwrap();
    for line in log.lines() {
        assert!(is_inert(line), "the log: {}", shown(line));
        let begins = line
            .get(..4)
            .is_some_and(|year| year.chars().all(|c| c.is_ascii_digit()));
        assert!(begins, "a line that no logger began: {}", shown(line));
    }
    let stored = "SELECT count(*) FROM inventory_management WHERE title ~ '[\\x01-\\x1f\\x7f]'";
    assert_eq!(world.text(stored).await, "0", "titles with control characters");
    let tables = "SELECT count(*) FROM pg_tables WHERE tablename = 'alerts'";
    assert_eq!(world.text(tables).await, "1", "nothing was dropped");
}
