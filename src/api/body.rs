//! What a request carries: read to a limit, and told with an example when it cannot be read.

use super::envelope::ApiError;
use crate::ops::OpsError;
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;

/// The largest JSON body.
const MAX_JSON_BYTES: usize = 1 << 20;
/// The largest CSV import: 100,000 rows of 300 bytes.
const MAX_CSV_BYTES: usize = 32 << 20;

/// A body that can be shown.
pub(super) trait Shape: DeserializeOwned {
    /// How it looks.
    const EXAMPLE: &'static str;
    /// Whether a problem may show what was given: not where a secret stands, in which place ever.
    const MAY_BE_SHOWN: bool = true;
}

/// A JSON body, whatever its `content-type` says: the door admits nobody who would need to be told apart by that.
pub(super) struct Given<T>(pub(super) T);

/// A product list as it stands.
pub(super) struct Csv(pub(super) Bytes);

impl<T: Shape + 'static> FromRequest for Given<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = read(request, payload, MAX_JSON_BYTES);
        async move { understood(&body.await?).map(Self).map_err(ApiError) }.boxed_local()
    }
}

impl FromRequest for Csv {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = read(request, payload, MAX_CSV_BYTES);
        async move { body.await.map(Self) }.boxed_local()
    }
}

fn understood<T: Shape>(body: &[u8]) -> Result<T, OpsError> {
    serde_json::from_slice(body).map_err(|error| {
        let got = if body.is_empty() {
            "nothing".to_owned()
        } else if T::MAY_BE_SHOWN {
            error.to_string()
        } else {
            "something else, which is not shown here".to_owned()
        };
        OpsError::invalid("the request's body", T::EXAMPLE, &got)
    })
}

/// The whole body, at most `most_bytes` of it.
fn read(
    request: &HttpRequest,
    payload: &mut Payload,
    most_bytes: usize,
) -> LocalBoxFuture<'static, Result<Bytes, ApiError>> {
    let taken = web::Payload::from_request(request, payload);
    async move {
        let broken = |error: actix_web::Error| {
            ApiError(OpsError::invalid(
                "the request's body",
                "all of it",
                &error.to_string(),
            ))
        };
        let body = taken.await.map_err(broken)?;
        match body.to_bytes_limited(most_bytes).await {
            Ok(bytes) => bytes.map_err(broken),
            Err(_too_large) => Err(ApiError(OpsError::TooLarge { most_bytes })),
        }
    }
    .boxed_local()
}
