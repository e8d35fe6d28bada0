//! What nodes tell each other, beside the tables: that there is something to look at.
//!
//! A notice only makes sooner what looking finds. After every new link, and when a listener was too slow, everything is
//! looked at anew ([`News::Relinked`]).

use super::ownership::Ownership;
use crate::domain::WatchId;
use crate::store::looping::{self, pause};
use crate::store::nodes::{CHANNEL, MEMBERS};
use crate::store::{Db, StoreError};
use crate::supervision::{ChildSpec, Life};
use std::pin::pin;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::time::Instant;
use uuid::Uuid;

/// News that a slow listener may be behind before it looks at everything.
const KEPT: usize = 1_024;
/// Numbers in one notice, which holds less than 8,000 bytes.
const IDS: usize = 350;
/// How soon a broken link is made again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often a quiet link says that its keeper lives.
const BEAT_EVERY: Duration = Duration::from_secs(5);
/// Making the link takes no longer than this.
const LINK_LIMIT: Duration = Duration::from_secs(30);

/// What became of watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// Their rows say something else: added, paused, resumed, removed.
    Refresh,
    /// They are to be looked at now.
    Check,
    /// A sweep wants them looked at.
    Sweep,
    /// Something was decided about them.
    Reconsider,
}

/// What another node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Switches or breakers of platforms.
    Platforms,
    /// Something of these watches.
    Watches(Concern, Vec<WatchId>),
    /// Something may have been missed.
    Relinked,
}

/// Where what others say is heard. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Notices {
    ownership: Ownership,
    news: broadcast::Sender<News>,
}

// === impl Notices ===

impl Notices {
    /// Nobody listens yet.
    #[must_use]
    pub fn new(ownership: Ownership) -> Self {
        Self {
            ownership,
            news: broadcast::channel(KEPT).0,
        }
    }

    /// What is said from now on.
    #[must_use]
    pub fn hear(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    /// The child that listens.
    pub fn child(&self, db: &Db) -> ChildSpec {
        let (notices, db) = (self.clone(), db.clone());
        looping::child("notices", move |life| {
            let (notices, db) = (notices.clone(), db.clone());
            async move { notices.keep_listening(&db, &life).await }
        })
    }

    async fn keep_listening(&self, db: &Db, life: &Life) {
        loop {
            let ended = {
                let mut link = pin!(self.listen(db));
                loop {
                    life.beat();
                    life.waiting_until(Instant::now() + LINK_LIMIT);
                    tokio::select! {
                        () = life.stopping().cancelled_owned() => return,
                        ended = &mut link => break ended,
                        () = tokio::time::sleep(BEAT_EVERY) => {}
                    }
                }
            };
            if let Err(error) = ended {
                tracing::debug!("No link for what other nodes say, looking goes on: {error}");
            }
            if !pause(life, AGAIN).await {
                return;
            }
        }
    }

    async fn listen(&self, db: &Db) -> Result<(), StoreError> {
        let (_link, mut told) = db.listen(CHANNEL).await?;
        self.ownership.wake();
        self.pass(News::Relinked);
        while let Some(notice) = told.recv().await {
            if notice.payload == MEMBERS {
                self.ownership.wake();
            } else if let Some(news) = read(&notice.payload, self.ownership.boot()) {
                self.pass(news);
            }
        }
        Ok(())
    }

    fn pass(&self, news: News) {
        // Without a listener there is nobody to tell.
        let _nobody = self.news.send(news);
    }
}

/// The word for a change of `platform_state`.
#[must_use]
pub fn platforms(from: Uuid) -> String {
    format!("platforms {from}")
}

/// The words for something of `watches`, a notice for every few hundred.
#[must_use]
pub fn watches(from: Uuid, concern: Concern, watches: &[WatchId]) -> Vec<String> {
    let word = match concern {
        Concern::Refresh => "refresh",
        Concern::Check => "check",
        Concern::Sweep => "sweep",
        Concern::Reconsider => "reconsider",
    };
    let chunk = |ids: &[WatchId]| {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        format!("{word} {from} {}", ids.join(","))
    };
    watches.chunks(IDS).map(chunk).collect()
}

/// What another node than `me` says; what cannot be read is nothing: a newer program may know more words.
fn read(payload: &str, me: Uuid) -> Option<News> {
    let mut parts = payload.splitn(3, ' ');
    let (word, from) = (parts.next()?, parts.next()?.parse::<Uuid>().ok()?);
    if from == me {
        return None;
    }
    let concern = match word {
        "platforms" => return Some(News::Platforms),
        "refresh" => Concern::Refresh,
        "check" => Concern::Check,
        "sweep" => Concern::Sweep,
        "reconsider" => Concern::Reconsider,
        _ => return None,
    };
    let ids = parts.next()?.split(',').filter_map(|id| id.parse().ok());
    Some(News::Watches(concern, ids.map(WatchId).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_by_others_and_not_by_oneself() {
        let (me, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let ids: Vec<WatchId> = (1..=800).map(WatchId).collect();
        let words = watches(me, Concern::Check, &ids);
        assert_eq!(words.len(), 3);
        assert!(words.iter().all(|word| word.len() < 7_900));
        let mut heard = Vec::new();
        for word in &words {
            assert_eq!(read(word, me), None);
            let Some(News::Watches(Concern::Check, ids)) = read(word, other) else {
                panic!("{word}");
            };
            heard.extend(ids);
        }
        assert_eq!(heard, ids);
        let swept = News::Watches(Concern::Sweep, vec![WatchId(7)]);
        assert_eq!(
            read(&watches(me, Concern::Sweep, &[WatchId(7)])[0], other),
            Some(swept)
        );
        assert_eq!(read(&platforms(me), other), Some(News::Platforms));
        for strange in [
            "",
            "refresh",
            "refresh x 1",
            "what_comes_later 00000000-0000-0000-0000-000000000001 1",
        ] {
            assert_eq!(read(strange, other), None, "{strange}");
        }
    }

    #[test]
    fn the_longest_numbers_fit_into_a_notice() {
        let ids = vec![WatchId(i64::MIN); IDS];
        assert!(watches(Uuid::nil(), Concern::Reconsider, &ids)[0].len() < 7_900);
    }
}
