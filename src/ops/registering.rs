//! First listings: tried, begun, looked at.

mod draft;

pub use draft::{ListingDraft, RegisterOrder};

use super::queue::repeated;
use super::{InputProblem, Ops, OpsError, Page, Selling, word_problem};
use crate::domain::{DestinationPlatform, Money, ProductId, Quantity, RegistrationId};
use crate::platform::gateway::RegistrarGateway;
use crate::platform::registrar::ListingContent;
use crate::store::jobs::{self, Lane, NewJob};
use crate::store::registrations::{self, NewRegistration, RegistrationState};
use crate::store::views::Thing;
use crate::store::wanted;
use crate::sync::register::terms;
use draft::key_problems;
use futures_util::FutureExt as _;
use serde::Deserialize;
use serde_json::{Value, json};

/// The most listings of one order.
const MOST: usize = 1_000;
/// More problems than this help nobody.
const MAX_PROBLEMS: usize = 100;
/// The most conflicts that one message names.
const NAMED: usize = 10;

/// Which registrations.
#[derive(Clone, Debug, Default)]
pub struct RegistrationFilter {
    /// Only this destination.
    pub destination: Option<String>,
    /// `waiting`, `item_made`, `offer_made`, `published`, `failed`.
    pub state: Option<String>,
}

/// Which of the first listings that stopped are to go on.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryOrder {
    /// Only those of this destination.
    pub destination: Option<String>,
}

/// A question for a category.
#[derive(Clone, Debug, Deserialize)]
pub struct CategoryQuestion {
    /// Where.
    pub destination: String,
    /// On which of its marketplaces.
    pub marketplace: String,
    /// What is to be sold, in words.
    pub words: String,
}

/// One listing that could be begun, and at what.
struct Ready {
    product: ProductId,
    sku: String,
    content: ListingContent,
    terms: Result<(Quantity, Money), (String, String)>,
}

impl Ready {
    fn view(&self) -> Value {
        let title = &self.content.title;
        match &self.terms {
            Ok((quantity, price)) => json!({
                "product_id": self.product, "sku": self.sku, "title": title, "quantity": quantity,
                "price": price.amount().normalize().to_string(), "currency": price.currency().code(), "why": null,
            }),
            Err((_, why)) => json!({
                "product_id": self.product, "sku": self.sku, "title": title, "quantity": null, "price": null,
                "currency": null, "why": why,
            }),
        }
    }
}

impl RegistrationFilter {
    /// What of it would not be understood.
    #[must_use]
    pub fn problems(&self) -> Vec<InputProblem> {
        let names: Vec<&str> = DestinationPlatform::ALL.iter().map(|d| d.as_str()).collect();
        let states: Vec<&str> = RegistrationState::ALL.iter().map(|s| s.as_str()).collect();
        let destination = word_problem("destination", self.destination.as_deref(), &names);
        let state = word_problem("state", self.state.as_deref(), &states);
        destination.into_iter().chain(state).collect()
    }
}

/// The way to a destination's first listings.
fn registrar(selling: &Selling, at: DestinationPlatform) -> Result<RegistrarGateway, OpsError> {
    let way = selling.registrar.clone();
    way.ok_or_else(|| {
        let expected = "ebay: products are listed for the first time there; elsewhere on the shop's own pages, and linked here";
        OpsError::invalid("destination", expected, at.as_str())
    })
}

impl Ops {
    /// What listing these for the first time would send, and at what price. Sends nothing.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub async fn try_register(&self, order: RegisterOrder) -> Result<Value, OpsError> {
        let (_, ready) = self.ready_to_register(&order).await?;
        let items: Vec<Value> = ready.iter().map(Ready::view).collect();
        Ok(json!({ "dry_run": true, "items": items }))
    }

    /// Lists products for the first time: durable work that begins at once. Those that cannot be bought now, or have no
    /// price, are left out and told.
    ///
    /// # Errors
    /// [`OpsError::Invalid`] with everything that is missing, per product; [`OpsError::Conflict`] when one of them is at the
    /// destination already or on its way. Nothing was begun then.
    pub async fn register(&self, order: RegisterOrder, by: &str) -> Result<Value, OpsError> {
        let (at, ready) = self.ready_to_register(&order).await?;
        let left: Vec<Value> = ready
            .iter()
            .filter(|r| r.terms.is_err())
            .map(Ready::view)
            .collect();
        let mut new = Vec::with_capacity(ready.len());
        for one in ready.into_iter().filter(|r| r.terms.is_ok()) {
            new.push(NewRegistration {
                product: one.product,
                sku: one.sku,
                content: json!(one.content),
                auto_sync: order.auto_sync,
            });
        }
        let (begun, asker) = (new.len(), by.to_owned());
        let ids = self
            .parts()?
            .db
            .transaction(move |conn| {
                async move {
                    let ids = registrations::begin(conn, at, &new, &asker).await?;
                    let lane = Lane::registration(at);
                    let jobs = new.iter().zip(&ids);
                    let jobs: Vec<NewJob> = jobs
                        .map(|(one, id)| NewJob::register(lane, one.product, *id))
                        .collect();
                    jobs::enqueue(conn, &jobs).await?;
                    Ok(ids)
                }
                .boxed()
            })
            .await?;
        tracing::info!(by, platform = %at, "{begun} products are to be listed for the first time");
        Ok(json!({ "begun": ids, "not_begun": left }))
    }

    /// Goes on with first listings whose job was given up or discarded, from where each of them stands. Those that failed
    /// for a reason are not among them: their order is mended and given again.
    ///
    /// # Errors
    /// [`OpsError::Invalid`] for a destination that there is not or that is not enabled; else see [`OpsError`].
    pub async fn retry_registrations(&self, order: RetryOrder, by: &str) -> Result<Value, OpsError> {
        let filter = RegistrationFilter {
            destination: order.destination,
            state: None,
        };
        OpsError::unless_none(filter.problems())?;
        // Nobody takes the jobs of a destination that is not enabled.
        let places = match filter.destination.as_deref().map(place) {
            Some(at) => {
                let at = at.map_err(|problem| OpsError::all(vec![problem]))?;
                self.selling(at)?;
                vec![at]
            }
            None => self.parts()?.destinations.keys().copied().collect(),
        };
        let mut ids = Vec::new();
        for at in places {
            // What goes on is stopped no more: the next thousand are others.
            loop {
                let some = self.retry_some(at).await?;
                ids.extend_from_slice(&some);
                if some.len() < MOST {
                    break;
                }
            }
        }
        self.look_now()?;
        tracing::info!(by, "A person lets {} first listings go on", ids.len());
        Ok(json!({ "retried": ids }))
    }

    async fn retry_some(&self, at: DestinationPlatform) -> Result<Vec<RegistrationId>, OpsError> {
        let most = i64::try_from(MOST).unwrap_or(i64::MAX);
        let stopped = registrations::stopped(&mut *self.conn().await?, Some(at.as_str()), most).await?;
        let letters: Vec<_> = stopped.iter().filter_map(|s| s.letter).collect();
        repeated(&self.parts()?.db, &letters).await?;
        // One whose letter was repeated has its job by now, and this adds no second one.
        let jobs: Vec<NewJob> = stopped
            .iter()
            .map(|s| NewJob::register(Lane::registration(at), s.product, s.id))
            .collect();
        jobs::enqueue(&mut *self.conn().await?, &jobs).await?;
        Ok(stopped.iter().map(|s| s.id).collect())
    }

    /// A page of registrations, and how many stand where.
    ///
    /// # Errors
    /// See [`OpsError`].
    pub async fn registrations(&self, page: Page, filter: RegistrationFilter) -> Result<Value, OpsError> {
        OpsError::unless_none(filter.problems())?;
        let mut conn = self.conn().await?;
        let (at, state) = (filter.destination.as_deref(), filter.state.as_deref());
        let counts = registrations::counts(&mut conn, at).await?;
        let rows = page.rows(registrations::list(&mut conn, page.window(), at, state).await?);
        Ok(json!({ "items": rows.items, "next": rows.next, "counts": counts }))
    }

    /// Categories that a destination suggests for these words.
    ///
    /// # Errors
    /// [`OpsError::Platform`] when it could not be asked.
    pub async fn suggest_category(&self, question: CategoryQuestion) -> Result<Value, OpsError> {
        let at = place(&question.destination).map_err(|problem| OpsError::all(vec![problem]))?;
        let registrar = registrar(self.selling(at)?, at)?;
        let found = registrar.suggest(&question.marketplace, &question.words).await;
        let found = found.map_err(|error| OpsError::Platform {
            message: error.message.to_string(),
        })?;
        Ok(json!({ "items": found, "next": null }))
    }

    /// What is left of a destination's requests, as it counts them itself; where it tells nobody, as we do.
    ///
    /// # Errors
    /// [`OpsError::Platform`] when it could not be asked.
    pub async fn quotas(&self, destination: &str) -> Result<Value, OpsError> {
        let at = place(destination).map_err(|problem| OpsError::all(vec![problem]))?;
        let selling = self.selling(at)?;
        let Some(registrar) = selling.registrar.clone() else {
            let own = selling.outlet.own_quotas(self.parts()?.holds.clock.now());
            if own.is_empty() {
                let expected = "ebay, which tells them, or mercari, whose points are counted here";
                return Err(OpsError::invalid("destination", expected, at.as_str()));
            }
            return Ok(json!({ "items": own, "next": null }));
        };
        let quotas = registrar.quotas().await.map_err(|error| OpsError::Platform {
            message: error.message.to_string(),
        })?;
        Ok(json!({ "items": quotas, "next": null }))
    }

    fn selling(&self, at: DestinationPlatform) -> Result<&Selling, OpsError> {
        self.is_enabled(at, "destination")
            .map_err(|problem| OpsError::all(vec![problem]))?;
        let selling = self.parts()?.destinations.get(&at);
        selling.ok_or_else(|| OpsError::invalid("destination", "a destination that is enabled", at.as_str()))
    }

    /// Checks an order whole, and works out what each would be sold at.
    async fn ready_to_register(
        &self,
        order: &RegisterOrder,
    ) -> Result<(DestinationPlatform, Vec<Ready>), OpsError> {
        let at = place(&order.destination).map_err(|problem| OpsError::all(vec![problem]))?;
        let registrar = registrar(self.selling(at)?, at)?;
        let count = order.listings.len();
        if !(1..=MOST).contains(&count) {
            return Err(OpsError::invalid(
                "listings",
                format!("1 to {MOST} listings"),
                &count.to_string(),
            ));
        }
        let mut problems = key_problems(&order.listings);
        let mut contents = Vec::with_capacity(count);
        for draft in &order.listings {
            match draft.content(&order.defaults) {
                Ok(content) => {
                    let found = registrar.adapter().problems(&content);
                    let told = found.into_iter();
                    problems
                        .extend(told.map(|p| InputProblem::new(draft.place(&p.field), p.expected, &p.got)));
                    contents.push((draft, content));
                }
                Err(found) => problems.extend(found),
            }
        }
        problems.truncate(MAX_PROBLEMS);
        OpsError::unless_none(problems)?;
        let products: Vec<i64> = order.listings.iter().map(|d| d.product).collect();
        self.all_there(Thing::Product, &products).await?;
        self.none_there(at, order, &products).await?;
        let ids: Vec<ProductId> = products.into_iter().map(ProductId).collect();
        let watches = wanted::watches_of(&mut *self.conn().await?, &ids).await?;
        let parts = self.parts()?;
        let (book, now) = (parts.book.load_full(), parts.holds.clock.now());
        let ready = contents.into_iter().map(|(draft, content)| {
            let product = ProductId(draft.product);
            let own: Vec<_> = watches
                .iter()
                .filter(|w| w.product_id == product)
                .cloned()
                .collect();
            let sold_in = registrar.adapter().currency(&content.marketplace);
            Ready {
                product,
                sku: draft.sku.clone(),
                terms: terms(at, product, &own, &book, sold_in, now),
                content,
            }
        });
        Ok((at, ready.collect()))
    }

    /// Nothing of an order is at the destination already.
    async fn none_there(
        &self,
        at: DestinationPlatform,
        order: &RegisterOrder,
        products: &[i64],
    ) -> Result<(), OpsError> {
        let skus: Vec<String> = order.listings.iter().map(|d| d.sku.clone()).collect();
        let there = registrations::named(&mut *self.conn().await?, at, products, &skus).await?;
        if there.is_empty() {
            return Ok(());
        }
        let words = there.iter().take(NAMED).map(|named| {
            format!(
                "product `{}` with SKU `{}` ({})",
                named.product, named.sku, named.standing
            )
        });
        Err(OpsError::Conflict {
            message: format!(
                "{at} has {} of them already, or they are on their way: {}",
                there.len(),
                words.collect::<Vec<_>>().join(", ")
            ),
            hint: Some(
                "take them out of the order; `zaikoban listings create --status` shows how far each is"
                    .to_owned(),
            ),
        })
    }
}

fn place(text: &str) -> Result<DestinationPlatform, InputProblem> {
    text.parse().map_err(|error: crate::domain::UnknownName| {
        InputProblem::new("destination", format!("one of {}", error.expected), text)
    })
}
