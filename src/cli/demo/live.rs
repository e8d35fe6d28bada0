//! What happens, a line for each push, as the daemon's own log of pushes tells it.

use super::super::output;
use crate::app::rehearsal::{self, Registered};
use crate::control::client::Client;
use serde_json::Value;
use tokio::time::Instant;

/// Most lines shown at one look; the rest is counted, not shown.
const LINES_A_LOOK: usize = 12;

/// Imports the simulator's products and links their listings.
pub(super) async fn register(client: &Client, all: &[Registered]) -> anyhow::Result<()> {
    let body = rehearsal::csv(all);
    let answer = client.post_text("/v1/products/import", "text/csv", body).await?;
    let count = |key: &str| answer.get(key).and_then(Value::as_u64).unwrap_or(0);
    output::talk(&format!(
        "registered {} products and read and linked {} listings",
        count("added"),
        count("linked")
    ));
    Ok(())
}

/// Follows the pushes.
pub(super) struct Live {
    client: Client,
    began: Instant,
    seen: i64,
    /// Delays from page read to the destination's answer, in milliseconds, of every accepted push.
    pub(super) delays_ms: Vec<f64>,
    /// Pushes by what became of them.
    pub(super) accepted: usize,
    pub(super) failed: usize,
}

impl Live {
    pub(super) fn begin(client: Client) -> Self {
        Self {
            client,
            began: Instant::now(),
            seen: 0,
            delays_ms: Vec::new(),
            accepted: 0,
            failed: 0,
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Shows what was pushed since the last look. A push whose answer is outstanding is shown once it is there.
    pub(super) async fn look(&mut self) -> anyhow::Result<()> {
        let page = self
            .client
            .get(&format!("/v1/syncs?limit=1000&after={}", self.seen))
            .await?;
        let items = page
            .get("items")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let mut shown = 0_usize;
        for push in &items {
            let outcome = push.get("outcome").and_then(Value::as_str).unwrap_or_default();
            if outcome == "sending" {
                break;
            }
            self.seen = push.get("id").and_then(Value::as_i64).unwrap_or(self.seen);
            if push.get("kind").and_then(Value::as_str) == Some("read") {
                continue;
            }
            self.count(push, outcome);
            if shown < LINES_A_LOOK {
                output::data(&self.line(push, outcome));
                shown = shown.saturating_add(1);
            }
        }
        Ok(())
    }

    fn count(&mut self, push: &Value, outcome: &str) {
        if outcome == "accepted" {
            self.accepted = self.accepted.saturating_add(1);
            self.delays_ms
                .extend(push.get("delay_ms").and_then(Value::as_f64));
        } else {
            self.failed = self.failed.saturating_add(1);
        }
    }

    fn line(&self, push: &Value, outcome: &str) -> String {
        let number = |key: &str| push.get(key).and_then(Value::as_i64);
        let text = |key: &str| push.get(key).and_then(Value::as_str).unwrap_or("-");
        let cause = |key: &str| {
            push.get("cause")
                .and_then(|c| c.get(key))
                .cloned()
                .unwrap_or_default()
        };
        let stock = cause("stock").to_string();
        let cost = cause("cost")
            .get("amount")
            .and_then(Value::as_str)
            .map_or(String::new(), |a| format!(" ¥{a}"));
        let mut moved = Vec::new();
        if number("new_quantity").is_some() && number("old_quantity") != number("new_quantity") {
            let old = number("old_quantity").map_or_else(|| "?".to_owned(), |n| n.to_string());
            moved.push(format!("quantity {old}→{}", number("new_quantity").unwrap_or(0)));
        }
        if text("new_price") != "-" && text("old_price") != text("new_price") {
            moved.push(format!("price {}→{}", text("old_price"), text("new_price")));
        }
        let what = if moved.is_empty() {
            text("kind").to_owned()
        } else {
            moved.join(", ")
        };
        let at = text("destination");
        let end = match push.get("delay_ms").and_then(Value::as_f64) {
            Some(delay) if outcome == "accepted" => format!("{delay:7.0} ms"),
            _ => outcome.to_owned(),
        };
        let source = format!("page: {stock} in stock{cost}");
        format!(
            "{:>7.1}s  #{:<5} {source:<28} {at:<13} {what:<34} {end}",
            self.began.elapsed().as_secs_f64(),
            number("product_id").unwrap_or(0),
        )
    }
}
