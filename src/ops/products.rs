//! Products: register, look at, switch.

use super::{InputProblem, Ops, OpsError, Page, Rows, text_problem, unsent, word_problem};
use crate::domain::{CostRule, Platform, ProductId, SourcePlatform, SourceProductId, UnknownName, WatchId};
use crate::nodes::Concern;
use crate::platform::amazon::Asin;
use crate::platform::yahoo;
use crate::store::errors;
use crate::store::views::{self, Thing};
use crate::store::watches::{self, Added, NewWatch, Owned};
use crate::watch::{CheckNow, Refresh};
use futures_util::FutureExt as _;
use serde::Deserialize;
use serde_json::{Value, json};

/// What the tables hold.
pub(super) const TITLE_CHARACTERS: usize = 500;

/// Which products.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ProductFilter {
    /// `in_stock`, `out_of_stock`, `held`, `dead`, `changed`, `active` (its page), `paused`.
    pub state: Option<String>,
    /// Part of the title, or the whole item id.
    pub search: Option<String>,
}

/// What an item of Amazon costs by.
pub(super) const ONE_PRICE: &str = "buy_now, as Amazon has no bids";

const STATES: [&str; 7] = [
    "in_stock",
    "out_of_stock",
    "held",
    "dead",
    "changed",
    "active",
    "paused",
];

impl ProductFilter {
    /// What of it would not be understood.
    #[must_use]
    pub fn problems(&self) -> Vec<InputProblem> {
        let state = word_problem("state", self.state.as_deref(), &STATES);
        let search = text_problem(
            "search",
            self.search.as_deref().unwrap_or_default(),
            TITLE_CHARACTERS,
        );
        state.into_iter().chain(search).collect()
    }
}

/// A product to register.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewProductOrder {
    /// The item's page.
    pub source_url: String,
    /// A title to know it by until its page was read.
    pub title: Option<String>,
    /// What it costs: `buy_now` or `current_bid`.
    pub cost_rule: Option<String>,
    /// Yen lost per hour while its listing is wrong.
    pub value_at_risk: Option<f32>,
}

/// Reads an item's address; the error says what was expected.
pub(super) fn source_of(url: &str) -> Result<(SourcePlatform, SourceProductId, String), String> {
    if is_amazon(url) {
        let asin = Asin::of_link(url).map_err(|error| {
            format!(
                "a product page such as https://www.amazon.co.jp/dp/B07FZ8S74R ({})",
                error.why
            )
        })?;
        return Ok((SourcePlatform::Amazon, asin.id().clone(), asin.page()));
    }
    match yahoo::source_product_id(url) {
        Ok(id) => {
            let canonical = yahoo::canonical_url(&id);
            Ok((SourcePlatform::Yahoo, id, canonical))
        }
        Err(error) => Err(format!(
            "an item page such as https://auctions.yahoo.co.jp/jp/auction/s1238539612 or \
             https://www.amazon.co.jp/dp/B07FZ8S74R ({})",
            error.why
        )),
    }
}

/// Whether an address is meant to be one of Amazon: then the rule it breaks is one of Amazon's.
fn is_amazon(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split(['/', '?', '#']).next().unwrap_or_default();
    host.to_ascii_lowercase().contains("amazon.")
}

/// An item of Amazon has one price: no bids.
pub(super) fn is_priced_so(source: SourcePlatform, rule: CostRule) -> bool {
    source == SourcePlatform::Yahoo || rule == CostRule::BuyNow
}

impl Ops {
    /// A page of products.
    ///
    /// # Errors
    /// See [`OpsError`].
    pub async fn products(&self, page: Page, filter: ProductFilter) -> Result<Rows, OpsError> {
        OpsError::unless_none(filter.problems())?;
        let mut conn = self.conn().await?;
        let window = page.window();
        let rows = views::products(
            &mut conn,
            window,
            filter.state.as_deref(),
            filter.search.as_deref(),
        )
        .await?;
        Ok(page.rows(rows))
    }

    /// One product with its watches, listings and latest changes.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when there is none.
    pub async fn product(&self, id: i64) -> Result<Value, OpsError> {
        let mut conn = self.conn().await?;
        OpsError::found(Thing::Product, id, views::product(&mut conn, id).await?)
    }

    /// Registers one product and looks at it at once.
    ///
    /// # Errors
    /// [`OpsError::Invalid`] for what cannot be watched, [`OpsError::Conflict`] for what is watched already.
    pub async fn add_product(&self, order: NewProductOrder, by: &str) -> Result<Value, OpsError> {
        let mut problems = Vec::new();
        let source = source_of(&order.source_url);
        if let Err(expected) = &source {
            problems.push(InputProblem::new("source_url", expected, &order.source_url));
        }
        let title = order.title.unwrap_or_default();
        problems.extend(text_problem("title", &title, TITLE_CHARACTERS));
        let cost_rule = match order.cost_rule.as_deref() {
            None => Ok(CostRule::BuyNow),
            Some(word) => word.parse().map_err(|unknown: UnknownName| {
                problems.push(InputProblem::new(
                    "cost_rule",
                    format!("one of {}", unknown.expected),
                    word,
                ));
            }),
        };
        if let (Ok((source, ..)), Ok(rule)) = (&source, cost_rule)
            && !is_priced_so(*source, rule)
        {
            problems.push(InputProblem::new("cost_rule", ONE_PRICE, rule.as_str()));
        }
        let value_at_risk = order.value_at_risk.unwrap_or(1.0);
        if !(0.0..=1e9).contains(&value_at_risk) {
            let expected = "yen per hour, from 0 to 1000000000";
            problems.push(InputProblem::new(
                "value_at_risk",
                expected,
                &value_at_risk.to_string(),
            ));
        }
        if let Ok((source, ..)) = &source {
            problems.extend(self.is_watched_here(*source, "source_url").err());
        }
        let (Ok((source, source_product_id, source_url)), Ok(cost_rule), true) =
            (source, cost_rule, problems.is_empty())
        else {
            return Err(OpsError::all(problems));
        };
        let new = NewWatch {
            product_id: None,
            title,
            source,
            source_url,
            source_product_id: source_product_id.clone(),
            cost_rule,
            value_at_risk_jpy_per_hour: value_at_risk,
        };
        match self.insert(vec![new], None).await?.first() {
            Some(Added::New { watch_id, product_id }) => {
                self.refresh(vec![*watch_id])
                    .await
                    .map_err(after("the product is registered"))?;
                tracing::info!(product.id = %product_id, by, "Product `{product_id}` was registered");
                Ok(
                    json!({ "product_id": product_id, "watch_id": watch_id, "source_product_id": source_product_id }),
                )
            }
            Some(Added::Duplicate { product_id, .. }) => Err(OpsError::Conflict {
                message: format!("item `{source_product_id}` is watched already, as product {product_id}"),
                hint: Some(format!("`zaikoban products show {product_id}`")),
            }),
            None => Err(OpsError::conflict("the product was not inserted")),
        }
    }

    /// Whether anybody would look at an item of this source.
    pub(super) fn is_watched_here(&self, source: SourcePlatform, place: &str) -> Result<(), InputProblem> {
        // While the daemon starts, its settings are not asked: the order fails for that.
        let Ok(parts) = self.parts() else { return Ok(()) };
        if parts.counters.contains_key(&source) {
            return Ok(());
        }
        let problem = InputProblem::new(
            place,
            "an item of a source that is enabled in the settings",
            source.as_str(),
        );
        Err(problem.hint(format!(
            "set `platforms.{}.enabled` and start the daemon again",
            Platform::from(source)
        )))
    }

    /// `pause`, `resume`, `check` or `remove` products.
    ///
    /// A check of a paused product is left out, and named. Removing forgets watches and listings; the offers at their
    /// destinations stay as they are.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when one of them is not there.
    pub async fn act_on_products(&self, verb: &str, ids: &[i64], by: &str) -> Result<Value, OpsError> {
        let ids = self.all_there(Thing::Product, ids).await?;
        let products: Vec<ProductId> = ids.iter().copied().map(ProductId).collect();
        let mut conn = self.conn().await?;
        let found = watches::of_products(&mut conn, &products).await?;
        let all: Vec<WatchId> = found.iter().map(|w| w.watch_id).collect();
        let done = match verb {
            "check" => {
                drop(conn);
                let (watched, paused): (Vec<Owned>, Vec<Owned>) = found.into_iter().partition(|w| w.enabled);
                let watches: Vec<WatchId> = watched.iter().map(|w| w.watch_id).collect();
                self.tell_nodes(Concern::Check, &watches).await;
                let roster = &self.parts()?.roster;
                roster
                    .send(CheckNow { watches })
                    .await
                    .map_err(unsent("the roster"))?;
                json!({ "checked": of(&watched), "paused": of(&paused) })
            }
            "remove" => {
                drop(conn);
                let db = &self.parts()?.db;
                // The ledger touches watches beside the ones it writes, in no order.
                db.transaction_retried(3, move |conn| {
                    let products = products.clone();
                    async move { watches::remove_products(conn, &products).await }.boxed()
                })
                .await?;
                self.refresh(all)
                    .await
                    .map_err(after("the products are removed"))?;
                json!({ "removed": ids })
            }
            _ => {
                let moved = watches::set_enabled(&mut conn, &all, verb == "resume").await?;
                if verb == "resume" {
                    errors::end_quarantines(&mut conn, &ids, by).await?;
                }
                drop(conn);
                self.refresh(all).await.map_err(after("the tables are changed"))?;
                let (changed, unchanged): (Vec<Owned>, Vec<Owned>) =
                    found.into_iter().partition(|w| moved.contains(&w.watch_id));
                json!({ "changed": of(&changed), "unchanged": of(&unchanged) })
            }
        };
        tracing::info!(by, verb, "A person ordered `{verb}` for {} product(s)", ids.len());
        Ok(done)
    }

    /// Makes the roster see what the tables say of these watches now.
    pub(super) async fn refresh(&self, watches: Vec<WatchId>) -> Result<(), OpsError> {
        self.tell_nodes(Concern::Refresh, &watches).await;
        let roster = &self.parts()?.roster;
        Ok(roster
            .send(Refresh { watches })
            .await
            .map_err(unsent("the roster"))??)
    }
}

/// A failure after the tables have been changed, which must not say that nothing was.
fn after(done: &'static str) -> impl Fn(OpsError) -> OpsError {
    move |error| OpsError::NotReady {
        what: "the roster",
        why: format!(
            "{done}, but the watchers do not know yet; `zaikoban products resume` tells them ({})",
            error.cause()
        ),
    }
}

/// The products of these watches, each once.
fn of(watches: &[Owned]) -> Vec<ProductId> {
    let mut products: Vec<ProductId> = watches.iter().map(|w| w.product_id).collect();
    products.dedup();
    products
}
