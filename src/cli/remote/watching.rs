//! The same question again and again, for a second screen.

use crate::cli::output::{self, Exit};
use crate::control::client::Client;
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

/// Shows what `path` answers, as `text` has it, every so often until Ctrl-C. A daemon that is away is part of the picture:
/// it may be starting again.
pub(super) async fn shown(
    socket: &Path,
    path: &str,
    text: fn(&Value) -> String,
    every: Duration,
    as_json: bool,
) -> Exit {
    let client = match Client::new(socket) {
        Ok(client) => client,
        Err(error) => return output::complain(&error, as_json),
    };
    let in_place = !as_json && std::io::stdout().is_terminal();
    let mut ended = pin!(tokio::signal::ctrl_c());
    loop {
        // Ctrl-C must end this while a frozen daemon lets it wait, too.
        let answer = tokio::select! {
            _ = &mut ended => return Exit::Done,
            answer = client.get(path) => answer,
        };
        match answer {
            Ok(value) if as_json => output::data(&value.to_string()),
            Ok(value) => output::data(&frame(&text(&value), in_place)),
            Err(error) if as_json => {
                output::data(&json!({ "error": { "message": error.to_string() } }).to_string())
            }
            Err(error) if in_place => output::data(&frame(&error.to_string(), true)),
            Err(error) => output::talk(&format!("error: {error}")),
        }
        tokio::select! {
            _ = &mut ended => return Exit::Done,
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// A picture; on a terminal it takes the place of the one before, line by line, so that nothing flickers.
fn frame(picture: &str, in_place: bool) -> String {
    if !in_place {
        return format!("{picture}\n");
    }
    let lines: Vec<String> = picture.lines().map(|line| format!("{line}\x1b[K")).collect();
    format!("\x1b[H{}\n\x1b[J", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_takes_the_place_of_the_one_before_on_a_terminal_only() {
        assert_eq!(frame("a\nb", false), "a\nb\n");
        assert_eq!(frame("a\nb", true), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
    }
}
