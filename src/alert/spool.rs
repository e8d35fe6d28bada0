//! What is told while no alert can be written down: that the database is away.
//!
//! One small file beside the database's folder says since when, why, and who was told, so that a restart tells nothing twice
//! and the return is told to those who heard of the outage. It is written when the outage has lasted half a minute and settled
//! into `alerts` when the database is back. Its second line is the checksum of the first: what a power cut tore, or a disk
//! changed, is as if it were not there, and what is lost with it is only that somebody hears of the outage twice.

use super::channels::{Channel, Message};
use super::desk::Desk;
use super::text;
use crate::domain::{AlertChannel, AlertEvent, AlertFacts, AlertKind, AlertLevel};
use crate::store::alerts::{self, NewAlert, RECOVERED, deliveries, look};
use crate::store::{DatabaseStatus, Db, StatusBoard, StoreError};
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// An outage that ends sooner, or within the time that an outage of a service may last unheard, is told by nobody.
const AWAY_AFTER: Duration = Duration::from_secs(30);
/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// A spool is some hundred bytes; more is something else.
const MOST_BYTES: u64 = 64 * 1024;
/// How often a channel is tried that did not take it.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// The file.
#[derive(Clone, Debug)]
pub struct Spool {
    path: PathBuf,
}

/// What stands in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Outage {
    since: DateTime<Utc>,
    reason: String,
    told: Vec<AlertChannel>,
}

impl Spool {
    /// The file in the state folder.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join("database-away.json"),
        }
    }

    /// Tells of the database's being away, as long as it is awaited.
    pub async fn keep_watch(self, board: StatusBoard, desk: Desk) {
        let mut tries: Vec<(AlertChannel, tokio::time::Instant)> = Vec::new();
        // The file is its copy: a disk that takes nothing must not make it be told again.
        let mut known = self.read();
        loop {
            tokio::time::sleep(LOOK).await;
            let status = board.watch().borrow().clone();
            let DatabaseStatus::Away { since, reason, .. } = status else {
                tries.clear();
                known = None;
                continue;
            };
            let patience = AWAY_AFTER.min(desk.settings().outage_after);
            let lasts = desk.clock().now().signed_duration_since(since).to_std();
            if lasts.unwrap_or_default() < patience {
                continue;
            }
            let outage = known.get_or_insert_with(|| Outage {
                since,
                reason: reason.clone(),
                told: Vec::new(),
            });
            self.keep(outage);
            for channel in self.untold(&desk, outage) {
                let name = channel.name();
                let now = tokio::time::Instant::now();
                if tries
                    .iter()
                    .any(|(tried, at)| *tried == name && now.duration_since(*at) < TRY_AGAIN)
                {
                    continue;
                }
                tries.retain(|(tried, _)| *tried != name);
                tries.push((name, now));
                if board.watch().borrow().is_up() {
                    break;
                }
                if tell(&desk, &channel, outage).await {
                    outage.told.push(name);
                    // Settled meanwhile: then its end is told without this one.
                    if !board.watch().borrow().is_up() {
                        self.keep(outage);
                    }
                }
            }
        }
    }

    /// The channels of a critical alert that have not been told.
    fn untold(&self, desk: &Desk, outage: &Outage) -> Vec<Arc<dyn Channel>> {
        let settings = desk.settings();
        let wanted = super::routing::channels(
            &settings.levels,
            &settings.routes,
            (AlertLevel::Critical, AlertKind::Database, &AlertFacts::default()),
            desk.clock().now(),
        );
        let open = |name: &AlertChannel| !outage.told.contains(name);
        wanted
            .unwrap_or_default()
            .iter()
            .filter(|name| open(name))
            .filter_map(|name| desk.channel(*name))
            .collect()
    }

    /// Writes an outage that is over into the tables, and puts its end to be told to those who heard of it.
    pub(super) async fn settle(&self, db: &Db, desk: &Desk) -> Result<(), StoreError> {
        let Some(outage) = self.read() else {
            return Ok(());
        };
        let now = desk.clock().now();
        let row = NewAlert {
            fingerprint: format!("{} {}", AlertKind::Database, outage.since.timestamp()),
            kind: AlertKind::Database,
            level: AlertLevel::Critical,
            platform: None,
            count: 1,
            facts: AlertFacts {
                message: Some(outage.reason.clone()),
                ..AlertFacts::default()
            },
            since: outage.since,
            newest: now,
        };
        let told = outage.told.clone();
        let written = db.transaction_retried(3, move |conn| {
            let (row, told) = (row.clone(), told.clone());
            async move {
                // Killed before the file was gone, or it cannot be removed: it stands here already.
                let same = [row.fingerprint.clone()];
                if !look::known(conn, AlertKind::Database, &same).await?.is_empty() {
                    return Ok(Vec::new());
                }
                let id = alerts::put(conn, &row).await?;
                alerts::told(conn, id, now).await?;
                deliveries::enqueue(conn, id, &told, AlertEvent::Recovered, now).await?;
                alerts::resolve(conn, &[id], RECOVERED, None, now).await
            }
            .boxed()
        });
        written.await?;
        desk.wake(&outage.told);
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!("`{}` cannot be removed: {error}", self.path.display());
        }
        Ok(())
    }

    fn read(&self) -> Option<Outage> {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(&self.path).ok()?;
        file.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
        let text = std::str::from_utf8(&bytes).ok()?;
        let (outage, sum) = text.split_once('\n')?;
        (sum == checksum(outage)).then(|| serde_json::from_str(outage).ok())?
    }

    fn keep(&self, outage: &Outage) {
        if self.read().as_ref() == Some(outage) {
            return;
        }
        if let Err(error) = self.write(outage) {
            // The disk may be what keeps the database away; then a restart tells it again.
            tracing::warn!("`{}` cannot be written: {error}", self.path.display());
        }
    }

    fn write(&self, outage: &Outage) -> io::Result<()> {
        let beside = self.path.with_extension("json.new");
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        let text = serde_json::to_string(outage)?;
        file.write_all(format!("{text}\n{}", checksum(&text)).as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, &self.path)
    }
}

/// The line under `text`, with its end.
fn checksum(text: &str) -> String {
    let mut line = String::with_capacity(65);
    for byte in Sha256::digest(text.as_bytes()) {
        // Writing into a String cannot fail.
        let _written = write!(line, "{byte:02x}");
    }
    line.push('\n');
    line
}

async fn tell(desk: &Desk, channel: &Arc<dyn Channel>, outage: &Outage) -> bool {
    let settings = desk.settings();
    let said = text::database(outage.since, &outage.reason, false, settings.language);
    let id = format!("database-{}", outage.since.timestamp_millis());
    let message = Message::of(said, AlertLevel::Critical, &settings, id, desk.clock().now());
    match channel.send(&message).await {
        Ok(()) => {
            desk.took(channel.name());
            true
        }
        Err(error) => {
            desk.failed(channel.name(), &error);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a14_a_spool_that_was_damaged_at_any_byte_is_as_if_it_were_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        let outage = Outage {
            since: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            reason: "cannot connect to `/run/x`: 接続できません".to_owned(),
            told: vec![AlertChannel::Slack],
        };
        spool.write(&outage).unwrap();
        assert_eq!(spool.read().as_ref(), Some(&outage));
        let whole = std::fs::read(&spool.path).unwrap();
        for at in 0..whole.len() {
            std::fs::write(&spool.path, &whole[..at]).unwrap();
            assert_eq!(spool.read(), None, "cut at {at}");
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                std::fs::write(&spool.path, &damaged).unwrap();
                assert_eq!(spool.read(), None, "bit {bit} of byte {at}");
            }
        }
        spool.keep(&outage);
        assert_eq!(spool.read(), Some(outage), "it is made anew");
    }
}
