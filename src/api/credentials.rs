//! What lets the daemon in at the platforms: values go in, none comes out.

use super::body::{Given, Shape};
use super::envelope::Answer;
use super::query::Query;
use super::state::{Caller, State};
use crate::ops;
use actix_web::web::{Data, Path};

impl Shape for ops::CredentialsOrder {
    const EXAMPLE: &'static str = r#"{"fields": {"client_id": "…", "client_secret": "…"}}"#;
    const MAY_BE_SHOWN: bool = false;
}
impl Shape for ops::CredentialsRemoval {
    const EXAMPLE: &'static str = r#"{"fields": ["refresh_token"]}, or {} for all"#;
}
impl Shape for ops::CredentialsRotation {
    const EXAMPLE: &'static str = r#"{"new_key": false}"#;
}
impl Shape for ops::ConsentAnswer {
    const EXAMPLE: &'static str = r#"{"answer": "the code, or the address that holds it"}"#;
    const MAY_BE_SHOWN: bool = false;
}

pub(super) async fn list(state: Data<State>, query: Query) -> Answer {
    query.end()?;
    state.answer(|ops| async move { ops.credentials().await }).await
}

pub(super) async fn set(
    state: Data<State>,
    caller: Caller,
    platform: Path<String>,
    body: Given<ops::CredentialsOrder>,
) -> Answer {
    let order = body.0;
    state
        .answer(move |ops| async move { ops.set_credentials(&platform, order, &caller.0).await })
        .await
}

pub(super) async fn remove(
    state: Data<State>,
    caller: Caller,
    platform: Path<String>,
    body: Given<ops::CredentialsRemoval>,
) -> Answer {
    let order = body.0;
    state
        .answer(move |ops| async move { ops.remove_credentials(&platform, order, &caller.0).await })
        .await
}

pub(super) async fn rotate(
    state: Data<State>,
    caller: Caller,
    body: Given<ops::CredentialsRotation>,
) -> Answer {
    let order = body.0;
    state
        .answer(move |ops| async move { ops.rotate_credentials(order, &caller.0).await })
        .await
}

pub(super) async fn consent(state: Data<State>, platform: Path<String>) -> Answer {
    state
        .answer(move |ops| async move { ops.begin_consent(&platform).await })
        .await
}

pub(super) async fn authorize(
    state: Data<State>,
    caller: Caller,
    platform: Path<String>,
    body: Given<ops::ConsentAnswer>,
) -> Answer {
    let answer = body.0;
    state
        .answer(move |ops| async move { ops.end_consent(&platform, answer, &caller.0).await })
        .await
}
