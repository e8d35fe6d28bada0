//! The part of the tree that tells a person.

use super::reload::Reloadable;
use crate::alert::summary::mailer;
use crate::alert::{Alerter, AlerterParts, Desk, Spool, Surroundings, heartbeat, sender};
use crate::clock::Clock;
use crate::config::Settings;
use crate::domain::{AlertChannel, CommittedSender};
use crate::nodes::Ownership;
use crate::ops::{InputProblem, Ops};
use crate::resilience::{GuardStatus, Registry};
use crate::store::looping::child;
use crate::store::redis::{Link, RedisStatus};
use crate::store::{Db, StatusBoard};
use crate::supervision::{ChildSpec, TreeReport};
use anyhow::Context as _;
use std::sync::Arc;

/// What is there before the database is.
pub(super) struct Telling {
    pub(super) desk: Desk,
    pub(super) spool: Spool,
}

impl Telling {
    /// Opens the channels; nothing is sent.
    ///
    /// # Errors
    /// When an address, a certificate or a name cannot be used.
    pub(super) fn new(settings: &Settings, clock: &Clock) -> anyhow::Result<Self> {
        Ok(Self {
            desk: Desk::new(settings.alerts.clone(), clock.clone()).context("alerts")?,
            spool: Spool::new(&settings.daemon.state_dir),
        })
    }

    /// Takes up other settings: channels are opened first, and used when every part could.
    pub(super) fn reloadable(&self) -> Reloadable {
        let desk = self.desk.clone();
        Reloadable::new(&["alerts."], move |settings| {
            let prepared = desk.prepare(settings.alerts.clone());
            let take = prepared.map_err(|error| {
                InputProblem::new("alerts", "channels that can be opened", &format!("{error:#}"))
            })?;
            Ok(Box::new(take))
        })
    }

    /// The alerter, a sender for each channel, and the heartbeat.
    pub(super) fn children(
        &self,
        (db, board): (&Db, &StatusBoard),
        (guards, ops, redis): (&Registry, &Ops, Option<&Link>),
        committed: &CommittedSender,
        ownership: &Ownership,
    ) -> Vec<ChildSpec> {
        let around: Arc<dyn Surroundings> = Arc::new(House {
            guards: guards.clone(),
            ops: ops.clone(),
            redis: redis.cloned(),
        });
        let parts = AlerterParts {
            db: db.clone(),
            desk: self.desk.clone(),
            around: Arc::clone(&around),
            committed: committed.clone(),
            spool: self.spool.clone(),
            ownership: ownership.clone(),
        };
        let (alerter, _) = ChildSpec::actor("alerter", move |life| Alerter::new(parts.clone(), life));
        let mut children = vec![alerter];
        for channel in AlertChannel::ALL.iter().copied() {
            let (desk, db, ownership) = (self.desk.clone(), db.clone(), ownership.clone());
            children.push(child(channel.as_str(), move |life| {
                sender(desk.clone(), db.clone(), ownership.clone(), channel, life)
            }));
        }
        let (desk, letters, part) = (self.desk.clone(), db.clone(), ownership.clone());
        children.push(child("summary", move |life| {
            mailer(desk.clone(), letters.clone(), part.clone(), life)
        }));
        let (desk, board, ownership) = (self.desk.clone(), board.clone(), ownership.clone());
        children.push(child("heartbeat", move |life| {
            heartbeat(
                desk.clone(),
                board.clone(),
                Arc::clone(&around),
                ownership.clone(),
                life,
            )
        }));
        children
    }
}

/// What alerts are made of beside the tables.
struct House {
    guards: Registry,
    ops: Ops,
    redis: Option<Link>,
}

impl Surroundings for House {
    fn guards(&self) -> Vec<GuardStatus> {
        self.guards.statuses()
    }

    fn redis(&self) -> Option<RedisStatus> {
        Some(self.redis.as_ref()?.watch().borrow().clone())
    }

    fn tree(&self) -> Option<TreeReport> {
        self.ops.running_tree().map(crate::supervision::Tree::report)
    }
}
