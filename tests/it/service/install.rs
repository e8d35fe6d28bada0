//! `scripts/install` into a folder, and what systemd says of the units.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_zaikoban");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs the script; whether it went well, and what it said.
fn install(into: &Path, words: &[&str]) -> (bool, String) {
    let out = Command::new(root().join("scripts/install"))
        .args(words)
        .env("DESTDIR", into)
        .current_dir("/")
        .output()
        .unwrap();
    assert!(out.stdout.is_empty());
    (out.status.success(), String::from_utf8(out.stderr).unwrap())
}

/// Every path below `folder` with its mode, size and time of change.
fn tree(folder: &Path) -> BTreeMap<PathBuf, (u32, u64, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let size = if meta.is_dir() { 0 } else { meta.len() };
            let time = meta.modified().unwrap();
            if meta.is_dir() {
                folders.push(path.clone());
            }
            let inside = path.strip_prefix(folder).unwrap().to_path_buf();
            found.insert(inside, (meta.permissions().mode() & 0o7777, size, time));
        }
    }
    found
}

#[test]
fn installing_twice_is_installing_once_and_what_is_the_operators_stays() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path();
    let (well, said) = install(into, &["--binary", PROGRAM, "--dry-run"]);
    assert!(
        well && said.contains("would write") && tree(into).is_empty(),
        "{said}"
    );

    let (well, said) = install(into, &["--binary", PROGRAM, "--prefix", "/opt/z"]);
    assert!(well, "{said}");
    assert!(said.contains("systemctl enable --now zaikoban"), "{said}");
    let first = tree(into);
    let mode = |path: &str| {
        first
            .get(Path::new(path))
            .unwrap_or_else(|| panic!("{path}: {first:?}"))
            .0
    };
    assert_eq!(mode("opt/z/bin/zaikoban"), 0o755);
    assert_eq!(mode("etc/zaikoban/zaikoban.toml"), 0o640);
    assert_eq!(mode("etc/zaikoban"), 0o750);
    assert_eq!(mode("var/lib/zaikoban"), 0o700);
    assert_eq!(mode("etc/systemd/system/zaikoban.service"), 0o644);
    assert_eq!(mode("usr/lib/sysusers.d/zaikoban.conf"), 0o644);
    assert_eq!(mode("opt/z/share/man/man1/zaikoban-config-import.1"), 0o644);
    assert_eq!(mode("opt/z/share/bash-completion/completions/zaikoban"), 0o644);
    let unit = std::fs::read_to_string(into.join("etc/systemd/system/zaikoban.service")).unwrap();
    assert!(
        unit.contains("ExecStart=/opt/z/bin/zaikoban run") && !unit.contains("/usr/local"),
        "{unit}"
    );

    let (well, said) = install(into, &["--binary", PROGRAM, "--prefix", "/opt/z"]);
    assert!(well && said.contains("everything was there already"), "{said}");
    assert_eq!(tree(into), first);

    let toml = into.join("etc/zaikoban/zaikoban.toml");
    std::fs::write(&toml, "# mine\n").unwrap();
    std::fs::write(into.join("var/lib/zaikoban/kept"), "state").unwrap();
    std::fs::write(into.join("opt/z/share/man/man1/zaikoban-status.1"), "old").unwrap();
    let (well, said) = install(into, &["--binary", PROGRAM, "--prefix=/opt/z"]);
    assert!(
        well && said.contains("was left as it is") && said.contains("zaikoban-status.1"),
        "{said}"
    );
    assert_eq!(std::fs::read_to_string(&toml).unwrap(), "# mine\n");

    let (well, said) = install(into, &["--uninstall", "--prefix", "/opt/z"]);
    assert!(well, "{said}");
    let files: Vec<PathBuf> = tree(into)
        .into_keys()
        .filter(|path| into.join(path).is_file())
        .collect();
    let left = ["credentials.conf", "network.conf"]
        .map(|name| PathBuf::from(format!("etc/systemd/system/zaikoban.service.d/{name}.example")));
    let left = [
        &left[..],
        &[
            "etc/zaikoban/zaikoban.toml".into(),
            "var/lib/zaikoban/kept".into(),
        ],
    ]
    .concat();
    assert_eq!(files, left, "{said}");
    let (well, _) = install(into, &["--uninstall", "--purge", "--prefix", "/opt/z"]);
    assert!(well && !tree(into).keys().any(|path| into.join(path).is_file()));
    assert!(
        install(into, &["--uninstall", "--purge", "--prefix", "/opt/z"]).0,
        "nothing is left to take away"
    );
}

#[test]
fn everything_that_is_wrong_with_an_installation_is_said_before_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let (well, said) = install(
        folder.path(),
        &["--prefix", "usr", "--binary", "/nonexistent", "--purge"],
    );
    assert!(!well && tree(folder.path()).is_empty());
    for wrong in ["--prefix `usr`", "--binary `/nonexistent`", "--purge"] {
        assert!(said.contains(wrong), "{wrong}: {said}");
    }
    assert!(!install(folder.path(), &["--nonsense"]).0);
}

/// Only where systemd is installed: the units are for nobody else.
#[test]
fn systemd_takes_the_units_and_calls_the_sandbox_tight() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let drop_ins = folder.path().join("zaikoban.service.d");
    std::fs::create_dir(&drop_ins).unwrap();
    let unit = folder.path().join("zaikoban.service");
    let text = std::fs::read_to_string(root().join("systemd/zaikoban.service")).unwrap();
    std::fs::write(&unit, text.replace("/usr/local/bin/zaikoban", PROGRAM)).unwrap();
    let judged = |words: &[&str]| {
        let out = Command::new("systemd-analyze")
            .args(words)
            .arg(&unit)
            .output()
            .unwrap();
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        (out.status.success(), said)
    };
    for drop_in in ["none", "credentials", "network"] {
        if drop_in != "none" {
            let example = root().join(format!("systemd/zaikoban.service.d/{drop_in}.conf.example"));
            std::fs::copy(example, drop_ins.join(format!("{drop_in}.conf"))).unwrap();
        }
        let (well, said) = judged(&["verify", "--man=no"]);
        assert!(well && said.trim().is_empty(), "with {drop_in}: {said}");
        let (well, said) = judged(&["security", "--offline=true", "--threshold=15", "--no-pager"]);
        assert!(well, "with {drop_in}: {said}");
    }
}
