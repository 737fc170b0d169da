//! `POST /infer/{model}`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension, Json,
    extract::{Path, Query, Request, State},
    http::header,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sonotune_dataset::{ObjectPrompt, PointPrompt};

use super::{
    label_map::LabelMap,
    sessions::missing,
    volume::{Header, Stack},
};
use crate::{
    Answer, Question,
    app::{App, Asked, Place, called},
    rest::{check_takes, form::Form, prompts::asked, reply},
    server::{Failure, Token},
    store::Upload,
};

/// Planes of a volume that are asked about at a time, without prompts.
const MAX_PLANES: usize = 64;

#[derive(Deserialize)]
pub(super) struct Selected {
    #[serde(default)]
    image: String,
    #[serde(default)]
    session_id: String,
    output: Option<Output>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Output {
    Image,
    Json,
    All,
    DicomSeg,
}

/// What clients send with a question. Voxels `[x, y, z]`, counted from 0.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Params {
    foreground: Vec<Vec<f64>>,
    background: Vec<Vec<f64>>,
    /// `[x0, y0, x1, y1]`, and `z0, z1` for a volume.
    roi: Option<Vec<f64>>,
    /// Name of the label that the object gets.
    label: Option<Value>,
}

/// An image, or the planes of a volume.
enum Shown {
    Image(Box<Asked>),
    Stack(Arc<Stack>),
}

pub(super) async fn infer(
    State(app): State<Arc<App>>,
    Extension(place): Extension<Place>,
    Path(model): Path<String>,
    Query(selected): Query<Selected>,
    request: Request,
) -> Result<Response, Failure> {
    let name = &app.inference.about().name;
    if model != *name {
        return Err(Failure::not_found(format!("no model {model:?}; this server has {name:?}")));
    }
    if selected.output == Some(Output::DicomSeg) {
        return Err(Failure::unprocessable("DICOM SEG is not supported; ask for output=image"));
    }
    let form = Form::read(&app, request).await?;
    if form.file("label")?.is_some() {
        return Err(Failure::unprocessable("scribbles are not supported; use points or a box"));
    }
    let params: Params = serde_json::from_value(super::params(&form)?)
        .map_err(|error| Failure::unprocessable(format!("params: {error}")))?;
    let shown = shown(&app, &selected, &form).await?;
    let (map, header, details) = answer(&app, place, shown, &params).await?;
    let Some(map) = map.filter(|_| selected.output != Some(Output::Json)) else {
        return Ok(Json(details).into_response());
    };
    let (bytes, end) = app.blocking(move |_| Ok(map.encode(&header)?)).await?;
    respond(&details, bytes, end, selected.output)
}

/// What is asked about: a session's file, a file of the form, an earlier upload or a file of a folder.
async fn shown(app: &Arc<App>, selected: &Selected, form: &Form) -> Result<Shown, Failure> {
    if !selected.session_id.is_empty() {
        let (_, upload) = app.sessions.find(&selected.session_id).ok_or_else(missing)?;
        return of_upload(app, upload).await;
    }
    if let Some(sent) = form.file("file")? {
        return of_upload(app, Arc::clone(&sent.upload)).await;
    }
    if selected.image.is_empty() {
        return Err(Failure::unprocessable(
            "the request names neither a file nor an image nor a session",
        ));
    }
    if let Some((_, upload)) = app.sessions.find(&selected.image) {
        return of_upload(app, upload).await;
    }
    let id = selected.image.clone();
    let path = app
        .blocking(move |app| {
            // Clients leave the end of a name out.
            let ends = ["", ".dcm", ".png", ".jpg", ".nii.gz", ".nii", ".nrrd"];
            let named = |end| crate::store::within(&app.roots, &format!("{id}{end}"));
            let found =
                ends.into_iter().find_map(|end| Some((named(end).ok()?, format!("{id}{end}"))));
            Ok(match found {
                Some((path, name)) => {
                    let opened = Stack::open(&path).map_err(|error| called(error, &path, &name));
                    (opened?, name)
                }
                None => return Err(named("").map(drop).err().map_or_else(missing, Into::into)),
            })
        })
        .await?;
    Ok(match path {
        (Some(stack), _) => Shown::Stack(Arc::new(stack)),
        (None, name) => Shown::Image(Box::new(app.local(&name, None).await?)),
    })
}

async fn of_upload(app: &Arc<App>, upload: Arc<Upload>) -> Result<Shown, Failure> {
    let path = upload.path.clone();
    let opened = app
        .blocking(move |_| {
            Stack::open(&path).map_err(|error| called(error, &path, "the uploaded image"))
        })
        .await?;
    Ok(match opened {
        Some(stack) => Shown::Stack(Arc::new(stack)),
        None => Shown::Image(Box::new(app.uploaded(upload, None).await?)),
    })
}

/// Asks about every plane that has prompts, or about all of them.
async fn answer(
    app: &Arc<App>,
    place: Place,
    shown: Shown,
    params: &Params,
) -> Result<(Option<LabelMap>, Header, Value), Failure> {
    let about = app.inference.about();
    let (shape, stack) = match &shown {
        Shown::Image(asked) => ([asked.size.1 as usize, asked.size.0 as usize, 1], None),
        Shown::Stack(stack) => (stack.shape, Some(stack)),
    };
    let prompts = by_plane(params, shape[2])?;
    let is_asked = !prompts.is_empty();
    let planes: Vec<usize> =
        if is_asked { prompts.keys().copied().collect() } else { (0..shape[2]).collect() };
    if planes.len() > MAX_PLANES {
        let what = format!(
            "{} planes at a time are more than {MAX_PLANES}; place points on one",
            planes.len()
        );
        return Err(Failure::unprocessable(what));
    }
    let min_score = if is_asked { f64::NEG_INFINITY } else { about.min_score };
    let mut labels = vec![0_u8; shape.iter().product()];
    let mut details = Details::default();
    for z in planes {
        let asked_about = match (&shown, stack) {
            (Shown::Image(asked), _) => (**asked).clone(),
            (_, Some(stack)) => {
                let stack = Arc::clone(stack);
                let upload = app.blocking(move |app| stack.plane(app, z)).await?;
                app.uploaded(upload, None).await?
            }
            _ => continue,
        };
        let question = match prompts.get(&z) {
            Some(prompt) => asked(vec![prompt.clone()], asked_about.size)?,
            None => Question::Unasked,
        };
        check_takes(app, &question)?;
        let answer = app.ask(place.clone(), &asked_about, question).await?;
        let plane = labels.chunks_exact_mut(shape[0] * shape[1]).nth(z).unwrap_or_default();
        paint(&answer, plane, is_asked, min_score);
        details.add(app, &answer, min_score)?;
    }
    let details = details.shown(app, params, is_asked);
    let (geometry, spacing) = match stack {
        Some(stack) => (stack.geometry, stack.spacing),
        None => (None, [1.0; 3]),
    };
    let map = about.has_masks.then_some(LabelMap { shape, labels, geometry, spacing });
    let header = match stack.map(|stack| &stack.header) {
        Some(Header::Nifti { header, big_endian }) => {
            Header::Nifti { header: header.clone(), big_endian: *big_endian }
        }
        _ => Header::Nrrd,
    };
    Ok((map, header, details))
}

/// The prompt of each plane that has one.
fn by_plane(params: &Params, num_planes: usize) -> Result<BTreeMap<usize, ObjectPrompt>, Failure> {
    let mut prompts = BTreeMap::<usize, ObjectPrompt>::new();
    let plane = |z: f64| {
        let is_there = z.fract() == 0.0 && z >= 0.0 && z < num_planes as f64;
        is_there.then_some(z as usize).ok_or_else(|| {
            Failure::unprocessable(format!(
                "there is no plane {z}; planes are 0 to {}",
                num_planes - 1
            ))
        })
    };
    let signed = [(&params.foreground, true), (&params.background, false)];
    for (point, positive) in signed.iter().flat_map(|(list, sign)| list.iter().map(|p| (p, *sign)))
    {
        let (x, y, z) = match *point.as_slice() {
            [x, y] if num_planes == 1 => (x, y, 0.0),
            [x, y, z] => (x, y, z.round()),
            _ => return Err(Failure::unprocessable("a point is not [x, y, z] of a voxel")),
        };
        prompts.entry(plane(z)?).or_default().points.push(PointPrompt { x, y, positive });
    }
    if let Some(roi) = params.roi.as_deref().filter(|roi| !roi.is_empty()) {
        let (bbox, planes) = match *roi {
            [x0, y0, x1, y1] if num_planes == 1 => ([x0, y0, x1, y1], 0..1),
            [x0, y0, x1, y1, z0, z1] if z0.is_finite() && z1.is_finite() => {
                let first = plane(z0.floor())?;
                (
                    [x0, y0, x1, y1],
                    first..(z1.ceil().max(0.0) as usize).clamp(first + 1, num_planes),
                )
            }
            _ => {
                return Err(Failure::unprocessable(
                    "roi is not [x0, y0, x1, y1, z0, z1] of voxels",
                ));
            }
        };
        for z in planes {
            prompts.entry(z).or_default().bbox = Some(bbox);
        }
    }
    Ok(prompts)
}

/// Writes objects into a plane, the best last: 1 for what was asked for, else the category's index from 1.
fn paint(answer: &Answer, plane: &mut [u8], is_asked: bool, min_score: f64) {
    for found in answer.objects.iter().rev().filter(|found| found.score >= min_score) {
        let label = if is_asked { 1 } else { u8::try_from(found.category + 1).unwrap_or(u8::MAX) };
        if let Some(mask) = &found.mask {
            mask.paint(plane, label);
        }
    }
}

/// What is told beside the label map.
#[derive(Default)]
struct Details {
    objects: Vec<Value>,
    labels: Vec<String>,
    values: Map<String, Value>,
    was_prepared: bool,
}

impl Details {
    fn add(&mut self, app: &App, answer: &Answer, min_score: f64) -> Result<(), Failure> {
        let about = app.inference.about();
        for found in answer.objects.iter().filter(|found| found.score >= min_score) {
            let category = &reply::category(about, found.category)?.name;
            let bbox = reply::xywh(found.bbox);
            self.objects.push(json!({ "label": category, "score": found.score, "bbox": bbox }));
        }
        for &index in &answer.labels {
            self.labels.push(reply::category(about, index)?.name.clone());
        }
        self.values.extend(answer.values.iter().map(|(name, value)| (name.clone(), json!(value))));
        self.was_prepared = answer.was_prepared;
        Ok(())
    }

    fn shown(self, app: &App, params: &Params, is_asked: bool) -> Value {
        let about = app.inference.about();
        let label_names: Map<String, Value> = if is_asked {
            let named = params.label.as_ref().and_then(Value::as_str);
            let first = about.categories.first().map(|category| category.name.as_str());
            [(named.or(first).unwrap_or("object").to_owned(), json!(1))].into_iter().collect()
        } else {
            about
                .categories
                .iter()
                .zip(1..)
                .map(|(c, value)| (c.name.clone(), json!(value)))
                .collect()
        };
        json!({
            "label_names": label_names, "objects": self.objects, "predicted": self.labels,
            "values": self.values, "was_prepared": self.was_prepared, "latencies": {},
        })
    }
}

/// The label map with its details as a form, or alone.
fn respond(
    details: &Value,
    bytes: Vec<u8>,
    end: &str,
    output: Option<Output>,
) -> Result<Response, Failure> {
    let name = format!("label{end}");
    if output == Some(Output::Image) {
        let headers = [
            (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
            (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        ];
        return Ok((headers, bytes).into_response());
    }
    // Random, so that no content can contain it.
    let limit = Token::new()?.reveal().to_owned();
    let mut body = format!(
        "--{limit}\r\nContent-Disposition: form-data; name=\"params\"\r\nContent-Type: application/json\r\n\r\n\
         {details}\r\n--{limit}\r\nContent-Disposition: form-data; name=\"image\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    body.extend(bytes);
    body.extend(format!("\r\n--{limit}--\r\n").bytes());
    let kind = format!("multipart/form-data; boundary={limit}");
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}
