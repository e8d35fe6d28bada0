//! Offers at the destinations: link, look at, plan, push, explain, switch.

use super::import::ImportRow;
use super::{Ops, OpsError, Page, Rows, checked_ids};
use crate::domain::{DestinationPlatform, ListingId, ProductId};
use crate::store::listings::{self, Filter, Listing};
use crate::store::watches::Added;
use crate::store::{views, wanted};
use crate::sync::dry_run::dry_run;
use crate::sync::explain::explain;
use crate::sync::link::{LinkError, LinkRequest, link};
use futures_util::FutureExt as _;
use futures_util::stream::{self, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};

/// Offers that an import reads at once; the destination's own rate limits them further.
const LINKED_AT_ONCE: usize = 8;

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

impl From<LinkError> for OpsError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::BadSku(got) => Self::invalid("sku", "1 to 50 characters", &got),
            LinkError::Store(error) => error.into(),
            other => Self::Conflict {
                message: other.to_string(),
            },
        }
    }
}

fn no_listing(id: i64) -> OpsError {
    OpsError::NotFound {
        what: "listing",
        id: id.to_string(),
    }
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
        let at = destination(&order.destination)?;
        let listing = self
            .link_one(at, ProductId(order.product_id), order.sku, order.auto_sync)
            .await?;
        tracing::info!(listing.id = %listing.id(), by, "Listing `{}` was linked", listing.id());
        self.listing(listing.id().0).await
    }

    async fn link_one(
        &self,
        destination: DestinationPlatform,
        product: ProductId,
        sku: String,
        auto_sync: bool,
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
            platform_product_id: None,
            rules: None,
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
    ) -> Result<(usize, Vec<Value>), OpsError> {
        let mut pairs = Vec::new();
        for (row, added) in rows.iter().zip(added) {
            let (Added::New { product_id, .. } | Added::Duplicate { product_id, .. }) = *added;
            if let Some(listing) = row.listing.clone() {
                pairs.push((row.line, product_id, listing));
            }
        }
        let outcomes: Vec<(u64, Result<Listing, OpsError>)> = stream::iter(pairs)
            .map(|(line, product, listing)| async move {
                let linked = self
                    .link_one(listing.destination, product, listing.sku, listing.auto_sync)
                    .await;
                (line, linked)
            })
            .buffered(LINKED_AT_ONCE)
            .collect()
            .await;
        let (mut linked, mut failed) = (0_usize, Vec::new());
        for (line, outcome) in outcomes {
            match outcome {
                Ok(_) => linked = linked.saturating_add(1),
                Err(error) => failed.push(json!({ "line": line, "why": error.to_string() })),
            }
        }
        Ok((linked, failed))
    }

    /// What would be sent now, and why, without sending it.
    ///
    /// # Errors
    /// See [`OpsError`].
    pub async fn plan(&self, page: Page, id: Option<i64>) -> Result<Rows, OpsError> {
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
        let planned = dry_run(
            &mut conn,
            &book,
            &Filter::default(),
            after,
            u32::from(window.limit),
            now,
        )
        .await?;
        let items: Vec<Value> = planned
            .into_iter()
            .filter(|p| id.is_none_or(|id| p.listing_id.0 == id))
            .map(|plan| {
                let mut row = json!(plan);
                if let Some(fields) = row.as_object_mut() {
                    fields.insert("id".to_owned(), json!(plan.listing_id));
                }
                row
            })
            .collect();
        match id {
            Some(id) if items.is_empty() => Err(no_listing(id)),
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

    /// Pushes listings before everything else that waits, when they are behind.
    ///
    /// # Errors
    /// See [`OpsError`].
    pub async fn push(&self, ids: &[i64], by: &str) -> Result<Value, OpsError> {
        checked_ids(ids)?;
        let ids: Vec<ListingId> = ids.iter().copied().map(ListingId).collect();
        let asked = ids.len();
        let queued = self
            .parts()?
            .db
            .transaction(move |conn| async move { wanted::enqueue_behind(conn, &ids).await }.boxed())
            .await?;
        self.look_now()?;
        tracing::info!(by, "A person asked for {asked} push(es)");
        Ok(json!({ "asked": asked, "behind_and_queued": queued }))
    }
}
