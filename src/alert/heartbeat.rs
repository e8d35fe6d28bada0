//! The dead-man's switch: an address of somebody who notices when it is not asked for any more.

use super::channels::client;
use super::desk::Desk;
use super::look::Surroundings;
use crate::nodes::{ALERT, Ownership};
use crate::store::StatusBoard;
use crate::store::looping::pause;
use crate::supervision::{ChildState, Life, NodeReport, TreeReport};
use crate::telemetry::ErrorChain;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often the settings are looked at where there is none.
const IDLE: Duration = Duration::from_secs(30);
/// When nobody has looked for so long what a person should know, nobody is told.
const BLIND_AFTER: Duration = Duration::from_secs(300);
/// One exchange.
const LIMIT: Duration = Duration::from_secs(20);

/// Asks for the configured address as long as the daemon does its work, until it is asked to stop.
///
/// Of several nodes the one asks that tells. While the database is away, a part that is needed is parked, or nobody looks what is to be told, nothing is sent: silence
/// is the message.
pub async fn heartbeat(
    desk: Desk,
    board: StatusBoard,
    around: Arc<dyn Surroundings>,
    ownership: Ownership,
    life: Life,
) {
    let mut well = true;
    loop {
        life.beat();
        life.waiting_until(Instant::now() + LIMIT);
        let settings = desk.settings().heartbeat;
        let every = settings.as_ref().map_or(IDLE, |own| own.every);
        let works = ownership.holds(ALERT).is_some()
            && board.watch().borrow().is_up()
            && desk.not_looked_for() < BLIND_AFTER
            && around.tree().is_none_or(|tree| is_well(&tree));
        if let Some(own) = settings.filter(|_| works) {
            let asked = async {
                let client = client(&own.url, None)?;
                let answer = client.get(own.url.expose().clone()).send().await?;
                anyhow::ensure!(answer.is_success(), "it answered {}", answer.status);
                anyhow::Ok(())
            };
            let came = asked.await;
            if let Err(error) = &came
                && well
            {
                let said = own.url.hide_in(&ErrorChain(error.as_ref()).to_string());
                tracing::warn!("The heartbeat did not reach {}: {said}", own.url.origin());
            }
            well = came.is_ok();
        }
        if !pause(&life, every).await {
            return;
        }
    }
}

/// Whether nothing is parked that watching, selling or telling needs.
fn is_well(tree: &TreeReport) -> bool {
    let needed = |name: &str| ["ledger", "queue", "sync", "watch", "alert"].contains(&name);
    let parked = |child: &NodeReport| child.state == ChildState::Parked && child.name != "heartbeat";
    let mut groups = tree.root.children.iter().filter(|group| needed(&group.name));
    groups.all(|group| !group.children.iter().any(parked))
}
