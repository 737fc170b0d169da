//! The protocol of Label Studio's machine learning backends.

mod brush;
mod config;
mod prompts;
mod results;
mod source;

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{Request, State},
    http::StatusCode,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::config::LabelConfig;
use crate::{
    Question,
    app::{App, Place},
    rest::{check_takes, form},
    server::Failure,
};

/// Tasks of one request at most; Label Studio sends one to some dozens.
const MAX_TASKS: usize = 256;

pub(crate) fn routes() -> (Router<Arc<App>>, Router<Arc<App>>) {
    let asking = Router::new().route("/predict", post(predict));
    let others = Router::new()
        .route("/setup", post(setup))
        .route("/train", post(train))
        .route("/webhook", post(webhook))
        .route("/versions", get(versions).post(versions))
        .route("/is_training", get(|| async { Json(json!({ "is_training": false })) }));
    (asking, others)
}

#[derive(Deserialize)]
struct Setup {
    schema: Option<String>,
}

/// A project is connected: its labels are checked at once, while the user is looking.
async fn setup(State(app): State<Arc<App>>, request: Request) -> Result<Json<Value>, Failure> {
    let setup: Setup = form::json(request).await?;
    let about = app.inference.about();
    if let Some(schema) = setup.schema.filter(|schema| !schema.trim().is_empty()) {
        LabelConfig::parse(&schema)?.check(about)?;
    }
    Ok(Json(json!({ "model_version": about.name })))
}

#[derive(Deserialize)]
struct Body {
    tasks: Vec<Task>,
    label_config: Option<String>,
    #[serde(default)]
    params: Option<Params>,
}

#[derive(Deserialize)]
struct Task {
    #[serde(default)]
    data: Map<String, Value>,
}

#[derive(Default, Deserialize)]
struct Params {
    context: Option<Context>,
}

#[derive(Deserialize)]
struct Context {
    #[serde(default)]
    result: Vec<prompts::Region>,
}

async fn predict(
    State(app): State<Arc<App>>,
    Extension(place): Extension<Place>,
    request: Request,
) -> Result<Json<Value>, Failure> {
    let body: Body = form::json(request).await?;
    let about = app.inference.about();
    let Some(config) = body.label_config.as_deref() else {
        return Err(Failure::unprocessable("the request has no label_config"));
    };
    let config = LabelConfig::parse(config)?;
    config.check(about)?;
    if body.tasks.len() > MAX_TASKS {
        let what = format!("{} tasks at a time are more than {MAX_TASKS}", body.tasks.len());
        return Err(Failure::unprocessable(what));
    }
    let regions = body.params.unwrap_or_default().context.map(|context| context.result);
    let mut results = Vec::with_capacity(body.tasks.len());
    for task in &body.tasks {
        let asked = source::image(&app, config.image_of(&task.data)?).await?;
        let (question, label) = match regions.as_deref() {
            Some(regions) if !regions.is_empty() => {
                prompts::question(regions, &config, about, asked.size)?
            }
            _ => (Question::Unasked, None),
        };
        check_takes(&app, &question)?;
        let is_asked = matches!(question, Question::Prompts(_));
        let answer = app.ask(place.clone(), &asked, question).await?;
        let config = config.clone();
        let result = app
            .blocking(move |app| {
                let about = app.inference.about();
                let min_score = if is_asked { f64::NEG_INFINITY } else { about.min_score };
                results::of(&answer, about, &config, label.as_deref(), min_score)
            })
            .await?;
        results.push(result);
    }
    Ok(Json(json!({ "results": results, "model_version": about.name })))
}

/// Training is another program's work.
async fn train() -> Failure {
    let what =
        "this server does not train; export the annotations as COCO and use `sonotune train`";
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, what)
}

/// Events of a project. None changes the model.
async fn webhook(request: Request) -> Result<Json<Value>, Failure> {
    let _: Map<String, Value> = form::json(request).await?;
    Ok(Json(json!({ "status": "ignored", "reason": "this server does not train" })))
}

async fn versions(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({ "versions": [app.inference.about().name] }))
}
