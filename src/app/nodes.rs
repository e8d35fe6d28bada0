//! What a node follows of the others: switches and breakers of platforms, and its share of their rates.

use super::live::Live;
use crate::domain::{DestinationPlatform, Platform, SourcePlatform};
use crate::nodes::{News, Notices, Ownership, sync_role};
use crate::ops::{Account, Switched, Switching};
use crate::store::looping::{child, pause};
use crate::store::platform_state::{self, PlatformState};
use crate::store::{Db, StoreError};
use crate::supervision::{ChildSpec, Life};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

/// How often switches are read: what a person has stopped is stopped everywhere within that time, whoever hears of it.
const EVERY: Duration = Duration::from_secs(2);
/// One look.
const LIMIT: Duration = Duration::from_secs(10);
/// What nodes that do not keep a destination in line have of its rate together, for looks that a person asks for.
const OTHERS_SHARE: f64 = 0.1;

/// What is followed, and what with. Cheap to clone.
#[derive(Clone)]
pub(super) struct Follow {
    pub(super) db: Db,
    pub(super) live: Live,
    pub(super) ownership: Ownership,
    pub(super) said: Notices,
    pub(super) accounts: HashMap<Platform, Arc<dyn Account>>,
    /// Where persons switch on this node.
    pub(super) switching: Switching,
    /// The switches as they stood when the guards were set by them.
    pub(super) first: Vec<PlatformState>,
}

// === impl Follow ===

impl Follow {
    /// The child that follows switches.
    pub(super) fn switches(&self) -> ChildSpec {
        let own = self.clone();
        child("switches", move |life| {
            let own = own.clone();
            async move { own.follow_switches(&life).await }
        })
    }

    /// The child that follows shares.
    pub(super) fn shares(&self) -> ChildSpec {
        let own = self.clone();
        child("shares", move |life| {
            let own = own.clone();
            async move { own.follow_shares(&life).await }
        })
    }

    async fn follow_switches(&self, life: &Life) {
        let stopping = life.stopping();
        let mut news = self.said.hear();
        let mut known = self.first.clone();
        loop {
            life.beat();
            life.waiting_until(Instant::now() + LIMIT + EVERY);
            let orders = self.switching.turn().await.orders;
            match self.look().await {
                Ok(states) => {
                    let turn = self.switching.turn().await;
                    // What was read before somebody switched here may be older than that: the next look tells.
                    if turn.orders == orders {
                        for step in steps(&known, &states, &turn) {
                            self.take(step).await;
                        }
                        known = states;
                    }
                }
                Err(error) => tracing::debug!(%error, "The platforms' switches cannot be read yet"),
            }
            let until = Instant::now() + EVERY;
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = tokio::time::sleep_until(until) => break,
                    said = news.recv() => match said {
                        Ok(News::Watches(..)) => {}
                        Ok(News::Platforms | News::Relinked) | Err(RecvError::Lagged(_)) => break,
                        // The hub lives as long as the daemon.
                        Err(RecvError::Closed) => {
                            if !pause(life, EVERY).await {
                                return;
                            }
                            break;
                        }
                    },
                }
            }
        }
    }

    async fn look(&self) -> Result<Vec<PlatformState>, StoreError> {
        platform_state::list(&mut *self.db.conn().await?).await
    }

    async fn take(&self, step: Step<'_>) {
        match step {
            Step::Switch(state) => self.switch(state),
            Step::Reset(state) => self.reset(state).await,
        }
    }

    fn switch(&self, state: &PlatformState) {
        if state.is_everything() {
            for at in DestinationPlatform::ALL.iter().copied() {
                if let Some(guard) = self.live.guards.get(Platform::from(at).as_str()) {
                    guard.set_stopped(state.paused);
                }
            }
        } else if let Some(guard) = self.live.guards.get(&state.platform) {
            if state.paused {
                guard.pause();
            } else {
                guard.resume();
            }
        }
    }

    async fn reset(&self, state: &PlatformState) {
        let Ok(platform) = state.platform.parse::<Platform>() else {
            return;
        };
        if let Some(account) = self.accounts.get(&platform) {
            account.sign_in_again().await;
        }
        if let Some(guard) = self.live.guards.get(platform.as_str()) {
            guard.reset();
        }
    }

    async fn follow_shares(&self, life: &Life) {
        let stopping = life.stopping();
        let mut changes = self.ownership.changes();
        loop {
            life.beat();
            life.idle();
            changes.mark_unchanged();
            self.share_out();
            tokio::select! {
                () = stopping.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    fn share_out(&self) {
        for platform in Platform::ALL.iter().copied() {
            let share = share_of(&self.ownership, platform.as_str());
            self.live.set_share(platform, share);
        }
    }
}

/// What is to be done here because it was ordered elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step<'a> {
    /// Its guard is to be as its row says.
    Switch(&'a PlatformState),
    /// Its breaker is to be opened again.
    Reset(&'a PlatformState),
}

/// What was ordered from `before` to `now`, and only that: a stop that is in force here and not in the tables is not ended
/// by tables that say nothing new. Orders are counted, for what was turned off and on again between two looks says the
/// same as before, and here it may have been turned off only.
fn steps<'a>(before: &[PlatformState], now: &'a [PlatformState], own: &Switched) -> Vec<Step<'a>> {
    let mut steps = Vec::new();
    for state in now {
        let old = before.iter().find(|old| old.platform == state.platform);
        if state.switches != old.map_or(0, |old| old.switches) {
            steps.push(Step::Switch(state));
        }
        let done = state
            .platform
            .parse()
            .is_ok_and(|at: Platform| own.resets.get(&at) == Some(&state.resets));
        if !done && state.resets > old.map_or(0, |old| old.resets) {
            steps.push(Step::Reset(state));
        }
    }
    steps
}

/// This node's part of a service's rate.
///
/// A source's rate is divided as its products are. A destination's is its keeper's, but for a tenth, which the others
/// have for what a person asks them. Whatever moves, the shares are of one whole; while it moves a node that has not heard
/// of another for a moment has its old one.
pub(super) fn share_of(ownership: &Ownership, service: &str) -> f64 {
    let is = |platform: Platform| platform.as_str() == service;
    if SourcePlatform::ALL.iter().any(|source| is((*source).into())) {
        return ownership.share();
    }
    let Some(at) = DestinationPlatform::ALL.iter().find(|at| is((**at).into())) else {
        return 1.0;
    };
    let view = ownership.view();
    let others = u32::try_from(view.others).unwrap_or(u32::MAX);
    match (others, view.held.contains_key(&sync_role(*at))) {
        (0, _) => 1.0,
        (_, true) => 1.0 - OTHERS_SHARE,
        (others, false) => OTHERS_SHARE / f64::from(others),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(platform: &str, paused: bool, switches: i64, resets: i64) -> PlatformState {
        PlatformState {
            platform: platform.to_owned(),
            paused,
            paused_by: None,
            paused_at: None,
            gate: None,
            budget_day: None,
            budget_used: 0,
            switches,
            resets,
        }
    }

    #[test]
    fn a_stop_that_was_ended_and_ordered_again_between_two_looks_is_followed() {
        let (own, known) = (Switched::default(), [row("*", true, 1, 0)]);
        let now = [row("*", true, 3, 0), row("ebay", false, 2, 0)];
        assert_eq!(
            steps(&known, &now, &own),
            [Step::Switch(&now[0]), Step::Switch(&now[1])]
        );
        assert_eq!(steps(&now, &now, &own), [], "what is in force here only stays");
    }

    #[test]
    fn a_reset_is_followed_where_it_was_not_ordered() {
        let mut own = Switched::default();
        let (known, now) = ([row("ebay", false, 0, 4)], [row("ebay", false, 0, 5)]);
        assert_eq!(steps(&known, &now, &own), [Step::Reset(&now[0])]);
        own.resets.insert(Platform::Ebay, 5);
        assert_eq!(steps(&known, &now, &own), []);
        let later = [row("ebay", false, 0, 6)];
        assert_eq!(steps(&known, &later, &own), [Step::Reset(&later[0])]);
    }
}
