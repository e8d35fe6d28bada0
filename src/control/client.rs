//! Talks to a running daemon over its socket.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why an order to the daemon gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error("no daemon answers on `{}`: {cause}", socket.display())]
    Away {
        /// Where it should listen.
        socket: PathBuf,
        /// What the connection said.
        cause: String,
    },
    /// The daemon understood and refused, or failed; its own words.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The stable code.
        code: String,
        /// What happened and what to do.
        message: String,
        /// Every problem of the request, where it had several.
        problems: Vec<Value>,
        /// What to do, where that is not plain.
        hint: Option<String>,
    },
    /// An answer that is not ours.
    #[error("what listens on `{}` does not speak zaikoban's protocol", socket.display())]
    Foreign {
        /// Where.
        socket: PathBuf,
    },
}

/// How long an order is waited for.
const ORDER_LIMIT: Duration = Duration::from_secs(120);
/// How long an import is: each listing that it links is read first, at the rate of its destination.
const IMPORT_LIMIT: Duration = Duration::from_secs(24 * 3_600);

/// A client of one socket.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    socket: PathBuf,
}

impl Client {
    /// A client for the daemon behind `socket`; connects with the first order.
    ///
    /// # Errors
    /// [`ControlError::Away`] when no client can be built.
    pub fn new(socket: &Path) -> Result<Self, ControlError> {
        // No TLS, no roots, no proxy: orders work on a machine without `ca-certificates`.
        let http = reqwest::Client::builder()
            .tls_certs_only([])
            .no_proxy()
            .unix_socket(socket.to_path_buf())
            .timeout(ORDER_LIMIT)
            .build()
            .map_err(|e| ControlError::Away {
                socket: socket.to_path_buf(),
                cause: e.to_string(),
            })?;
        Ok(Self {
            http,
            socket: socket.to_path_buf(),
        })
    }

    /// Asks for `path` (`/v1/…`, with its query).
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn get(&self, path: &str) -> Result<Value, ControlError> {
        self.answer(self.http.get(url(path))).await
    }

    /// Asks for `path` whose answer is a text in no envelope (`/metrics`).
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn text(&self, path: &str) -> Result<String, ControlError> {
        let away = |e: reqwest::Error| ControlError::Away {
            socket: self.socket.clone(),
            cause: root_cause(&e),
        };
        let response = self.http.get(url(path)).send().await.map_err(away)?;
        if !response.status().is_success() {
            return Err(ControlError::Foreign {
                socket: self.socket.clone(),
            });
        }
        response.text().await.map_err(away)
    }

    /// Orders `path` with a JSON body.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, ControlError> {
        self.answer(self.http.post(url(path)).json(body)).await
    }

    /// Orders `path` with a body as it stands (a CSV file).
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn post_text(&self, path: &str, kind: &str, body: Vec<u8>) -> Result<Value, ControlError> {
        let request = self.http.post(url(path)).header("content-type", kind).body(body);
        let request = request.timeout(IMPORT_LIMIT);
        self.answer(request).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value, ControlError> {
        let away = |e: reqwest::Error| ControlError::Away {
            socket: self.socket.clone(),
            cause: root_cause(&e),
        };
        let response = request.send().await.map_err(away)?;
        let status = response.status().as_u16();
        let body = response.bytes().await.map_err(away)?;
        let foreign = || ControlError::Foreign {
            socket: self.socket.clone(),
        };
        let mut envelope: Value = serde_json::from_slice(&body).map_err(|_not_json| foreign())?;
        if let Some(data) = envelope.get_mut("data") {
            return Ok(data.take());
        }
        let error = envelope.get("error").ok_or_else(foreign)?;
        let text = |key: &str| {
            error
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Err(ControlError::Refused {
            status,
            code: text("code"),
            message: text("message"),
            problems: error
                .get("problems")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default(),
            hint: error.get("hint").and_then(Value::as_str).map(str::to_owned),
        })
    }
}

fn url(path: &str) -> String {
    format!("http://zaikoban{path}")
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
