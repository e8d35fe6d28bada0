//! The probe of the ways to a person: each is asked whether it would take a message, without sending one.

use super::{Check, Found, Probe};
use crate::alert::{Channel, Desk};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use std::sync::Arc;
use std::time::Duration;

/// Less than a probe's limit, so that a channel that says nothing is told as such, and the others beside it.
const ANSWER_WITHIN: Duration = Duration::from_secs(9);

/// Looks at mail, Slack, text messages and the webhook, as they are set up at the moment.
pub struct ChannelsProbe {
    /// The channels.
    pub desk: Desk,
}

impl Probe for ChannelsProbe {
    fn name(&self) -> &'static str {
        "alerts"
    }

    fn asks_outside(&self) -> bool {
        true
    }

    fn look(&self) -> BoxFuture<'static, Found> {
        let channels = self.desk.channels();
        async move {
            if channels.is_empty() {
                return Found::from(Check::warning(
                    "alerts",
                    "no channel is set up: nobody is told of anything",
                    "set up `[alerts.email]`, `[alerts.slack]`, `[alerts.sms]` or `[alerts.webhook]` in the settings",
                ));
            }
            Found::from(join_all(channels.into_iter().map(one)).await)
        }
        .boxed()
    }
}

async fn one(channel: Arc<dyn Channel>) -> Check {
    let name = channel.name();
    let to_do =
        format!("see `[alerts.{name}]` in the settings, then `zaikoban alerts test --channel {name}`");
    match tokio::time::timeout(ANSWER_WITHIN, channel.probe()).await {
        Ok(Ok(said)) => Check::ok(name.as_str(), said),
        Ok(Err(error)) => Check::failed(name.as_str(), error.message, to_do),
        Err(_elapsed) => {
            let said = format!("no answer within {} s", ANSWER_WITHIN.as_secs());
            Check::failed(name.as_str(), said, to_do)
        }
    }
}
