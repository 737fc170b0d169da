//! `POST /v1/predict`.

use std::sync::Arc;

use axum::{
    Json,
    extract::Request,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    form::{self, Form},
    prompts::{Prompt, question},
    reply::{Masks, Prediction},
};
use crate::{
    Question,
    app::{App, Place},
    server::Failure,
    store::Upload,
};

/// A question with the image in it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Body {
    /// Base64, or a data URL.
    #[schema(min_length = 1)]
    image: String,
    #[serde(flatten)]
    question: Asking,
}

/// What is asked; the fields of a form besides `image`.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct Asking {
    /// One for each object; without any, the model answers what it finds on its own.
    #[serde(default)]
    prompts: Vec<Prompt>,
    /// Which frame of a DICOM file, counted from 0.
    #[schema(format = Int64, minimum = 0, maximum = 4_294_967_295_u32)]
    frame: Option<u32>,
    #[serde(default)]
    masks: Masks,
    /// Leaves out objects with lower scores among those that the model finds on its own; its own threshold if absent.
    min_score: Option<f64>,
}

/// A question as a form.
pub(crate) async fn by_form(
    app: &Arc<App>,
    place: Place,
    request: Request,
) -> Result<Response, Failure> {
    let form = Form::read(app, request).await?;
    let Some(sent) = form.file("image")? else {
        return Err(Failure::bad_request("the form has no file called \"image\""));
    };
    let upload = Arc::clone(&sent.upload);
    answer(app, place, upload, from_form(&form)?).await
}

/// A question as JSON.
pub(crate) async fn by_json(app: &Arc<App>, place: Place, body: Body) -> Result<Response, Failure> {
    let upload = form::inline(app, body.image).await?;
    answer(app, place, upload, body.question).await
}

async fn answer(
    app: &Arc<App>,
    place: Place,
    upload: Arc<Upload>,
    asking: Asking,
) -> Result<Response, Failure> {
    let about = app.inference.about();
    let asked = app.uploaded(upload, asking.frame).await?;
    let question = question(asking.prompts, &about.categories, asked.size)?;
    let min_score = match &question {
        Question::Prompts(_) => f64::NEG_INFINITY,
        Question::Unasked => asking.min_score.unwrap_or(about.min_score),
    };
    check_takes(app, &question)?;
    let answer = app.ask(place, &asked, question).await?;
    let masks = asking.masks;
    let prediction = app
        .blocking(move |app| Prediction::of(&answer, app.inference.about(), masks, min_score))
        .await?;
    Ok(Json(prediction).into_response())
}

/// Refuses prompts for a model that would not look at them.
pub(crate) fn check_takes(app: &App, question: &Question) -> Result<(), Failure> {
    let about = app.inference.about();
    if matches!(question, Question::Prompts(_)) && !about.takes_prompts {
        let what = format!("a model of task {} does not take prompts", about.task);
        return Err(Failure::unprocessable(what));
    }
    Ok(())
}

/// Fields are JSON, except that a bare word need not be quoted.
fn from_form(form: &Form) -> Result<Asking, Failure> {
    const KNOWN: [&str; 4] = ["prompts", "frame", "masks", "min_score"];
    let mut fields = Map::new();
    for (name, text) in &form.texts {
        if !KNOWN.contains(&name.as_str()) {
            let what =
                format!("the form has a field {name:?}; known are image, {}", KNOWN.join(", "));
            return Err(Failure::unprocessable(what));
        }
        let value = match name.as_str() {
            "masks" => Value::String(text.clone()),
            _ => serde_json::from_str(text)
                .map_err(|error| Failure::unprocessable(format!("field {name:?}: {error}")))?,
        };
        fields.insert(name.clone(), value);
    }
    form::parsed(fields)
}
