//! The summary at the end, and whether it holds up.

use super::super::output;
use super::live::Live;
use super::messages::{Messages, Told};
use crate::app::rehearsal::compare::Comparison;
use crate::simulator::Running;
use serde_json::{Value, json};

/// Differing listings named at most; the count says how many there are.
const NAMED: usize = 20;

/// What the demo came to.
pub(super) struct Summary {
    products: usize,
    checks: u64,
    changes: u64,
    pushes: usize,
    failed_pushes: usize,
    holds: u64,
    delay_ms: [Option<f64>; 3],
    told: Told,
    comparison: Comparison,
    /// How the daemon ended when it was asked to.
    pub(super) daemon_ended: String,
}

impl Summary {
    pub(super) async fn of(
        simulator: &Running,
        live: &Live,
        messages: &Messages,
        comparison: Comparison,
    ) -> anyhow::Result<Self> {
        let status = live.client().get("/v1/status").await?;
        let at = |path: &str| status.pointer(path).and_then(Value::as_u64).unwrap_or(0);
        let mut delays = live.delays_ms.clone();
        delays.sort_by(f64::total_cmp);
        Ok(Self {
            products: simulator.catalogue().products.len(),
            checks: at("/watch/yahoo/checks"),
            changes: at("/watch/yahoo/changes"),
            pushes: live.accepted,
            failed_pushes: live.failed,
            holds: at("/database/counts/holds_open"),
            delay_ms: [50, 95, 99].map(|p| percentile(&delays, p)),
            told: messages.told(live.client()).await?,
            comparison,
            daemon_ended: String::new(),
        })
    }

    /// Every listing is what the last page served calls for, and the daemon ended well.
    pub(super) fn holds_up(&self) -> bool {
        self.comparison.differing.is_empty()
            && self.checks > 0
            && (self.daemon_ended.is_empty() || self.daemon_ended == "exit status: 0")
    }

    pub(super) fn show(&self, as_json: bool) {
        let [p50, p95, p99] = self.delay_ms;
        if as_json {
            output::json(&json!({
                "products": self.products, "checks": self.checks, "changes": self.changes,
                "pushes": self.pushes, "failed_pushes": self.failed_pushes, "holds": self.holds,
                "alerts": self.told,
                "delay_ms": { "p50": p50, "p95": p95, "p99": p99 },
                "unseen": self.comparison.unseen.len(), "held": self.comparison.held, "sold": self.comparison.sold,
                "differing": self.comparison.differing, "daemon_ended": self.daemon_ended,
            }));
            return;
        }
        let ms = |d: Option<f64>| d.map_or_else(|| "-".to_owned(), |d| format!("{d:.0} ms"));
        let rows = [
            ("products", self.products.to_string()),
            ("checks", self.checks.to_string()),
            ("changes", self.changes.to_string()),
            (
                "pushes",
                format!(
                    "{} accepted, {} failed or unknown and repeated",
                    self.pushes, self.failed_pushes
                ),
            ),
            ("open holds", self.holds.to_string()),
            ("alerts", self.told.alerts.to_string()),
            ("told by mail", self.told.mail.line()),
            ("told by Slack", self.told.slack.line()),
            (
                "page read → the shop's answer",
                format!("p50 {}, p95 {}, p99 {}", ms(p50), ms(p95), ms(p99)),
            ),
            ("changes not seen yet", self.comparison.unseen.len().to_string()),
            (
                "listings that wait for a person",
                self.comparison.held.to_string(),
            ),
            (
                "listings that differ",
                self.comparison.differing.len().to_string(),
            ),
            ("the daemon ended with", self.daemon_ended.clone()),
        ];
        for (name, value) in rows {
            output::data(&format!("{name:<34} {value}"));
        }
        for difference in self.comparison.differing.iter().take(NAMED) {
            output::talk(&format!("differs: {difference}"));
        }
    }
}

/// The value below which `percent` of the sorted values lie.
fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get(last.saturating_mul(percent).div_ceil(100)).copied()
}
