//! Rows and answers that no rule of ours wrote, and a database that is slow.

use super::fake::Does;
use super::stage::{Stage, book, quick, shows, usd};
use crate::support::wait::until;
use diesel_async::SimpleAsyncConnection as _;
use std::time::Duration;
use zaikoban::clock::Clock;
use zaikoban::sync::SyncSettings;
use zaikoban::sync::reprice::{Repriced, Scope, reprice};

#[actix::test]
async fn an_answer_with_a_nul_in_it_is_kept_without() {
    let mut s = Stage::new(2).await;
    s.fake.will("sku-1", Does::Garble);
    s.start();
    s.want(1, 1, usd(25)).await;
    s.want(2, 1, usd(25)).await;
    s.held(1, "refused").await;
    s.in_line(2).await;
    let kept =
        s.t.text("SELECT error->>'body' FROM sync_log WHERE outcome = 'rejected'")
            .await;
    assert_eq!(kept, "a\u{fffd}b");
}
