//! The blast radius applied to a group: what empties too many becomes a hold.

use super::record::Record;
use crate::clock::Clock;
use crate::domain::{HoldReason, Meanwhile, Proposal, SourcePlatform};
use crate::store::{Db, StoreError, history, watches};
use crate::watch::judge::{HoldStep, new_hold};
use crate::watch::ledger::{LedgerEnv, LedgerRules};
use crate::watch::radius::{Radius, RadiusRules};
use arc_swap::ArcSwap;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a count of a source's products is good for: a shop does not change its size within minutes.
const COUNT_GOOD_FOR: Duration = Duration::from_secs(60);

/// How long it is good enough to count without what other nodes have emptied.
const OTHERS_GOOD_FOR: Duration = Duration::from_secs(1);

/// The blast radius of every source.
pub(super) struct Blast {
    live: Arc<ArcSwap<LedgerRules>>,
    /// Those in force.
    rules: RadiusRules,
    /// When the windows were built from the tables.
    loaded: Instant,
    sources: HashMap<SourcePlatform, Source>,
}

struct Source {
    radius: Radius,
    products: u64,
    counted: Instant,
}

/// What was put on hold in a group, for the one error a person sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::watch) struct MassHeld {
    pub(in crate::watch) source: SourcePlatform,
    /// Of this group.
    pub(in crate::watch) held: u64,
    /// Within the window.
    pub(in crate::watch) gone: u64,
    /// Of how many.
    pub(in crate::watch) products: u64,
}

// === impl Blast ===

impl Blast {
    /// Rebuilds the windows from the tables.
    pub(super) async fn load(
        db: &Db,
        clock: &Clock,
        live: &Arc<ArcSwap<LedgerRules>>,
    ) -> Result<Self, StoreError> {
        let rules = live.load().radius;
        let (now, instant) = (clock.now(), Instant::now());
        let since = chrono::TimeDelta::from_std(rules.window)
            .ok()
            .and_then(|window| now.checked_sub_signed(window))
            .unwrap_or(now);
        let mut conn = db.conn().await?;
        let mut sources = HashMap::new();
        for source in SourcePlatform::ALL.iter().copied() {
            let mut radius = Radius::new(rules);
            let mut gone = history::emptied_since(&mut conn, source, since).await?;
            gone.sort_unstable_by_key(|(_, at)| *at);
            for (watch, at) in gone {
                let ago = now.signed_duration_since(at).to_std().unwrap_or_default();
                radius.count(watch, instant.checked_sub(ago).unwrap_or(instant));
            }
            radius.look(
                watches::count_seen_since(&mut conn, source, since).await?,
                instant,
            );
            let products = watches::count_enabled(&mut conn, source).await?;
            let counted = instant;
            sources.insert(
                source,
                Source {
                    radius,
                    products,
                    counted,
                },
            );
        }
        Ok(Self {
            live: Arc::clone(live),
            rules,
            loaded: instant,
            sources,
        })
    }

    /// Counts what `group` would empty, and makes holds of it where it is too much.
    ///
    /// # Errors
    /// Those of the store; the group is as it was.
    pub(super) async fn guard(
        &mut self,
        env: &LedgerEnv,
        group: &mut [Record],
    ) -> Result<Vec<MassHeld>, StoreError> {
        self.follow_settings();
        self.follow_others(env, group).await?;
        let db = &env.db;
        let mut told = Vec::new();
        for source in SourcePlatform::ALL.iter().copied() {
            let now = Instant::now();
            let (mut gone, mut looks) = (Vec::new(), 0_u64);
            for record in group.iter().filter(|r| r.source == source) {
                looks += u64::from(may_find_gone(record));
                if empties(record) {
                    gone.push(record.watch_id);
                }
            }
            if gone.is_empty() {
                if looks > 0 {
                    self.known(source, now).radius.look(looks, now);
                }
                continue;
            }
            let state = self.counted(db, source, now).await?;
            state.radius.look(looks, now);
            gone.iter().for_each(|watch| state.radius.count(*watch, now));
            let products = state.products;
            let Some(all) = state.radius.exceeded(products, now) else {
                continue;
            };
            let looks = state.radius.looks(now);
            let mut held = 0;
            for record in group.iter_mut().filter(|r| r.source == source && empties(r)) {
                self.hold(record, all, products, looks);
                held += 1;
            }
            told.push(MassHeld {
                source,
                held,
                gone: all,
                products,
            });
        }
        Ok(told)
    }

    /// Takes other rules up, if there are. A window that became longer fills as time goes by: what had left the shorter one
    /// is not counted again.
    fn follow_settings(&mut self) {
        let rules = self.live.load().radius;
        if rules != self.rules {
            self.rules = rules;
            for source in self.sources.values_mut() {
                source.radius.change(rules);
            }
        }
    }

    /// Other nodes empty products of the same shop: before one more is let through, what they have committed is counted,
    /// as it stands in the tables. What they are about to commit at this moment is not: with `n` nodes up to `n` groups may
    /// pass at once where one would.
    async fn follow_others(&mut self, env: &LedgerEnv, group: &[Record]) -> Result<(), StoreError> {
        let is_old = self.loaded.elapsed() >= OTHERS_GOOD_FOR;
        if is_old && env.ownership.has_company() && group.iter().any(empties) {
            *self = Self::load(&env.db, &env.clock, &self.live).await?;
        }
        Ok(())
    }

    fn known(&mut self, source: SourcePlatform, now: Instant) -> &mut Source {
        let rules = self.rules;
        self.sources.entry(source).or_insert_with(|| Source {
            radius: Radius::new(rules),
            products: 0,
            counted: now,
        })
    }

    async fn counted(
        &mut self,
        db: &Db,
        source: SourcePlatform,
        now: Instant,
    ) -> Result<&mut Source, StoreError> {
        let state = self.known(source, now);
        if state.products == 0 || now.saturating_duration_since(state.counted) > COUNT_GOOD_FOR {
            state.products = watches::count_enabled(&mut *db.conn().await?, source).await?;
            state.counted = now;
        }
        Ok(state)
    }

    /// Makes a hold of what `record` would do. What is safe beside it takes effect all the same.
    fn hold(&self, record: &mut Record, gone: u64, products: u64, looks: u64) {
        let Some(news) = record.news.as_deref_mut() else {
            return;
        };
        let after = news.change.map(|c| c.after).or(news.standing);
        let detail = json!({
            "gone": gone,
            "of": products,
            "looked_at": looks,
            "within_minutes": self.rules.window.as_secs() / 60,
            "url_status": after.map(|a| a.url_status),
            "instead_of": match &news.hold {
                HoldStep::Open(other) => Some(other.reason),
                _ => None,
            },
        });
        let proposed = Proposal {
            stock: crate::domain::Quantity::ZERO,
            price: after.and_then(|a| a.price),
        };
        let (reason, at) = (HoldReason::MassChange, record.fetched_at);
        let hold = new_hold(
            reason,
            detail,
            proposed,
            Meanwhile::Keep,
            at,
            &self.live.load().holds,
            None,
        );
        news.hold = HoldStep::Open(Box::new(hold));
        news.change = news.change.and_then(|c| c.without_stock());
    }
}

/// Whether it is a look that counts: not one by which an announced or a confirmed end was found.
fn may_find_gone(record: &Record) -> bool {
    record
        .news
        .as_deref()
        .is_none_or(|n| !(n.passes_radius && n.change.is_some_and(|c| c.empties())))
}

/// Whether nothing could be bought any more, unannounced: the stock goes to 0, or what waits says "zero meanwhile".
fn empties(record: &Record) -> bool {
    let Some(news) = record.news.as_deref().filter(|n| !n.passes_radius) else {
        return false;
    };
    let on_sale = |state: Option<crate::domain::SourceState>| state.is_some_and(|s| !s.stock.is_zero());
    let waits_empty = matches!(&news.hold, HoldStep::Open(hold) if hold.meanwhile == Meanwhile::Zero);
    news.change.is_some_and(|c| c.empties()) || (waits_empty && on_sale(news.standing))
}
