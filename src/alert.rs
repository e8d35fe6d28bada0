//! Telling a person what needs one: what is wrong, since when, what happens next, what to do.
//!
//! # How it decides
//! The room looks at *levels*, not at messages that could be missed: every few seconds the [`Alerter`] reads what waits for
//! a person (open holds, unresolved errors, dead letters, the emergency stop, products gone) and how the guards and the
//! tree stand. `rules` (pure) makes [`Condition`]s of it, one for each cause; `dedupe` (pure) compares them with the
//! alerts that are open and says what to write down and what to tell; both are committed in one transaction, together
//! with the deliveries. A look after `kill -9` finds what the one before would have found, and nothing is told twice for it.
//!
//! - **One trouble, one alert with a count.** An outage of a marketplace is one, however many products it hits; troubles
//!   that it brings about are folded into it. What passes by itself within a minute is not told at all.
//! - **Told again** only when it becomes worse, when there is more of it and some time has passed, or once a day while
//!   nobody has acknowledged it. That it is over is told where it was told.
//! - **A permanent failure is never hidden**: it stays open until it is over or a person says so.
//!
//! # How it tells
//! `routing` (pure) says over which channels. Each channel has one sender, which claims what is due under a lease,
//! writes it in the reader's language and hands it over: one message each, or one for all when many have waited. A channel
//! that does not take it delays it, alone, with growing waits; its being away is itself told over the others.
//!
//! While the database is away nothing can be written down: then `spool` tells that one thing from a file.
//!
//! Titles and messages come from the web. `inert` takes the sting out of them for headers, HTML, Slack and logs.

mod alerter;
mod channels;
mod condition;
mod dedupe;
mod desk;
mod heartbeat;
mod inert;
mod look;
mod routing;
mod rules;
mod sender;
mod settings;
mod spool;
pub mod summary;
mod text;

pub use alerter::{Alerter, AlerterParts, LookNow};
pub use channels::{Channel, ChannelError, Message, is_mail_address};
pub use condition::Condition;
pub use desk::{ChannelHealth, Desk, Tested};
pub use heartbeat::heartbeat;
pub use look::Surroundings;
pub use routing::{Hours, Route};
pub use sender::sender;
pub use settings::{
    AlertSettings, EmailSettings, HeartbeatSettings, Language, SecretUrl, SlackSettings, SmsSender,
    SmsSettings, SmtpSecurity, WebhookSettings,
};
pub use spool::Spool;
pub use text::described;
