//! All guards by name, for the operator's commands.

use super::{guard::Guard, record::GuardStatus};
use parking_lot::RwLock;
use std::{collections::BTreeMap, sync::Arc};

/// The guards of the house. Cheap to clone.
#[derive(Clone, Default)]
pub struct Registry {
    guards: Arc<RwLock<BTreeMap<String, Guard>>>,
}

impl Registry {
    /// Nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a guard under its own name, in place of an earlier one of that name.
    pub fn add(&self, guard: Guard) {
        self.guards.write().insert(guard.service().to_owned(), guard);
    }

    /// The guard of a service.
    #[must_use]
    pub fn get(&self, service: &str) -> Option<Guard> {
        self.guards.read().get(service).cloned()
    }

    /// All of them, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Guard> {
        self.guards.read().values().cloned().collect()
    }

    /// How all stand, by name.
    #[must_use]
    pub fn statuses(&self) -> Vec<GuardStatus> {
        self.guards.read().values().map(Guard::status).collect()
    }

    /// Takes up what each kept over the restart; see [`Guard::restore`].
    pub async fn restore(&self) {
        for guard in self.all() {
            guard.restore().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, resilience::Policy};

    #[tokio::test(start_paused = true)]
    async fn guards_are_found_by_name_and_listed_in_its_order() {
        let registry = Registry::new();
        for name in ["yahoo_auction", "ebay"] {
            registry.add(Guard::new(name, Policy::default(), Clock::system(), None).unwrap());
        }
        registry.get("ebay").unwrap().pause();
        registry.restore().await;
        let listed: Vec<_> = registry
            .statuses()
            .into_iter()
            .map(|status| {
                (
                    status.service,
                    serde_json::to_value(status.gate).unwrap()["state"].clone(),
                )
            })
            .collect();
        assert_eq!(
            listed,
            [
                ("ebay".to_owned(), "paused".into()),
                ("yahoo_auction".to_owned(), "open".into())
            ]
        );
        assert!(registry.get("mercari").is_none());
    }
}
