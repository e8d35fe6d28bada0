//! First listings: tried, begun, and how far they are.

use super::said::Told;
use super::tables::array;
use super::{Ask, Show, Trouble, read};
use crate::cli::output::{Column, at, column, plain};
use crate::control::client::{Client, ControlError};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// How often the daemon is asked how far they are.
const EVERY: Duration = Duration::from_millis(500);

pub(super) const REGISTRATIONS: &[Column] = &[
    column("id", "ID"),
    column("product_id", "PRODUCT"),
    column("platform", "AT"),
    column("sku", "SKU"),
    column("state", "STATE"),
    column("stopped", "STOPPED"),
    column("quantity", "QTY"),
    column("price", "PRICE"),
    column("currency", "CUR"),
    column("listing_id", "LISTING"),
    column("error", "ERROR"),
];
/// What would be sent.
const TRIED: &[Column] = &[
    column("product_id", "PRODUCT"),
    column("sku", "SKU"),
    column("title", "TITLE"),
    column("quantity", "QTY"),
    column("price", "PRICE"),
    column("currency", "CUR"),
    column("why", "NOT NOW"),
];
pub(super) const QUOTAS: &[Column] = &[
    column("resource", "OF"),
    column("remaining", "LEFT"),
    column("limit", "LIMIT"),
    column("window_s", "SECONDS"),
    column("reset", "ANEW AT"),
];
const CATEGORIES: &[Column] = &[column("category", "CATEGORY"), column("path", "PATH")];

/// An order as it was typed.
pub(super) struct Create {
    pub(super) file: PathBuf,
    pub(super) to: Option<String>,
    pub(super) yes: bool,
    pub(super) auto_sync: bool,
    pub(super) wait: bool,
}

pub(super) fn create(order: Create) -> (Ask, Show) {
    let show = match (order.yes, order.wait) {
        (false, _) => Show::Checked(TRIED, |answer| {
            array(at(answer, "items")).iter().all(|i| at(i, "why").is_null())
        }),
        (true, false) => Show::Said(begun),
        (true, true) => Show::Said(ended),
    };
    (Ask::Create(order), show)
}

pub(super) fn retry(destination: Option<&str>) -> (Ask, Show) {
    let ask = Ask::Post(
        "/v1/registrations/retry".into(),
        json!({ "destination": destination }),
    );
    (ask, Show::Said(retried))
}

pub(super) fn category(words: &str, destination: &str, marketplace: &str) -> (Ask, Show) {
    let query: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("words", words)
        .append_pair("destination", destination)
        .append_pair("marketplace", marketplace)
        .finish();
    (
        Ask::Get(format!("/v1/categories?{query}")),
        Show::Table(CATEGORIES),
    )
}

pub(super) async fn perform(client: &Client, order: Create, quiet: bool) -> Result<Value, Trouble> {
    let file = order.file.clone();
    let body = read(&file).map_err(|error| Trouble::File(file.clone(), error))?;
    let mut body: Value = serde_json::from_slice(&body)
        .map_err(|error| Trouble::Input(format!("`{}` is no JSON: {error}", file.display())))?;
    let Some(members) = body.as_object_mut() else {
        return Err(Trouble::Input(format!(
            "`{}`: expected an object with `listings`",
            file.display()
        )));
    };
    if let Some(to) = order.to {
        members.insert("destination".into(), json!(to));
    }
    if order.auto_sync {
        members.insert("auto_sync".into(), json!(true));
    }
    if !order.yes {
        return Ok(client.post("/v1/listings/create/try", &body).await?);
    }
    let answer = client.post("/v1/listings/create", &body).await?;
    if order.wait {
        waited(client, answer, quiet).await.map_err(Trouble::from)
    } else {
        Ok(answer)
    }
}

/// Awaits that nothing is under way any more; `answer` with how many stand where then.
async fn waited(client: &Client, mut answer: Value, quiet: bool) -> Result<Value, ControlError> {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("{msg:40} {wide_bar} {pos}/{len}  {elapsed}") {
        Ok(style) if !quiet => bar.set_style(style),
        _ => bar.set_draw_target(ProgressDrawTarget::hidden()),
    }
    let counts = loop {
        let counts = at(&client.get("/v1/registrations?limit=1").await?, "counts").clone();
        let (words, done, all) = stage(&counts);
        bar.set_message(words);
        bar.set_length(all);
        bar.set_position(done);
        if done >= all {
            break counts;
        }
        tokio::time::sleep(EVERY).await;
    };
    bar.finish_and_clear();
    if let Some(members) = answer.as_object_mut() {
        members.insert("counts".into(), counts);
    }
    Ok(answer)
}

/// What is being done, how many are through, and of how many.
fn stage(counts: &Value) -> (String, u64, u64) {
    let n = |key: &str| at(counts, key).as_u64().unwrap_or(0);
    let open = [
        ("waiting", n("waiting")),
        ("described", n("item_made")),
        ("offered", n("offer_made")),
        ("being linked", n("linking")),
    ];
    let done = n("listed") + n("failed") + n("stopped");
    let words: Vec<String> = open
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(words, count)| format!("{count} {words}"))
        .collect();
    (
        words.join(", "),
        done,
        done + open.iter().map(|(_, count)| count).sum::<u64>(),
    )
}

fn left_out(told: Told, answer: &Value) -> Told {
    let mut told = told;
    for one in array(at(answer, "not_begun")) {
        let (sku, why) = (plain(at(one, "sku")), plain(at(one, "why")));
        told = told.line(format!("not begun: SKU {sku}: {why}")).unfinished();
    }
    told
}

fn begun(answer: &Value) -> Told {
    let count = array(at(answer, "begun")).len();
    let told = Told::new()
        .line(format!("{count} first listings are begun"))
        .line("hint: `zaikoban listings create --status` shows how far they are");
    left_out(told, answer)
}

fn retried(answer: &Value) -> Told {
    let count = array(at(answer, "retried")).len();
    Told::new()
        .line(format!("{count} first listings go on"))
        .line("hint: `zaikoban listings create --status` shows how far they are")
}

/// What came of first listings that were waited for, with all that went before.
fn ended(answer: &Value) -> Told {
    let n = |key: &str| at(at(answer, "counts"), key).as_u64().unwrap_or(0);
    let told = Told::new().line(format!(
        "{} products are listed, {} failed",
        n("listed"),
        n("failed")
    ));
    let mut told = left_out(told, answer);
    if n("failed") > 0 {
        told = told
            .line("hint: `zaikoban listings create --status --state failed` says why")
            .unfinished();
    }
    if n("stopped") > 0 {
        told = told
            .line(format!("{} stopped after errors that did not pass", n("stopped")))
            .line("hint: `zaikoban listings create --status` says at what; `zaikoban listings create --retry` lets them go on")
            .unfinished();
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_counts_what_is_through_and_names_what_is_not() {
        let counts =
            json!({ "waiting": 3, "item_made": 0, "offer_made": 2, "linking": 0, "listed": 4, "failed": 1 });
        assert_eq!(stage(&counts), ("3 waiting, 2 offered".to_owned(), 5, 10));
        assert_eq!(stage(&json!({})), (String::new(), 0, 0));
    }

    #[test]
    fn what_stopped_is_not_waited_for_and_is_no_success() {
        let counts = json!({ "listed": 4, "stopped": 2 });
        assert_eq!(stage(&counts), (String::new(), 6, 6));
        let told = ended(&json!({ "begun": [], "not_begun": [], "counts": counts }));
        assert!(!told.whole);
        assert!(told.lines[2].contains("--retry"), "{:?}", told.lines);
    }

    #[test]
    fn what_was_left_out_is_named_and_is_no_success() {
        let answer =
            json!({ "begun": [1, 2], "not_begun": [{ "sku": "A-3", "why": "it cannot be bought now" }] });
        let told = begun(&answer);
        assert!(!told.whole);
        assert_eq!(told.lines[0], "2 first listings are begun");
        assert_eq!(told.lines[2], "not begun: SKU A-3: it cannot be bought now");
    }
}
