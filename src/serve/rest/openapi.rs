//! The description of the REST API.

use axum::Json;
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use super::{
    predict::{Asking, Body},
    reply::{Model, Prediction},
};

/// An error.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: String,
}

/// The fields of the form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "read field by field; this describes them")]
struct PredictForm {
    /// A PNG, JPEG, BMP, TIFF, WebP or DICOM file.
    #[schema(value_type = String, format = Binary)]
    image: Vec<u8>,
    #[schema(inline)]
    #[serde(flatten)]
    question: Asking,
}

/// What `health` answers.
#[derive(Serialize, ToSchema)]
struct Health {
    /// Always `UP`.
    status: String,
    version: String,
}

/// Whether the server is up. Needs no token.
#[utoipa::path(get, path = "/health", responses((status = 200, body = Health)))]
#[expect(dead_code, reason = "describes `rest::health`")]
fn health() {}

/// Counts and times in Prometheus's text format.
#[utoipa::path(get, path = "/metrics", responses(
    (status = 200, body = String, content_type = "application/openmetrics-text"),
    (status = 401, body = ErrorBody),
))]
#[expect(dead_code, reason = "describes `metrics::show`")]
fn metrics() {}

/// What the model is.
#[utoipa::path(get, path = "/v1/model", responses(
    (status = 200, body = Model),
    (status = 401, body = ErrorBody),
))]
#[expect(dead_code, reason = "describes `rest::model`")]
fn model() {}

/// Asks the model about an image.
#[utoipa::path(post, path = "/v1/predict",
    request_body(content((Body = "application/json"), (PredictForm = "multipart/form-data"))),
    responses(
        (status = 200, body = Prediction),
        (status = 400, body = ErrorBody, description = "not JSON, or not a form with an image"),
        (status = 401, body = ErrorBody, description = "the token is missing or wrong"),
        (status = 403, body = ErrorBody, description = "from another origin, or to another name"),
        (status = 408, body = ErrorBody, description = "not sent in time"),
        (status = 413, body = ErrorBody, description = "too large"),
        (status = 415, body = ErrorBody, description = "neither JSON nor a form"),
        (status = 422, body = ErrorBody, description = "not an image, or prompts that do not fit it"),
        (status = 503, body = ErrorBody, description = "busy; Retry-After says when to try again"),
    ))]
#[expect(dead_code, reason = "describes `router::predict`")]
fn predict() {}

#[derive(OpenApi)]
#[openapi(
    info(title = "Sonotune", description = "A trained model over HTTP"),
    paths(health, metrics, model, predict),
    modifiers(&Secured)
)]
struct Api;

/// The token, in the forms that a description can state.
struct Secured;

impl utoipa::Modify for Secured {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{
            Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
        };
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("token", bearer);
        let needed = SecurityRequirement::new::<_, _, String>("token", []);
        api.security = Some(vec![needed, SecurityRequirement::default()]);
    }
}

/// `GET /openapi.json`.
pub(crate) async fn show() -> Json<utoipa::openapi::OpenApi> {
    Json(Api::openapi())
}
