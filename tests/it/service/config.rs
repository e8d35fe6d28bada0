//! `config show` and `config import`, by the real program.

use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

fn run(words: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_zaikoban"))
        .args(words)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn settings_are_shown_with_where_each_is_from_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(
        folder.path(),
        "z.toml",
        "[database]\nurl = 'postgres://u:canary@h/d'\n[watch]\nmax_interval_s = 77\n",
    );
    let set = [
        ("ZAIKOBAN_DAEMON__DRAIN_S", "5"),
        ("ZAIKOBAN_SENTRY__DSN", "https://canary@h/1"),
    ];
    let (code, out, err) = run(&["config", "show", "--config", &file], &set);
    assert_eq!((code, &*err), (Some(0), ""));
    assert!(!out.contains("canary"), "{out}");
    let line = |key: &str| {
        let line = out
            .lines()
            .find(|l| l.split_whitespace().next() == Some(key))
            .unwrap();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("watch.max_interval_s"), format!("77 {file}:4:1"));
    assert_eq!(line("daemon.drain_s"), "5 $ZAIKOBAN_DAEMON__DRAIN_S");
    assert_eq!(line("database.url"), format!("(secret) {file}:2:1"));
    assert_eq!(line("log.dir"), "(not set) default");
    assert_eq!(line("pricing.destinations.ebay.fee_bp"), "1325 default");

    let (code, out, _) = run(&["config", "show", "--json", "--config", &file], &set);
    let all: Value = serde_json::from_str(&out).unwrap();
    assert!(code == Some(0) && !out.contains("canary"));
    let of = |key: &str| {
        all["settings"]
            .as_array()
            .unwrap()
            .iter()
            .find(|s| s["key"] == key)
            .unwrap()
    };
    assert_eq!(of("watch.max_interval_s")["value"], 77);
    assert_eq!(of("sentry.dsn")["from"], "$ZAIKOBAN_SENTRY__DSN");

    let spoilt = write(folder.path(), "bad.toml", "[watch]\nmax_interval = 1\n");
    let (code, out, err) = run(&["config", "show", "--config", &spoilt], &[]);
    assert_eq!((code, &*out), (Some(78), ""));
    assert!(err.contains("did you mean `watch.max_interval_s`?"), "{err}");
}

#[test]
fn an_old_env_is_taken_over_and_its_secrets_are_kept_apart() {
    let folder = tempfile::tempdir().unwrap();
    let old = write(
        folder.path(),
        "old.env",
        "export DB_HOST=db.example\nDB_NAME=shop\nDB_PASSWORD=\"canary\"\nEBAY_APP_ID=App # ours\n\
         EBAY_CERT_ID='canary'\nREDIS_HOST=x\nNODE_ENV=production\n",
    );
    let dir = folder.path().join("secrets");
    let dir = dir.to_str().unwrap();
    let (code, out, err) = run(&["config", "import", &old, "--secrets-dir", dir], &[]);
    assert_eq!(code, Some(0), "{err}");
    assert!(!format!("{out}{err}").contains("canary"), "{out}{err}");
    assert!(
        err.contains("no counterpart: REDIS_HOST") && err.contains("not known: NODE_ENV"),
        "{err}"
    );
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(Path::new(dir)), 0o700);
    let secret = Path::new(dir).join("ebay.secret");
    assert_eq!(
        (mode(&secret), std::fs::read_to_string(&secret).unwrap().as_str()),
        (0o600, "canary")
    );
    let file = write(folder.path(), "new.toml", &out);
    let (code, _, err) = run(&["config", "check", "--config", &file], &[]);
    assert_eq!(code, Some(0), "{err}\n{out}");

    // None is written over.
    let (code, out, err) = run(&["config", "import", &old, "--secrets-dir", dir], &[]);
    assert_eq!((code, &*out), (Some(1), ""));
    assert!(err.contains("nothing was written"), "{err}");

    let (code, out, err) = run(&["config", "import", &old], &[]);
    assert_eq!(code, Some(0));
    assert!(!format!("{out}{err}").contains("canary"), "{out}{err}");
    assert!(
        err.contains("needs you: DB_PASSWORD") && err.contains("needs you: EBAY_CERT_ID"),
        "{err}"
    );

    let broken = write(folder.path(), "broken.env", "A=1\nwhat is this\nB='x\n");
    let (code, out, err) = run(&["config", "import", &broken], &[]);
    assert_eq!((code, &*out), (Some(1), ""));
    assert!(err.contains("line 2:") && err.contains("line 3:"), "{err}");
    assert_eq!(run(&["config", "import", "/nonexistent"], &[]).0, Some(1));
}
