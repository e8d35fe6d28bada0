//! Text messages by Twilio: a form for each number; success is 201 with the message's `sid`.
//!
//! Twilio takes no word by which it would know a repeated request, so a text whose answer was lost may arrive twice. Who
//! has been told is remembered as long as the process lives: one number's failure does not text the others again. What
//! was asked for and answered is that of `POST /2010-04-01/Accounts/{sid}/Messages.json`.

mod answer;
mod wording;

use super::{Channel, ChannelError, Message};
use crate::alert::settings::{SmsSender, SmsSettings};
use crate::clock::Clock;
use crate::domain::AlertChannel;
use crate::http;
use answer::Fate;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use url::Url;

/// Messages of which it is remembered who was told: more than wait at once.
const REMEMBERED: usize = 64;

pub(super) struct Sms {
    client: http::Client,
    settings: SmsSettings,
    clock: Clock,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// Who is done with which message, and whether that number was told or refused; the newest last.
    done: VecDeque<(String, BTreeMap<String, bool>)>,
    /// When texts were sent, within the last hour.
    sent: VecDeque<DateTime<Utc>>,
    /// Numbers that were refused last, and why.
    refused: BTreeMap<String, String>,
}

impl Memory {
    fn of(&self, key: &str) -> Option<&BTreeMap<String, bool>> {
        self.done
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, done)| done)
    }

    /// Who still has to be told of a message.
    fn left(&self, key: &str, to: &[String]) -> Vec<String> {
        let done = self.of(key);
        let left = to
            .iter()
            .filter(|number| !done.is_some_and(|d| d.contains_key(*number)));
        left.cloned().collect()
    }

    /// Whether somebody was told of a message.
    fn was_told(&self, key: &str) -> bool {
        self.of(key).is_some_and(|done| done.values().any(|told| *told))
    }

    fn is_done(&mut self, key: &str, number: &str, told: bool) {
        if let Some((_, done)) = self.done.iter_mut().find(|(known, _)| known == key) {
            done.insert(number.to_owned(), told);
            return;
        }
        if self.done.len() >= REMEMBERED {
            self.done.pop_front();
        }
        self.done
            .push_back((key.to_owned(), BTreeMap::from([(number.to_owned(), told)])));
    }

    /// How long to wait until one more text may be sent; `None`: now.
    fn wait(&mut self, per_hour: usize, now: DateTime<Utc>) -> Option<TimeDelta> {
        let hour = TimeDelta::hours(1);
        // A clock that was set back would keep texts from being sent for longer than an hour.
        self.sent.retain(|at| *at <= now && now - *at < hour);
        if self.sent.len() < per_hour {
            return None;
        }
        let place = self.sent.len().saturating_sub(per_hour);
        self.sent.get(place).map(|at| hour - (now - *at))
    }

    /// Takes back what was counted at `at`: Twilio did not take it.
    fn not_sent(&mut self, at: DateTime<Utc>) {
        if let Some(place) = self.sent.iter().rposition(|counted| *counted == at) {
            self.sent.remove(place);
        }
    }

    /// What to do about numbers that were refused.
    fn refusals(&self) -> Option<ChannelError> {
        let each: Vec<String> = self
            .refused
            .iter()
            .map(|(number, why)| format!("{}: {why}", shown(number)))
            .collect();
        (!each.is_empty()).then(|| {
            ChannelError::for_a_person(format!(
                "text messages were refused for {}; correct `alerts.sms.to`, or allow it at Twilio",
                each.join("; ")
            ))
        })
    }
}

/// One text of a message. A message that is tried again may say something newer by then: that is another text, for all.
fn key(message: &Message) -> String {
    let mut key = message.id.clone();
    for told in &message.told {
        key.push_str(&format!(" {}:{:?}:{:?}", told.alert, told.level, told.event));
    }
    key
}

impl Sms {
    pub(super) fn new(settings: &SmsSettings, clock: Clock) -> Result<Self, http::BadClient> {
        Ok(Self {
            client: super::webhook::client(&settings.endpoint, settings.ca_file.as_deref())?,
            settings: settings.clone(),
            clock,
            memory: Mutex::default(),
        })
    }

    fn address(&self, below: &str) -> Url {
        let mut url = self.settings.endpoint.expose().clone();
        url.set_query(None);
        url.set_path(&format!(
            "/2010-04-01/Accounts/{}{below}.json",
            self.settings.account_sid
        ));
        url
    }

    /// A text without whole numbers and without the account: it may stand in a log.
    fn hide(&self, text: &str) -> String {
        let mut hidden = text.replace(&self.settings.account_sid, "AC…");
        for number in &self.settings.to {
            hidden = hidden.replace(number.as_str(), &shown(number));
        }
        hidden
    }

    /// Sends one text. It counts against the hour unless it surely cost nothing: an outage must not use up what the end of
    /// the outage is told with.
    async fn tell(&self, number: &str, body: &str) -> Result<Fate, ChannelError> {
        let counted = self.may_send()?;
        let sender = match &self.settings.sender {
            SmsSender::From(from) => ("From", from.as_str()),
            SmsSender::Service(sid) => ("MessagingServiceSid", sid.as_str()),
        };
        let request = self
            .client
            .post(self.address("/Messages"))
            .basic(&self.settings.account_sid, &self.settings.auth_token)
            .form(&[("To", number), sender, ("Body", body)]);
        let answer = request.send().await;
        let is_free = match &answer {
            // What stands between may say 502 of a text that was taken.
            Ok(answer) => (400..500).contains(&answer.status) || answer.status == 503,
            Err(error) => !error.outcome_unknown(),
        };
        if is_free {
            self.memory.lock().not_sent(counted);
        }
        let answer = answer
            .map_err(|e| ChannelError::passing(self.hide(&crate::telemetry::ErrorChain(&e).to_string())))?;
        answer::taken(&answer, self.clock.now(), |text| self.hide(text))
    }

    /// Tells everybody who has not been told of this message. Who was refused is not tried again: asking the same once
    /// more brings the same answer.
    async fn tell_all(&self, message: &Message) -> Result<(), ChannelError> {
        let key = key(message);
        let left = self.memory.lock().left(&key, &self.settings.to);
        let body = wording::text(message);
        let mut last = Ok(());
        let mut unclear = Vec::new();
        for number in &left {
            match self.tell(number, &body).await {
                Ok(Fate::Taken) => {
                    let mut memory = self.memory.lock();
                    memory.is_done(&key, number, true);
                    memory.refused.remove(number);
                }
                Ok(Fate::Refused(why)) => {
                    let shown = shown(number);
                    tracing::warn!("A text message to {shown} was refused: {why}");
                    let mut memory = self.memory.lock();
                    memory.is_done(&key, number, false);
                    memory.refused.insert(number.clone(), why);
                }
                // It may be about this number, with a code that is not known here: the others are tried all the same.
                Ok(Fate::Unclear(error)) => unclear.push((number, error)),
                // About the account, or nobody is there: the next number would hear the same.
                Err(error) => {
                    last = Err(error);
                    break;
                }
            }
        }
        let mut memory = self.memory.lock();
        let was_told = memory.was_told(&key);
        for (number, error) in unclear {
            if was_told {
                // Somebody has it, and others wait behind it: this number's is given up, and its owner told of.
                tracing::warn!("A text message to {} was not taken: {error}", shown(number));
                memory.is_done(&key, number, false);
                memory.refused.insert(number.clone(), error.message);
            } else if last.is_ok() {
                last = Err(error);
            }
        }
        if last.is_ok() && !memory.was_told(&key) {
            // Nobody at all was told: the message waits until somebody can be.
            memory.done.retain(|(known, _)| *known != key);
            last = Err(memory
                .refusals()
                .unwrap_or_else(|| ChannelError::passing("nobody was told")));
        }
        last
    }

    /// Counts one more text, or says how long to wait with it.
    fn may_send(&self) -> Result<DateTime<Utc>, ChannelError> {
        let now = self.clock.now();
        let per_hour = self.settings.per_hour;
        let mut memory = self.memory.lock();
        match memory.wait(usize::try_from(per_hour).unwrap_or(usize::MAX), now) {
            None => {
                memory.sent.push_back(now);
                Ok(now)
            }
            Some(wait) => Err(ChannelError {
                retry_after: wait.to_std().ok(),
                ..ChannelError::passing(format!(
                    "{per_hour} text messages in an hour are the most (`alerts.sms.per_hour`): more waits and is told \
                     in one"
                ))
            }),
        }
    }

    async fn look(&self) -> Result<String, ChannelError> {
        let request = self
            .client
            .get(self.address(""))
            .basic(&self.settings.account_sid, &self.settings.auth_token);
        let answer = request
            .send()
            .await
            .map_err(|e| ChannelError::passing(self.hide(&crate::telemetry::ErrorChain(&e).to_string())))?;
        answer::active(&answer, self.clock.now(), |text| self.hide(text))?;
        let refused = self.memory.lock().refusals();
        match refused {
            Some(refused) => Err(refused),
            None => Ok(format!(
                "{} answers, and the account is active",
                self.settings.endpoint.origin()
            )),
        }
    }
}

/// The end of a number, by which its owner knows it.
fn shown(number: &str) -> String {
    let from = number.char_indices().rev().nth(3).map_or(0, |(at, _)| at);
    format!("…{}", number.get(from..).unwrap_or_default())
}

impl Channel for Sms {
    fn name(&self) -> AlertChannel {
        AlertChannel::Sms
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), ChannelError>> {
        self.tell_all(message).boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<String, ChannelError>> {
        self.look().boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_told_is_not_told_again_and_little_is_remembered() {
        let to = ["+819000000001".to_owned(), "+819000000002".to_owned()];
        let mut memory = Memory::default();
        memory.is_done("7-1", &to[0], true);
        assert_eq!(memory.left("7-1", &to), [to[1].clone()]);
        assert_eq!(memory.left("8-1", &to), to);
        memory.is_done("9-1", &to[0], false);
        assert!(memory.was_told("7-1") && !memory.was_told("8-1") && !memory.was_told("9-1"));
        for n in 0..1_000 {
            memory.is_done(&n.to_string(), &to[0], false);
        }
        assert_eq!(memory.done.len(), REMEMBERED);
        assert_eq!(memory.left("999", &to), [to[1].clone()]);
    }

    #[test]
    fn an_hour_has_so_many_texts_and_no_more() {
        let start: DateTime<Utc> = "2026-11-22T00:00:00Z".parse().unwrap();
        let minute = |n: i64| start + TimeDelta::minutes(n);
        let mut memory = Memory::default();
        for n in [0, 10, 20] {
            assert_eq!(memory.wait(3, minute(n)), None);
            memory.sent.push_back(minute(n));
        }
        assert_eq!(memory.wait(3, minute(30)), Some(TimeDelta::minutes(30)));
        assert_eq!(memory.wait(1, minute(30)), Some(TimeDelta::minutes(50)));
        assert_eq!(memory.wait(3, minute(60)), None);
        // What Twilio did not take counts no more.
        let mut full = Memory::default();
        full.sent.extend([minute(0), minute(1)]);
        full.not_sent(minute(1));
        assert_eq!((full.wait(2, minute(2)), full.sent.len()), (None, 1));
        // The clock was set back by a day.
        assert_eq!(memory.wait(3, minute(-1_440)), None);
    }

    #[test]
    fn a_number_is_known_by_its_end() {
        assert_eq!(shown("+819012345678"), "…5678");
        assert_eq!(shown("12"), "…12");
    }
}
