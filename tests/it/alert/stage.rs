//! A database, sinks, and the alerter with its senders between them.

use crate::support::pg::{TestDb, alone};
use crate::support::wait::until;
use actix::prelude::*;
use std::sync::Arc;
use tokio::task::JoinHandle;
use zaikoban::alert::{Alerter, AlerterParts, Desk, LookNow, Spool, Surroundings, sender};
use zaikoban::clock::Clock;
use zaikoban::domain::{AlertChannel, AlertStatus, Committed};
use zaikoban::resilience::GuardStatus;
use zaikoban::simulator::Sinks;
use zaikoban::store::alerts::{self, Alert, deliveries};
use zaikoban::supervision::{Life, TreeReport};

pub const SECRET: &str = "a secret of more than sixteen letters";

pub struct Nothing;

impl Surroundings for Nothing {
    fn guards(&self) -> Vec<GuardStatus> {
        Vec::new()
    }
    fn tree(&self) -> Option<TreeReport> {
        None
    }
}

pub struct Stage {
    pub t: TestDb,
    pub sinks: Sinks,
    pub desk: Desk,
    pub parts: AlerterParts,
    alerter: Option<Addr<Alerter>>,
    running: Vec<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

/// Settings that lead to the sinks, as an operator would type them.
pub fn settings(sinks: &Sinks, more: &[(&str, &str)]) -> zaikoban::alert::AlertSettings {
    let set = |name: &str, value: String| (format!("ZAIKOBAN_ALERTS__{name}"), value);
    let environment = [
        set("OUTAGE_AFTER_S", "1".to_owned()),
        set("EMAIL__HOST", sinks.smtp().ip().to_string()),
        set("EMAIL__PORT", sinks.smtp().port().to_string()),
        set("EMAIL__SECURITY", "none".to_owned()),
        set("EMAIL__FROM", "在庫番 <zaikoban@example.jp>".to_owned()),
        set("EMAIL__TO", "me@example.jp".to_owned()),
        set("SLACK__WEBHOOK_URL", sinks.slack_url()),
        set("WEBHOOK__URL", sinks.webhook_url()),
        set("WEBHOOK__SECRET", SECRET.to_owned()),
        set("SMS__ENDPOINT", sinks.twilio_url()),
        set("SMS__ACCOUNT_SID", Sinks::TWILIO_SID.to_owned()),
        set("SMS__AUTH_TOKEN", Sinks::TWILIO_TOKEN.to_owned()),
        set("SMS__FROM", "+815012345678".to_owned()),
        set("SMS__TO", "+819012345678,+818012345678".to_owned()),
    ];
    let more = more.iter().map(|(name, value)| set(name, (*value).to_owned()));
    let all = environment.into_iter().chain(more);
    zaikoban::config::load(None, all).unwrap().alerts
}

impl Stage {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With other settings below `[alerts]`.
    pub async fn with(more: &[(&str, &str)]) -> Self {
        zaikoban::app::install_tls();
        let t = TestDb::new().await;
        let sinks = Sinks::start().unwrap();
        let desk = Desk::new(settings(&sinks, more), Clock::system()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (committed, _) = tokio::sync::broadcast::channel::<Arc<Committed>>(16);
        let parts = AlerterParts {
            db: t.db().clone(),
            desk: desk.clone(),
            around: Arc::new(Nothing),
            committed,
            spool: Spool::new(folder.path()),
            ownership: alone(&t).await,
        };
        let mut stage = Self {
            t,
            sinks,
            desk,
            parts,
            alerter: None,
            running: Vec::new(),
            _folder: folder,
        };
        stage.restart();
        stage
    }

    pub fn spool(&self) -> Spool {
        self.parts.spool.clone()
    }

    /// Starts the alerter and a sender for each channel.
    pub fn restart(&mut self) {
        let alerter = Alerter::new(self.parts.clone(), &Life::detached("alert/alerter"));
        let ctx = Context::new();
        self.alerter = Some(ctx.address());
        self.running
            .push(tokio::task::spawn_local(ctx.into_future(alerter)));
        for channel in AlertChannel::ALL.iter().copied() {
            let sender = sender(
                self.desk.clone(),
                self.t.db().clone(),
                self.parts.ownership.clone(),
                channel,
                Life::detached("alert/sender"),
            );
            self.running.push(tokio::task::spawn_local(sender));
        }
    }

    /// All of it is gone at once, whatever it was doing.
    pub fn kill(&mut self) {
        for task in self.running.drain(..) {
            task.abort();
        }
    }

    /// Records a trouble, and has it looked at.
    pub async fn error(&self, code: &str, severity: &str, platform: &str, count: i64) {
        self.t
            .run(&format!(
                "INSERT INTO inventory_errors (error_type, error_code, error_message, platform, severity, fingerprint, \
                 count) VALUES ('api_error', '{code}', 'what happened', '{platform}', '{severity}', '{platform} {code}', \
                 {count})"
            ))
            .await;
        self.look().await;
    }

    async fn look(&self) {
        self.alerter.as_ref().unwrap().send(LookNow).await.unwrap();
    }

    /// The alerter has looked since.
    pub async fn looked(&self) {
        // An alert without a trouble: the next look ends it, and tells nobody.
        let marker = format!("marker {}", uuid::Uuid::new_v4().simple());
        self.t
            .run(&format!(
                "INSERT INTO alerts (fingerprint, kind, level, since, last_seen_at) \
                 VALUES ('{marker}', 'error', 'info', now(), now())"
            ))
            .await;
        self.look().await;
        until("a look", || async {
            let all = self.alerts().await;
            let over = |a: &Alert| a.fingerprint == marker && a.status == AlertStatus::Resolved;
            all.iter().any(over).then_some(())
        })
        .await;
        self.t
            .run(&format!("DELETE FROM alerts WHERE fingerprint = '{marker}'"))
            .await;
    }

    pub async fn alerts(&self) -> Vec<Alert> {
        let mut conn = self.t.db().conn().await.unwrap();
        alerts::page(&mut conn, 0, 1_000, true).await.unwrap()
    }

    pub async fn until(&self, what: &str, look: impl Fn(&Self) -> bool) {
        until(what, || async { look(self).then_some(()) }).await;
    }

    pub async fn until_status(&self, id: i64, status: AlertStatus) {
        until("the status", || async {
            let all = self.alerts().await;
            all.iter().any(|a| a.id == id && a.status == status).then_some(())
        })
        .await;
    }

    pub async fn slacked(&self, n: usize) {
        self.until("Slack", |s| s.sinks.slacked().len() >= n).await;
    }

    pub async fn mailed(&self, n: usize) {
        self.until("mail", |s| s.sinks.mails().len() >= n).await;
    }

    /// So many alerts were mailed, in however many mails.
    pub async fn mailed_alerts(&self, n: i64) {
        until("mails", || async {
            self.count("channel = 'email' AND status = 'delivered'")
                .await
                .eq(&n)
                .then_some(())
        })
        .await;
    }

    pub async fn texted(&self, n: usize) {
        self.until("text messages", |s| s.sinks.texted().len() >= n).await;
    }

    pub async fn hooked(&self, n: usize) {
        self.until("the webhook", |s| s.sinks.hooked().len() >= n).await;
    }

    pub async fn until_none_waits(&self) {
        until("that nothing waits", || async {
            (self.count("status IN ('pending', 'sending')").await == 0).then_some(())
        })
        .await;
    }

    pub async fn until_sending(&self, channel: AlertChannel) {
        until("a message under way", || async {
            let which = format!("status = 'sending' AND channel = '{channel}'");
            (self.count(&which).await == 1).then_some(())
        })
        .await;
    }

    pub async fn until_delivered(&self, channel: AlertChannel) {
        until("a message that was taken", || async {
            let which = format!("status = 'delivered' AND channel = '{channel}'");
            (self.count(&which).await == 1).then_some(())
        })
        .await;
    }

    async fn count(&self, which: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM alert_deliveries WHERE {which}");
        self.t.text(&sql).await.parse().unwrap()
    }

    /// In how many seconds the channel is tried next.
    pub async fn next_due(&self, channel: AlertChannel) -> i64 {
        let mut conn = self.t.db().conn().await.unwrap();
        let at = deliveries::next_due(&mut conn, channel).await.unwrap().unwrap();
        at.signed_duration_since(Clock::system().now()).num_seconds()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.kill();
    }
}
