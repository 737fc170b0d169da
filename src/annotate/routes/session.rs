//! The session as a whole: its images, their order, and how two readers agree.

use std::sync::{Arc, PoisonError};

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Body, Failed, blocking, index};
use crate::{agreement::Agreement, app::App, document::Status, options::Order};

pub(super) async fn session(State(app): State<Arc<App>>) -> Result<Json<Value>, Failed> {
    Ok(Json(blocking(&app, |app| Ok(shown(app))).await?))
}

fn shown(app: &App) -> Value {
    let uncertainty = app.uncertainty();
    let model = app.model.as_ref().map(|model| {
        let about = model.about();
        json!({
            "name": about.name,
            "task": about.task,
            "backbone": about.backbone,
            "takes_prompts": about.takes_prompts,
            "is_of_image": about.is_of_image,
            "has_masks": about.has_masks,
            "categories": about.categories.iter().map(|category| &category.name).collect::<Vec<_>>(),
            "min_score": about.min_score,
            "device": about.device,
        })
    });
    let store = app.store();
    json!({
        "title": app.title,
        "folder": app.images.folder.display().to_string(),
        "file": store.path().display().to_string(),
        "model": model,
        "categories": store.categories(),
        "reader": app.reader,
        "images": store.rows(&uncertainty),
        "others": store.num_others(),
        "notes": store.notes,
        "revision": store.revision(),
        "order": app.order(),
        "doubles": app.first.is_some(),
    })
}

#[derive(Deserialize)]
pub(super) struct Ordered {
    by: Order,
}

pub(super) async fn order(
    State(app): State<Arc<App>>,
    Body(Ordered { by }): Body<Ordered>,
) -> Result<Json<Value>, Failed> {
    if by == Order::Uncertainty && app.model.is_none() {
        let error = sonotune_base::Error::data(
            "the order by uncertainty needs a model: start the session with --run or --config",
        );
        return Err(anyhow::Error::from(error).into());
    }
    app.set_order(by);
    let ids: Vec<usize> = app.ordered().into_iter().map(|index| index + 1).collect();
    Ok(Json(json!({ "ids": ids })))
}

/// What the first reader drew, once the second is done.
pub(super) async fn first(
    State(app): State<Arc<App>>,
    id: Path<String>,
) -> Result<Json<Value>, Failed> {
    let index = index(&app, &id)?;
    let objects = blocking(&app, move |app| {
        let Some(first) = &app.first else { return Err(no_first()) };
        // Before the annotations, as everywhere.
        let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
        let mut store = app.store();
        if store.status(index) != Status::Done {
            return Err(Failed::conflict("the first reading is shown once this image is done"));
        }
        let objects = first.objects(&store, index)?;
        store.note_comparison(index)?;
        Ok(json!({ "objects": objects, "revision": store.state(index)?.revision }))
    });
    Ok(Json(objects.await?))
}

pub(super) async fn agreement(State(app): State<Arc<App>>) -> Result<Json<Agreement>, Failed> {
    let agreement = blocking(&app, |app| {
        let Some(first) = &app.first else { return Err(no_first()) };
        let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
        // Saves may go on meanwhile.
        Ok(first.agreement(|index| app.store().finished(index))?)
    });
    Ok(Json(agreement.await?))
}

fn no_first() -> Failed {
    Failed::not_found(
        "this is not a second reading: start the session with --second-reading-of FIRST.json",
    )
}
