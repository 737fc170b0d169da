//! Changes categories.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Body, Failed, blocking};
use crate::{app::App, store::WantedCategory};

#[derive(Deserialize)]
pub(super) struct Wanted {
    categories: Vec<WantedCategory>,
}

pub(super) async fn put(
    State(app): State<Arc<App>>,
    Body(wanted): Body<Wanted>,
) -> Result<Json<Value>, Failed> {
    let categories = blocking(&app, move |app| {
        let mut store = app.store();
        store.put_categories(&wanted.categories)?;
        Ok(store.categories())
    });
    Ok(Json(json!({ "categories": categories.await? })))
}
