//! The protocol of X-AnyLabeling's remote server, as its version 4.2 speaks it.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};
use sonotune_base::Rle;
use sonotune_dataset::{ObjectPrompt, PointPrompt};

use crate::{
    About, Answer, Question,
    app::{App, Place},
    polygons::outlines,
    rest::{check_takes, form, prompts, reply},
    server::Failure,
};

/// The label of an answer to prompts; the program asks the user for its name.
const UNNAMED: &str = "AUTOLABEL_OBJECT";

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new().route("/v1/models", get(models))
}

/// `GET /v1/models`: which controls the program shows.
async fn models(State(app): State<Arc<App>>) -> Json<Value> {
    let about = app.inference.about();
    let classes: Vec<_> = about.categories.iter().map(|category| &category.name).collect();
    let named = |name: &str| json!({ "name": name, "value": null });
    let mut widgets = vec![named("button_run"), named("toggle_preserve_existing_annotations")];
    if about.takes_prompts {
        let of_prompts =
            ["button_add_point", "button_remove_point", "button_add_rect", "button_clear"];
        widgets.extend(of_prompts.map(named));
        widgets.push(named("button_finish_object"));
    } else {
        widgets.push(json!({ "name": "edit_conf", "value": about.min_score }));
    }
    if about.has_masks {
        widgets.extend(["mask_fineness_slider", "mask_fineness_value_label"].map(named));
    }
    // Images one by one without the user: not with prompts, which belong to one image.
    let batch = if about.takes_prompts { Value::Null } else { json!("default") };
    Json(json!({ "success": true, "data": { about.name.as_str(): {
        "display_name": about.name,
        "classes": classes,
        "widgets": widgets,
        "batch_processing_mode": batch,
    } } }))
}

#[derive(Deserialize)]
pub(crate) struct Body {
    model: String,
    image: String,
    #[serde(default)]
    params: Params,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Params {
    marks: Vec<Mark>,
    conf_threshold: Option<f64>,
    /// Share of an outline's length.
    epsilon_factor: Option<f64>,
    filter_classes: Option<Vec<String>>,
    text_prompt: Option<String>,
}

/// A click or a box.
#[derive(Deserialize)]
struct Mark {
    #[serde(rename = "type")]
    kind: String,
    data: Vec<f64>,
    label: Option<i64>,
}

/// `POST /v1/predict`, as the program sends it.
pub(crate) async fn predict(app: &Arc<App>, place: Place, body: Body) -> Result<Response, Failure> {
    let about = app.inference.about();
    if body.model != about.name {
        let what = format!("no model {:?}; this server has {:?}", body.model, about.name);
        return Err(Failure::not_found(what));
    }
    if body.params.text_prompt.as_ref().is_some_and(|text| !text.is_empty()) {
        return Err(Failure::unprocessable("this model does not take words; use points or a box"));
    }
    let asked = app.uploaded(form::inline(app, body.image).await?, None).await?;
    let prompts = objects(&body.params.marks)?;
    let question =
        if prompts.is_empty() { Question::Unasked } else { prompts::asked(prompts, asked.size)? };
    check_takes(app, &question)?;
    let is_asked = matches!(question, Question::Prompts(_));
    let answer = app.ask(place, &asked, question).await?;
    let params = body.params;
    let data = app
        .blocking(move |app| {
            let about = app.inference.about();
            let shapes = shapes(about, &answer, &params, is_asked)?;
            Ok(json!({ "shapes": shapes, "description": description(about, &answer)? }))
        })
        .await?;
    Ok(Json(json!({ "success": true, "data": data })).into_response())
}

/// All clicks point at one object; each box without clicks is one of its own.
fn objects(marks: &[Mark]) -> Result<Vec<ObjectPrompt>, Failure> {
    let (mut points, mut boxes) = (Vec::new(), Vec::new());
    for mark in marks {
        match (mark.kind.as_str(), mark.data.as_slice()) {
            ("point", &[x, y]) => {
                points.push(PointPrompt { x, y, positive: mark.label.unwrap_or(1) > 0 });
            }
            // Drawn from any corner to the opposite one.
            ("rectangle", &[x0, y0, x1, y1]) => {
                boxes.push([x0.min(x1), y0.min(y1), x0.max(x1), y0.max(y1)]);
            }
            (kind, data) => {
                let what =
                    format!("a mark of type {kind:?} with {} numbers is unknown", data.len());
                return Err(Failure::unprocessable(what));
            }
        }
    }
    if points.is_empty() {
        let boxed = |bbox| ObjectPrompt { bbox: Some(bbox), ..ObjectPrompt::default() };
        return Ok(boxes.into_iter().map(boxed).collect());
    }
    if boxes.len() > 1 {
        return Err(Failure::unprocessable(
            "clicks with several boxes: clear the marks and draw one box",
        ));
    }
    Ok(vec![ObjectPrompt { points, bbox: boxes.pop(), ..ObjectPrompt::default() }])
}

fn shapes(
    about: &About,
    answer: &Answer,
    params: &Params,
    is_asked: bool,
) -> Result<Vec<Value>, Failure> {
    let min_score = match params.conf_threshold {
        _ if is_asked => f64::NEG_INFINITY,
        Some(score) if score > 0.0 => score,
        _ => about.min_score,
    };
    let chosen = params.filter_classes.as_deref().unwrap_or_default();
    let mut shapes = Vec::new();
    for (i, found) in answer.objects.iter().enumerate() {
        let category = &reply::category(about, found.category)?.name;
        let is_left_out = !is_asked && !chosen.is_empty() && !chosen.contains(category);
        if found.score < min_score || is_left_out {
            continue;
        }
        let label = if is_asked { UNNAMED } else { category };
        let shape = |kind: &str, points: Vec<[f64; 2]>| {
            json!({
                "label": label, "shape_type": kind, "points": points, "score": found.score,
                "group_id": null, "attributes": {}, "flags": {}, "difficult": false,
            })
        };
        let Some(mask) = &found.mask else {
            let [x0, y0, x1, y1] = found.bbox;
            shapes.push(shape("rectangle", vec![[x0, y0], [x1, y0], [x1, y1], [x0, y1]]));
            continue;
        };
        let parts = parts(mask, params.epsilon_factor.unwrap_or(0.001));
        let several = parts.len() > 1;
        for points in parts {
            let mut shape = shape("polygon", points);
            if several {
                shape["group_id"] = json!(i + 1);
            }
            shapes.push(shape);
        }
    }
    Ok(shapes)
}

/// The outlines of a mask, simplified by a share of the length of its box's sides.
fn parts(mask: &Rle, share: f64) -> Vec<Vec<[f64; 2]>> {
    let [_, _, width, height] = mask.bbox();
    let share = if share.is_finite() { share.clamp(0.0, 0.1) } else { 0.0 };
    let polygons = outlines(mask, share * 2.0 * (width + height));
    let pairs =
        |polygon: Vec<f64>| polygon.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect();
    polygons.into_iter().map(pairs).collect()
}

/// What the program shows beside an image as a whole.
fn description(about: &About, answer: &Answer) -> Result<String, Failure> {
    let labels = answer.labels.iter().map(|&index| Ok(reply::category(about, index)?.name.clone()));
    let mut lines: Vec<String> = labels.collect::<Result<_, Failure>>()?;
    lines.extend(answer.values.iter().map(|(name, value)| format!("{name}: {value}")));
    Ok(lines.join("\n"))
}
