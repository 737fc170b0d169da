//! Asks the model, in the page's terms.

mod uncertainty;

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use sonotune_base::{Error, Segmentation};
use sonotune_dataset::{ObjectPrompt, PointPrompt};
use sonotune_serve::{Answer, Found, Inference, Question};

use crate::{
    app::App,
    images::Index,
    object::{Mask, Point},
};

pub(crate) use uncertainty::{compute_all, of_answer};

/// Prompts of a question at most.
const MAX_PROMPTS: usize = 64;
/// Points of a prompt at most.
const MAX_POINTS: usize = 1000;
/// Drafts that are shown at most.
const MAX_DRAFTS: usize = 500;

/// What the page asks about one object.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Prompted {
    #[serde(default)]
    points: Vec<Point>,
    /// XYXY.
    #[serde(default)]
    bbox: Option<[f64; 4]>,
    #[serde(default)]
    mask: Option<Mask>,
    #[serde(default)]
    category_id: Option<u64>,
}

/// What the page is answered.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Replied {
    objects: Vec<FoundObject>,
    milliseconds: u64,
    was_prepared: bool,
    /// Categories of the image as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<BTreeMap<u64, f64>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    values: BTreeMap<String, f64>,
}

#[derive(Debug, Clone, Serialize)]
struct FoundObject {
    mask: Option<Mask>,
    /// XYWH.
    bbox: [f64; 4],
    score: f64,
    category_id: u64,
}

/// Categories of the model and of the file, matched by name.
struct Categories {
    /// Id in the file by the model's index.
    ids: Vec<Option<u64>>,
    /// For what the model has no name that the file knows.
    default: u64,
}

impl Categories {
    fn of(app: &App, model: &dyn Inference) -> Self {
        let store = app.store();
        let known = store.categories();
        let id = |name: &str| {
            known.iter().find(|category| category.name == name).map(|category| category.id)
        };
        let ids = model.about().categories.iter().map(|category| id(&category.name)).collect();
        Self { ids, default: known.first().map_or(0, |category| category.id) }
    }

    fn id(&self, index: usize) -> u64 {
        self.ids.get(index).copied().flatten().unwrap_or(self.default)
    }

    fn index(&self, id: u64) -> Option<usize> {
        self.ids.iter().position(|&other| other == Some(id))
    }
}

/// Answers one object for each prompt.
///
/// # Errors
/// Kind data if a prompt does not fit the image, or the model takes none; errors of the model.
pub(crate) fn ask(app: &App, index: Index, prompts: &[Prompted]) -> Result<Replied> {
    let model = the_model(app)?;
    ensure!(
        model.about().takes_prompts,
        Error::data(format!("the model {} takes no prompts; it drafts only", model.about().name))
    );
    let number = prompts.len();
    ensure!(
        (1..=MAX_PROMPTS).contains(&number),
        Error::data(format!("{number} prompts: expected 1 to {MAX_PROMPTS}"))
    );
    let size = app.store().size(index)?;
    let categories = Categories::of(app, model);
    let asked = prompts
        .iter()
        .map(|prompt| prompt.checked(size, &categories))
        .collect::<Result<Vec<_>>>()?;
    let (answer, milliseconds) = answer(app, model, index, &Question::Prompts(asked))?;
    ensure!(
        answer.objects.len() == number,
        "the model gave {} answers to {number} prompts",
        answer.objects.len()
    );
    let mut objects = Vec::with_capacity(number);
    for (prompt, found) in prompts.iter().zip(&answer.objects) {
        let id = prompt.category_id.unwrap_or_else(|| categories.id(found.category));
        objects.push(shown(found, id, size)?);
    }
    Ok(Replied { objects, milliseconds, was_prepared: answer.was_prepared, ..Replied::default() })
}

/// Answers what the model finds without being asked for an object.
///
/// # Errors
/// Kind data if the image cannot be read; errors of the model.
pub(crate) fn drafts(app: &App, index: Index) -> Result<Replied> {
    let model = the_model(app)?;
    let about = model.about();
    let size = app.store().size(index)?;
    let categories = Categories::of(app, model);
    let (answer, milliseconds) = answer(app, model, index, &Question::Unasked)?;
    if let Some(value) = of_answer(about, &answer) {
        app.set_uncertainty(index, value);
    }
    let mut found: Vec<&Found> =
        answer.objects.iter().filter(|found| found.score >= about.min_score).collect();
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(MAX_DRAFTS);
    let objects: Result<Vec<_>> =
        found.into_iter().map(|found| shown(found, categories.id(found.category), size)).collect();
    let scores = answer.scores.iter().enumerate().map(|(i, &score)| (categories.id(i), score));
    Ok(Replied {
        objects: objects?,
        milliseconds,
        was_prepared: answer.was_prepared,
        labels: about
            .is_of_image
            .then(|| answer.labels.iter().map(|&label| categories.id(label)).collect()),
        scores: about.is_of_image.then(|| scores.collect()),
        values: answer.values.into_iter().collect(),
    })
}

fn the_model(app: &App) -> Result<&dyn Inference> {
    let none = || Error::data("there is no model: start the session with --run or --config");
    Ok(&**app.model.as_ref().ok_or_else(none)?)
}

fn answer(
    app: &App,
    model: &dyn Inference,
    index: Index,
    question: &Question,
) -> Result<(Answer, u64)> {
    let image = app.images.for_model(index)?;
    let _busy = app.activity.begin();
    let start = Instant::now();
    let answer = model.answer(&image, question)?;
    Ok((answer, u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)))
}

fn shown(found: &Found, category_id: u64, size: (u32, u32)) -> Result<FoundObject> {
    let [x0, y0, x1, y1] = found.bbox;
    let bbox = found.mask.as_ref().map_or([x0, y0, x1 - x0, y1 - y0], |mask| mask.bbox());
    if let Some(mask) = &found.mask {
        ensure!(
            (mask.height, mask.width) == size,
            "the model answered a mask of {}×{} for an image of {}×{}",
            mask.height,
            mask.width,
            size.0,
            size.1
        );
    }
    Ok(FoundObject {
        mask: found.mask.as_ref().map(Mask::of),
        bbox,
        score: found.score,
        category_id,
    })
}

impl Prompted {
    fn checked(&self, size: (u32, u32), categories: &Categories) -> Result<ObjectPrompt> {
        let number = self.points.len();
        ensure!(
            number <= MAX_POINTS,
            Error::data(format!("{number} points, more than {MAX_POINTS}"))
        );
        let point = |&Point { x, y, positive }: &Point| PointPrompt { x, y, positive };
        if let Some(mask) = &self.mask {
            mask.decode(size)?;
        }
        let mask = self.mask.clone().map(|mask| Segmentation::Compressed {
            height: mask.size[0],
            width: mask.size[1],
            counts: mask.counts.into(),
        });
        let prompt = ObjectPrompt {
            name: None,
            category: self.category_id.and_then(|id| categories.index(id)),
            points: self.points.iter().map(point).collect(),
            bbox: self.bbox,
            mask,
        };
        prompt.check((size.0.into(), size.1.into())).context("a prompt")?;
        Ok(prompt)
    }
}
