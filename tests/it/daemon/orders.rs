//! Every order of the command line against one daemon: what it changes, what it says, and that it can be taken back.

use super::world::{SETTLE, SETTLE_AFTER_OUTAGE, World};
use super::{addresses, refusals};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fs;
use std::time::Duration;
use zaikoban::app::rehearsal::{Markets, csv, registered};
use zaikoban::simulator::{ItemView, Order, SetItem, SetListing, Status};

/// How soon something asked for must be there.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn orders_are_carried_out_or_refused_whole() {
    let mut world = World::new("orders", 501, 16).await;
    world.launch().await;
    assert!(
        world
            .shown("status")
            .await
            .ends_with("nothing waits for a person\n")
    );
    products_are_registered(&mut world).await;
    world.settle(SETTLE_AFTER_OUTAGE).await;
    let goods = Goods::of(&world).await;

    holds_are_decided(&mut world, &goods).await;
    listings_are_switched_planned_and_explained(&mut world, &goods).await;
    a_rejected_listing_hold_ends_with_a_resume(&mut world, &goods).await;
    jobs_are_shown_and_mended(&mut world, &goods).await;
    a_reset_signs_in_again(&mut world, &goods).await;
    every_column_is_in_the_answers(&mut world, &goods).await;
    errors_are_shown_and_resolved(&world).await;
    refusals::nothing_is_changed_by_what_is_refused(&world).await;
    addresses::none_is_taken_and_nobody_is_called(&world).await;
    products_are_switched_and_removed(&mut world, &goods).await;
    world.finish().await;
}

/// Items with a fixed price that are on sale, each with its product and its listing.
struct Goods(Vec<Good>);

struct Good {
    item: ItemView,
    product: i64,
    listing: i64,
    sku: String,
}

impl Goods {
    async fn of(world: &World) -> Self {
        let products = world.json("products list --limit 1000").await;
        let listings = world.json("listings list --limit 1000").await;
        let find = |rows: &Value, key: &str, value: &Value| {
            let rows = rows["items"].as_array().unwrap().iter();
            rows.clone().find(|row| row[key] == *value).unwrap().clone()
        };
        let mut goods = Vec::new();
        for item in world.simulator.truth() {
            if item.status != Status::Open || item.buy_now_jpy != Some(item.price_jpy) {
                continue;
            }
            let product = find(&products, "source_product_id", &json!(item.id));
            let listing = find(&listings, "product_id", &product["id"]);
            goods.push(Good {
                product: product["id"].as_i64().unwrap(),
                listing: listing["id"].as_i64().unwrap(),
                sku: listing["sku"].as_str().unwrap().to_owned(),
                item,
            });
        }
        assert!(goods.len() >= 8, "{} are too few", goods.len());
        Self(goods)
    }

    fn good(&self, at: usize) -> &Good {
        &self.0[at]
    }
}

impl Good {
    fn price(&self) -> u32 {
        self.item.buy_now_jpy.unwrap()
    }

    /// What the page asks from now on.
    fn asks(&self, world: &World, price: u32) {
        self.set(world, |set| {
            (set.price, set.buy_now) = (Some(price), Some(Some(price)));
        });
    }

    fn has(&self, world: &World, stock: u32) {
        self.set(world, |set| set.stock = Some(stock));
    }

    fn set(&self, world: &World, change: impl FnOnce(&mut SetItem)) {
        let mut set = SetItem {
            id: self.item.id.to_string(),
            pinned: Some(true),
            ..SetItem::default()
        };
        change(&mut set);
        let order = Order {
            set: vec![set],
            ..Order::default()
        };
        world.simulator.order(&order).unwrap();
    }

    /// Waits for the listing to show what `look` wants.
    async fn listing<T>(&self, world: &mut World, what: &str, look: impl FnMut(&Value) -> Option<T>) -> T {
        let path = format!("/v1/listings/{}", self.listing);
        world.until(what, SOON, &path, look).await
    }
}

async fn products_are_registered(world: &mut World) {
    let catalogue = world.simulator.catalogue();
    let list = String::from_utf8(csv(&registered(&catalogue, Markets::Two))).unwrap();
    let (good, bad) = (
        world.settings.state_dir.join("good.csv"),
        world.settings.state_dir.join("bad.csv"),
    );
    fs::write(&good, &list).unwrap();
    // Half of it is right: that half must not be taken either.
    let first = list.lines().nth(1).unwrap();
    let wrong = format!(
        "{list}https://example.com/x,cheap,A-9,ebay,maybe\n{first}\n\"one\",\"two\",three,ebay,true,six\n"
    );
    fs::write(&bad, wrong).unwrap();
    let lines = list.lines().count();

    let said = world.refused(&format!("products import {}", bad.display())).await;
    for (line, column) in [
        (lines + 1, ", column source_url: expected an item page such as "),
        (
            lines + 1,
            ", column cost_rule: expected one of buy_now, current_bid, got `cheap`",
        ),
        (
            lines + 1,
            ", column auto_sync: expected one of true, false, got `maybe`",
        ),
        (
            lines + 2,
            ", column source_url: expected an item that the file has once; line 2 has it too",
        ),
        (lines + 3, ": expected at most 5 fields, got `6`"),
    ] {
        assert!(
            said.contains(&format!("line {line}{column}")),
            "{line}{column}: {said}"
        );
    }
    assert!(said.contains("nothing was changed"), "{said}");
    assert_eq!(world.json("products list").await["items"], json!([]));
    assert!(
        world
            .refused("products import /nowhere/list.csv")
            .await
            .contains("cannot read `/nowhere/list.csv`")
    );

    let url = &catalogue.products[0].url;
    let added = world
        .json(&format!(
            "products add {url} --title lamp --cost-rule {}",
            catalogue.products[0].cost_rule
        ))
        .await;
    assert_eq!(added["source_product_id"], *catalogue.products[0].item_id);
    let again = world.refused(&format!("products add {url}")).await;
    assert!(
        again.contains(&format!("is watched already, as product {}", added["product_id"])),
        "{again}"
    );
    assert!(again.contains("hint: `zaikoban products show "), "{again}");

    let said = world
        .said(&format!("products import {} --dry-run", good.display()))
        .await;
    let n = catalogue.products.len();
    let tried = format!(
        "{n} lines: {} products would be added, 1 are watched already, {n} offers",
        n - 1
    );
    assert!(said.starts_with(&tried), "{said}");
    let listed = world.json("products list").await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "it was only tried");
    let said = world.said(&format!("products import {}", good.display())).await;
    let expected = format!(
        "{n} lines: {} products added, 1 watched already, {n} offers linked\n",
        n - 1
    );
    assert_eq!(said, expected);
    let shown = world
        .shown(&format!("products show {}", added["product_id"]))
        .await;
    assert!(
        shown.contains("listings\n") && shown.contains("source_product_id"),
        "{shown}"
    );
    let page = world.cli("products list --limit 3").await;
    assert_eq!(page.out.lines().count(), 4, "a heading and three rows: {page:?}");
    assert!(page.err.starts_with("more: --after "), "{page:?}");
}

async fn holds_are_decided(world: &mut World, goods: &Goods) {
    let three = [goods.good(0), goods.good(1), goods.good(2)];
    for good in three {
        good.asks(world, good.price() / 5);
    }
    let ids = world
        .until("three held prices", SOON, "/v1/holds", |page| {
            let rows = page["items"].as_array()?;
            let of = |good: &Good| rows.iter().find(|row| row["product_id"] == good.product)?["id"].as_i64();
            Some([of(three[0])?, of(three[1])?, of(three[2])?])
        })
        .await;
    let [accepted, edited, rejected] = ids;
    let list = world.shown("holds list").await;
    assert_eq!(list.matches("price_step").count(), 3, "{list}");

    let said = world.refused(&format!("holds accept {accepted} 999999")).await;
    assert!(
        said.contains("there is no hold `999999`") && said.contains("hint: `zaikoban holds list`"),
        "{said}"
    );
    let said = world
        .refused(&format!("holds edit {edited} --stock=-1 --price=12.5"))
        .await;
    for problem in [
        "stock: expected pieces from 0 to 1000000, got `-1`",
        "price: expected an amount in JPY",
    ] {
        assert!(said.contains(problem), "{said}");
    }
    assert!(
        world
            .refused(&format!("holds edit {edited}"))
            .await
            .contains("expected at least one of them")
    );
    assert_eq!(
        world.json("holds list").await["items"].as_array().unwrap().len(),
        3,
        "none is decided"
    );

    let said = world
        .said(&format!("holds accept {accepted} --note checked"))
        .await;
    assert_eq!(said, format!("accepted: hold: {accepted}\n"));
    let twice = world.refused(&format!("holds reject {accepted}")).await;
    assert!(
        twice.contains(&format!("hold `{accepted}` is accepted already, by uid ")),
        "{twice}"
    );
    let both = world.cli(&format!("holds reject {rejected} {accepted}")).await;
    assert_eq!((both.code, &*both.out), (Some(1), ""), "done in part: {both:?}");
    assert!(
        both.err.starts_with(&format!(
            "rejected: hold: {rejected}\nnot decided: hold {accepted}: "
        )),
        "{both:?}"
    );
    let price = three[1].price() * 11 / 10;
    let said = world.said(&format!("holds edit {edited} --price {price}")).await;
    assert!(
        said.starts_with(&format!(
            "edited: hold {edited}; product {} now counts with ",
            three[1].product
        )),
        "{said}"
    );
    assert!(said.contains(&format!("at {price} JPY")), "{said}");
    let explained = world
        .shown(&format!("listings explain {}", three[1].listing))
        .await;
    assert!(explained.contains("let it through"), "{explained}");

    for good in three {
        good.asks(world, good.price());
    }
    world.settle(SETTLE).await;
}

async fn listings_are_switched_planned_and_explained(world: &mut World, goods: &Goods) {
    let good = goods.good(3);
    let id = good.listing;
    assert_eq!(
        world.said(&format!("listings pause {id}")).await,
        format!("paused: listing: {id}\n")
    );
    assert_eq!(
        world.said(&format!("listings pause {id}")).await,
        format!("paused already: listing: {id}\n")
    );
    good.asks(world, good.price() * 12 / 10);
    good.listing(world, "the paused listing to fall behind", |row| {
        (row["wanted_version"].as_i64()? > row["synced_version"].as_i64()?).then_some(())
    })
    .await;
    let asked = world.asked();
    let plan = world.json(&format!("listings plan --id {id}")).await;
    let row = &plan["items"][0];
    assert_eq!(
        (&row["kept_back"], row["steps"].as_array().unwrap().len()),
        (&json!(["auto_sync_off"]), 1),
        "{plan}"
    );
    let shown = world.shown(&format!("listings plan --id {id}")).await;
    assert!(
        shown.contains("set price ") && shown.contains("auto sync off"),
        "{shown}"
    );
    let said = world.said(&format!("listings push {id}")).await;
    assert_eq!(
        said,
        "0 of 1 listings are behind and kept in line, and wait in the queue\n"
    );
    assert!(
        world.writes(asked).is_empty(),
        "a plan and a push of a paused listing send nothing"
    );

    let said = world.said(&format!("listings resume {id}")).await;
    assert_eq!(said, format!("kept in line again: listing: {id}\n"));
    world.settle(SETTLE).await;
    let shown = world.shown(&format!("listings show {id}")).await;
    assert!(
        shown.contains("latest pushes\n") && shown.contains("accepted"),
        "{shown}"
    );
    let told = world.shown(&format!("listings explain {id}")).await;
    assert!(
        told.starts_with(&format!(
            "listing {id} of product {}, SKU `{}` at ebay\n",
            good.product, good.sku
        )),
        "{told}"
    );
    assert!(told.contains(" JST: watch `"), "{told}");

    let all = world.json("listings pause --destination ebay").await;
    let many = all["changed"].as_array().unwrap().len();
    assert_eq!(many, world.simulator.register().len());
    let behind = world.json("listings list --state paused --limit 1000").await;
    assert_eq!(behind["items"].as_array().unwrap().len(), many);
    world.said("listings resume --destination ebay").await;
    assert_eq!(
        world.said("listings pause --destination mercari").await,
        "there is no such listing\n"
    );

    let linked = world
        .refused(&format!("listings link {} --sku {}", good.product, good.sku))
        .await;
    assert!(linked.contains("is linked already"), "{linked}");
    let nothing = world
        .refused(&format!("listings link {} --sku NOBODYS", good.product))
        .await;
    assert!(
        nothing.contains("ebay has no listing with SKU `NOBODYS`") && nothing.contains("hint: "),
        "{nothing}"
    );
}

/// Three pieces are confirmed, one is sold over there, five are to be had: a person is asked, and says no.
async fn a_rejected_listing_hold_ends_with_a_resume(world: &mut World, goods: &Goods) {
    let good = goods.good(4);
    good.has(world, 3);
    good.listing(world, "three pieces", |row| (row["quantity"] == 3).then_some(()))
        .await;
    let sold = Order {
        set_listing: vec![SetListing {
            sku: good.sku.clone(),
            sell: Some(1),
            ..SetListing::default()
        }],
        ..Order::default()
    };
    world.simulator.order(&sold).unwrap();
    good.has(world, 5);
    let id = good.listing;
    good.listing(world, "the sale to be held", |row| {
        (row["held_reason"] == "remote_sale").then_some(())
    })
    .await;
    let holds = world.json("holds list").await;
    let hold = holds["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|h| h["listing_id"] == id)
        .unwrap()["id"]
        .clone();
    let said = world.refused(&format!("holds edit {hold} --stock 4")).await;
    assert!(
        said.contains("is about a listing") && said.contains("hint: accept it as it is, or reject it"),
        "{said}"
    );
    let said = world.said(&format!("listings resume {id}")).await;
    assert!(
        said.contains(&format!("`zaikoban holds list`): listing: {id}\n")),
        "still the person's: {said}"
    );
    assert_eq!(
        world.said(&format!("holds reject {hold}")).await,
        format!("rejected: hold: {hold}\n")
    );
    let row = world.json(&format!("listings show {id}")).await;
    assert_eq!(
        (&row["held_reason"], &row["quantity"]),
        (&json!("remote_sale"), &json!(2)),
        "it stays as it stands"
    );
    let said = world.said(&format!("listings resume {id}")).await;
    assert!(
        said.ends_with(&format!("goes on after its rejected hold: listing: {id}\n")),
        "{said}"
    );
    good.listing(world, "five pieces", |row| (row["quantity"] == 5).then_some(()))
        .await;
    world.settle(SETTLE).await;
}

async fn jobs_are_shown_and_mended(world: &mut World, goods: &Goods) {
    let good = goods.good(5);
    let said = world.said("platforms pause ebay").await;
    assert_eq!(said, "pause: ebay; its gate is paused\n");
    good.asks(world, good.price() * 12 / 10);
    let listing = good.listing;
    let id = world
        .until("a job that waits", SOON, "/v1/queue?status=pending", |page| {
            let rows = page["items"].as_array()?;
            rows.iter().find(|row| row["listing_id"] == listing)?["id"].as_i64()
        })
        .await;
    assert!(
        world
            .shown("queue list --status pending")
            .await
            .contains("platform_sync")
    );
    assert!(
        world
            .shown(&format!("queue show {id}"))
            .await
            .contains("listing_id")
    );
    assert!(
        world
            .shown("status")
            .await
            .contains("ebay is paused: `zaikoban platforms resume ebay`")
    );
    let said = world.said(&format!("queue retry {id}")).await;
    assert_eq!(said, format!("waits again: job: {id}\n"));
    assert_eq!(
        world.said(&format!("queue discard {id}")).await,
        format!("discarded: job: {id}\n")
    );
    let left = world.cli(&format!("--json queue discard {id}")).await;
    assert_eq!(left.code, Some(1), "{left:?}");
    assert!(
        left.err
            .contains(&format!("left, being in work or done: job: {id}")),
        "{left:?}"
    );
    let data: Value = serde_json::from_str(&left.out).unwrap();
    assert_eq!(data, json!({ "discarded": [], "left": [id], "more": 0 }));
    let job = world.json(&format!("queue show {id}")).await;
    assert_eq!(job["status"], "completed");
    assert!(
        job["result"]["discarded_by"]
            .as_str()
            .unwrap()
            .starts_with("uid "),
        "{job}"
    );

    let said = world.said("platforms resume ebay").await;
    assert_eq!(said, "resume: ebay; its gate is open\n");
    // A listing that is behind without a job is found by the sweep.
    world.settle(SETTLE).await;
}

async fn a_reset_signs_in_again(world: &mut World, goods: &Goods) {
    let good = goods.good(6);
    world.faults(json!({ "ebay": { "revoked": true } }));
    let expire = Order {
        expire_tokens: true,
        ..Order::default()
    };
    world.simulator.order(&expire).unwrap();
    good.asks(world, good.price() * 12 / 10);
    world
        .until("word that somebody must sign in", SOON, "/v1/errors", |page| {
            let rows = page["items"].as_array()?;
            rows.iter().find(|row| row["code"] == "needs_reauth").map(|_| ())
        })
        .await;
    world.faults(json!({ "ebay": { "revoked": false } }));
    assert_eq!(
        world.said("platforms reset ebay").await,
        "reset: ebay; its gate is open\n"
    );
    // Left to itself it would rest for a quarter of an hour.
    world.settle(SETTLE).await;
}

/// With something in every list, each key that a column shows is there.
async fn every_column_is_in_the_answers(world: &mut World, goods: &Goods) {
    let good = goods.good(7);
    good.asks(world, good.price() / 5);
    let held = format!("/v1/products/{}", good.product);
    world
        .until("a hold", SOON, &held, |product| {
            product["watches"][0]["held_reason"].as_str().map(drop)
        })
        .await;
    let ran = world.cli("schedule run health --wait").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let product = world.json(&format!("products show {}", good.product)).await;
    let mut empty = HashSet::new();
    for (path, keys) in zaikoban::cli::listed() {
        let rows = match path {
            "/v1/products/{id} history" => product["history"].clone(),
            path => world.client().get(path).await.unwrap()["items"].clone(),
        };
        let rows = rows.as_array().unwrap();
        if rows.is_empty() {
            empty.insert(path);
        }
        for key in keys {
            // A part that is not there at all, as `here` of a queue that this daemon does not do, has no fields.
            let found = |row: &Value| {
                let mut parts = key.split('.');
                let found = parts.try_fold(row, |value, part| {
                    value.get(part).or(value.is_null().then_some(value))
                });
                found.is_some()
            };
            assert!(rows.iter().all(found), "`{key}` of {path}: {rows:?}");
        }
    }
    // Nobody has changed anything by hand here: `daemon::drift` has rows of that list. And nothing is sold at Amazon.
    assert_eq!(
        empty,
        HashSet::from(["/v1/listings/bulk", "/v1/listings/drift"]),
        "lists without a row prove nothing"
    );
    let tree = world.shown("tree").await;
    for name in ["NAME", "LAST EXIT", "root", "ledger", "writer"] {
        assert!(tree.contains(name), "{name}: {tree}");
    }
    let status = world.shown("status").await;
    assert!(
        status.contains("SIMULATOR: ")
            && status.contains("1 change waits for a decision: `zaikoban holds list`"),
        "{status}"
    );
    good.asks(world, good.price());
    world
        .until("the hold to end", SOON, &held, |product| {
            product["watches"][0]["held_reason"].is_null().then_some(())
        })
        .await;
    world.settle(SETTLE).await;
}

async fn errors_are_shown_and_resolved(world: &World) {
    let of = |list: Value| list["items"].as_array().unwrap().clone();
    let open = of(world.json("errors list --limit 1000").await);
    // Signing in again has ended what was said of that.
    let of_sign_in = |row: &&Value| row["code"] == "needs_reauth";
    assert!(!open.iter().any(|row| of_sign_in(&row)), "{open:?}");
    let all = of(world.json("errors list --limit 1000 --all").await);
    let ended = all.iter().find(of_sign_in).unwrap();
    assert!(
        ended["resolved_by"].as_str().unwrap().starts_with("uid "),
        "{ended}"
    );
    let card = world.shown(&format!("errors show {}", ended["id"])).await;
    assert!(
        card.contains("needs_reauth") && card.contains("fingerprint"),
        "{card}"
    );
    let id = open.first().unwrap_or_else(|| panic!("{all:?}"))["id"].clone();
    let refused = world.refused(&format!("errors resolve {id} 999999")).await;
    assert!(refused.contains("there is no error `999999`"), "{refused}");
    let refused = world.refused("errors list --severity awful").await;
    assert!(
        refused.contains("severity: expected one of low, medium, high, critical, got `awful`"),
        "{refused}"
    );

    let resolve = format!("errors resolve {id} --note signed-in");
    assert_eq!(world.said(&resolve).await, format!("resolved: error: {id}\n"));
    assert_eq!(
        world.said(&resolve).await,
        format!("resolved before: error: {id}\n")
    );
    let left = of(world.json("errors list --limit 1000").await);
    let stands = |row: &Value| left.iter().any(|other| other["id"] == row["id"]);
    assert!(open.iter().all(|row| stands(row) == (row["id"] != id)));
    let all = of(world.json("errors list --limit 1000 --all").await);
    let row = all.iter().find(|row| row["id"] == id).unwrap();
    assert_eq!(
        (&row["resolved"], &row["note"]),
        (&json!(true), &json!("signed-in"))
    );
    assert!(row["resolved_by"].as_str().unwrap().starts_with("uid "), "{row}");
    assert_eq!(
        world.json("errors list --product 999999").await["items"],
        json!([])
    );
}

async fn products_are_switched_and_removed(world: &mut World, goods: &Goods) {
    let (one, two) = (goods.good(0).product, goods.good(1).product);
    assert_eq!(
        world.said(&format!("products pause {one}")).await,
        format!("paused: product: {one}\n")
    );
    let said = world.said(&format!("products pause {one} {two}")).await;
    assert_eq!(
        said,
        format!("paused: product: {two}\npaused already: product: {one}\n")
    );
    world.said(&format!("products resume {two}")).await;
    let checked = world.cli(&format!("products check {one} {two}")).await;
    assert_eq!((checked.code, &*checked.out), (Some(1), ""), "{checked:?}");
    let expected =
        format!("looked at before all others: product: {two}\npaused, so not looked at: product: {one}\n");
    assert_eq!(checked.err, expected);
    assert_eq!(
        world.said(&format!("products resume {one}")).await,
        format!("watched again: product: {one}\n")
    );

    let asked = world.asked();
    let said = world.said(&format!("products remove {one} {two}")).await;
    assert!(said.ends_with(&format!("product: {one}, {two}\n")), "{said}");
    for id in [one, two] {
        let gone = world.refused(&format!("products show {id}")).await;
        assert!(gone.contains(&format!("there is no product `{id}`")), "{gone}");
    }
    let left = world.json("listings list --limit 1000").await;
    let mut left = left["items"].as_array().unwrap().iter();
    assert!(left.all(|row| row["product_id"] != one && row["product_id"] != two));
    assert!(world.writes(asked).is_empty(), "the offers stay as they are");
}
