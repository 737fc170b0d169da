//! Shows and saves an image.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::header,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{Body, Failed, blocking, index};
use crate::{app::App, store::Change, store::State as Shown};

pub(super) async fn show(
    State(app): State<Arc<App>>,
    id: Path<String>,
) -> Result<Json<Shown>, Failed> {
    let index = index(&app, &id)?;
    let state = blocking(&app, move |app| {
        let state = {
            let mut store = app.store();
            // What cannot be taken over is said when it matters: at the next save.
            drop(store.look_outside());
            store.state(index)?
        };
        app.look_ahead(index)?;
        Ok(state)
    });
    Ok(Json(state.await?))
}

pub(super) async fn save(
    State(app): State<Arc<App>>,
    id: Path<String>,
    Body(change): Body<Change>,
) -> Result<Json<Value>, Failed> {
    let index = index(&app, &id)?;
    let revision = blocking(&app, move |app| Ok(app.store().put(index, &change)?)).await?;
    Ok(Json(json!({ "revision": revision })))
}

pub(super) async fn pixels(
    State(app): State<Arc<App>>,
    id: Path<String>,
) -> Result<Response, Failed> {
    let index = index(&app, &id)?;
    // Decoded images take memory: the others wait.
    let _turn = app.decoding.acquire().await.map_err(anyhow::Error::from)?;
    let png = blocking(&app, move |app| Ok(app.images.png(index)?)).await?;
    Ok(([(header::CONTENT_TYPE, "image/png")], png).into_response())
}
