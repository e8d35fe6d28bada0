//! What a guard hears of the other nodes.

use super::super::gate::Stand;
use super::super::peers::{Heard, News, Peers};
use super::Guard;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tracing::info;

/// An end that is later by less is the same one, seen over a network.
const SAME: Duration = Duration::from_secs(1);
/// That all is well is not believed so soon after this node has said otherwise: it may be older.
const OWN_WORD: Duration = Duration::from_secs(2);

impl Guard {
    /// From here on the guard is one of several. The second time nothing changes.
    pub fn join(&self, peers: Arc<dyn Peers>) {
        // Refused only when it has joined already.
        drop(self.core.peers.set(peers));
    }

    /// Whether it is one of several: then its policy is the whole rate, and its part of it is what the peers say.
    #[must_use]
    pub fn is_one_of_several(&self) -> bool {
        self.core.peers.get().is_some()
    }

    /// Takes up what another node found out: a gate that is shut there is shut here, and one that a probe opened there is
    /// opened here, with its ramp. News that are known, or of our own, change nothing.
    pub fn hear(&self, heard: Heard) {
        let now = Instant::now();
        let mut state = self.core.state.lock();
        if state.heard == heard.number {
            return;
        }
        state.heard = heard.number;
        let stand = state.gate.stand(now);
        if let Some(told) = heard.shut_for {
            let policy = self.core.policy.load();
            let longest = policy.opening.longest * 2 + policy.slow_down.wait_max;
            let until = now + told.min(longest);
            let later = match stand {
                Stand::Shut(own) => until > own + SAME,
                Stand::Open | Stand::Limited => told > SAME,
            };
            if later {
                let trips = heard.trips.max(state.gate.trips_at(now));
                state.gate.restore(Some(until), trips);
                self.core.keep(&state, now);
                info!(
                    service = self.core.service,
                    "Another node found `{}` failing; it is left alone for {:.0} s",
                    self.core.service,
                    told.min(longest).as_secs_f64()
                );
            }
        } else if stand != Stand::Open && state.told_at.is_none_or(|at| at.elapsed() > OWN_WORD) {
            state.gate.opened_elsewhere(now);
            self.core.breaker.reset();
            state.pace.start_ramp(now);
            self.core.keep(&state, now);
            info!(
                service = self.core.service,
                "Another node found `{}` answering again; the rate grows back in steps", self.core.service
            );
        }
        state.portion.probed();
        state.line.wake_all();
    }

    /// Tells the others again how the gate stands: what they were told may be lost.
    pub fn tell_again(&self) {
        let now = Instant::now();
        let mut state = self.core.state.lock();
        if let (Stand::Shut(until), false) = (state.gate.stand(now), state.gate.is_probing(now)) {
            let lasts = until.saturating_duration_since(now);
            let trips = state.gate.trips_at(now);
            self.core.tell(&mut state, News::Shut { lasts, trips });
        }
    }
}
