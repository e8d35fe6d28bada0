//! Backups of a real database by the real programs.

use super::kit::run;
use crate::support::pg::TestDb;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tokio::process::Command;
use zaikoban::schedule::{BackupPlace, ScheduleName, back_up};
use zaikoban::store::dump;

fn place(folder: &Path) -> BackupPlace {
    BackupPlace {
        folder: folder.join("backups"),
        binaries: None,
        search: zaikoban::config::search_path(),
    }
}

#[tokio::test]
async fn a_backup_is_whole_private_and_can_be_restored_from() {
    let t = TestDb::new().await;
    t.run(
        "INSERT INTO yahoo_scraped_products (id, title) VALUES (1, '日本語の題名');
         INSERT INTO inventory_management (product_id, source_platform, source_url) VALUES (1, 'yahoo', 'https://x/1')",
    )
    .await;
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path());
    std::fs::create_dir_all(&place.folder).unwrap();
    // what a run that was broken off left
    std::fs::write(place.folder.join("zaikoban-20260101T000000Z.dump.tmp"), "half").unwrap();
    let done = back_up(t.db(), &place, 4, &run(&t, ScheduleName::Backup).await)
        .await
        .unwrap();
    let details = done.details.unwrap();
    let file = Path::new(details["file"].as_str().unwrap());
    let mode = std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert!(details["bytes"].as_u64().unwrap() > 1_000 && details["entries"].as_u64().unwrap() > 50);
    assert_eq!(
        std::fs::read_dir(&place.folder).unwrap().count(),
        1,
        "nothing half-written is left"
    );
    // one that lost its end
    let major = u32::try_from(details["pg_dump"].as_u64().unwrap()).unwrap();
    let programs = dump::programs(None, place.search.as_deref(), major).unwrap();
    let bytes = std::fs::read(file).unwrap();
    let cut = folder.path().join("cut.dump");
    std::fs::write(&cut, &bytes[..bytes.len() - 1_000]).unwrap();
    assert!(dump::verify(&programs, file, &[]).await.is_ok());
    assert!(dump::verify(&programs, &cut, &[]).await.is_err());
    // into an empty database, by the tool that a person would take
    let empty = TestDb::empty().await;
    let program = format!("/usr/lib/postgresql/{}/bin/pg_restore", details["pg_dump"]);
    let restored = Command::new(program)
        .args([
            "--exit-on-error",
            "--no-owner",
            "-h",
            &crate::support::pg::socket_folder(),
            "-U",
            "postgres",
            "-d",
        ])
        .arg(empty.name())
        .arg(file)
        .output()
        .await
        .unwrap();
    assert!(
        restored.status.success(),
        "{}",
        String::from_utf8_lossy(&restored.stderr)
    );
    let title =
        "SELECT p.title FROM yahoo_scraped_products p JOIN inventory_management m ON m.product_id = p.id";
    assert_eq!(empty.text(title).await, "日本語の題名");
}

#[tokio::test]
async fn without_a_program_the_run_says_what_to_install_and_leaves_nothing() {
    let t = TestDb::new().await;
    let folder = tempfile::tempdir().unwrap();
    let programs = folder.path().join("bin");
    std::fs::create_dir(&programs).unwrap();
    for name in ["pg_dump", "pg_restore"] {
        let program = programs.join(name);
        std::fs::write(&program, "#!/bin/sh\necho \"$0 (PostgreSQL) 9.6.1\"\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let error = dump::programs(Some(&programs), None, 99).unwrap_err().to_string();
    assert!(
        error.contains("apt-get install postgresql-client-99") && error.contains("there is 9"),
        "{error}"
    );
    // one that fails half-way
    std::fs::write(
        programs.join("pg_dump"),
        "#!/bin/sh\n[ \"$1\" = --version ] && { echo 'pg_dump (PostgreSQL) 98.1'; exit; }\necho 'no space left' >&2\nexit 1\n",
    )
    .unwrap();
    let mut broken = place(folder.path());
    broken.binaries = Some(programs.clone());
    let path = std::env::join_paths([programs]).unwrap();
    broken.search = Some(path);
    let found = dump::programs(broken.binaries.as_deref(), None, 50).unwrap();
    assert_eq!(found.major, 98);
    let failed = zaikoban::store::dump::dump(t.db().settings(), &found, &folder.path().join("x"))
        .await
        .unwrap_err();
    assert_eq!(failed.to_string(), "`pg_dump` failed: no space left");
}
