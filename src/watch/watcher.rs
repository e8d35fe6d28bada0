//! The watcher: the actor of one product at one source.
//!
//! It holds what counts for its watch (`known`, seeded from the tables) and whether a record of it is under way
//! (`pending`). It has no timer, no network and no database: it is given what was seen, judges it, sends the ledger what
//! is to be recorded, and moves on only when the ledger says that it is committed. Whatever else comes back, what counted
//! goes on counting.
//!
//! # Restarts
//! The first life is seeded by the roster. A later one starts empty and says [`Looked::Unseeded`], whereupon the patrol
//! has it seeded from the row in the tables. It is never seeded from the page at hand: the difference between
//! that page and what was accepted is the very change that a panic would then swallow. Its memory is forgotten in the
//! same way when an answer of the ledger never came, because what counts is then not known. A decision about its hold is
//! made behind its back: the roster seeds it anew then.

use super::counters::{Counters, add};
use super::judge::{Accepted, Background, HoldStep, Judgement, Rules, Seen, Step, judge};
use super::ledger::{Ledger, News, Record, Recorded};
use crate::domain::{
    CostRule, Epoch, HoldStatus, KnownHold, Observation, ProductId, SellerMark, SourcePlatform, WatchId,
};
use crate::platform;
use crate::store::watches::WatchRow;
use crate::supervision::{Handle, SendError};
use actix::prelude::*;
use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use std::sync::Arc;

/// What all watchers of a source share.
pub struct WatcherEnv {
    /// How observations are judged; swapped when the settings change.
    pub rules: Arc<ArcSwap<Rules>>,
    /// Who records.
    pub ledger: Handle<Ledger>,
    /// The source's numbers.
    pub counters: Arc<Counters>,
}

/// The actor. See the module.
pub struct Watcher {
    watch_id: WatchId,
    env: Arc<WatcherEnv>,
    known: Option<Box<Known>>,
    pending: bool,
    /// Somebody wrote its row while a record was under way: what the record's answer says of it may be half of it.
    overtaken: bool,
}

/// What a watcher knows of its watch.
#[derive(Clone, Debug)]
pub struct Known {
    product_id: ProductId,
    source: SourcePlatform,
    cost_rule: CostRule,
    accepted: Accepted,
}

/// Something that was seen, to be judged and recorded.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Looked")]
pub struct See {
    /// What.
    pub sight: Sight,
    /// The change rate's Gamma shape and rate in hours, to be kept with the check.
    pub rate: (f32, f32),
    /// The epoch under which it was asked for.
    pub epoch: Epoch,
    /// The past, where an earlier try said that it is needed.
    pub background: Option<Arc<Background>>,
}

/// What was seen. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Sight {
    /// A page that was understood; its `fetched_at` is in whole microseconds.
    Page(Arc<Observation>),
    /// The server says that there is no such page.
    Gone {
        /// When.
        at: DateTime<Utc>,
    },
    /// The server leads to another item.
    Moved {
        /// When.
        at: DateTime<Utc>,
        /// Its words, with where it leads.
        how: Arc<str>,
    },
}

/// What came of a [`See`].
#[derive(Clone, Debug, PartialEq)]
pub enum Looked {
    /// Nothing is known yet: seed it and come again.
    Unseeded,
    /// It cannot be judged without the past: load it and come again.
    NeedsBackground,
    /// A check of this watch is under way.
    Pending,
    /// It is not newer than what counts.
    Older,
    /// It means nothing yet.
    Unclear {
        /// Read again then.
        reread_at: DateTime<Utc>,
    },
    /// It is recorded.
    Recorded(Done),
    /// The version had moved meanwhile. What stands now is known; come again with the same page.
    Stale,
    /// The watch is not there any more.
    Missing,
    /// It is another node's to watch, or was in between.
    Lost,
    /// The database refuses what was read.
    Rejected,
    /// The ledger did not answer, or could not take it: nothing is known of what became of it.
    NotRecorded,
}

/// A check that is recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Done {
    /// When the page's last byte was read: from then on what counts may be out of date.
    pub fetched_at: DateTime<Utc>,
    /// Whether the change rate should learn of a change.
    pub material: bool,
    /// The appointment that lies ahead.
    pub ends_at: Option<DateTime<Utc>>,
    /// To be read again then, to confirm.
    pub recheck_at: Option<DateTime<Utc>>,
    /// What counts now, when it changed: for the adapter.
    pub accepted: Option<platform::Accepted>,
}

/// What counts, from the tables.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Seed(pub Box<WatchRow>);

impl From<&WatchRow> for Known {
    fn from(row: &WatchRow) -> Self {
        Self {
            product_id: row.product_id,
            source: row.source,
            cost_rule: row.cost_rule,
            accepted: Accepted {
                version: row.version,
                state: row.state,
                title_hash: row.title_hash,
                seller: row.seller_id.as_deref().map(SellerMark::of),
                ends_at: row.ends_at,
                gone_since: row.gone_since,
                moved_since: None,
                fetched_at: row.last_verified_at,
                hold: row.hold.filter(still_speaks).map(Box::new),
            },
        }
    }
}

/// An open hold, or one whose proposal was turned down.
fn still_speaks(hold: &KnownHold) -> bool {
    matches!(
        hold.status,
        HoldStatus::Open | HoldStatus::Rejected | HoldStatus::Edited
    )
}

// === impl Watcher ===

impl Watcher {
    /// A watcher, seeded when `known` is there.
    #[must_use]
    pub fn new(watch_id: WatchId, env: Arc<WatcherEnv>, known: Option<Box<Known>>) -> Self {
        Self {
            watch_id,
            env,
            known,
            pending: false,
            overtaken: false,
        }
    }

    /// The record of `step`, and what will count once it is committed.
    fn record(&self, known: &Known, see: &See, at: DateTime<Utc>, step: Step) -> (Record, Next) {
        let accepted = &known.accepted;
        let page = match &see.sight {
            Sight::Page(page) => Some(page),
            Sight::Gone { .. } | Sight::Moved { .. } => None,
        };
        let adopted = page.filter(|_| step.adopt_title);
        let title = adopted.filter(|p| accepted.title_hash != Some(p.title_hash));
        let seller = adopted
            .and_then(|p| p.seller_id.as_deref())
            .filter(|id| accepted.seller != Some(SellerMark::of(id)));
        let mut next = Next {
            known: known.clone(),
            done: Done {
                fetched_at: at,
                material: step.is_material(),
                ends_at: step.ends_at.filter(|_| step.is_open),
                recheck_at: step.recheck_at,
                accepted: None,
            },
            clears_hold: !matches!(step.hold, HoldStep::Keep),
        };
        let to_be = &mut next.known.accepted;
        to_be.state = step.change.map(|c| c.after).or(accepted.state);
        to_be.title_hash = title.map(|p| p.title_hash).or(accepted.title_hash);
        to_be.seller = seller.map(SellerMark::of).or(accepted.seller);
        to_be.ends_at = step.ends_at;
        to_be.gone_since = step.gone_since;
        to_be.moved_since = moved_since(accepted, &see.sight);
        to_be.fetched_at = Some(at);
        let is_news = step.change.is_some()
            || step.hold != HoldStep::Keep
            || step.notice.is_some()
            || step.ends_at != accepted.ends_at
            || step.gone_since != accepted.gone_since
            || title.is_some()
            || seller.is_some();
        let news = is_news.then(|| {
            let title = title.map(|p| (p.title.clone(), p.title_hash));
            Box::new(News::of(step, accepted.state, title, seller.map(Into::into)))
        });
        let record = Record {
            watch_id: self.watch_id,
            product_id: known.product_id,
            source: known.source,
            epoch: see.epoch,
            base_version: accepted.version,
            fetched_at: at,
            rate_shape: see.rate.0,
            rate_hours: see.rate.1,
            news,
        };
        (record, next)
    }

    /// Takes the ledger's answer.
    fn settled(&mut self, answer: Result<Recorded, SendError>, next: Next) -> Looked {
        self.pending = false;
        let looked = self.taken(answer, next);
        if std::mem::take(&mut self.overtaken) {
            self.known = None;
        }
        looked
    }

    fn taken(&mut self, answer: Result<Recorded, SendError>, mut next: Next) -> Looked {
        match answer {
            Ok(Recorded::Committed { version, opened, .. }) => {
                let accepted = &mut next.known.accepted;
                accepted.version = version;
                if next.clears_hold {
                    accepted.hold = opened.map(Box::new);
                }
                self.moves_to(next)
            }
            Ok(Recorded::MassHeld {
                version,
                hold,
                change,
            }) => {
                let before = self.known.as_ref().and_then(|k| k.accepted.state);
                let accepted = &mut next.known.accepted;
                accepted.version = version;
                accepted.state = change.map(|c| c.after).or(before);
                accepted.hold = Some(Box::new(hold));
                self.moves_to(next)
            }
            Ok(Recorded::Stale(row)) => {
                self.known = Some(Box::new(Known::from(&*row)));
                Looked::Stale
            }
            Ok(Recorded::Missing) => {
                self.known = None;
                Looked::Missing
            }
            Ok(Recorded::Lost) => Looked::Lost,
            Ok(Recorded::Rejected { .. }) => Looked::Rejected,
            // Refused before it was taken: what counts is as it was.
            Err(SendError::Busy | SendError::Down) => Looked::NotRecorded,
            Err(SendError::Crashed | SendError::TimedOut) => {
                self.known = None;
                Looked::NotRecorded
            }
        }
    }

    fn moves_to(&mut self, next: Next) -> Looked {
        let Next { known, mut done, .. } = next;
        let before = self.known.as_ref().and_then(|k| k.accepted.state);
        let accepted = &known.accepted;
        if accepted.state != before
            && let (Some(state), Some(title_hash)) = (accepted.state, accepted.title_hash)
        {
            done.accepted = Some(platform::Accepted {
                rule: known.cost_rule,
                state,
                title_hash,
                seller: accepted.seller,
            });
        }
        match &mut self.known {
            Some(place) => **place = known,
            None => self.known = Some(Box::new(known)),
        }
        Looked::Recorded(done)
    }
}

/// Since when the address leads elsewhere, after `sight`.
fn moved_since(accepted: &Accepted, sight: &Sight) -> Option<DateTime<Utc>> {
    match sight {
        Sight::Moved { at, .. } => Some(accepted.moved_since(*at)),
        Sight::Page(_) | Sight::Gone { .. } => None,
    }
}

/// What will count once a record is committed.
struct Next {
    known: Known,
    done: Done,
    clears_hold: bool,
}

impl Actor for Watcher {
    type Context = Context<Self>;
}

impl Handler<Seed> for Watcher {
    type Result = ();

    fn handle(&mut self, Seed(row): Seed, _: &mut Self::Context) {
        // A seed read while a record is under way may be older than its answer, and may tell what the answer does not
        // (a hold that was decided moves no version): the next look begins from the row.
        if self.pending {
            self.overtaken = true;
        } else {
            self.known = Some(Box::new(Known::from(&*row)));
        }
    }
}

impl Handler<See> for Watcher {
    type Result = ResponseActFuture<Self, Looked>;

    fn handle(&mut self, see: See, _: &mut Self::Context) -> Self::Result {
        let ready = |looked| -> Self::Result { Box::pin(fut::ready(looked)) };
        if self.pending {
            return ready(Looked::Pending);
        }
        let Some(known) = self.known.as_deref_mut() else {
            return ready(Looked::Unseeded);
        };
        let seen = match &see.sight {
            Sight::Page(page) => Seen::Page(page),
            Sight::Gone { at } => Seen::Gone { at: *at },
            Sight::Moved { at, how } => Seen::Moved { at: *at, how },
        };
        let at = seen.at();
        let judgement = judge(
            &known.accepted,
            seen,
            known.cost_rule,
            see.background.as_deref(),
            &self.env.rules.load(),
        );
        let step = match judgement {
            Judgement::Older => {
                add(&self.env.counters.older, 1);
                return ready(Looked::Older);
            }
            Judgement::NeedsBackground => return ready(Looked::NeedsBackground),
            Judgement::Unclear { reread_at } => {
                known.accepted.moved_since = moved_since(&known.accepted, &see.sight);
                add(&self.env.counters.unclear, 1);
                return ready(Looked::Unclear { reread_at });
            }
            Judgement::Step(step) => *step,
        };
        let Some(known) = self.known.as_deref() else {
            return ready(Looked::Unseeded);
        };
        let (record, next) = self.record(known, &see, at, step);
        fail::fail_point!("fp3_parsed");
        self.pending = true;
        let ledger = self.env.ledger.clone();
        Box::pin(
            async move { ledger.send(record).await }
                .into_actor(self)
                .map(move |answer, this, _| this.settled(answer, next)),
        )
    }
}
