//! Images that a client uploads once and then names.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::SystemTime,
};

use axum::{
    Json,
    extract::{Path, Query, Request, State},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    app::App,
    rest::form::{Form, Sent},
    server::{Failure, Token},
    store::Upload,
};

/// Names at a time; the oldest are forgotten.
const MAX_SESSIONS: usize = 1024;

/// A named upload. Names do not keep an upload: the store decides how long it stays.
#[derive(Clone)]
pub(crate) struct Session {
    id: String,
    /// As the client calls it.
    pub(crate) file_name: String,
    upload: Weak<Upload>,
    created: u64,
}

/// Uploads by name, the oldest first.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<VecDeque<Session>>);

impl Sessions {
    fn add(&self, id: String, sent: &Sent) -> Session {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let session = Session {
            id,
            file_name: sent.name.clone(),
            upload: Arc::downgrade(&sent.upload),
            created: since.as_secs(),
        };
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|other| other.id != session.id);
        if sessions.len() >= MAX_SESSIONS {
            sessions.pop_front();
        }
        sessions.push_back(session.clone());
        session
    }

    /// The upload of this name, and how the client calls the file.
    pub(crate) fn find(&self, id: &str) -> Option<(Session, Arc<Upload>)> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.iter().find(|session| session.id == id)?;
        Some((session.clone(), session.upload.upgrade()?))
    }

    fn remove(&self, id: &str) -> Option<Session> {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = sessions.iter().position(|session| session.id == id)?;
        sessions.remove(at)
    }
}

impl Session {
    fn shown(&self) -> Value {
        json!({
            "name": self.id, "path": "", "image": self.file_name, "meta": {},
            "create_ts": self.created, "last_access_ts": self.created, "expiry": 0,
        })
    }
}

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
    let session = app.sessions.add(id, sent);
    Ok(Json(json!({ "session_id": session.id, "session_info": session.shown() })))
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
    Ok(Json(json!({ "image": app.sessions.add(id, sent).id })))
}

/// `GET /session/{id}`.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Failure> {
    let (session, _) = app.sessions.find(&id).ok_or_else(missing)?;
    Ok(Json(session.shown()))
}

/// `DELETE /session/{id}`.
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Failure> {
    Ok(Json(app.sessions.remove(&id).ok_or_else(missing)?.shown()))
}

pub(super) fn missing() -> Failure {
    Failure::not_found("no such session; it may have made room for later uploads")
}
