//! E: values that are absurd, hostile or too many.

use crate::support::hostile;
use crate::support::long::long_or;
use crate::support::pg::TestDb;
use crate::sync::stage::{Stage, shows, usd};
use std::path::Path;
use zaikoban::store::errors::{self, ErrorRecord, ErrorType, Severity};

/// A number that overflows is seen in the program that is shipped, too.
#[test]
fn e1_the_released_program_checks_its_arithmetic() {
    let manifest = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let release = &manifest["profile"]["release"];
    assert_eq!(release["overflow-checks"].as_bool(), Some(true));
    assert_eq!(
        release["panic"].as_str(),
        Some("unwind"),
        "a panic is caught, not an abort"
    );
}

/// The corpus as what an error row keeps: stored without what PostgreSQL does not take, and read back.
#[tokio::test]
async fn e8_an_error_row_keeps_a_hostile_value_and_gives_it_back() {
    let t = TestDb::new().await;
    let all = hostile::all();
    for (nth, value) in all.iter().enumerate() {
        let mut conn = t.db().conn().await.unwrap();
        let record = ErrorRecord {
            error_type: ErrorType::ApiError,
            code: Some(value.clone()),
            message: value.clone(),
            product_id: None,
            platform: None,
            severity: Severity::Low,
            fingerprint: format!("e8 {nth}"),
            details: Some(
                serde_json::json!({ "a": value, (value.chars().take(50).collect::<String>()): [value] }),
            ),
        };
        errors::record(&mut conn, &record).await.unwrap_or_else(|error| {
            panic!(
                "{}: {error}",
                value.chars().take(60).collect::<String>().escape_debug()
            );
        });
    }
    let kept = "SELECT count(*) FROM inventory_errors WHERE fingerprint LIKE 'e8 %'";
    assert_eq!(t.text(kept).await, all.len().to_string());
    assert_eq!(
        t.text("SELECT error_message FROM inventory_errors WHERE error_message LIKE '''; DROP TABLE%'")
            .await,
        "'; DROP TABLE alerts; --"
    );
}

/// One listing that moves again and again while its destination is slow: one job, and the newest in the end.
#[actix::test]
async fn e10_a_hot_listing_is_one_job_however_often_it_moves() {
    let mut s = Stage::new(2).await;
    s.start();
    let door = s.fake.hold_writes().await;
    let times = long_or(5_000, 300);
    for n in 1..=times {
        s.want(1, 1 + n % 5, usd(20 + n % 7)).await;
        if n % 50 == 0 {
            let jobs: i64 = s.jobs_of(1).await.parse().unwrap();
            assert!(jobs <= 1, "{jobs} jobs for one listing");
        }
    }
    assert!(
        s.fake.writes_to("sku-1").len() <= 1,
        "{:?}",
        s.fake.writes_to("sku-1")
    );
    drop(door);
    s.in_line(1).await;
    assert_eq!(s.fake.shown("sku-1"), shows(1 + times % 5, 20 + times % 7));
    let writes = s.fake.writes_to("sku-1").len();
    assert!(writes <= 5, "{writes} writes for {times} moves");
    let rows = "SELECT count(*) FROM processing_queue WHERE status IN ('pending', 'failed', 'processing')";
    assert_eq!(s.t.text(rows).await, "0");
}
