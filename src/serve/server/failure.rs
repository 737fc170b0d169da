//! Errors as a client sees them: a status and `{"error": "…"}`.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use sonotune_base::{ErrorKind, error::kind};

/// An error on its way to a client.
#[derive(Debug)]
pub struct Failure {
    pub status: StatusCode,
    /// What the client is told.
    pub message: String,
    /// What the log is told instead, if the fault is the server's.
    pub logged: Option<String>,
    /// After how many seconds it is worth trying again.
    pub retry_after_seconds: Option<u64>,
}

impl Failure {
    #[must_use]
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), logged: None, retry_after_seconds: None }
    }

    /// 400: the request is not of the form that is expected.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 401: the token is missing or wrong.
    #[must_use]
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    /// 403: refused, whichever token is shown.
    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 404.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 422: the request is of the right form, but its data cannot be worked with.
    #[must_use]
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// 503: asked to come back.
    #[must_use]
    pub fn busy(message: impl Into<String>, seconds: u64) -> Self {
        let busy = Self::new(StatusCode::SERVICE_UNAVAILABLE, message);
        Self { retry_after_seconds: Some(seconds), ..busy }
    }

    /// 500: the client is told that it failed and no more; `error` is for the log.
    #[must_use]
    pub fn internal(error: &anyhow::Error) -> Self {
        let message = "the server failed; its log says why";
        let failed = Self::new(StatusCode::INTERNAL_SERVER_ERROR, message);
        Self { logged: Some(format!("{error:#}")), ..failed }
    }
}

/// Kind data is the client's to fix (422); any other is the server's (500).
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match kind(&error) {
            Some(ErrorKind::Data) => Self::unprocessable(format!("{error:#}")),
            _ => Self::internal(&error),
        }
    }
}

/// What a response carries to the log.
#[derive(Debug, Clone)]
pub(super) struct Logged(pub(super) String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({ "error": self.message }))).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Token");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(logged) = self.logged {
            response.extensions_mut().insert(Logged(logged));
        }
        response
    }
}
