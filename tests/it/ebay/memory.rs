//! Tokens in memory, for tests that are about something else.

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use zaikoban::domain::Platform;
use zaikoban::platform::oauth::{Kept, TokenStore, TokenStoreError};

/// Keeps tokens in memory, and fails when told.
#[derive(Default)]
pub struct Memory {
    pub kept: Mutex<Option<Kept>>,
    pub saves: AtomicUsize,
    pub failures: AtomicUsize,
}

impl TokenStore for Memory {
    fn load(&self, _: Platform) -> BoxFuture<'_, Result<Option<Kept>, TokenStoreError>> {
        let kept = self.kept.lock().clone();
        Box::pin(async move { Ok(kept) })
    }

    fn save<'a>(&'a self, _: Platform, tokens: &'a Kept) -> BoxFuture<'a, Result<(), TokenStoreError>> {
        Box::pin(async move {
            self.saves.fetch_add(1, Ordering::SeqCst);
            let left = self.failures.load(Ordering::SeqCst);
            if left > 0 {
                self.failures.store(left - 1, Ordering::SeqCst);
                return Err("the disk is full".into());
            }
            *self.kept.lock() = Some(tokens.clone());
            Ok(())
        })
    }
}
