//! Named places where a test makes the process die: `ZAIKOBAN_FAILPOINTS="fp4_before_commit=kill:5"`.
//!
//! Only builds with the feature `failpoints` have them. `kill:N` sends the process SIGKILL when the place is passed for
//! the Nth time, as a power cut would: nothing is flushed, nothing is told. Other actions are `fail`'s own
//! (`sleep(500)`, `panic`, `1*off->sleep(500)`). `fp7_leased@SKU` is passed by one listing only.

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::getpid;
use std::sync::atomic::{AtomicU32, Ordering};

/// Every place, in the order in which a change passes them (the fault catalogue's FP1 to FP12).
pub const PLACES: [&str; 12] = [
    "fp1_picked",
    "fp2_fetched",
    "fp3_parsed",
    "fp4_before_commit",
    "fp5_committed",
    "fp6_told",
    "fp7_leased",
    "fp8_before_send",
    "fp9_half_sent",
    "fp10_unread",
    "fp11_answered",
    "fp12_confirmed",
];

/// Before the key of the listing that the place is for.
const ONE_LISTING: &str = "fp7_leased@";

/// Arms what `plan` says: `place=action` joined by `;`.
///
/// # Errors
/// When a place is unknown or an action cannot be read.
pub fn arm(plan: &str) -> anyhow::Result<()> {
    for part in plan.split(';').filter(|p| !p.trim().is_empty()) {
        let (place, action) = part
            .trim()
            .split_once('=')
            .with_context(|| format!("`{part}`: expected place=action"))?;
        if !PLACES.contains(&place) && !place.starts_with(ONE_LISTING) {
            bail!("`{place}`: expected one of {}", PLACES.join(", "));
        }
        match action.strip_prefix("kill:") {
            Some(nth) => arm_kill(
                place,
                nth.parse()
                    .with_context(|| format!("`{action}`: expected kill:N"))?,
            )?,
            None => fail::cfg(place, action).map_err(|e| anyhow::anyhow!("`{action}`: {e}"))?,
        }
    }
    Ok(())
}

fn arm_kill(place: &str, nth: u32) -> anyhow::Result<()> {
    let passes = AtomicU32::new(0);
    let armed = fail::cfg_callback(place, move || {
        if passes.fetch_add(1, Ordering::SeqCst).saturating_add(1) == nth {
            let _dying = kill(getpid(), Signal::SIGKILL);
        }
    });
    armed.map_err(|e| anyhow::anyhow!("`{place}`: {e}"))
}
