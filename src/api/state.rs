//! What every handler has: the orders, the runtime that they are carried out on, and who asks.

use super::envelope::{Answer, ApiError, data};
use crate::ops::{Ops, OpsError};
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use serde::Serialize;
use std::future::{Future, Ready, ready};

/// What the handlers share.
#[derive(Clone)]
pub struct State {
    pub(super) ops: Ops,
    runtime: tokio::runtime::Handle,
}

impl State {
    /// Orders go to `ops`, on `runtime`.
    #[must_use]
    pub fn new(ops: Ops, runtime: tokio::runtime::Handle) -> Self {
        Self { ops, runtime }
    }

    /// Carries an order out on the shared runtime, and wraps what it answers. It runs to its end though the caller go away.
    pub(super) async fn answer<T, F, Fut>(&self, order: F) -> Answer
    where
        F: FnOnce(Ops) -> Fut,
        Fut: Future<Output = Result<T, OpsError>> + Send + 'static,
        T: Serialize + Send + 'static,
    {
        let task = self.runtime.spawn(order(self.ops.clone()));
        match task.await {
            Ok(outcome) => data(outcome.map_err(ApiError)?),
            Err(lost) => Err(ApiError(OpsError::NotReady {
                what: "this order's worker",
                why: lost.to_string(),
            })),
        }
    }
}

/// Who asks, as the door knows them: `uid 1000 (alice)`.
#[derive(Clone, Debug)]
pub struct Caller(pub String);

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let known = request.extensions().get::<Self>().cloned();
        ready(known.ok_or_else(|| {
            ApiError(OpsError::Conflict {
                message: "the connection does not say who asks".to_owned(),
                hint: None,
            })
        }))
    }
}
