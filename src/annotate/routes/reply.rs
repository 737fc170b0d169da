//! Errors as the page sees them. It is the person's own program: they are told the reason of every failure.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use sonotune_base::{ErrorKind, error::kind};

use crate::store::Refusal;

/// A status and `{"error": "…"}`, with what else the page needs.
#[derive(Debug)]
pub(super) struct Failed {
    status: StatusCode,
    body: Value,
}

impl Failed {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, body: json!({ "error": message.into() }) }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        let status = match kind(&error) {
            Some(ErrorKind::Data | ErrorKind::Config) => StatusCode::UNPROCESSABLE_ENTITY,
            Some(ErrorKind::Storage) => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, format!("{error:#}"))
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Stale { message, current } => Self {
                status: StatusCode::CONFLICT,
                body: json!({ "error": message, "current": current }),
            },
            Refusal::Outside(error) => Self::conflict(format!("{error:#}")),
            Refusal::InUse(which) => {
                Self::conflict(format!("a category that objects have cannot be removed: {which}"))
            }
            Refusal::Error(error) => error.into(),
        }
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use sonotune_base::Error;

    use super::*;

    #[test]
    fn a_full_disk_is_507_and_the_reason_is_told() {
        let full = anyhow::Error::from(std::io::Error::from(std::io::ErrorKind::StorageFull));
        let failed = Failed::from(full.context("cannot write a.json"));
        assert_eq!(failed.status, StatusCode::INSUFFICIENT_STORAGE);
        assert!(failed.body["error"].as_str().unwrap().starts_with("cannot write a.json: "));
        assert_eq!(
            Failed::from(anyhow::Error::from(Error::data("x"))).status,
            StatusCode::UNPROCESSABLE_ENTITY
        );
        assert_eq!(Failed::from(anyhow::anyhow!("x")).status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
