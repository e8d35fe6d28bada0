//! Rows that go through the steps together.

use super::decide::{Next, after_look, looked, next};
use super::{Register, registration_of, terms};
use crate::domain::{Money, Quantity};
use crate::platform::PlatformError;
use crate::platform::registrar::{ListingContent, NewListing, NotDone, Step};
use crate::queue::{ClaimedJob, JobError, Outcome};
use crate::store::registrations::{self, Registration, RegistrationState};
use crate::store::{StoreError, listings, wanted};
use crate::sync::link::{LinkError, LinkRequest, link};
use futures_util::stream::{self, StreamExt as _};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

/// Rows that are looked at, or linked, at once; the destination's own rate limits them further.
const AT_ONCE: usize = 8;
/// The wait after trouble with the database.
const REST: Duration = Duration::from_secs(2);

/// One row in hand.
struct Entry {
    row: Registration,
    token: Uuid,
    /// Whether the queue would try again after a failure.
    may_try_again: bool,
    content: Option<ListingContent>,
    /// What it is sold at now.
    terms: Option<(Quantity, Money)>,
    /// How its job ends; `None` while it goes on.
    end: Option<Outcome>,
}

impl Entry {
    fn is_at(&self, state: RegistrationState) -> bool {
        self.end.is_none() && self.row.state == state
    }

    fn listing(&self) -> Option<NewListing> {
        let (quantity, price) = self.terms?;
        Some(NewListing {
            sku: self.row.sku.as_str().into(),
            content: self.content.clone()?,
            quantity,
            price,
        })
    }

    /// A person has to act: the row says why.
    fn fail(&mut self, code: String, why: String) {
        self.end = Some(Outcome::Discard(JobError::new(code.as_str(), why.as_str())));
        self.row.state = RegistrationState::Failed;
        self.row.error = Some((code, why));
    }

    /// A step went wrong.
    fn failed(&mut self, error: &PlatformError, unknown: bool) {
        let (code, why) = (error.code.to_string(), error.message.to_string());
        let told = JobError::new(&*error.code, &*error.message);
        match next(error, unknown, self.row.tries) {
            Next::Wait(wait) => self.end = Some(Outcome::Snooze(wait)),
            Next::Again if self.may_try_again => self.end = Some(Outcome::Retry(told)),
            Next::Again | Next::Over => return self.fail(code, why),
        }
        self.row.tries = self.row.tries.saturating_add(1);
        self.row.error = Some((code, why));
    }

    /// A step went well.
    fn reached(&mut self, state: RegistrationState) {
        self.row.state = state;
        self.row.tries = 0;
        self.row.error = None;
    }
}

impl Register {
    /// One outcome for each job, in order.
    pub(super) async fn batch(&self, jobs: &[ClaimedJob]) -> Vec<Outcome> {
        let named: Vec<Result<_, Outcome>> = jobs.iter().map(registration_of).collect();
        let leases: Vec<_> = named
            .iter()
            .zip(jobs)
            .filter_map(|(id, job)| Some((*id.as_ref().ok()?, job.lease.token)))
            .collect();
        let rows = match self.take(&leases).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::debug!(error = %error, "Registrations wait for the database");
                return jobs.iter().map(|_| Outcome::Snooze(REST)).collect();
            }
        };
        let mut entries: Vec<Entry> = Vec::with_capacity(rows.len());
        for row in rows {
            let place = leases.iter().position(|(id, _)| *id == row.id);
            let job = jobs.iter().find(|j| registration_of(j).ok() == Some(row.id));
            if let (Some((_, token)), Some(job)) = (place.and_then(|at| leases.get(at)), job) {
                entries.push(Entry {
                    may_try_again: job.retry_count < job.max_retries,
                    token: *token,
                    row,
                    content: None,
                    terms: None,
                    end: None,
                });
            }
        }
        self.steps(&mut entries).await;
        let outcome = |id: Result<crate::domain::RegistrationId, Outcome>| {
            let id = match id {
                Ok(id) => id,
                Err(outcome) => return outcome,
            };
            let entry = entries.iter().find(|e| e.row.id == id);
            match entry {
                Some(entry) => entry.end.clone().unwrap_or(Outcome::Snooze(Duration::ZERO)),
                None => Outcome::Discard(JobError::new("gone", format!("registration `{id}` is gone"))),
            }
        };
        named.into_iter().map(outcome).collect()
    }

    async fn take(
        &self,
        leases: &[(crate::domain::RegistrationId, Uuid)],
    ) -> Result<Vec<Registration>, StoreError> {
        let mut conn = self.db.conn().await?;
        registrations::take(&mut conn, leases).await
    }

    async fn steps(&self, entries: &mut [Entry]) {
        for entry in entries.iter_mut() {
            begin(entry);
        }
        self.look(entries).await;
        self.price(entries).await;
        self.save(entries).await;
        self.describe(entries).await;
        self.save(entries).await;
        self.offer(entries).await;
        self.save(entries).await;
        self.publish(entries).await;
        self.save(entries).await;
        self.link(entries).await;
        self.save(entries).await;
    }

    /// Writes down where every row stands; one that another worker has by now is let go.
    async fn save(&self, entries: &mut [Entry]) {
        for entry in entries {
            let saved = async {
                let mut conn = self.db.conn().await?;
                registrations::save(&mut conn, &entry.row, entry.token).await
            };
            match saved.await {
                Ok(true) => {}
                Ok(false) => entry.end = Some(Outcome::Snooze(Duration::ZERO)),
                Err(error) => {
                    tracing::debug!(error = %error, "A registration waits for the database");
                    entry.end = Some(Outcome::Snooze(REST));
                }
            }
        }
    }

    /// What the destination has of each SKU, before anything is sent.
    async fn look(&self, entries: &mut [Entry]) {
        let on_sale = |e: &Entry| e.row.state == RegistrationState::Published;
        let asked = entries.iter_mut().filter(|e| e.end.is_none() && !on_sale(e));
        stream::iter(asked)
            .for_each_concurrent(AT_ONCE, |entry| async move {
                let offers = match self.registrar.offers(&entry.row.sku).await {
                    Ok(offers) => offers,
                    Err(error) => return entry.failed(&error, false),
                };
                let marketplace = entry.content.as_ref().map(|c| c.marketplace.as_str());
                let seen = looked(&entry.row, marketplace.unwrap_or_default(), &offers);
                if let Err((code, why)) = after_look(&mut entry.row, seen) {
                    entry.fail(code, why);
                }
            })
            .await;
    }

    /// What each is sold at now. What was sent at other terms is made anew.
    async fn price(&self, entries: &mut [Entry]) {
        let open = |e: &&mut Entry| e.end.is_none() && e.row.state != RegistrationState::Published;
        let products: Vec<_> = entries.iter_mut().filter(open).map(|e| e.row.product).collect();
        if products.is_empty() {
            return;
        }
        let watches = async {
            let mut conn = self.db.conn().await?;
            wanted::watches_of(&mut conn, &products).await
        };
        let watches = watches.await;
        let (book, now) = (self.book.load_full(), self.clock.now());
        for entry in entries.iter_mut().filter(open) {
            let watches = match &watches {
                Ok(watches) => watches,
                Err(_) => {
                    entry.end = Some(Outcome::Snooze(REST));
                    continue;
                }
            };
            let product = entry.row.product;
            let own: Vec<_> = watches
                .iter()
                .filter(|w| w.product_id == product)
                .cloned()
                .collect();
            let marketplace = entry.content.as_ref().map(|c| c.marketplace.as_str());
            let sold_in = marketplace.and_then(|m| self.registrar.adapter().currency(m));
            match terms(entry.row.destination, product, &own, &book, sold_in, now) {
                Ok(terms) => {
                    if entry.row.sent.is_some_and(|sent| sent != terms) {
                        entry.row.state = RegistrationState::Waiting;
                    }
                    entry.terms = Some(terms);
                }
                Err((code, why)) => entry.fail(code, why),
            }
        }
    }

    async fn describe(&self, entries: &mut [Entry]) {
        let mut open = at(entries, RegistrationState::Waiting);
        let new: Vec<NewListing> = open.iter().filter_map(|e| e.listing()).collect();
        let steps = self.registrar.put_items(&new).await;
        for (entry, step) in open.iter_mut().zip(steps) {
            match told(step, entry) {
                Ok(_) => {
                    entry.row.sent = entry.terms;
                    entry.reached(RegistrationState::ItemMade);
                }
                Err(not_done) => entry.failed(&not_done.error, not_done.unknown),
            }
        }
    }

    async fn offer(&self, entries: &mut [Entry]) {
        for entry in at(entries, RegistrationState::ItemMade) {
            let (Some(id), Some(new)) = (entry.row.offer_id.clone(), entry.listing()) else {
                // Before it is sent: from now on an offer of this SKU may be ours.
                entry.row.offer_sent = true;
                continue;
            };
            let step = self.registrar.replace_offer(&id, &new).await;
            match told(step, entry) {
                Ok(_) => entry.reached(RegistrationState::OfferMade),
                Err(not_done) => entry.failed(&not_done.error, not_done.unknown),
            }
        }
        self.save(entries).await;
        let mut open = at(entries, RegistrationState::ItemMade);
        let new: Vec<NewListing> = open.iter().filter_map(|e| e.listing()).collect();
        let steps = self.registrar.make_offers(&new).await;
        for (entry, step) in open.iter_mut().zip(steps) {
            match told(step, entry) {
                Ok(id) => {
                    entry.row.offer_id = Some(id.into());
                    entry.reached(RegistrationState::OfferMade);
                }
                Err(not_done) => self.not_offered(entry, &not_done).await,
            }
        }
    }

    /// An offer was refused: perhaps because an earlier one of ours came late. Then it is taken with the next look.
    async fn not_offered(&self, entry: &mut Entry, not_done: &NotDone) {
        if next(&not_done.error, not_done.unknown, 0) == Next::Over {
            let marketplace = entry.content.as_ref().map(|c| c.marketplace.clone());
            let offers = self.registrar.offers(&entry.row.sku).await.unwrap_or_default();
            if offers
                .iter()
                .any(|o| Some(&*o.marketplace) == marketplace.as_deref())
            {
                entry.end = Some(Outcome::Snooze(Duration::ZERO));
                return;
            }
        }
        entry.failed(&not_done.error, not_done.unknown);
    }

    async fn publish(&self, entries: &mut [Entry]) {
        let mut open = at(entries, RegistrationState::OfferMade);
        let ids: Vec<Box<str>> = open
            .iter()
            .map(|e| e.row.offer_id.as_deref().unwrap_or_default().into())
            .collect();
        let steps = self.registrar.publish(&ids).await;
        for (entry, step) in open.iter_mut().zip(steps) {
            match told(step, entry) {
                Ok(listing) => {
                    entry.reached(RegistrationState::Published);
                    tracing::info!(
                        product.id = %entry.row.product, platform = %entry.row.destination, listing = %listing,
                        "Product `{}` is on sale at {} for the first time",
                        entry.row.product, entry.row.destination
                    );
                }
                Err(not_done) => entry.failed(&not_done.error, not_done.unknown),
            }
        }
    }

    /// Makes listings of what is on sale, confirmed by what the destination shows.
    async fn link(&self, entries: &mut [Entry]) {
        let open = at(entries, RegistrationState::Published);
        stream::iter(open)
            .for_each_concurrent(AT_ONCE, |entry| async move {
                if entry.row.listing.is_none() {
                    self.link_one(entry).await;
                }
                if let (Some(listing), None) = (entry.row.listing, &entry.end) {
                    entry.reached(RegistrationState::Published);
                    entry.end = Some(Outcome::Done(json!({ "listing": listing })));
                }
            })
            .await;
    }

    async fn link_one(&self, entry: &mut Entry) {
        let row = &entry.row;
        let offer = row.offer_id.clone().unwrap_or_default();
        let known = async {
            let mut conn = self.db.conn().await?;
            listings::of_offer(&mut conn, row.destination, &offer).await
        };
        // A death between linking and writing it down leaves a listing behind.
        match known.await {
            Ok(Some((listing, product))) if product == row.product => {
                entry.row.listing = Some(listing);
                return;
            }
            Ok(Some((listing, product))) => {
                let why = format!("offer `{offer}` is listing `{listing}` of product `{product}` already");
                return entry.fail("offer_linked".to_owned(), why);
            }
            Ok(None) => {}
            Err(_) => return entry.end = Some(Outcome::Snooze(REST)),
        }
        let request = LinkRequest {
            product: row.product,
            destination: row.destination,
            sku: row.sku.clone(),
            platform_product_id: Some(offer),
            rules: None,
            auto_sync: row.auto_sync,
        };
        let book = self.book.load_full();
        match link(&self.db, &*self.outlet, &book, &self.clock, request).await {
            Ok(listing) => entry.row.listing = Some(listing.id()),
            Err(error @ (LinkError::BadSku(_) | LinkError::BadRules(_) | LinkError::Several { .. })) => {
                entry.fail(
                    "not_linked".to_owned(),
                    format!("it is on sale and cannot be linked: {error}"),
                );
            }
            Err(error) => {
                // On sale and not ours yet: that must not stay so for want of a try.
                let wait = Duration::from_secs(1 << entry.row.tries.clamp(0, 6));
                entry.row.tries = entry.row.tries.saturating_add(1);
                entry.row.error = Some(("not_linked".to_owned(), error.to_string()));
                entry.end = Some(Outcome::Snooze(wait));
            }
        }
    }
}

/// Those that are to take the next step from `state`.
fn at(entries: &mut [Entry], state: RegistrationState) -> Vec<&mut Entry> {
    entries.iter_mut().filter(|e| e.is_at(state)).collect()
}

/// Reads the content; a row that is done ends its job, and one that failed is begun again because a person repeated it.
fn begin(entry: &mut Entry) {
    if let (RegistrationState::Published, Some(listing)) = (entry.row.state, entry.row.listing) {
        entry.end = Some(Outcome::Done(json!({ "listing": listing })));
        return;
    }
    if entry.row.state == RegistrationState::Failed {
        entry.reached(RegistrationState::Waiting);
    }
    match serde_json::from_value(entry.row.content.clone()) {
        Ok(content) => entry.content = Some(content),
        Err(error) => entry.fail(
            "content".to_owned(),
            format!("the content cannot be read: {error}"),
        ),
    }
}

/// What a step gave, its warnings logged.
fn told(step: Step, entry: &Entry) -> Result<Box<str>, NotDone> {
    let done = step?;
    for warning in &done.warnings {
        tracing::warn!(
            product.id = %entry.row.product, platform = %entry.row.destination,
            "{} says of SKU `{}`: {warning}", entry.row.destination, entry.row.sku
        );
    }
    Ok(done.id)
}
