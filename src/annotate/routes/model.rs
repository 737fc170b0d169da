//! Questions to the model.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::Deserialize;

use super::{Body, Failed, blocking, index};
use crate::{
    app::App,
    model::{self, Prompted, Replied},
};

/// Images prepared on request at most: the model keeps a few, and more would displace the one that is open.
const MAX_PREPARED: usize = 4;

#[derive(Deserialize)]
pub(super) struct Asked {
    prompts: Vec<Prompted>,
}

pub(super) async fn ask(
    State(app): State<Arc<App>>,
    id: Path<String>,
    Body(asked): Body<Asked>,
) -> Result<Json<Replied>, Failed> {
    let index = index(&app, &id)?;
    Ok(Json(blocking(&app, move |app| Ok(model::ask(app, index, &asked.prompts)?)).await?))
}

pub(super) async fn drafts(
    State(app): State<Arc<App>>,
    id: Path<String>,
) -> Result<Json<Replied>, Failed> {
    let index = index(&app, &id)?;
    Ok(Json(blocking(&app, move |app| Ok(model::drafts(app, index)?)).await?))
}

#[derive(Deserialize)]
pub(super) struct Prepared {
    ids: Vec<u64>,
}

pub(super) async fn prepare(
    State(app): State<Arc<App>>,
    Body(asked): Body<Prepared>,
) -> Result<StatusCode, Failed> {
    let ids = asked.ids.iter().take(MAX_PREPARED);
    let indices =
        ids.map(|id| index(&app, &Path(id.to_string()))).collect::<Result<Vec<_>, _>>()?;
    blocking(&app, move |app| Ok(indices.into_iter().try_for_each(|index| app.prepare(index))?))
        .await?;
    Ok(StatusCode::ACCEPTED)
}
