//! What each command asks of the daemon.

use super::tables::{
    BULK, DELAYS, DRIFT, ERRORS, HOLDS, LISTINGS, NODES, PLAN, PLATFORMS, PREVIEW, PRODUCTS, RULES,
};
use super::{Ask, Show, cards, credentials, registering, said, status, tree};
use crate::cli::args::{Command, Errors, Holds, Listings, PageArgs, Platforms, Products};
use crate::cli::output;
use serde_json::{Map, Value, json};

pub(super) fn order(command: Command) -> (Ask, Show) {
    match command {
        Command::Tree(_) => (get("/v1/tree"), Show::Text(tree::tree)),
        Command::Products(order) => products(order),
        Command::Listings(order) => listings(order),
        Command::Holds(order) => holds(order),
        Command::Rates(order) => super::rates::rates(order),
        Command::Platforms(order) => platforms(&order),
        Command::Credentials(order) => credentials::order(order),
        Command::Queue { order } => super::queue::queue(order),
        Command::Schedule(order) => super::schedule::schedule(order),
        Command::Executions(order) => super::schedule::executions(order),
        Command::Summary(args) => super::schedule::summary(&args),
        Command::Backup => super::schedule::run("backup".to_owned(), true),
        Command::Errors(order) => errors(order),
        Command::Alerts(order) => super::alerts::alerts(order),
        Command::Delay { window } => (
            get(&format!("/v1/delay?window_s={}", window.as_secs())),
            Show::Table(DELAYS),
        ),
        Command::Nodes => (get("/v1/nodes"), Show::Table(NODES)),
        Command::Drain { undo } => {
            let verb = if undo { "undrain" } else { "drain" };
            (
                post(&format!("/v1/nodes/{verb}"), json!({})),
                Show::Said(said::drained),
            )
        }
        Command::StopAll => (post("/v1/stop-all", json!({})), Show::Said(said::stopped)),
        Command::ResumeAll => (post("/v1/resume-all", json!({})), Show::Said(said::resumed)),
        Command::Reload => (post("/v1/reload", json!({})), Show::Said(said::reloaded)),
        #[cfg(feature = "failpoints")]
        Command::Fault { kind, child } => (
            post("/v1/fault", json!({ "kind": kind, "child": child })),
            Show::Text(output::plain),
        ),
        // The commands that need no daemon were taken out before.
        Command::Status(_)
        | Command::Run(_)
        | Command::Config(_)
        | Command::Doctor { .. }
        | Command::Metrics
        | Command::Migrate(_)
        | Command::Simulate(_)
        | Command::Demo(_)
        | Command::Completions { .. }
        | Command::Man { .. }
        | Command::Extract(_) => (get("/v1/status"), Show::Text(status::status)),
    }
}

fn products(order: Products) -> (Ask, Show) {
    let act = |verb: &str, ids: Vec<i64>| post(&format!("/v1/products/{verb}"), json!({ "ids": ids }));
    match order {
        Products::Add {
            source_url,
            title,
            cost_rule,
            value_at_risk,
        } => (
            post(
                "/v1/products",
                json!({ "source_url": source_url, "title": title, "cost_rule": cost_rule,
                        "value_at_risk": value_at_risk }),
            ),
            Show::Text(output::card),
        ),
        Products::Import { file, dry_run } => {
            let ask = if dry_run {
                Ask::Upload("/v1/products/import/try".into(), file)
            } else {
                Ask::Import("/v1/products/import".into(), file)
            };
            (ask, Show::Said(said::imported))
        }
        Products::List { page, state, search } => (
            paged(
                "/v1/products",
                &page,
                &[("state", state.as_deref()), ("search", search.as_deref())],
            ),
            Show::Table(PRODUCTS),
        ),
        Products::Show { id } => (get(&format!("/v1/products/{id}")), Show::Text(cards::product)),
        Products::Pause { ids } => (act("pause", ids), Show::Said(said::products_paused)),
        Products::Resume { ids } => (act("resume", ids), Show::Said(said::products_resumed)),
        Products::Check { ids } => (act("check", ids), Show::Said(said::products_checked)),
        Products::Remove { ids } => (act("remove", ids), Show::Said(said::products_removed)),
    }
}

fn listings(order: Listings) -> (Ask, Show) {
    let switch = |verb: &str, ids: Vec<i64>, destination: Option<String>| {
        let body = json!({ "ids": ids, "destination": destination });
        post(&format!("/v1/listings/{verb}"), body)
    };
    match order {
        Listings::Link {
            product,
            destination,
            sku,
            offer,
            auto_sync,
            set,
        } => {
            let rules: Map<String, Value> = set.into_iter().collect();
            let order = json!({
                "product_id": product, "destination": destination, "sku": sku, "offer": offer, "auto_sync": auto_sync,
                "rules": rules,
            });
            (post("/v1/listings", order), Show::Text(cards::listing))
        }
        Listings::Create {
            file: Some(file),
            to,
            yes,
            auto_sync,
            wait,
            ..
        } => registering::create(registering::Create {
            file,
            to,
            yes,
            auto_sync,
            wait,
        }),
        Listings::Create { retry: true, to, .. } => registering::retry(to.as_deref()),
        Listings::Create { to, state, page, .. } => (
            paged(
                "/v1/registrations",
                &page,
                &[("destination", to.as_deref()), ("state", state.as_deref())],
            ),
            Show::Checked(registering::REGISTRATIONS, |_| true),
        ),
        Listings::Category {
            words,
            destination,
            marketplace,
        } => registering::category(&words.join(" "), &destination, &marketplace),
        Listings::List {
            page,
            destination,
            state,
        } => (
            paged(
                "/v1/listings",
                &page,
                &[
                    ("destination", destination.as_deref()),
                    ("state", state.as_deref()),
                ],
            ),
            Show::Table(LISTINGS),
        ),
        Listings::Show { id } => (get(&format!("/v1/listings/{id}")), Show::Text(cards::listing)),
        Listings::Plan { page, id, preview } => {
            let id = id.map(|i| i.to_string());
            let asks = preview.then_some("true");
            (
                paged("/v1/plan", &page, &[("id", id.as_deref()), ("preview", asks)]),
                Show::Table(if preview { PREVIEW } else { PLAN }),
            )
        }
        Listings::Push { ids } => (
            post("/v1/listings/push", json!({ "ids": ids })),
            Show::Said(said::pushed),
        ),
        Listings::Drift {
            page,
            destination,
            open,
        } => (
            paged(
                "/v1/listings/drift",
                &page,
                &[
                    ("destination", destination.as_deref()),
                    ("open", open.then_some("true")),
                ],
            ),
            Show::Table(DRIFT),
        ),
        Listings::Bulk { page, destination } => (
            paged(
                "/v1/listings/bulk",
                &page,
                &[("destination", destination.as_deref())],
            ),
            Show::Table(BULK),
        ),
        Listings::Read { ids } => (
            post("/v1/listings/read", json!({ "ids": ids })),
            Show::Said(said::read_back),
        ),
        Listings::Rules {
            id,
            set,
            unset,
            clear,
        } => rules(id, set, unset, clear),
        Listings::Explain { id } => (
            get(&format!("/v1/listings/{id}/explain")),
            Show::Text(cards::explanation),
        ),
        Listings::Pause { ids, destination } => (
            switch("pause", ids, destination),
            Show::Said(said::listings_paused),
        ),
        Listings::Resume { ids, destination } => (
            switch("resume", ids, destination),
            Show::Said(said::listings_resumed),
        ),
    }
}

fn rules(id: i64, set: Vec<(String, Value)>, unset: Vec<String>, clear: bool) -> (Ask, Show) {
    let path = format!("/v1/listings/{id}/rules");
    if set.is_empty() && unset.is_empty() && !clear {
        return (get(&path), Show::Table(RULES));
    }
    let set: Map<String, Value> = set.into_iter().collect();
    let order = json!({ "set": set, "unset": unset, "clear": clear });
    (post(&path, order), Show::Said(said::rules_changed))
}

fn holds(order: Holds) -> (Ask, Show) {
    let decide = |verb: &str, ids: Vec<i64>, note: Option<String>| {
        (
            post(&format!("/v1/holds/{verb}"), json!({ "ids": ids, "note": note })),
            Show::Said(said::holds_decided),
        )
    };
    match order {
        Holds::List(page) => (paged("/v1/holds", &page, &[]), Show::Table(HOLDS)),
        Holds::Accept { ids, note } => decide("accept", ids, note),
        Holds::Reject { ids, note } => decide("reject", ids, note),
        Holds::Edit {
            id,
            stock,
            price,
            note,
        } => (
            post(
                "/v1/holds/edit",
                json!({ "id": id, "stock": stock, "price": price, "note": note }),
            ),
            Show::Said(said::hold_edited),
        ),
    }
}

fn platforms(order: &Platforms) -> (Ask, Show) {
    let act = |verb: &str, platform: &str| {
        let path = format!("/v1/platforms/{}/{verb}", segment(platform));
        (post(&path, json!({})), Show::Said(said::platform_switched))
    };
    match order {
        Platforms::List => (get("/v1/platforms"), Show::Table(PLATFORMS)),
        Platforms::Quotas { platform } => (
            get(&format!("/v1/platforms/{}/quotas", segment(platform))),
            Show::Table(registering::QUOTAS),
        ),
        Platforms::Pause { platform } => act("pause", platform),
        Platforms::Resume { platform } => act("resume", platform),
        Platforms::Reset { platform } => act("reset", platform),
    }
}

fn errors(order: Errors) -> (Ask, Show) {
    match order {
        Errors::List {
            page,
            all,
            severity,
            product,
        } => {
            let product = product.map(|id| id.to_string());
            let filters = [
                ("all", all.then_some("true")),
                ("severity", severity.as_deref()),
                ("product_id", product.as_deref()),
            ];
            (paged("/v1/errors", &page, &filters), Show::Table(ERRORS))
        }
        Errors::Show { id } => (get(&format!("/v1/errors/{id}")), Show::Text(output::card)),
        Errors::Resolve { ids, note } => (
            post("/v1/errors/resolve", json!({ "ids": ids, "note": note })),
            Show::Said(said::errors_resolved),
        ),
    }
}

pub(super) fn get(path: &str) -> Ask {
    Ask::Get(path.to_owned())
}

pub(super) fn post(path: &str, body: Value) -> Ask {
    Ask::Post(path.to_owned(), body)
}

/// A list with its page and filters.
pub(super) fn paged(path: &str, page: &PageArgs, filters: &[(&str, Option<&str>)]) -> Ask {
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
    Ask::Get(format!("{path}?{}", query.finish()))
}

pub(super) fn segment(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
