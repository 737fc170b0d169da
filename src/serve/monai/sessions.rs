//! Images that a client uploads once and then names.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, Request, State},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    app::App,
    rest::form::Form,
    server::{Failure, Token},
    sessions::Session,
};

/// `PUT /session/`.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<Value>, Failure> {
    let form = Form::read(&app, request).await?;
    let [sent] = form.files.as_slice() else {
        let what = format!(
            "a session takes one file, not {}; send a volume or an image",
            form.files.len()
        );
        return Err(Failure::unprocessable(what));
    };
    // Nobody who does not know it can ask for the image.
    let id = Token::new()?.reveal().to_owned();
    let session = app.sessions.add(id, &sent.name, &sent.upload);
    Ok(Json(json!({ "session_id": session.id, "session_info": shown(&session) })))
}

#[derive(Deserialize)]
pub(super) struct Named {
    image: Option<String>,
}

/// `PUT /datastore/`: an upload that is named by the client.
pub(super) async fn add_image(
    State(app): State<Arc<App>>,
    Query(named): Query<Named>,
    request: Request,
) -> Result<Json<Value>, Failure> {
    let form = Form::read(&app, request).await?;
    let Some(sent) = form.file("file")? else {
        return Err(Failure::bad_request("the form has no file called \"file\""));
    };
    let id = named.image.filter(|id| !id.is_empty()).unwrap_or_else(|| sent.upload.hash.clone());
    if id.len() > 256 {
        return Err(Failure::unprocessable("the name of an image has 256 bytes at most"));
    }
    let session = app.sessions.add(id, &sent.name, &sent.upload);
    Ok(Json(json!({ "image": session.id })))
}

/// `GET /session/{id}`.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Failure> {
    let (session, _) = app.sessions.find(&id).ok_or_else(missing)?;
    Ok(Json(shown(&session)))
}

/// `DELETE /session/{id}`.
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Failure> {
    Ok(Json(shown(&app.sessions.remove(&id).ok_or_else(missing)?)))
}

pub(super) fn missing() -> Failure {
    Failure::not_found("no such session; it may have made room for later uploads")
}

fn shown(session: &Session) -> Value {
    json!({
        "name": session.id, "path": "", "image": session.file_name, "meta": {},
        "create_ts": session.created, "last_access_ts": session.created, "expiry": 0,
    })
}
