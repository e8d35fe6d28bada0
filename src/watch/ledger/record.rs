//! What a watcher asks the ledger to record, and what it hears back.

use crate::domain::{
    BY_DEADLINE, ChangeSource, Epoch, HoldReason, KnownHold, ListingId, ProductId, Shard, SourcePlatform,
    SourceState, TitleHash, Version, WatchId,
};
use crate::store::ledger::{HoldWrite, StateWrite, Touch};
use crate::store::watches::WatchRow;
use crate::watch::diff::Change;
use crate::watch::judge::{HoldStep, Notice, Step};
use actix::Message;
use chrono::{DateTime, Utc};

/// One check that was understood.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Recorded")]
pub struct Record {
    /// Which watch.
    pub watch_id: WatchId,
    /// Its product.
    pub product_id: ProductId,
    /// Where it looks.
    pub source: SourcePlatform,
    /// The epoch under which the page was asked for.
    pub epoch: Epoch,
    /// The version that the page was compared with.
    pub base_version: Version,
    /// When the page's last byte was read, in whole microseconds: what the table can hold.
    pub fetched_at: DateTime<Utc>,
    /// The change rate's Gamma shape.
    pub rate_shape: f32,
    /// The change rate's Gamma rate, in hours.
    pub rate_hours: f32,
    /// What is new; `None` is an unchanged check.
    pub news: Option<Box<News>>,
}

/// What is new about a watch.
#[derive(Clone, Debug)]
pub struct News {
    /// What takes effect.
    pub change: Option<Change>,
    /// What becomes of holds.
    pub hold: HoldStep,
    /// The title and its hash, when they are to be stored.
    pub title: Option<(Box<str>, TitleHash)>,
    /// The seller, when it is to be stored.
    pub seller_id: Option<Box<str>>,
    /// The appointment.
    pub ends_at: Option<DateTime<Utc>>,
    /// Since when the page is gone or ended.
    pub gone_since: Option<DateTime<Utc>>,
    /// What a person should know.
    pub notice: Option<Notice>,
    /// Whether the blast radius has nothing to say.
    pub passes_radius: bool,
    /// What counts while nothing changes, for listings that move because something waits.
    pub standing: Option<SourceState>,
}

/// What became of a [`Record`].
#[derive(Clone, Debug)]
pub enum Recorded {
    /// It is committed.
    Committed {
        /// The version that counts now.
        version: Version,
        /// The hold that was opened.
        opened: Option<KnownHold>,
        /// The listings whose wanted state moved.
        listings: Vec<ListingId>,
    },
    /// Committed, but the emptying waits: too many of the source's products went at once.
    MassHeld {
        /// The version that counts now.
        version: Version,
        /// The hold.
        hold: KnownHold,
        /// What took effect all the same.
        change: Option<Change>,
    },
    /// The version is not the newest: this is what stands.
    Stale(Box<WatchRow>),
    /// The watch is not there any more, or cannot be read.
    Missing,
    /// It is another node's to write, or was in between.
    Lost,
    /// The database refuses this record, whatever the others: why.
    Rejected {
        /// The database's words.
        why: Box<str>,
    },
}

impl News {
    /// The news of a judged step; `title` and `seller` only where they are to be stored.
    pub(crate) fn of(
        step: Step,
        standing: Option<SourceState>,
        title: Option<(Box<str>, TitleHash)>,
        seller_id: Option<Box<str>>,
    ) -> Self {
        Self {
            standing,
            change: step.change,
            hold: step.hold,
            title,
            seller_id,
            ends_at: step.ends_at,
            gone_since: step.gone_since,
            notice: step.notice,
            passes_radius: step.passes_radius,
        }
    }

    /// Whether the blast radius made `change` and `hold` of something larger: nobody else opens such a hold.
    pub(super) fn is_mass_held(&self) -> bool {
        matches!(&self.hold, HoldStep::Open(hold) if hold.reason == HoldReason::MassChange)
    }

    /// Whether listings may have to follow.
    pub(super) fn moves_listings(&self) -> bool {
        self.change.is_some() || self.hold != HoldStep::Keep
    }
}

impl Record {
    /// Whether somebody waits for it: an unchanged check may take its time.
    pub(super) fn is_urgent(&self) -> bool {
        self.news.as_ref().is_some_and(|n| n.moves_listings())
    }

    /// The part of the watching that it belongs to, as it was when the page was asked for.
    pub(super) fn part(&self) -> (Shard, Epoch) {
        (Shard::of(self.product_id), self.epoch)
    }

    pub(super) fn touch(&self) -> Touch {
        Touch {
            watch_id: self.watch_id,
            version: self.base_version,
            verified_at: self.fetched_at,
            rate_shape: self.rate_shape,
            rate_hours: self.rate_hours,
        }
    }

    pub(super) fn write(&self) -> Option<StateWrite> {
        let news = self.news.as_deref()?;
        let change = news.change;
        Some(StateWrite {
            watch_id: self.watch_id,
            product_id: self.product_id,
            base_version: self.base_version,
            before: change.and_then(|c| c.before),
            after: change.map(|c| c.after),
            kind: change.and_then(|c| c.kind()),
            source: ChangeSource::from(self.source),
            explained: change.is_none_or(|c| c.explained || !c.empties()),
            title: news.title.clone(),
            seller_id: news.seller_id.clone(),
            ends_at: news.ends_at,
            gone_since: news.gone_since,
            verified_at: Some(self.fetched_at),
            rate: Some((self.rate_shape, self.rate_hours)),
            hold: match &news.hold {
                HoldStep::Keep => HoldWrite::Keep,
                HoldStep::Clear => HoldWrite::Clear,
                HoldStep::Release(id) => HoldWrite::Decide {
                    id: *id,
                    status: crate::domain::HoldStatus::Accepted,
                    by: BY_DEADLINE.into(),
                    note: Some("read again after the deadline, and still so".into()),
                    remember: false,
                },
                HoldStep::Open(hold) => HoldWrite::Open(hold.clone()),
            },
        })
    }

    pub(super) fn opens_hold(&self) -> bool {
        matches!(
            self.news.as_deref(),
            Some(News {
                hold: HoldStep::Open(_),
                ..
            })
        )
    }

    /// Whether `row` is what this record would have made: the COMMIT whose answer was lost had its effect. When what it
    /// opened is decided already, the row has gone on, and its watcher should.
    pub(super) fn made(&self, row: &WatchRow) -> bool {
        let version = match self.news.as_ref().and_then(|n| n.change) {
            Some(_) => self.base_version.next(),
            None => self.base_version,
        };
        let is_waiting = row.hold.is_some_and(|h| h.is_open());
        row.version == version
            && row.last_verified_at == Some(self.fetched_at)
            && (is_waiting || !self.opens_hold())
    }
}
