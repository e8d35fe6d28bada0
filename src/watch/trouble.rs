//! What a person is told when watching meets trouble: rows of `inventory_errors`, one for one trouble.
//!
//! None of it may stop the watching: a row that cannot be written is logged, and the numbers have counted it.

use super::ledger::{MassHeld, Record, Recorded};
use super::patrol::Tallied;
use crate::domain::{ErrorClass, HoldId, Platform, SourcePlatform, WatchId};
use crate::store::errors::{ErrorRecord, ErrorType, Severity, record_times};
use crate::store::watches::{self, BadWatch};
use crate::store::{Db, StoreError};
use crate::supervision::Exit;
use crate::telemetry::ErrorChain;
use serde_json::json;

/// The blast radius put changes on hold.
pub(super) async fn mass_change(db: &Db, mass: MassHeld) {
    let platform = Platform::from(mass.source);
    let message = format!(
        "{} of {} products at {platform} would have gone out of stock within minutes, unannounced: from then on each \
         waits for a person, and is read again at its deadline (`zaikoban holds list`)",
        mass.gone, mass.products
    );
    tracing::error!(%platform, gone = mass.gone, of = mass.products, "{message}");
    let error = ErrorRecord {
        error_type: ErrorType::StockUnavailable,
        code: Some("mass_change".to_owned()),
        message,
        product_id: None,
        platform: Some(platform),
        severity: Severity::Critical,
        fingerprint: format!("mass_change:{platform}"),
        details: Some(json!({ "gone": mass.gone, "of": mass.products })),
    };
    write(db, &[(error, mass.held)]).await;
}

/// A record that the database refuses.
pub(super) async fn rejected(db: &Db, rejected: &Record, why: &StoreError) {
    let error = ErrorRecord {
        error_type: ErrorType::ApiError,
        code: Some(
            why.sqlstate()
                .map_or_else(|| "unstorable".to_owned(), |s| s.to_string()),
        ),
        message: format!(
            "what was read of watch `{}` cannot be stored: {why}",
            rejected.watch_id
        ),
        product_id: Some(rejected.product_id),
        platform: Some(Platform::from(rejected.source)),
        severity: Severity::High,
        fingerprint: format!("unstorable:watch:{}", rejected.watch_id),
        details: Some(
            json!({ "watch_id": rejected.watch_id, "base_version": rejected.base_version, "fetched_at": rejected.fetched_at }),
        ),
    };
    write(db, &[(error, 1)]).await;
}

/// Things that took effect and that a person should know, to be written: of what was not recorded nothing took effect.
pub(super) fn notices(records: &[Record], recorded: &[Recorded]) -> Vec<(ErrorRecord, u64)> {
    let took_effect =
        |recorded: &Recorded| matches!(recorded, Recorded::Committed { .. } | Recorded::MassHeld { .. });
    records
        .iter()
        .zip(recorded)
        .filter(|(_, recorded)| took_effect(recorded))
        .filter_map(|(record, _)| Some((notice(record)?, 1)))
        .collect()
}

fn notice(of: &Record) -> Option<ErrorRecord> {
    let notice = of.news.as_deref()?.notice.as_ref()?;
    Some(ErrorRecord {
        error_type: ErrorType::PriceChanged,
        code: Some(notice.code.to_owned()),
        message: format!("product `{}`: {}", of.product_id, notice.message),
        product_id: Some(of.product_id),
        platform: Some(Platform::from(of.source)),
        severity: Severity::Medium,
        fingerprint: format!("{}:watch:{}", notice.code, of.watch_id),
        details: Some(notice.detail.clone()),
    })
}

/// Looks that gave nothing, by cause. Answers those that could not be written.
pub(super) async fn failed_checks(db: &Db, causes: Vec<Tallied>) -> Vec<Tallied> {
    let errors: Vec<_> = causes.iter().map(|cause| (failed(cause), cause.count)).collect();
    if write(db, &errors).await {
        Vec::new()
    } else {
        causes
    }
}

fn failed(cause: &Tallied) -> ErrorRecord {
    ErrorRecord {
        error_type: ErrorType::ApiError,
        code: Some(cause.error.code.to_string()),
        message: cause.error.message.to_string(),
        product_id: None,
        platform: Some(cause.platform),
        severity: match cause.error.class {
            // A person has to do something, or every price here may soon be wrong.
            ErrorClass::Protocol | ErrorClass::Unauthorized => Severity::High,
            ErrorClass::Blocked | ErrorClass::Rejected => Severity::Medium,
            ErrorClass::Transient | ErrorClass::RateLimited { .. } | ErrorClass::NotFound => Severity::Low,
        },
        fingerprint: cause.fingerprint.clone(),
        details: Some(
            json!({ "class": cause.error.class.as_str(), "missing": cause.error.missing, "latest_watch_id": cause.watch_id }),
        ),
    }
}

/// A row that cannot be watched.
pub(super) async fn bad_watch(db: &Db, bad: &BadWatch) {
    let error = ErrorRecord {
        error_type: ErrorType::ApiError,
        code: Some("bad_row".to_owned()),
        message: bad.to_string(),
        product_id: None,
        platform: None,
        severity: Severity::High,
        fingerprint: format!("bad_row:watch:{}", bad.watch_id),
        details: Some(json!({ "watch_id": bad.watch_id })),
    };
    write(db, &[(error, 1)]).await;
}

/// A hold that its deadline cannot settle.
pub(super) async fn unsettled_hold(db: &Db, hold: HoldId, why: &str) {
    let error = ErrorRecord {
        error_type: ErrorType::ApiError,
        code: Some("unsettled_hold".to_owned()),
        message: format!("hold `{hold}` cannot be settled at its deadline and waits for a person: {why}"),
        product_id: None,
        platform: None,
        severity: Severity::High,
        fingerprint: format!("unsettled_hold:{hold}"),
        details: Some(json!({ "hold_id": hold })),
    };
    write(db, &[(error, 1)]).await;
}

/// A watcher that keeps crashing: its row says so, and a person is told.
pub(super) async fn quarantined(db: &Db, watch: WatchId, source: SourcePlatform, exit: &Exit, crashes: u32) {
    let marked = match db.conn().await {
        Ok(mut conn) => watches::quarantine(&mut conn, watch).await,
        Err(error) => Err(error),
    };
    if let Err(error) = marked {
        tracing::error!(watch.id = %watch, error = %ErrorChain(&error), "The quarantine of watch `{watch}` is not kept");
    }
    let error = ErrorRecord {
        error_type: ErrorType::ApiError,
        code: Some("quarantined".to_owned()),
        message: format!(
            "the watcher of watch `{watch}` crashed {crashes} times and is not watched any more; see the log, then \
             `zaikoban products resume`"
        ),
        product_id: None,
        platform: Some(Platform::from(source)),
        severity: Severity::Critical,
        fingerprint: format!("quarantined:watch:{watch}"),
        details: Some(json!({ "watch_id": watch, "exit": format!("{exit:?}") })),
    };
    write(db, &[(error, 1)]).await;
}

/// Whether they could be written; each with how often it was met.
pub(super) async fn write(db: &Db, errors: &[(ErrorRecord, u64)]) -> bool {
    let written = record_all(db, errors).await;
    if let Err(error) = &written {
        tracing::warn!(error = %ErrorChain(error), rows = errors.len(), "Errors could not be recorded");
    }
    written.is_ok()
}

async fn record_all(db: &Db, errors: &[(ErrorRecord, u64)]) -> Result<(), StoreError> {
    let mut conn = db.conn().await?;
    for (error, times) in errors {
        record_times(&mut conn, error, *times).await?;
    }
    Ok(())
}
