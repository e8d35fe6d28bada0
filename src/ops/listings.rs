//! Offers at the destinations: link, look at, plan, push, explain, switch.

use super::import::ImportRow;
use super::{InputProblem, Ops, OpsError, Page, Rows, checked_ids};
use crate::domain::{DestinationPlatform, ListingId, ProductId};
use crate::store::watches::Added;
use crate::store::{listings, views, wanted};
use serde::Deserialize;
use serde_json::{Value, json};

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
    /// Whether it is kept in line at once.
    #[serde(default)]
    pub auto_sync: bool,
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

fn destination(text: &str) -> Result<DestinationPlatform, OpsError> {
    text.parse()
        .map_err(|error: crate::domain::UnknownName| OpsError::invalid("destination", error.expected, text))
}

fn no_listing(id: i64) -> OpsError {
    OpsError::NotFound { what: "listing", id: id.to_string() }
}

impl Ops {
    /// A page of listings.
    ///
    /// # Errors
    /// See [`OpsError`].
    pub async fn listings(&self, page: Page, filter: ListingFilter) -> Result<Rows, OpsError> {
        if let Some(state) = &filter.state {
            let known = ["behind", "held", "paused", "active", "ended"];
            if !known.contains(&state.as_str()) {
                return Err(OpsError::invalid("state", known.join(", "), state));
            }
        }
        let at = filter.destination.as_deref().map(destination).transpose()?;
        let mut conn = self.conn().await?;
        let at = at.map(DestinationPlatform::as_str);
        Ok(page.rows(views::listings(&mut conn, page.window(), at, filter.state.as_deref()).await?))
    }

    /// One listing with its latest pushes.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when there is none.
    pub async fn listing(&self, id: i64) -> Result<Value, OpsError> {
        let mut conn = self.conn().await?;
        views::listing(&mut conn, id).await?.ok_or_else(|| no_listing(id))
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
        let ids = match &order.destination {
            Some(name) => self.all_of(destination(name)?).await?,
            None => {
                checked_ids(&order.ids)?;
                order.ids.iter().copied().map(ListingId).collect()
            }
        };
        let mut conn = self.conn().await?;
        for id in &ids {
            if verb == "pause" {
                listings::pause(&mut conn, *id).await?;
            } else {
                listings::resume(&mut conn, *id).await?;
            }
        }
        drop(conn);
        self.look_now()?;
        tracing::info!(by, verb, "A person switched {} listing(s)", ids.len());
        Ok(json!({ "listings": ids.len(), "done": verb }))
    }

    async fn all_of(&self, destination: DestinationPlatform) -> Result<Vec<ListingId>, OpsError> {
        let mut conn = self.conn().await?;
        Ok(listings::ids_of(&mut conn, destination).await?)
    }

    /// Pushes listings before everything else that waits, when they are behind.
    ///
    /// # Errors
    /// See [`OpsError`].
    pub async fn push(&self, ids: &[i64], by: &str) -> Result<Value, OpsError> {
        checked_ids(ids)?;
        let ids: Vec<ListingId> = ids.iter().copied().map(ListingId).collect();
        let mut conn = self.conn().await?;
        let enqueued = wanted::enqueue_behind(&mut conn, &ids).await?;
        drop(conn);
        self.look_now()?;
        tracing::info!(by, "A person asked for {} push(es)", ids.len());
        Ok(json!({ "asked": ids.len(), "behind_and_queued": enqueued }))
    }
}
