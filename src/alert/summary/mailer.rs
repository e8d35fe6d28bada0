//! Mails the days that wait for it.

use super::super::channels::ChannelError;
use super::super::desk::Desk;
use super::super::sender::rest;
use super::{letter, told};
use crate::domain::AlertChannel;
use crate::nodes::{ALERT, Ownership};
use crate::store::looping::pause;
use crate::store::summaries::{self, Unsent};
use crate::store::{Db, StoreError};
use crate::supervision::Life;
use std::time::Duration;
use tokio::time::Instant;

/// How often it looks whether a day waits: a letter of the evening is in no hurry.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long a claim holds: longer than the mail server may take.
const LEASE: Duration = Duration::from_secs(300);
/// How soon a day is tried again for which there is no mail channel: it may be set up.
const NO_CHANNEL: Duration = Duration::from_secs(600);

/// How soon it is asked again whether this node is the one that tells.
const NOT_OURS: Duration = Duration::from_secs(1);

/// Mails what waits until it is asked to stop, while this node is the one that tells: a mail channel has one sender.
pub async fn mailer(desk: Desk, db: Db, ownership: Ownership, life: Life) {
    loop {
        life.beat();
        life.waiting_until(Instant::now() + LEASE);
        let wait = match ownership.enter(ALERT) {
            None => NOT_OURS,
            Some(_part) => {
                if let Err(error) = turn(&desk, &db).await {
                    tracing::debug!(%error, "The daily summary waits for the database");
                }
                LOOK_EVERY
            }
        };
        if !pause(&life, wait).await {
            return;
        }
    }
}

/// Mails one day, if one is due; false when there was none.
async fn turn(desk: &Desk, db: &Db) -> Result<bool, StoreError> {
    let Some(unsent) = summaries::claim(&mut *db.conn().await?, LEASE).await? else {
        return Ok(false);
    };
    let (error, wait) = match send(desk, &unsent).await {
        None => ("`[alerts.email]` is not set up".to_owned(), NO_CHANNEL),
        Some(Ok(())) => {
            desk.took(AlertChannel::Email);
            tracing::info!("The summary of {} was mailed", unsent.day);
            let delivered = summaries::delivered(&mut *db.conn().await?, unsent.token).await?;
            if !delivered {
                tracing::warn!(
                    "The summary of {} was mailed although its lease had run out: it may arrive twice",
                    unsent.day
                );
            }
            return Ok(true);
        }
        Some(Err(error)) => {
            desk.failed(AlertChannel::Email, &error);
            let tries = u32::try_from(unsent.attempt).unwrap_or(u32::MAX);
            (error.message.clone(), rest(tries, &error))
        }
    };
    summaries::put_back(&mut *db.conn().await?, unsent.token, &error, wait).await?;
    Ok(true)
}

/// `None` when there is no way to.
async fn send(desk: &Desk, unsent: &Unsent) -> Option<Result<(), ChannelError>> {
    let channel = desk.channel(AlertChannel::Email)?;
    let settings = desk.settings();
    let told = told(unsent.day, &unsent.figures, &settings.host, settings.language);
    let letter = letter(unsent.day, unsent.created_at, told, desk.now());
    Some(channel.post(&letter).await)
}
