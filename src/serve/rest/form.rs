//! Uploads: forms, and images within JSON.

use std::{collections::HashMap, sync::Arc};

use axum::{
    extract::{
        FromRequest, Multipart, Request,
        multipart::{Field, MultipartError},
    },
    http::{StatusCode, header},
};
use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    app::App,
    server::Failure,
    store::{Incoming, Upload},
};

/// Bytes of a field that is not a file. A mask among the prompts is the largest.
const MAX_FIELD_BYTES: usize = 8 << 20;
/// Fields of a form; a client sends a handful.
const MAX_FIELDS: usize = 256;

/// A form with files: what has a file name, or is called `image` or `file`, is stored; the rest is text.
#[derive(Default)]
pub(crate) struct Form {
    pub(crate) texts: HashMap<String, String>,
    pub(crate) files: Vec<Sent>,
}

/// A file of a form.
pub(crate) struct Sent {
    pub(crate) field: String,
    /// As the client calls it; never part of a path of this machine.
    pub(crate) name: String,
    pub(crate) upload: Arc<Upload>,
}

impl Form {
    /// Reads a form, files chunk by chunk into the store.
    pub(crate) async fn read(app: &Arc<App>, request: Request) -> Result<Self, Failure> {
        let mut parts = Multipart::from_request(request, &())
            .await
            .map_err(|rejection| Failure::new(rejection.status(), rejection.body_text()))?;
        let mut form = Self::default();
        while let Some(mut part) = parts.next_field().await.map_err(malformed)? {
            if form.texts.len() + form.files.len() >= MAX_FIELDS {
                return Err(Failure::bad_request(format!(
                    "the form has more than {MAX_FIELDS} fields"
                )));
            }
            let field = part.name().unwrap_or_default().to_owned();
            let name = part.file_name().map(str::to_owned);
            if name.is_some() || matches!(field.as_str(), "image" | "file") {
                let upload = store(app, &mut part).await?;
                form.files.push(Sent { field, name: name.unwrap_or_default(), upload });
            } else {
                form.texts.insert(field, text(&mut part).await?);
            }
        }
        Ok(form)
    }

    /// The one file of a field.
    pub(crate) fn file(&self, field: &str) -> Result<Option<&Sent>, Failure> {
        let mut named = self.files.iter().filter(|sent| sent.field == field);
        match (named.next(), named.next()) {
            (file, None) => Ok(file),
            _ => Err(Failure::bad_request(format!("the form has several files called {field:?}"))),
        }
    }
}

async fn store(app: &Arc<App>, part: &mut Field<'_>) -> Result<Arc<Upload>, Failure> {
    let mut incoming = app.blocking(|app| Ok(app.store.begin()?)).await?;
    while let Some(bytes) = part.chunk().await.map_err(malformed)? {
        check_bytes(app, incoming.bytes() + bytes.len() as u64)?;
        incoming = app
            .blocking(move |_| {
                let mut incoming: Incoming = incoming;
                incoming.write(&bytes)?;
                Ok(incoming)
            })
            .await?;
    }
    app.blocking(move |app| Ok(app.store.keep(incoming)?)).await
}

async fn text(part: &mut Field<'_>) -> Result<String, Failure> {
    let mut text = Vec::new();
    while let Some(bytes) = part.chunk().await.map_err(malformed)? {
        if text.len() + bytes.len() > MAX_FIELD_BYTES {
            let what = format!("a field of the form has more than {MAX_FIELD_BYTES} bytes");
            return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, what));
        }
        text.extend_from_slice(&bytes);
    }
    String::from_utf8(text).map_err(|_| Failure::bad_request("a field of the form is not UTF-8"))
}

fn malformed(error: MultipartError) -> Failure {
    Failure::new(error.status(), error.body_text())
}

fn check_bytes(app: &App, bytes: u64) -> Result<(), Failure> {
    let most = app.max_upload_bytes;
    if bytes <= most {
        return Ok(());
    }
    let what = format!("the image has more than {most} bytes, the most this server takes");
    Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, what))
}

/// Stores an image that is text: base64, or a data URL of it.
pub(crate) async fn inline(app: &Arc<App>, text: String) -> Result<Arc<Upload>, Failure> {
    app.blocking(move |app| {
        let encoded = match text.strip_prefix("data:") {
            None => text.as_str(),
            Some(rest) => match rest.split_once(',') {
                Some((kind, encoded)) if kind.ends_with(";base64") => encoded,
                _ => return Err(Failure::unprocessable("the data URL of the image is not base64")),
            },
        };
        check_bytes(app, encoded.len() as u64 / 4 * 3)?;
        let forgiving =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, forgiving);
        let bytes = engine
            .decode(encoded.trim())
            .map_err(|_| Failure::unprocessable("the image is not valid base64"))?;
        check_bytes(app, bytes.len() as u64)?;
        Ok(app.store.put(&bytes)?)
    })
    .await
}

/// Whether the body of a request is a form.
pub(crate) fn is_form(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"multipart/form-data"))
}

/// The body of a request as JSON.
pub(crate) async fn json<T: DeserializeOwned>(request: Request) -> Result<T, Failure> {
    let read = axum::Json::<T>::from_request(request, &()).await;
    let axum::Json(value) =
        read.map_err(|rejection| Failure::new(rejection.status(), rejection.body_text()))?;
    Ok(value)
}

/// The fields of a JSON object as a type.
pub(crate) fn parsed<T: DeserializeOwned>(body: Map<String, Value>) -> Result<T, Failure> {
    serde_json::from_value(Value::Object(body))
        .map_err(|error| Failure::unprocessable(format!("the request: {error}")))
}
