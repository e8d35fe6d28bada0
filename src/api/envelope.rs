//! One envelope for every answer: `{"data": …}` or `{"error": {code, message, problems, hint}}`.

use crate::ops::OpsError;
use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use serde::Serialize;
use serde_json::json;
use std::fmt;

/// What every handler answers.
pub(super) type Answer = Result<HttpResponse, ApiError>;

/// Wraps what was asked for.
pub(super) fn data(value: impl Serialize) -> Answer {
    Ok(HttpResponse::Ok().json(json!({ "data": value })))
}

/// A refusal or failure as the door shows it.
#[derive(Debug)]
pub struct ApiError(pub(super) OpsError);

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<OpsError> for ApiError {
    fn from(error: OpsError) -> Self {
        Self(error)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match &self.0 {
            OpsError::NotFound { .. } => StatusCode::NOT_FOUND,
            OpsError::Invalid { .. } | OpsError::BadSettings { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            OpsError::Conflict { .. } => StatusCode::CONFLICT,
            OpsError::NotReady { .. } | OpsError::Away { .. } | OpsError::NotKept { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            OpsError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            OpsError::Platform { .. } => StatusCode::BAD_GATEWAY,
            OpsError::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status_code()).json(json!({ "error": {
            "code": self.0.code(),
            "message": self.0.to_string(),
            "problems": self.0.problems(),
            "hint": self.0.hint(),
        }}))
    }
}
