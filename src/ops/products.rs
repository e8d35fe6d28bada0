//! Products: register, look at, switch.

use super::import::{self, ImportRow};
use super::{InputProblem, Ops, OpsError, Page, Rows, checked_ids, unsent};
use crate::domain::{CostRule, ProductId, SourcePlatform, SourceProductId, WatchId};
use crate::platform::yahoo;
use crate::store::views;
use crate::store::watches::{self, Added, NewWatch};
use crate::watch::{CheckNow, Refresh};
use futures_util::FutureExt as _;
use serde::Deserialize;
use serde_json::{Value, json};

/// Rows that one statement of an import inserts.
const CHUNK: usize = 2_000;

/// Which products.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ProductFilter {
    /// `in_stock`, `out_of_stock`, `held`, `dead`, `changed`, `paused`.
    pub state: Option<String>,
    /// Part of the title.
    pub search: Option<String>,
}

/// A product to register.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewProductOrder {
    /// The item's page.
    pub source_url: String,
    /// A title to know it by until its page was read.
    pub title: Option<String>,
    /// What it costs.
    pub cost_rule: Option<CostRule>,
    /// Yen lost per hour while its listing is wrong.
    pub value_at_risk: Option<f32>,
}

/// Reads an item's address; the error says what was expected.
pub(super) fn source_of(url: &str) -> Result<(SourcePlatform, SourceProductId, String), String> {
    match yahoo::source_product_id(url) {
        Ok(id) => {
            let canonical = yahoo::canonical_url(&id);
            Ok((SourcePlatform::Yahoo, id, canonical))
        }
        Err(error) => Err(format!(
            "an item page such as https://auctions.yahoo.co.jp/jp/auction/s1238539612 ({})",
            error.why
        )),
    }
}

impl Ops {
    /// A page of products.
    ///
    /// # Errors
    /// See [`OpsError`].
    pub async fn products(&self, page: Page, filter: ProductFilter) -> Result<Rows, OpsError> {
        if let Some(state) = &filter.state {
            let known = [
                "in_stock",
                "out_of_stock",
                "held",
                "dead",
                "changed",
                "active",
                "paused",
            ];
            if !known.contains(&state.as_str()) {
                return Err(OpsError::invalid("state", known.join(", "), state));
            }
        }
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
        views::product(&mut conn, id).await?.ok_or_else(|| no_product(id))
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
        if title.chars().count() > 500 || title.chars().any(char::is_control) {
            problems.push(InputProblem::new("title", "at most 500 characters", &title));
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
        let (Ok((source, source_product_id, source_url)), true) = (source, problems.is_empty()) else {
            return Err(OpsError::Invalid { problems });
        };
        let new = NewWatch {
            product_id: None,
            title,
            source,
            source_url,
            source_product_id: source_product_id.clone(),
            cost_rule: order.cost_rule.unwrap_or(CostRule::BuyNow),
            value_at_risk_jpy_per_hour: value_at_risk,
        };
        match self.insert(vec![new]).await?.first() {
            Some(Added::New { watch_id, product_id }) => {
                self.refresh(vec![*watch_id]).await?;
                tracing::info!(product.id = %product_id, by, "Product `{product_id}` was registered");
                Ok(
                    json!({ "product_id": product_id, "watch_id": watch_id, "source_product_id": source_product_id }),
                )
            }
            Some(Added::Duplicate { product_id, .. }) => Err(OpsError::Conflict {
                message: format!("item `{source_product_id}` is watched already, as product {product_id}"),
            }),
            None => Err(OpsError::Conflict {
                message: "the product was not inserted".to_owned(),
            }),
        }
    }

    /// Registers a list; nothing is changed when a line has a problem. Items that are watched already are counted and
    /// left alone; listings to link are read one by one, and those that fail are told at the end.
    ///
    /// # Errors
    /// [`OpsError::Invalid`] with every problem by line and column.
    pub async fn import(&self, body: bytes::Bytes, by: &str) -> Result<Value, OpsError> {
        let rows = tokio::task::spawn_blocking(move || import::parse(&body)).await;
        let rows = match rows {
            Ok(Ok(rows)) => rows,
            Ok(Err(problems)) => return Err(OpsError::Invalid { problems }),
            Err(panicked) => {
                return Err(OpsError::NotReady {
                    what: "the import",
                    why: panicked.to_string(),
                });
            }
        };
        let new = rows.iter().map(as_watch).collect();
        let added = self.insert(new).await?;
        let fresh: Vec<WatchId> = added
            .iter()
            .filter_map(|a| match a {
                Added::New { watch_id, .. } => Some(*watch_id),
                Added::Duplicate { .. } => None,
            })
            .collect();
        let links = self.link_all(&rows, &added).await?;
        for chunk in fresh.chunks(CHUNK) {
            self.refresh(chunk.to_vec()).await?;
        }
        tracing::info!(
            by,
            products = fresh.len(),
            "A list of {} products was imported",
            rows.len()
        );
        Ok(json!({
            "rows": rows.len(),
            "added": fresh.len(),
            "watched_already": added.len().saturating_sub(fresh.len()),
            "linked": links.0,
            "not_linked": links.1,
        }))
    }

    /// Adds watches in one transaction.
    async fn insert(&self, new: Vec<NewWatch>) -> Result<Vec<Added>, OpsError> {
        let db = &self.parts()?.db;
        let added = db
            .transaction(move |conn| {
                async move {
                    let mut added = Vec::with_capacity(new.len());
                    for chunk in new.chunks(CHUNK) {
                        added.extend(watches::add(conn, chunk).await?);
                    }
                    Ok(added)
                }
                .boxed()
            })
            .await?;
        Ok(added)
    }

    /// `pause`, `resume` or `check` products.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when one of them is not there.
    pub async fn act_on_products(&self, verb: &str, ids: &[i64], by: &str) -> Result<Value, OpsError> {
        checked_ids(ids)?;
        let found = self.watches_of(ids).await?;
        let moved = if verb == "check" {
            let order = CheckNow {
                watches: found.clone(),
            };
            self.parts()?
                .roster
                .send(order)
                .await
                .map_err(unsent("the roster"))?;
            found.len()
        } else {
            let mut conn = self.conn().await?;
            let moved = watches::set_enabled(&mut conn, &found, verb == "resume").await?;
            drop(conn);
            self.refresh(found).await?;
            moved.len()
        };
        tracing::info!(by, verb, "A person switched {} product(s)", ids.len());
        Ok(json!({ "products": ids.len(), "changed": moved }))
    }

    /// Forgets a product with its watches and listings; the offers at their destinations stay as they are.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when there is none.
    pub async fn remove_product(&self, id: i64, by: &str) -> Result<Value, OpsError> {
        let found = self.watches_of(&[id]).await?;
        let mut conn = self.conn().await?;
        watches::remove_product(&mut conn, ProductId(id)).await?;
        drop(conn);
        self.refresh(found.clone()).await?;
        tracing::info!(product.id = id, by, "Product `{id}` was removed");
        Ok(json!({ "product_id": id, "watches": found.len() }))
    }

    /// Makes the roster see what the tables say of these watches now.
    async fn refresh(&self, watches: Vec<WatchId>) -> Result<(), OpsError> {
        let roster = &self.parts()?.roster;
        Ok(roster
            .send(Refresh { watches })
            .await
            .map_err(unsent("the roster"))??)
    }

    /// The watches of products that must all be there.
    async fn watches_of(&self, ids: &[i64]) -> Result<Vec<WatchId>, OpsError> {
        let mut conn = self.conn().await?;
        let products: Vec<ProductId> = ids.iter().copied().map(ProductId).collect();
        let pairs = watches::of_products(&mut conn, &products).await?;
        if let Some(missing) = products.iter().find(|p| pairs.iter().all(|(_, of)| of != *p)) {
            return Err(no_product(missing.0));
        }
        Ok(pairs.into_iter().map(|(watch, _)| watch).collect())
    }
}

fn no_product(id: i64) -> OpsError {
    OpsError::NotFound {
        what: "product",
        id: id.to_string(),
    }
}

fn as_watch(row: &ImportRow) -> NewWatch {
    NewWatch {
        product_id: None,
        title: row.title.clone(),
        source: row.source,
        source_url: row.source_url.clone(),
        source_product_id: row.source_product_id.clone(),
        cost_rule: row.cost_rule,
        value_at_risk_jpy_per_hour: row.value_at_risk,
    }
}
