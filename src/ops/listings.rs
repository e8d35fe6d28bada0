//! Offers at the destinations: link, look at, plan, push, explain, switch.

use super::import::ImportRow;
use super::importing::Progress;
use super::own_rules::rule_problems;
use super::{InputProblem, Ops, OpsError, Page, Rows, word_problem};
use crate::domain::{DestinationPlatform, ListingId, ProductId};
use crate::store::listings::{self, Filter, Listing};
use crate::store::views::{self, Thing};
use crate::store::wanted;
use crate::store::watches::Added;
use crate::sync::dry_run::dry_run;
use crate::sync::explain::explain;
use crate::sync::link::{LinkError, LinkRequest, link};
use futures_util::FutureExt as _;
use futures_util::stream::{self, StreamExt as _};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// Offers that an import reads at once; the destination's own rate limits them further.
const LINKED_AT_ONCE: usize = 8;
/// The longest key that eBay takes, and our tables hold.
const SKU_CHARACTERS: usize = 50;

/// Which listings.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ListingFilter {
    /// Only this destination.
    pub destination: Option<String>,
    /// `behind`, `held`, `paused`, `active`, `ended`.
    pub state: Option<String>,
}

/// An offer to link to a product.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkOrder {
    /// The product that it offers.
    pub product_id: i64,
    /// Where it is offered.
    pub destination: String,
    /// The seller's own key there.
    pub sku: String,
    /// Which offer, where that key has several.
    #[serde(default)]
    pub offer: Option<String>,
    /// Whether it is kept in line at once.
    #[serde(default)]
    pub auto_sync: bool,
    /// What differs from the destination's pricing rules.
    #[serde(default)]
    pub rules: Map<String, Value>,
}

/// Listings to switch, by number or all of a destination.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListingsSwitch {
    /// Which.
    #[serde(default)]
    pub ids: Vec<i64>,
    /// Or all of this destination.
    pub destination: Option<String>,
}

const STATES: [&str; 5] = ["behind", "held", "paused", "active", "ended"];

impl ListingFilter {
    /// What of it would not be understood.
    #[must_use]
    pub fn problems(&self) -> Vec<InputProblem> {
        let destination = self
            .destination
            .as_deref()
            .and_then(|text| destination(text).err());
        let state = word_problem("state", self.state.as_deref(), &STATES);
        destination.into_iter().chain(state).collect()
    }
}

fn destination(text: &str) -> Result<DestinationPlatform, InputProblem> {
    text.parse().map_err(|error: crate::domain::UnknownName| {
        InputProblem::new("destination", format!("one of {}", error.expected), text)
    })
}

impl From<LinkError> for OpsError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::BadSku(got) => Self::invalid("sku", "1 to 50 characters", &got),
            LinkError::Store(error) => error.into(),
            LinkError::NotRead { .. } => Self::Platform {
                message: error.to_string(),
            },
            LinkError::Nothing { .. } => Self::Conflict {
                message: error.to_string(),
                hint: Some(
                    "the SKU is the seller's own key, with capitals and blanks as the destination has it"
                        .to_owned(),
                ),
            },
            LinkError::BadRules(problems) => Self::all(rule_problems(problems)),
            LinkError::Several { .. } => Self::conflict(error.to_string()),
        }
    }
}

impl Ops {
    /// A page of listings.
    ///
    /// # Errors
    /// See [`OpsError`].
    pub async fn listings(&self, page: Page, filter: ListingFilter) -> Result<Rows, OpsError> {
        OpsError::unless_none(filter.problems())?;
        let mut conn = self.conn().await?;
        let (at, state) = (filter.destination.as_deref(), filter.state.as_deref());
        Ok(page.rows(views::listings(&mut conn, page.window(), at, state).await?))
    }

    /// One listing with its latest pushes.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when there is none.
    pub async fn listing(&self, id: i64) -> Result<Value, OpsError> {
        let mut conn = self.conn().await?;
        OpsError::found(Thing::Listing, id, views::listing(&mut conn, id).await?)
    }

    /// `pause` or `resume` listings, by number or all of a destination.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when one of them is not there.
    pub async fn switch_listings(
        &self,
        verb: &str,
        order: ListingsSwitch,
        by: &str,
    ) -> Result<Value, OpsError> {
        let ids = match (&order.destination, order.ids.as_slice()) {
            (Some(name), []) => {
                let at = destination(name).map_err(|problem| OpsError::all(vec![problem]))?;
                self.all_of(at).await?
            }
            (None, ids) if !ids.is_empty() => {
                let ids = self.all_there(Thing::Listing, ids).await?;
                ids.into_iter().map(ListingId).collect()
            }
            (named, _) => {
                let got = if named.is_some() { "both" } else { "neither" };
                return Err(OpsError::invalid("ids, destination", "one of them", got));
            }
        };
        let (pausing, chosen) = (verb == "pause", ids.clone());
        let switched = self
            .parts()?
            .db
            .transaction(move |conn| {
                async move {
                    if pausing {
                        listings::pause(conn, &chosen).await
                    } else {
                        listings::resume(conn, &chosen).await
                    }
                }
                .boxed()
            })
            .await?;
        self.look_now()?;
        tracing::info!(by, verb, "A person switched {} listing(s)", ids.len());
        Ok(json!(switched))
    }

    async fn all_of(&self, destination: DestinationPlatform) -> Result<Vec<ListingId>, OpsError> {
        let mut conn = self.conn().await?;
        Ok(listings::ids_of(&mut conn, destination).await?)
    }

    /// Links an offer to a product: the destination is read first, and what it shows is what is confirmed.
    ///
    /// # Errors
    /// [`OpsError::Invalid`] for what cannot be linked, [`OpsError::Conflict`] when the destination has no such offer or
    /// it is linked already.
    pub async fn link(&self, order: LinkOrder, by: &str) -> Result<Value, OpsError> {
        let mut problems = Vec::new();
        let at =
            destination(&order.destination).and_then(|at| self.is_enabled(at, "destination").map(|()| at));
        let at = at.map_err(|problem| problems.push(problem));
        problems.extend(sku_problem(&order.sku));
        let rules = (!order.rules.is_empty()).then_some(Value::Object(order.rules));
        if let (Ok(at), Some(own)) = (at, &rules) {
            let book = self.parts()?.book.load_full();
            problems.extend(rule_problems(book.problems_of(at, own, None)));
        }
        let (Ok(at), true) = (at, problems.is_empty()) else {
            return Err(OpsError::all(problems));
        };
        self.all_there(Thing::Product, &[order.product_id]).await?;
        let listing = self
            .link_one(
                at,
                ProductId(order.product_id),
                (order.sku, order.offer),
                order.auto_sync,
                rules,
            )
            .await?;
        tracing::info!(listing.id = %listing.id(), by, "Listing `{}` was linked", listing.id());
        self.listing(listing.id().0).await
    }

    /// Whether this destination runs here; the problem is one of `place`.
    pub(super) fn is_enabled(&self, at: DestinationPlatform, place: &str) -> Result<(), InputProblem> {
        // While the daemon starts, its settings are not asked: the order fails for that.
        let Ok(parts) = self.parts() else { return Ok(()) };
        if parts.destinations.contains_key(&at) {
            return Ok(());
        }
        let problem = InputProblem::new(
            place,
            "a destination that is enabled in the settings",
            at.as_str(),
        );
        Err(problem.hint(format!("set `platforms.{at}.enabled` and start the daemon again")))
    }

    async fn link_one(
        &self,
        destination: DestinationPlatform,
        product: ProductId,
        (sku, platform_product_id): (String, Option<String>),
        auto_sync: bool,
        rules: Option<Value>,
    ) -> Result<Listing, OpsError> {
        let parts = self.parts()?;
        let selling = parts.destinations.get(&destination).ok_or_else(|| {
            let expected = "a destination that is enabled in the settings";
            OpsError::invalid("destination", expected, destination.as_str())
        })?;
        let request = LinkRequest {
            product,
            destination,
            sku,
            platform_product_id,
            rules,
            auto_sync,
        };
        let book = parts.book.load_full();
        Ok(link(&parts.db, &*selling.outlet, &book, &parts.holds.clock, request).await?)
    }

    /// Links the offers of an imported list, some at a time; how many were linked, and which were not, and why.
    pub(super) async fn link_all(
        &self,
        rows: &[ImportRow],
        added: &[Added],
        progress: &Progress,
    ) -> (usize, Vec<Value>) {
        let mut pairs = Vec::new();
        for (row, added) in rows.iter().zip(added) {
            let (Added::New { product_id, .. } | Added::Duplicate { product_id, .. }) = *added;
            if let Some(listing) = row.listing.clone() {
                pairs.push((row.line, product_id, listing));
            }
        }
        let outcomes: Vec<(u64, String, Result<Listing, OpsError>)> = stream::iter(pairs)
            .map(|(line, product, listing)| async move {
                let linked = self
                    .link_one(
                        listing.destination,
                        product,
                        (listing.sku.clone(), None),
                        listing.auto_sync,
                        listing.rules.clone(),
                    )
                    .await;
                progress.offer_read();
                (line, listing.sku, linked)
            })
            .buffered(LINKED_AT_ONCE)
            .collect()
            .await;
        let (mut linked, mut failed) = (0_usize, Vec::new());
        for (line, sku, outcome) in outcomes {
            match outcome {
                Ok(_) => linked = linked.saturating_add(1),
                Err(error) => failed.push(json!({ "line": line, "sku": sku, "why": error.to_string() })),
            }
        }
        (linked, failed)
    }

    /// What would be sent now, and why, without sending it; with `preview` also what the destinations would say to it.
    ///
    /// # Errors
    /// See [`OpsError`].
    pub async fn plan(&self, page: Page, id: Option<i64>, preview: bool) -> Result<Rows, OpsError> {
        let parts = self.parts()?;
        let (book, now) = (parts.book.load_full(), parts.holds.clock.now());
        let window = match id {
            Some(id) => Page {
                limit: 1,
                after: id.saturating_sub(1),
            },
            None => page,
        };
        let mut conn = self.conn().await?;
        let after = Some(ListingId(window.after));
        let mut planned = dry_run(
            &mut conn,
            &book,
            &Filter::default(),
            after,
            u32::from(window.limit),
            now,
        )
        .await?;
        // A destination is not asked while a connection is held.
        drop(conn);
        planned.retain(|p| id.is_none_or(|id| p.listing_id.0 == id));
        let mut previews = if preview {
            self.preview(&planned).await?
        } else {
            HashMap::new()
        };
        let items: Vec<Value> = planned
            .into_iter()
            .map(|plan| {
                let mut row = json!(plan);
                if let Some(fields) = row.as_object_mut() {
                    fields.insert("id".to_owned(), json!(plan.listing_id));
                    if let Some(preview) = previews.remove(&plan.listing_id) {
                        fields.insert("preview".to_owned(), json!(preview));
                    }
                }
                row
            })
            .collect();
        match id {
            Some(id) if items.is_empty() => Err(OpsError::missing(Thing::Listing, &[id])),
            Some(_) => Ok(Rows { items, next: None }),
            None => Ok(page.rows(items)),
        }
    }

    /// Why a listing has its quantity and price.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when there is none.
    pub async fn explain(&self, id: i64) -> Result<Value, OpsError> {
        let mut conn = self.conn().await?;
        Ok(json!(explain(&mut conn, ListingId(id)).await?))
    }

    /// Puts listings into the queue that are behind and kept in line.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when one of them is not there.
    pub async fn push(&self, ids: &[i64], by: &str) -> Result<Value, OpsError> {
        let ids = self.all_there(Thing::Listing, ids).await?;
        let ids: Vec<ListingId> = ids.into_iter().map(ListingId).collect();
        let asked = ids.len();
        let queued = self
            .parts()?
            .db
            .transaction(move |conn| async move { wanted::enqueue_behind(conn, &ids).await }.boxed())
            .await?;
        self.look_now()?;
        tracing::info!(by, "A person asked for {asked} push(es)");
        Ok(json!({ "asked": asked, "queued": queued }))
    }
}

/// What is wrong with a key of an offer.
pub(super) fn sku_problem(sku: &str) -> Option<InputProblem> {
    let characters = sku.chars().count();
    let good = (1..=SKU_CHARACTERS).contains(&characters) && !sku.chars().any(char::is_control);
    (!good).then(|| InputProblem::new("sku", "1 to 50 characters", &sku.escape_debug().to_string()))
}
