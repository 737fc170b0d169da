//! The protocol of MONAI Label's server, as its clients of version 0.8 speak it: 3D Slicer, OHIF, Python.

mod infer;
mod label_map;
mod sessions;
mod volume;

use std::sync::Arc;

use axum::{
    Form, Json, Router,
    extract::{Query, Request, State},
    http::StatusCode,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    app::App,
    rest::form,
    server::{Failure, Token},
};

pub(crate) fn routes() -> (Router<Arc<App>>, Router<Arc<App>>) {
    let infer = post(infer::infer);
    let asking = Router::new()
        .route("/infer/{model}", infer.clone())
        .route("/infer/{model}/", infer)
        .route("/session", axum::routing::put(sessions::create))
        .route("/session/", axum::routing::put(sessions::create))
        .route("/datastore", axum::routing::put(sessions::add_image))
        .route("/datastore/", axum::routing::put(sessions::add_image))
        .route("/datastore/image", axum::routing::put(sessions::add_image));
    let others = Router::new()
        .route("/info", get(info))
        .route("/info/", get(info))
        .route("/session/{id}", get(sessions::show).delete(sessions::remove))
        .route("/datastore", get(datastore))
        .route("/datastore/", get(datastore))
        .route("/datastore/label", axum::routing::put(save_label))
        .route("/train/", get(training).post(train).delete(train))
        .route("/train/{model}", post(train))
        .route("/activelearning/{strategy}", post(train))
        .route("/auth/", get(auth))
        .route("/auth/token", post(login))
        .route("/auth/token/valid", get(|| async { Json(json!({})) }));
    (asking, others)
}

/// What a client shows the user to choose from.
async fn info(State(app): State<Arc<App>>) -> Json<Value> {
    let about = app.inference.about();
    let labels: Vec<_> = about.categories.iter().map(|category| category.name.as_str()).collect();
    let values: Map<String, Value> =
        labels.iter().zip(1..).map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let kind = match (about.is_of_image, about.takes_prompts) {
        (true, _) => "classification",
        (false, true) => "deepgrow",
        (false, false) => "segmentation",
    };
    let model = json!({
        "type": kind,
        "labels": values,
        "dimension": 2,
        "description": format!("{} with a {} backbone, by Sonotune", about.task, about.backbone),
        "config": {},
    });
    Json(json!({
        "name": about.name,
        "description": "a model served by Sonotune",
        "version": env!("CARGO_PKG_VERSION"),
        "labels": labels,
        "models": { about.name.as_str(): model },
        "trainers": {},
        "strategies": {},
        "scoring": {},
        "train_stats": {},
        "datastore": statistics(),
    }))
}

/// Images are in folders or uploaded for a session; no list of them is kept.
fn statistics() -> Value {
    json!({ "total": 0, "completed": 0, "label_tags": {}, "train": [] })
}

#[derive(Deserialize)]
struct Wanted {
    output: Option<String>,
}

async fn datastore(Query(wanted): Query<Wanted>) -> Json<Value> {
    Json(match wanted.output.as_deref() {
        Some("all") => json!({ "name": "", "description": "", "objects": {} }),
        Some("train") => json!([]),
        _ => statistics(),
    })
}

/// Labels stay with the client, which saves them.
async fn save_label() -> Failure {
    let what = "this server does not keep labels; save the segmentation where you are";
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, what)
}

async fn train() -> Failure {
    let what = "this server neither trains nor chooses images; use `sonotune train`";
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, what)
}

/// A client that asks whether training is under way takes any error for no.
async fn training() -> Failure {
    Failure::not_found("no training is under way; this server does not train")
}

/// Whether a client asks its user for a name and a password.
async fn auth(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({ "enabled": app.token.is_some() }))
}

#[derive(Deserialize)]
struct Login {
    password: String,
}

/// Takes the token for a password, with any name, and gives it back.
async fn login(State(app): State<Arc<App>>, request: Request) -> Result<Json<Value>, Failure> {
    use axum::extract::FromRequest;
    let read = Form::<Login>::from_request(request, &()).await;
    let Form(login) =
        read.map_err(|rejection| Failure::new(rejection.status(), rejection.body_text()))?;
    let is_right = |token: &Token| token.matches(&login.password);
    if !app.token.as_ref().is_none_or(is_right) {
        return Err(Failure::unauthorized("the password is not this server's token"));
    }
    let token = app.token.as_ref().map_or("", Token::reveal);
    Ok(Json(json!({ "access_token": token, "token_type": "bearer" })))
}

/// The `params` of a form; a client without any leaves them out or empty.
fn params(form: &form::Form) -> Result<Value, Failure> {
    let text = form.texts.get("params").map_or("", |text| text.trim());
    if text.is_empty() {
        return Ok(json!({}));
    }
    serde_json::from_str(text).map_err(|error| Failure::unprocessable(format!("params: {error}")))
}
