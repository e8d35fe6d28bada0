//! Answers that no shop should give, byte for byte; and what is sent.

use super::{adapter, failure, is_accepted, listing, revision};
use crate::ebay::server::{Said, Seen, Server, say};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::sync::Arc;
use zaikoban::domain::ErrorClass::{NotFound, Protocol, Transient};
use zaikoban::platform::mercari::{CONTRACT, Mercari};
use zaikoban::platform::{Destination, EntryOutcome};

const TOKEN: &str = "msp_canary-0123456789";

fn of(server: &Server) -> Mercari {
    adapter(
        &server.url,
        "Your_Shop",
        10_000,
        Arc::new(SecretString::from(TOKEN)),
    )
}

async fn server(handler: impl Fn(&Seen) -> Said + Send + Sync + 'static) -> Server {
    Server::start(handler).await
}

/// What became of setting `a` and `b` to 3, when the list says this.
async fn bulk(list: Value) -> Vec<EntryOutcome> {
    let body = json!({ "data": { "updateProductVariants": { "productVariants": list } } });
    let server = server(move |_| say(200, &body)).await;
    let sent = ["a", "b"].map(|sku| revision(listing(sku, &format!("p{sku}")), Some(3), None));
    of(&server).revise(&sent).await
}

fn entry(sku: &str, stock: impl Into<Value>) -> Value {
    json!({ "id": "v", "skuCode": sku, "stockQuantity": stock.into() })
}

#[tokio::test]
async fn a_sku_counts_as_set_only_when_it_is_shown_once_with_what_was_sent() {
    let good = bulk(json!([entry("b", 3), entry("a", 3), entry("c", 9), { "x": 1 }])).await;
    assert!(good.iter().all(is_accepted), "{good:?}");
    for (list, what) in [
        (json!([entry("b", 3)]), "missing"),
        (json!([entry("a", 2), entry("b", 3)]), "another quantity"),
        (json!([entry("a", "3"), entry("b", 3)]), "a text"),
        (json!([entry("a", 3.5), entry("b", 3)]), "a broken number"),
        (json!([entry("a", Value::Null), entry("b", 3)]), "nothing"),
        (json!([entry("a", 3), entry("b", 3), entry("a", 3)]), "twice"),
        (
            json!([{ "id": "v", "stockQuantity": 3 }, entry("b", 3)]),
            "without its SKU",
        ),
        (json!([entry("A", 3), entry("b", 3)]), "another SKU"),
    ] {
        let outcomes = bulk(list).await;
        let (error, unknown) = failure(&outcomes[0]);
        assert_eq!(
            (error.class, &*error.code, unknown),
            (Protocol, CONTRACT, true),
            "{what}"
        );
        assert!(is_accepted(&outcomes[1]), "{what}");
    }
    for list in [json!(null), json!({}), json!("done"), json!([])] {
        let outcomes = bulk(list).await;
        assert!(outcomes.iter().all(|outcome| failure(outcome).1));
    }
}

#[tokio::test]
async fn a_price_or_a_status_counts_as_set_only_when_the_product_shows_it() {
    for (id, price, status, set) in [
        ("pa", json!(4_000), "OPENED", true),
        ("pb", json!(4_000), "OPENED", false),
        ("pa", json!(4_001), "OPENED", false),
        ("pa", json!("4000"), "OPENED", false),
        ("pa", Value::Null, "OPENED", false),
    ] {
        let product = json!({"id": id, "status": status, "price": price});
        let body = json!({"data": {"updateProduct": {"product": product}}});
        let text = body.to_string();
        let server = server(move |_| say(200, &body)).await;
        let mercari = of(&server);
        let outcomes = mercari
            .revise(&[revision(listing("a", "pa"), None, Some(4_000))])
            .await;
        match &outcomes[0] {
            EntryOutcome::Accepted { .. } => assert!(set, "{text}"),
            EntryOutcome::Failed { error, unknown } => {
                assert_eq!((error.class, *unknown, set), (Protocol, true, false), "{text}");
            }
        }
        // What was to be hidden is shown.
        let error = mercari.end(&listing("a", "pa")).await.unwrap_err();
        assert_eq!(error.class, Transient, "{text}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_gives_no_value_and_leaves_a_change_unknown() {
    let shown =
        r#"{"id":"v","skuCode":"a","stockQuantity":3,"product":{"id":"pa","status":"OPENED","price":"#;
    let read = |price: &str| format!(r#"{{"data":{{"productVariant":{shown}{price}}}}}}}}}"#);
    for body in [
        String::new(),
        "<html>".into(),
        "[]".into(),
        "{}".into(),
        r#"{"data":null}"#.into(),
        r#"{"data":[]}"#.into(),
        r#"{"data":{}}"#.into(),
        r#"{"data":{"productVariant":{}}}"#.into(),
        r#"{"data":{"productVariant":null}}"#.into(),
        r#"{"data":null,"errors":"no"}"#.into(),
        r#"{"data":{"productVariant":null},"data":{"productVariant":null}}"#.into(),
        read("0"),
        read("-300"),
        read("300.5"),
        read("3e2"),
        read("\"300\""),
        read("null"),
        read("99999999999999999999"),
        read("300,\"price\":400"),
    ] {
        let sent = body.clone();
        let server = server(move |_| Said::Answer(200, Vec::new(), sent.clone().into_bytes())).await;
        let mercari = of(&server);
        let error = mercari.read(&listing("a", "pa")).await.unwrap_err();
        assert_eq!((error.class, &*error.code), (Protocol, CONTRACT), "{body}");
        let outcomes = mercari
            .revise(&[revision(listing("a", "pa"), Some(3), None)])
            .await;
        assert!(failure(&outcomes[0]).1, "{body}");
        let error = mercari.end(&listing("a", "pa")).await.unwrap_err();
        assert_eq!(error.class, Transient, "{body}");
    }
    let body = read("300");
    let server = server(move |_| Said::Answer(200, Vec::new(), body.clone().into_bytes())).await;
    let state = of(&server).read(&listing("a", "pa")).await.unwrap();
    assert_eq!(state.price.unwrap().to_string(), "300 JPY");
}

#[tokio::test]
async fn what_is_gone_is_told_by_nothing_but_its_own_word() {
    let said = |code: &str, path: Value| json!({"message": "x", "path": path, "extensions": {"code": code}});
    let whole = || said("NOT_FOUND", json!(["productVariant"]));
    let shown = json!({"id": "v", "skuCode": "a", "stockQuantity": 3, "product": null});
    for (variant, errors, gone) in [
        (Value::Null, json!([whole()]), true),
        (Value::Null, json!([whole(), whole()]), true),
        // Something of it is not there, and it is.
        (
            shown,
            json!([said("NOT_FOUND", json!(["productVariant", "product"]))]),
            false,
        ),
        (
            Value::Null,
            json!([whole(), said("INTERNAL", json!(["productVariant"]))]),
            false,
        ),
        (Value::Null, json!([said("ODD", Value::Null), whole()]), false),
    ] {
        let body = json!({"data": {"productVariant": variant}, "errors": errors});
        let text = body.to_string();
        let server = server(move |_| say(200, &body)).await;
        let mercari = of(&server);
        let class = mercari.read(&listing("a", "pa")).await.unwrap_err().class;
        assert_eq!(class == NotFound, gone, "{text}");
        let found = mercari.find("a").await;
        assert_eq!(found.is_ok_and(|found| found.is_empty()), gone, "{text}");
    }
}

#[tokio::test]
async fn values_travel_as_variables_and_the_program_names_itself() {
    let server = server(|_| say(500, &json!({}))).await;
    let odd = r#"a"){shop{id}}"#;
    let mercari = of(&server);
    let outcomes = mercari
        .revise(&[revision(listing(odd, "p"), Some(3), None)])
        .await;
    assert!(failure(&outcomes[0]).1);
    let outcomes = mercari
        .revise(&[revision(listing(odd, "p"), None, Some(1_200))])
        .await;
    assert!(failure(&outcomes[0]).1);
    let calls = server.seen();
    assert_eq!(calls.len(), 2, "nothing is sent twice");
    assert_eq!(
        (calls[0].method.as_str(), calls[0].path.as_str()),
        ("POST", "/v1/graphql")
    );
    let agent = format!("Your_Shop/{}", env!("CARGO_PKG_VERSION"));
    for (header, value) in [
        ("user-agent", agent.as_str()),
        ("authorization", &format!("Bearer {TOKEN}")),
        ("content-type", "application/json"),
    ] {
        assert_eq!(calls[0].header(header).unwrap(), value);
    }
    let body = calls[0].json();
    assert_eq!(
        body["variables"],
        json!({ "by": { "skuCode": odd }, "input": { "stockQuantity": 3 } })
    );
    assert!(!body["query"].as_str().unwrap().contains("shop"));
    assert_eq!(
        calls[1].json()["variables"],
        json!({ "input": { "id": "p", "price": 1_200 } })
    );
}

#[tokio::test]
async fn a_token_that_the_answer_repeats_is_not_kept() {
    let body = json!({ "errors": [{ "message": format!("bad token {TOKEN}"), "extensions": { "code": "INTERNAL" } }] });
    for status in [200, 500] {
        let body = body.clone();
        let server = server(move |_| say(status, &body)).await;
        let error = of(&server).read(&listing("a", "pa")).await.unwrap_err();
        assert_eq!(error.class, Transient);
        assert!(error.message.contains("bad token ***"), "{}", error.message);
        assert!(!format!("{error:?}").contains("canary"));
    }
}

#[tokio::test]
async fn a_connection_that_dies_leaves_a_change_unknown_and_what_was_not_sent_is_known() {
    for said in [Said::Close, Said::Silence] {
        let server = server(move |_| said.clone()).await;
        let outcomes = of(&server)
            .revise(&[revision(listing("a", "pa"), Some(3), None)])
            .await;
        let (error, unknown) = failure(&outcomes[0]);
        assert_eq!((error.class, unknown), (Transient, true));
    }
    let nobody = "http://127.0.0.1:9".parse().unwrap();
    let mercari = adapter(&nobody, "Your_Shop", 100, Arc::new(SecretString::from(TOKEN)));
    let outcomes = mercari
        .revise(&[revision(listing("a", "pa"), Some(3), None)])
        .await;
    let (error, unknown) = failure(&outcomes[0]);
    assert_eq!(
        (error.class, &*error.code, unknown),
        (Transient, "refused", false)
    );
}
