//! The command line as a person or a script uses it: the real program, its exit code, and what it says where.

use super::world::{PROGRAM, World};
use serde_json::Value;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// What a command left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// The program, which speaks to the daemon behind `socket`.
pub fn command(socket: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(words)
        .env_clear()
        .env("ZAIKOBAN_SOCKET", socket)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs the program against the daemon behind `socket`.
pub async fn run(socket: &Path, words: &[&str]) -> Ran {
    ended(command(socket, words)).await
}

/// Runs it with this on its standard input.
pub async fn run_with(socket: &Path, words: &[&str], input: &str) -> Ran {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input.as_bytes()).unwrap();
    file.rewind().unwrap();
    let mut command = command(socket, words);
    command.stdin(Stdio::from(file));
    ended(command).await
}

async fn ended(mut command: Command) -> Ran {
    let output = timeout(Duration::from_secs(60), command.output())
        .await
        .unwrap()
        .unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl World {
    /// Runs a command against this daemon.
    pub async fn cli(&self, words: &str) -> Ran {
        let words: Vec<&str> = words.split_whitespace().collect();
        run(&self.daemon.socket(), &words).await
    }

    /// The data of a command that must succeed.
    pub async fn json(&self, words: &str) -> Value {
        let ran = self.cli(&format!("--json {words}")).await;
        assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{words}: {ran:?}");
        serde_json::from_str(&ran.out).unwrap()
    }

    /// What a command that must succeed says; nothing of it is data.
    pub async fn said(&self, words: &str) -> String {
        let ran = self.cli(words).await;
        assert_eq!((ran.code, &*ran.out), (Some(0), ""), "{words}: {ran:?}");
        ran.err
    }

    /// What a command shows that must succeed; nothing of it is talk.
    pub async fn shown(&self, words: &str) -> String {
        let ran = self.cli(words).await;
        assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{words}: {ran:?}");
        ran.out
    }

    /// What a command says that must be refused: nothing on stdout, and with `--json` the same as data.
    pub async fn refused(&self, words: &str) -> String {
        let ran = self.cli(words).await;
        assert_eq!((ran.code, &*ran.out), (Some(1), ""), "{words}: {ran:?}");
        assert!(ran.err.starts_with("error: "), "{words}: {ran:?}");
        let again = self.cli(&format!("--json {words}")).await;
        assert_eq!((again.code, &again.err), (Some(1), &ran.err), "{words}");
        let data: Value = serde_json::from_str(&again.out).unwrap();
        let message = data["error"]["message"].as_str().unwrap();
        assert!(ran.err.contains(message), "{words}: {data}");
        ran.err
    }
}

#[tokio::test]
async fn without_a_daemon_a_command_says_where_it_looked_and_exits_69() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run(&folder.path().join("none.sock"), &["status"]).await;
    assert_eq!((ran.code, &*ran.out), (Some(69), ""), "{ran:?}");
    assert!(ran.err.contains("no daemon answers on `"), "{ran:?}");
    assert!(ran.err.contains("hint: start it with `zaikoban run`"), "{ran:?}");
}

#[tokio::test]
async fn arguments_that_cannot_be_read_exit_2() {
    let ran = run(Path::new("/nowhere"), &["products", "pause"]).await;
    assert_eq!((ran.code, &*ran.out), (Some(2), ""), "{ran:?}");
    assert!(ran.err.contains("Usage: zaikoban products pause"), "{ran:?}");
}
