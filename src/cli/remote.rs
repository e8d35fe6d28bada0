//! Commands that a running daemon carries out: each is a path, a body, and how its answer is shown.

use super::args::{Command, Global, Holds, Listings, PageArgs, Platforms, Products, Queue};
use super::output::{self, Column, Exit};
use crate::control::client::{Client, ControlError};
use serde_json::{Value, json};
use std::path::PathBuf;

/// How an answer is shown without `--json`.
enum Show {
    /// Rows of `items`.
    Table(&'static [Column]),
    /// One thing.
    Card,
    /// The supervision tree, indented.
    Tree,
    /// A sentence.
    Said(String),
}

/// What is asked of the daemon.
enum Ask {
    Get(String),
    Post(String, Value),
    Upload(String, PathBuf),
}

pub(super) fn run(global: &Global, command: Command) -> Exit {
    let (ask, show) = order(command);
    let socket = match super::config::socket(global) {
        Ok(socket) => socket,
        Err(exit) => return exit,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::talk(&format!("error: no runtime: {error}"));
            return Exit::Failed;
        }
    };
    let answer = runtime.block_on(async {
        let client = Client::new(&socket)?;
        perform(&client, ask).await
    });
    match answer {
        Ok(value) => {
            present(&value, &show, global.json);
            Exit::Done
        }
        Err(Trouble::Control(error)) => output::complain(&error, global.json),
        Err(Trouble::File(path, error)) => {
            output::talk(&format!("error: cannot read `{}`: {error}", path.display()));
            Exit::Failed
        }
    }
}

/// Why an order could not even be sent, or what the daemon said to it.
enum Trouble {
    Control(ControlError),
    File(PathBuf, std::io::Error),
}

impl From<ControlError> for Trouble {
    fn from(error: ControlError) -> Self {
        Self::Control(error)
    }
}

async fn perform(client: &Client, ask: Ask) -> Result<Value, Trouble> {
    match ask {
        Ask::Get(path) => Ok(client.get(&path).await?),
        Ask::Post(path, body) => Ok(client.post(&path, &body).await?),
        Ask::Upload(path, file) => {
            let body = read(&file).map_err(|e| Trouble::File(file, e))?;
            Ok(client.post_text(&path, "text/csv", body).await?)
        }
    }
}

fn read(file: &PathBuf) -> std::io::Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut body = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut body)?;
        Ok(body)
    } else {
        std::fs::read(file)
    }
}

fn present(value: &Value, show: &Show, as_json: bool) {
    if as_json {
        output::json(value);
        return;
    }
    match show {
        Show::Table(columns) => {
            let items = value.get("items").and_then(Value::as_array);
            output::table(items.map_or(&[], Vec::as_slice), columns);
            if let Some(next) = value.get("next").filter(|n| !n.is_null()) {
                output::talk(&format!("more: --after {next}"));
            }
        }
        Show::Card => output::card(value),
        Show::Tree => tree(value, 0),
        Show::Said(sentence) => output::talk(sentence),
    }
}

/// The live tree, a child a line.
fn tree(node: &Value, depth: usize) {
    let text = |key: &str| node.get(key).and_then(Value::as_str).unwrap_or("-");
    let number = |key: &str| node.get(key).and_then(Value::as_u64).unwrap_or(0);
    let name = format!("{}{}", "  ".repeat(depth), text("name"));
    let seconds = number("uptime_ms") / 1000;
    output::data(&format!(
        "{name:<34} {:<12} restarts {:<4} mailbox {:<5} up {seconds:>6} s   {}",
        text("state"),
        number("restarts"),
        number("mailbox"),
        text("last_exit"),
    ));
    for child in node
        .get("children")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        tree(child, depth.saturating_add(1));
    }
}

fn order(command: Command) -> (Ask, Show) {
    match command {
        Command::Status => (Ask::Get("/v1/status".into()), Show::Card),
        Command::Tree => (Ask::Get("/v1/tree".into()), Show::Tree),
        Command::Products(order) => products(order),
        Command::Listings(order) => listings(order),
        Command::Holds(order) => holds(order),
        Command::Platforms(order) => platforms(order),
        Command::Queue(order) => queue(order),
        Command::Errors(page) => (Ask::Get(paged("/v1/errors", &page, &[])), Show::Table(ERRORS)),
        Command::StopAll => (
            Ask::Post("/v1/stop-all".into(), json!({})),
            Show::Said("nothing is sent to any destination until `zaikoban resume-all`".into()),
        ),
        Command::ResumeAll => (
            Ask::Post("/v1/resume-all".into(), json!({})),
            Show::Said("listings are brought in line again".into()),
        ),
        #[cfg(feature = "failpoints")]
        Command::Fault { kind, child } => (
            Ask::Post("/v1/fault".into(), json!({ "kind": kind, "child": child })),
            Show::Said("done".into()),
        ),
        // The commands that need no daemon were taken out before.
        Command::Run(_)
        | Command::Config(_)
        | Command::Migrate(_)
        | Command::Simulate(_)
        | Command::Demo(_)
        | Command::Extract(_) => (Ask::Get("/v1/status".into()), Show::Card),
    }
}

const PRODUCTS: &[Column] = &[
    ("id", "ID"),
    ("source_product_id", "ITEM"),
    ("stock", "STOCK"),
    ("price", "PRICE"),
    ("url_status", "URL"),
    ("monitoring", "WATCHED"),
    ("held_reason", "HELD"),
    ("last_verified_at", "VERIFIED"),
    ("title", "TITLE"),
];
const LISTINGS: &[Column] = &[
    ("id", "ID"),
    ("product_id", "PRODUCT"),
    ("destination", "AT"),
    ("sku", "SKU"),
    ("status", "STATUS"),
    ("quantity", "QTY"),
    ("wanted_quantity", "WANTED"),
    ("price", "PRICE"),
    ("wanted_price", "WANTED PRICE"),
    ("auto_sync", "SYNC"),
    ("held_reason", "HELD"),
];
const PLAN: &[Column] = &[
    ("listing_id", "LISTING"),
    ("sku", "SKU"),
    ("action", "WOULD"),
    ("quantity", "QTY"),
    ("price", "PRICE"),
    ("why", "WHY"),
];
const HOLDS: &[Column] = &[
    ("id", "ID"),
    ("product_id", "PRODUCT"),
    ("listing_id", "LISTING"),
    ("reason", "REASON"),
    ("proposed_stock", "STOCK"),
    ("proposed_price", "PRICE"),
    ("meanwhile", "MEANWHILE"),
    ("default_action", "AT DEADLINE"),
    ("deadline", "DEADLINE"),
];
const PLATFORMS: &[Column] = &[
    ("name", "PLATFORM"),
    ("state", "GATE"),
    ("rate_per_s", "PER SECOND"),
    ("in_flight", "OPEN"),
    ("calls", "CALLS"),
    ("failures", "FAILED"),
    ("simulator", "SIMULATOR"),
    ("last_error", "LAST ERROR"),
];
const QUEUE: &[Column] = &[
    ("id", "ID"),
    ("queue", "QUEUE"),
    ("status", "STATUS"),
    ("priority", "PRIO"),
    ("listing_id", "LISTING"),
    ("retry_count", "RETRIES"),
    ("scheduled_at", "DUE"),
    ("error", "ERROR"),
];
const ERRORS: &[Column] = &[
    ("id", "ID"),
    ("severity", "SEVERITY"),
    ("count", "COUNT"),
    ("code", "CODE"),
    ("platform", "PLATFORM"),
    ("product_id", "PRODUCT"),
    ("last_seen_at", "LAST"),
    ("message", "MESSAGE"),
];

fn products(order: Products) -> (Ask, Show) {
    let act = |verb: &str, ids: Vec<i64>| {
        let said = format!("{verb}: {} product(s)", ids.len());
        (
            Ask::Post(format!("/v1/products/{verb}"), json!({ "ids": ids })),
            Show::Said(said),
        )
    };
    match order {
        Products::Add {
            source_url,
            title,
            cost_rule,
            value_at_risk,
        } => (
            Ask::Post(
                "/v1/products".into(),
                json!({ "source_url": source_url, "title": title, "cost_rule": cost_rule,
                        "value_at_risk": value_at_risk }),
            ),
            Show::Card,
        ),
        Products::Import { file } => (Ask::Upload("/v1/products/import".into(), file), Show::Card),
        Products::List { page, state, search } => (
            Ask::Get(paged(
                "/v1/products",
                &page,
                &[("state", state.as_deref()), ("search", search.as_deref())],
            )),
            Show::Table(PRODUCTS),
        ),
        Products::Show { id } => (Ask::Get(format!("/v1/products/{id}")), Show::Card),
        Products::Pause { ids } => act("pause", ids),
        Products::Resume { ids } => act("resume", ids),
        Products::Check { ids } => act("check", ids),
        Products::Remove { ids } => act("remove", ids),
    }
}

fn listings(order: Listings) -> (Ask, Show) {
    let act = |verb: &str, ids: Vec<i64>, destination: Option<String>| {
        let body = json!({ "ids": ids, "destination": destination });
        (Ask::Post(format!("/v1/listings/{verb}"), body), Show::Card)
    };
    match order {
        Listings::Link {
            product,
            destination,
            sku,
            auto_sync,
        } => (
            Ask::Post(
                "/v1/listings".into(),
                json!({ "product_id": product, "destination": destination, "sku": sku, "auto_sync": auto_sync }),
            ),
            Show::Card,
        ),
        Listings::List {
            page,
            destination,
            state,
        } => (
            Ask::Get(paged(
                "/v1/listings",
                &page,
                &[
                    ("destination", destination.as_deref()),
                    ("state", state.as_deref()),
                ],
            )),
            Show::Table(LISTINGS),
        ),
        Listings::Show { id } => (Ask::Get(format!("/v1/listings/{id}")), Show::Card),
        Listings::Plan { page, id } => {
            let id = id.map(|i| i.to_string());
            (
                Ask::Get(paged("/v1/plan", &page, &[("id", id.as_deref())])),
                Show::Table(PLAN),
            )
        }
        Listings::Push { ids } => act("push", ids, None),
        Listings::Explain { id } => (Ask::Get(format!("/v1/listings/{id}/explain")), Show::Card),
        Listings::Pause { ids, destination } => act("pause", ids, destination),
        Listings::Resume { ids, destination } => act("resume", ids, destination),
    }
}

fn holds(order: Holds) -> (Ask, Show) {
    let decide = |verb: &str, ids: Vec<i64>, note: Option<String>| {
        (
            Ask::Post(format!("/v1/holds/{verb}"), json!({ "ids": ids, "note": note })),
            Show::Card,
        )
    };
    match order {
        Holds::List(page) => (Ask::Get(paged("/v1/holds", &page, &[])), Show::Table(HOLDS)),
        Holds::Accept { ids, note } => decide("accept", ids, note),
        Holds::Reject { ids, note } => decide("reject", ids, note),
        Holds::Edit {
            id,
            stock,
            price,
            note,
        } => (
            Ask::Post(
                "/v1/holds/edit".into(),
                json!({ "id": id, "stock": stock, "price": price, "note": note }),
            ),
            Show::Card,
        ),
    }
}

fn platforms(order: Platforms) -> (Ask, Show) {
    let act = |verb: &str, platform: &str| {
        let said = format!("{verb}: {platform}");
        (
            Ask::Post(format!("/v1/platforms/{}/{verb}", segment(platform)), json!({})),
            Show::Said(said),
        )
    };
    match order {
        Platforms::List => (Ask::Get("/v1/platforms".into()), Show::Table(PLATFORMS)),
        Platforms::Pause { platform } => act("pause", &platform),
        Platforms::Resume { platform } => act("resume", &platform),
        Platforms::Reset { platform } => act("reset", &platform),
    }
}

fn queue(order: Queue) -> (Ask, Show) {
    match order {
        Queue::List { page, status, queue } => (
            Ask::Get(paged(
                "/v1/queue",
                &page,
                &[("status", status.as_deref()), ("queue", queue.as_deref())],
            )),
            Show::Table(QUEUE),
        ),
        Queue::Show { id } => (Ask::Get(format!("/v1/queue/{id}")), Show::Card),
        Queue::Retry { ids } => (
            Ask::Post("/v1/queue/retry".into(), json!({ "ids": ids })),
            Show::Card,
        ),
        Queue::Discard { ids } => (
            Ask::Post("/v1/queue/discard".into(), json!({ "ids": ids })),
            Show::Card,
        ),
    }
}

/// A listing's path with its page and filters.
fn paged(path: &str, page: &PageArgs, filters: &[(&str, Option<&str>)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &page.limit.to_string());
    if let Some(after) = page.after {
        query.append_pair("after", &after.to_string());
    }
    for (key, value) in filters {
        if let Some(value) = value {
            query.append_pair(key, value);
        }
    }
    format!("{path}?{}", query.finish())
}

fn segment(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
