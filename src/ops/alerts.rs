//! What a person was told: look at it, acknowledge, resolve, silence, and test the ways to tell.

use super::holds::note_problem;
use super::{InputProblem, Ops, OpsError, Page, Rows, word_problem};
use crate::alert::{Desk, described};
use crate::domain::{AlertChannel, AlertKind, Platform};
use crate::store::alerts::{self, deliveries, silences};
use crate::store::views::Thing;
use chrono::TimeDelta;
use futures_util::FutureExt as _;
use serde::Deserialize;
use serde_json::{Value, json};

/// The longest silence: what is silenced for good belongs into a route.
const LONGEST_SILENCE_MINUTES: i64 = 30 * 24 * 60;

/// Alerts that a person says something about.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertsDecision {
    /// Which.
    pub ids: Vec<i64>,
    /// Why; kept with the alert.
    pub note: Option<String>,
}

/// What is not to be heard for a while.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SilenceOrder {
    /// Alerts of this kind.
    pub kind: Option<String>,
    /// Alerts of this service.
    pub platform: Option<String>,
    /// This alert.
    pub alert_id: Option<i64>,
    /// For how long.
    pub minutes: i64,
    /// Why.
    pub note: Option<String>,
}

impl SilenceOrder {
    fn problems(&self) -> Vec<InputProblem> {
        let kinds: Vec<&str> = AlertKind::ALL.iter().map(|k| k.as_str()).collect();
        let platforms: Vec<&str> = Platform::ALL.iter().map(|p| p.as_str()).collect();
        let mut problems: Vec<InputProblem> = [
            word_problem("kind", self.kind.as_deref(), &kinds),
            word_problem("platform", self.platform.as_deref(), &platforms),
            note_problem(self.note.as_deref()),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !(1..=LONGEST_SILENCE_MINUTES).contains(&self.minutes) {
            let expected = format!("1 to {LONGEST_SILENCE_MINUTES} minutes");
            problems.push(InputProblem::new("minutes", expected, &self.minutes.to_string()));
        }
        if self.kind.is_none() && self.platform.is_none() && self.alert_id.is_none() {
            problems.push(InputProblem::new(
                "the order",
                "a kind, a platform or an alert",
                "none of them",
            ));
        }
        problems
    }
}

impl Ops {
    fn desk(&self) -> Result<&Desk, OpsError> {
        Ok(&self.parts()?.alerts)
    }

    /// A page of alerts; those that are over only when `all`.
    ///
    /// # Errors
    /// See [`OpsError`].
    pub async fn alerts(&self, page: Page, all: bool) -> Result<Rows, OpsError> {
        let language = self.desk()?.settings().language;
        let mut conn = self.conn().await?;
        let window = page.window();
        let rows = alerts::page(&mut conn, window.after, window.limit, all).await?;
        Ok(page.rows(rows.iter().map(|alert| described(alert, language)).collect()))
    }

    /// One alert with all that is known of it and over what it was told.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when there is none.
    pub async fn alert(&self, id: i64) -> Result<Value, OpsError> {
        let language = self.desk()?.settings().language;
        let mut conn = self.conn().await?;
        let alert = OpsError::found(Thing::Alert, id, alerts::get(&mut conn, id).await?)?;
        let mut shown = described(&alert, language);
        let told = deliveries::of_alert(&mut conn, id).await?;
        if let Some(fields) = shown.as_object_mut() {
            fields.insert("deliveries".to_owned(), told);
        }
        Ok(shown)
    }

    /// Notes that a person knows (`ack`), or that it is over by his word (`resolve`). The same trouble met afterwards is
    /// told again.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when one of them is not there, and none is changed then.
    pub async fn decide_alerts(
        &self,
        verb: &str,
        order: AlertsDecision,
        by: &str,
    ) -> Result<Value, OpsError> {
        OpsError::unless_none(note_problem(order.note.as_deref()).into_iter().collect())?;
        let ids = self.all_there(Thing::Alert, &order.ids).await?;
        let resolve = match verb {
            "resolve" => true,
            "ack" => false,
            _ => return Err(OpsError::invalid("the verb", "ack or resolve", verb)),
        };
        let now = self.desk()?.now();
        let (chosen, who, note) = (ids.clone(), by.to_owned(), order.note);
        let changed = self.parts()?.db.transaction_retried(3, move |conn| {
            let (chosen, who, note) = (chosen.clone(), who.clone(), note.clone());
            async move {
                if resolve {
                    alerts::resolve(conn, &chosen, &who, note.as_deref(), now).await
                } else {
                    alerts::acknowledge(conn, &chosen, &who, note.as_deref(), now).await
                }
            }
            .boxed()
        });
        let changed = changed.await?;
        let unchanged: Vec<i64> = ids.into_iter().filter(|id| !changed.contains(id)).collect();
        tracing::info!(by, verb, "A person decided on {} alert(s)", changed.len());
        Ok(json!({ "done": verb, "changed": changed, "unchanged": unchanged }))
    }

    /// Keeps quiet for a while; alerts are written down all the same.
    ///
    /// # Errors
    /// [`OpsError::Invalid`] with every problem; [`OpsError::NotFound`] for an alert that is not there.
    pub async fn silence(&self, order: SilenceOrder, by: &str) -> Result<Value, OpsError> {
        OpsError::unless_none(order.problems())?;
        if let Some(id) = order.alert_id {
            self.all_there(Thing::Alert, &[id]).await?;
        }
        let now = self.desk()?.now();
        let new = silences::Silence {
            id: 0,
            kind: order.kind.as_deref().and_then(|kind| kind.parse().ok()),
            platform: order.platform,
            alert_id: order.alert_id,
            until: now
                .checked_add_signed(TimeDelta::minutes(order.minutes))
                .unwrap_or(now),
            set_by: by.to_owned(),
            note: order.note,
        };
        let mut conn = self.conn().await?;
        let id = silences::silence(&mut conn, &new).await?;
        tracing::info!(by, silence = id, "A person silenced alerts until {}", new.until);
        Ok(json!(silences::Silence { id, ..new }))
    }

    /// Ends silences.
    ///
    /// # Errors
    /// See [`OpsError`].
    pub async fn unsilence(&self, ids: &[i64], by: &str) -> Result<Value, OpsError> {
        let ids = super::checked_ids(ids)?;
        let now = self.desk()?.now();
        let mut conn = self.conn().await?;
        let ended = silences::unsilence(&mut conn, &ids, now).await?;
        tracing::info!(by, "A person ended {ended} silence(s)");
        self.desk()?.look_now();
        Ok(json!({ "ended": ended }))
    }

    /// The silences that have not ended.
    ///
    /// # Errors
    /// See [`OpsError`].
    pub async fn silences(&self) -> Result<Value, OpsError> {
        let now = self.desk()?.now();
        let mut conn = self.conn().await?;
        Ok(json!({ "items": silences::silences(&mut conn, now).await? }))
    }

    /// How each channel does, and what waits for it.
    ///
    /// # Errors
    /// See [`OpsError`].
    pub async fn alert_channels(&self) -> Result<Value, OpsError> {
        let health = self.desk()?.health();
        let mut conn = self.conn().await?;
        let counts = deliveries::counts(&mut conn).await?;
        let items: Vec<Value> = AlertChannel::ALL
            .iter()
            .map(|channel| {
                let of = health.get(channel);
                json!({
                    "channel": channel, "configured": of.is_some(), "health": of,
                    "counts": counts.get(channel.as_str()),
                })
            })
            .collect();
        Ok(json!({ "items": items }))
    }

    /// Sends a test over every channel, or one, and waits for what comes back.
    ///
    /// # Errors
    /// [`OpsError::Invalid`] for a name that is none; [`OpsError::Conflict`] when nothing is set up.
    pub async fn test_alerts(&self, channel: Option<String>) -> Result<Value, OpsError> {
        let only = match channel.as_deref().map(str::parse::<AlertChannel>).transpose() {
            Ok(only) => only,
            Err(unknown) => {
                let expected = format!("one of {}", unknown.expected);
                return Err(OpsError::invalid("channel", expected, &unknown.got));
            }
        };
        let tested = self.desk()?.test(only).await;
        if tested.is_empty() {
            return Err(OpsError::Conflict {
                message: match only {
                    Some(channel) => format!("`{channel}` is not set up"),
                    None => "no channel is set up: nobody is told of anything".to_owned(),
                },
                hint: Some(
                    "set `[alerts.email]`, `[alerts.slack]`, `[alerts.sms]` or `[alerts.webhook]` in the settings".to_owned(),
                ),
            });
        }
        Ok(json!({ "items": tested }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_names_all_of_its_problems() {
        let order = SilenceOrder {
            kind: Some("noise".to_owned()),
            platform: Some("here".to_owned()),
            minutes: 0,
            note: Some("a\u{1b}b".to_owned()),
            alert_id: None,
        };
        let places: Vec<String> = order.problems().into_iter().map(|p| p.place).collect();
        assert_eq!(places, ["kind", "platform", "note", "minutes"]);
        let nothing = SilenceOrder {
            minutes: 5,
            ..SilenceOrder::default()
        };
        assert_eq!(nothing.problems().len(), 1, "it must name something");
    }
}
