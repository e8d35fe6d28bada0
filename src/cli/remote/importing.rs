//! How far an import is, as a bar on the terminal.

use crate::cli::output::at;
use crate::control::client::{Client, ControlError};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use std::pin::pin;
use std::time::Duration;

/// How often the daemon is asked.
const EVERY: Duration = Duration::from_millis(250);

/// Awaits `import`, showing meanwhile what the daemon says of it. Where nobody looks, nothing is shown.
pub(super) async fn shown(
    client: &Client,
    import: impl Future<Output = Result<Value, ControlError>>,
    quiet: bool,
) -> Result<Value, ControlError> {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    if let (false, Ok(style)) = (
        quiet,
        ProgressStyle::with_template("{msg:24} {wide_bar} {pos}/{len}  {elapsed}"),
    ) {
        bar.set_style(style);
    } else {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let mut import = pin!(import);
    let answer = loop {
        tokio::select! {
            answer = &mut import => break answer,
            () = tokio::time::sleep(EVERY), if !bar.is_hidden() => {
                if let Ok(progress) = client.get("/v1/products/import").await {
                    let (words, done, all) = stage(&progress);
                    bar.set_message(words);
                    bar.set_length(all);
                    bar.set_position(done);
                }
            }
        }
    };
    bar.finish_and_clear();
    answer
}

/// What is being done, how much of it is done, and of how much.
fn stage(progress: &Value) -> (&'static str, u64, u64) {
    let n = |key: &str| at(progress, key).as_u64().unwrap_or(0);
    let (rows, registered) = (n("rows"), n("registered"));
    if rows == 0 {
        ("reading the list", 0, 0)
    } else if registered < rows {
        ("registering products", registered, rows)
    } else if n("offers") > 0 {
        ("reading offers", n("offers_read"), n("offers"))
    } else {
        ("registering products", rows, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_bar_says_what_is_being_done() {
        assert_eq!(stage(&json!({ "running": false })), ("reading the list", 0, 0));
        let mut progress = json!({ "rows": 10, "registered": 4, "offers": 3, "offers_read": 0 });
        assert_eq!(stage(&progress), ("registering products", 4, 10));
        progress["registered"] = json!(10);
        progress["offers_read"] = json!(2);
        assert_eq!(stage(&progress), ("reading offers", 2, 3));
    }
}
