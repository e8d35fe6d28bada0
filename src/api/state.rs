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
        let outcome = self.carried_out(order(self.ops.clone())).await?;
        data(outcome.map_err(ApiError)?)
    }

    /// The same for what answers with a text that nobody wraps.
    pub(super) async fn text<F, Fut>(&self, order: F) -> Result<String, ApiError>
    where
        F: FnOnce(Ops) -> Fut,
        Fut: Future<Output = String> + Send + 'static,
    {
        self.carried_out(order(self.ops.clone())).await
    }

    async fn carried_out<T>(&self, order: impl Future<Output = T> + Send + 'static) -> Result<T, ApiError>
    where
        T: Send + 'static,
    {
        self.runtime.spawn(order).await.map_err(|lost| {
            ApiError(OpsError::NotReady {
                what: "this order's worker",
                why: lost.to_string(),
            })
        })
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
