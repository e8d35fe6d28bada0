//! `zaikoban config import`: the old `.env`, taken over as far as it can be.

use super::output::{self, Exit};
use crate::config::{self, Import, KeptSecret};
use secrecy::ExposeSecret as _;
use serde_json::json;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// An old file larger than this is something else.
const MAX_BYTES: u64 = 1 << 20;

pub(super) fn run(file: &Path, secrets_dir: Option<&Path>, as_json: bool) -> Exit {
    let text = match read(file) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("cannot read `{}`: {error}", file.display());
            output::fail("unreadable", &message, &[], None, as_json);
            return Exit::Failed;
        }
    };
    // The settings name the files from wherever the daemon runs.
    let dir = secrets_dir.map(|dir| std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf()));
    let import = match config::import(&text, dir.as_deref()) {
        Ok(import) => import,
        Err(lines) => {
            let told = json!({ "error": { "code": "unreadable", "message": "the old file has lines that cannot be read",
                                          "problems": lines } });
            if as_json {
                output::json(&told);
            }
            output::talk(&format!(
                "error: `{}` has {} line(s) that cannot be read; nothing was taken over",
                file.display(),
                lines.len()
            ));
            lines.iter().for_each(|line| output::talk(&format!("  {line}")));
            return Exit::Failed;
        }
    };
    if let Some(dir) = &dir
        && let Err(error) = keep(dir, &import.secrets)
    {
        output::fail("unwritable", &error, &[], None, as_json);
        return Exit::Failed;
    }
    show(&import, dir.as_deref(), as_json);
    if import.notes.iter().any(|note| note.kind == "unusable") {
        Exit::Failed
    } else {
        Exit::Done
    }
}

fn read(file: &Path) -> io::Result<String> {
    let size = std::fs::metadata(file)?.len();
    if size > MAX_BYTES {
        return Err(io::Error::other(format!(
            "it has {size} bytes, and settings at most 1 MiB"
        )));
    }
    std::fs::read_to_string(file)
}

/// Writes each secret into a file of its own. None is written over: it may be newer than the old settings.
fn keep(dir: &Path, secrets: &[KeptSecret]) -> Result<(), String> {
    let there: Vec<String> = secrets
        .iter()
        .map(|secret| dir.join(secret.file))
        .filter(|path| path.symlink_metadata().is_ok())
        .map(|path| format!("`{}`", path.display()))
        .collect();
    if !there.is_empty() {
        return Err(format!(
            "{} there already: move away what is old; nothing was written",
            there.join(", ")
        ));
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| format!("cannot make `{}`: {error}", dir.display()))?;
    for secret in secrets {
        let path = dir.join(secret.file);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(secret.value.expose_secret().as_bytes()));
        written.map_err(|error| format!("cannot write `{}`: {error}", path.display()))?;
    }
    Ok(())
}

fn show(import: &Import, dir: Option<&Path>, as_json: bool) {
    let file = |secret: &KeptSecret| dir.map(|dir| dir.join(secret.file).display().to_string());
    if as_json {
        let secrets: Vec<_> = import
            .secrets
            .iter()
            .map(|s| json!({ "name": s.name, "file": file(s) }))
            .collect();
        output::json(&json!({ "toml": import.toml, "secrets": secrets, "notes": import.notes }));
        return;
    }
    output::data(&import.toml);
    for secret in &import.secrets {
        output::talk(&format!(
            "written: {} to `{}`",
            secret.name,
            file(secret).unwrap_or_default()
        ));
    }
    if let (Some(dir), false) = (dir, import.secrets.is_empty()) {
        output::talk(&format!(
            "only you can read them: `chown -R zaikoban: {}` gives them to the service",
            dir.display()
        ));
    }
    for (kind, heading) in [
        ("credential", "needs you"),
        ("unusable", "could not be used"),
        ("no_counterpart", "no counterpart"),
        ("unknown", "not known"),
    ] {
        for note in import.notes.iter().filter(|note| note.kind == kind) {
            output::talk(&format!("{heading}: {}: {}", note.name, note.what));
        }
    }
}
