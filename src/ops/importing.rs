//! Importing a list: one at a time, with word of how far it is, or only tried.

use super::import::{self, ImportRow};
use super::{InputProblem, Ops, OpsError};
use crate::domain::WatchId;
use crate::pricing::PriceBook;
use crate::store::watches::{self, Added, NewWatch};
use bytes::Bytes;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use tracing::Instrument as _;

/// Rows that one statement of an import inserts.
const CHUNK: usize = 2_000;
/// How long the database and the roster are waited for once the rows are there.
const PATIENCE: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_secs(1);

/// The import that runs, if one does.
#[derive(Default)]
pub(super) struct Desk(Mutex<Option<Arc<Progress>>>);

/// How far an import is.
pub(super) struct Progress {
    by: String,
    began: Instant,
    rows: AtomicUsize,
    registered: AtomicUsize,
    offers: AtomicUsize,
    read: AtomicUsize,
}

impl Progress {
    /// One more offer was read at its destination, well or not.
    pub(super) fn offer_read(&self) {
        self.read.fetch_add(1, Ordering::Relaxed);
    }

    fn view(&self) -> Value {
        let of = |n: &AtomicUsize| n.load(Ordering::Relaxed);
        json!({
            "running": true,
            "by": self.by,
            "seconds": self.began.elapsed().as_secs(),
            "rows": of(&self.rows),
            "registered": of(&self.registered),
            "offers": of(&self.offers),
            "offers_read": of(&self.read),
        })
    }
}

/// A place at the desk; leaving it lets the next one come.
struct Seat<'a> {
    desk: &'a Desk,
    progress: Arc<Progress>,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        *self.desk.0.lock() = None;
    }
}

impl Desk {
    fn sit(&self, by: &str) -> Result<Seat<'_>, OpsError> {
        let mut running = self.0.lock();
        if let Some(other) = &*running {
            let seconds = other.began.elapsed().as_secs();
            return Err(OpsError::Conflict {
                message: format!("an import by {} runs, since {seconds} s ago", other.by),
                hint: Some(
                    "wait until it has ended: two at once would each see half of the other".to_owned(),
                ),
            });
        }
        let progress = Arc::new(Progress {
            by: by.to_owned(),
            began: Instant::now(),
            rows: AtomicUsize::new(0),
            registered: AtomicUsize::new(0),
            offers: AtomicUsize::new(0),
            read: AtomicUsize::new(0),
        });
        *running = Some(Arc::clone(&progress));
        Ok(Seat { desk: self, progress })
    }
}

impl Ops {
    /// How far the import is that runs now; `running` is false when none does.
    #[must_use]
    pub fn import_progress(&self) -> Value {
        let running = self.0.desk.0.lock();
        let view = running.as_ref().map(|progress| progress.view());
        view.unwrap_or_else(|| json!({ "running": false }))
    }

    /// Registers a list; nothing is changed when a line has a problem. Items that are watched already are counted and
    /// left alone; listings to link are read one by one, and those that fail are told at the end.
    ///
    /// # Errors
    /// [`OpsError::Invalid`] with every problem by line and column; [`OpsError::Conflict`] while another import runs.
    pub async fn import(&self, body: Bytes, by: &str) -> Result<Value, OpsError> {
        let execution = uuid::Uuid::now_v7().to_string();
        let span = tracing::info_span!("import", %execution);
        let run = async {
            tracing::info!(by, bytes = body.len(), "An import begins");
            let done = self.import_run(body, by).await;
            if let Err(error) = &done {
                tracing::info!(by, error = %error, "The import was not carried out");
            }
            done
        };
        let mut answer = run.instrument(span).await?;
        if let Some(fields) = answer.as_object_mut() {
            fields.insert("execution".to_owned(), json!(execution));
        }
        Ok(answer)
    }

    async fn import_run(&self, body: Bytes, by: &str) -> Result<Value, OpsError> {
        let seat = self.0.desk.sit(by)?;
        let progress = &seat.progress;
        let rows = self.understood(body).await?;
        progress.rows.store(rows.len(), Ordering::Relaxed);
        let offers = rows.iter().filter(|row| row.listing.is_some()).count();
        progress.offers.store(offers, Ordering::Relaxed);
        let new = rows.iter().map(as_watch).collect();
        let added = self.insert(new, Some(Arc::clone(progress))).await?;
        let fresh: Vec<WatchId> = added
            .iter()
            .filter_map(|a| match a {
                Added::New { watch_id, .. } => Some(*watch_id),
                Added::Duplicate { .. } => None,
            })
            .collect();
        // Watched at once: reading the listings takes as long as the destination's rate says, an hour for many.
        let unwatched = self.watch_all(&fresh).await.err();
        let links = self.link_all(&rows, &added, progress).await;
        // Whoever asked may have gone away meanwhile.
        tracing::info!(
            by,
            products = fresh.len(),
            linked = links.0,
            not_linked = links.1.len(),
            "A list of {} products was imported",
            rows.len()
        );
        for left in links.1.iter().take(import::MAX_PROBLEMS) {
            tracing::warn!("An offer of the list was not linked: {left}");
        }
        let mut answer = json!({
            "rows": rows.len(),
            "added": fresh.len(),
            "watched_already": added.len().saturating_sub(fresh.len()),
            "linked": links.0,
            "not_linked": links.1,
        });
        if let (Some(error), Some(fields)) = (unwatched, answer.as_object_mut()) {
            tracing::error!(error = %error, "Imported products are not watched yet");
            fields.insert("not_watched_yet".to_owned(), json!(error.cause()));
        }
        Ok(answer)
    }

    /// What importing this list would do, as far as that can be told without asking a destination. Changes nothing.
    ///
    /// # Errors
    /// As [`import`](Self::import), which may run meanwhile.
    pub async fn try_import(&self, body: Bytes) -> Result<Value, OpsError> {
        let rows = self.understood(body).await?;
        let watches: Vec<NewWatch> = rows.iter().map(as_watch).collect();
        let mut conn = self.conn().await?;
        let mut known = 0_usize;
        for chunk in watches.chunks(CHUNK) {
            known = known.saturating_add(watches::known(&mut conn, chunk).await?);
        }
        Ok(json!({
            "dry_run": true,
            "rows": rows.len(),
            "added": rows.len().saturating_sub(known),
            "watched_already": known,
            "offers": rows.iter().filter(|row| row.listing.is_some()).count(),
        }))
    }

    /// Makes the roster see what was added, which stands in the tables already: whoever is away is waited for a while.
    async fn watch_all(&self, fresh: &[WatchId]) -> Result<(), OpsError> {
        let until = Instant::now() + PATIENCE;
        for chunk in fresh.chunks(CHUNK) {
            while let Err(error) = self.refresh(chunk.to_vec()).await {
                if Instant::now() >= until {
                    return Err(error);
                }
                tracing::warn!(error = %error, "Imported products are not watched yet; trying again");
                tokio::time::sleep(AGAIN).await;
            }
        }
        Ok(())
    }

    /// The lines of a list that has no problem.
    async fn understood(&self, body: Bytes) -> Result<Vec<ImportRow>, OpsError> {
        let rows = tokio::task::spawn_blocking(move || import::parse(&body)).await;
        let rows = rows.map_err(|panicked| OpsError::NotReady {
            what: "the import",
            why: panicked.to_string(),
        })?;
        let rows = rows.map_err(|bad| OpsError::Invalid {
            more: bad.count.saturating_sub(bad.shown.len()),
            problems: bad.shown,
        })?;
        OpsError::unless_none(self.disabled(&rows))?;
        let book = self.parts()?.book.load_full();
        OpsError::unless_none(misruled(&rows, &book))?;
        Ok(rows)
    }

    /// Adds watches in one transaction, telling how many were taken.
    pub(super) async fn insert(
        &self,
        new: Vec<NewWatch>,
        progress: Option<Arc<Progress>>,
    ) -> Result<Vec<Added>, OpsError> {
        let db = &self.parts()?.db;
        let added = db
            .transaction(move |conn| {
                async move {
                    let mut added = Vec::with_capacity(new.len());
                    for chunk in new.chunks(CHUNK) {
                        added.extend(watches::add(conn, chunk).await?);
                        if let Some(progress) = &progress {
                            progress.registered.store(added.len(), Ordering::Relaxed);
                        }
                    }
                    Ok(added)
                }
                .boxed()
            })
            .await?;
        Ok(added)
    }

    /// Lines whose item or offer is at a platform that does not run here.
    fn disabled(&self, rows: &[ImportRow]) -> Vec<InputProblem> {
        let of_source = |row: &ImportRow| {
            let place = format!("line {}, column source_url", row.line);
            self.is_watched_here(row.source, &place).err()
        };
        let of_destination = |row: &ImportRow| {
            let at = row.listing.as_ref()?.destination;
            let place = format!("line {}, column destination", row.line);
            self.is_enabled(at, &place).err()
        };
        rows.iter()
            .flat_map(|row| of_source(row).into_iter().chain(of_destination(row)))
            .take(import::MAX_PROBLEMS)
            .collect()
    }
}

/// Lines whose offer has rules that cannot be priced by.
fn misruled(rows: &[ImportRow], book: &PriceBook) -> Vec<InputProblem> {
    let of_row = |row: &ImportRow| {
        let offer = row.listing.as_ref()?;
        let problems = book.problems_of(offer.destination, offer.rules.as_ref()?, None);
        let place = format!("line {}, column rules", row.line);
        Some(problems.into_iter().map(move |p| {
            let expected = format!("{}: {}", p.key, p.expected);
            InputProblem::new(place.clone(), expected, &p.got)
        }))
    };
    let problems = rows.iter().filter_map(of_row).flatten();
    problems.take(import::MAX_PROBLEMS).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_import_is_refused_until_the_first_has_ended() {
        let desk = Desk::default();
        let first = desk.sit("uid 1").unwrap();
        let refused = desk.sit("uid 2").err().unwrap().to_string();
        assert!(refused.contains("by uid 1"), "{refused}");
        drop(first);
        assert!(desk.sit("uid 2").is_ok());
    }
}
