//! The plain REST API.

pub(crate) mod form;
pub(crate) mod openapi;
mod predict;
pub(crate) use predict::{by_form, by_json, check_takes};
pub(crate) mod prompts;
pub(crate) mod reply;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

use crate::app::App;

/// Routes that do not wait for the model. `/v1/predict` is the router's, since X-AnyLabeling asks there too.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(index))
        .route("/health", get(health))
        .route("/openapi.json", get(openapi::show))
        .route("/v1/model", get(model))
}

/// What there is.
async fn index(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({
        "name": app.inference.about().name,
        "version": env!("CARGO_PKG_VERSION"),
        "description": "a model served by Sonotune; /openapi.json describes the plain REST API",
        "rest": ["/health", "/metrics", "/v1/model", "/v1/predict", "/openapi.json"],
        "label_studio": ["/setup", "/predict", "/health", "/versions", "/webhook"],
        "monai_label": ["/info/", "/infer/{model}", "/session/", "/datastore/"],
        "x_anylabeling": ["/v1/models", "/v1/predict"],
        "status": "UP",
    }))
}

/// Label Studio and Docker ask it.
async fn health() -> Json<Value> {
    Json(json!({ "status": "UP", "version": env!("CARGO_PKG_VERSION") }))
}

async fn model(State(app): State<Arc<App>>) -> Response {
    let about = app.inference.about();
    ([(header::CACHE_CONTROL, "no-store")], Json(reply::Model::of(about))).into_response()
}
