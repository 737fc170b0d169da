//! The splits of a run, opened before its first step. What would end the run at a later step or
//! evaluation is refused here, as far as annotations, files and headers show it.

use std::{fmt::Write as _, sync::Arc};

use anyhow::{Context, Result};
use rayon::prelude::*;
use sonotune_base::{Error, ErrorKind, error::kind, pattern, words::counted};
use sonotune_dataset::{Dataset, Record, Split, TargetNeeds, pixels::Reader};
use sonotune_engine::loader::{BadImages, check_size};

use crate::{config::RunConfig, prepared::Start, scored_images};

/// The splits that a training uses.
#[derive(Debug)]
pub(crate) struct Splits {
    pub(crate) train: Arc<Dataset>,
    pub(crate) val: Option<Arc<Dataset>>,
    /// What is worth a warning.
    pub(crate) notes: Vec<String>,
}

impl Splits {
    /// Opens the training and validation splits, and also checks the test split. A resumed run does
    /// not need that one: it only warns.
    ///
    /// # Errors
    /// Of kind config or data.
    pub(crate) fn open(config: &RunConfig, start: Start) -> Result<Self> {
        let train = config.dataset()?.open(Split::Train)?;
        if train.records.is_empty() {
            let message = format!("{} holds no images", train.source.display());
            return Err(Error::data(message).into());
        }
        train.require_values(&config.task.values())?;
        let mut notes = check(config, Split::Train, &train)?;
        let val = validation_set(config)?;
        if let Some(val) = &val {
            notes.extend(check_scored(config, Split::Val, val, &train)?);
            require_known_metric(config, val)?;
        }
        if config.dataset()?.splits().contains(&Split::Test) {
            let checked = scored_images::open(config, Split::Test)
                .and_then(|test| check_scored(config, Split::Test, &test, &train))
                .context("dataset.test (training can do without: `~dataset.test`)");
            match checked {
                Ok(more) => notes.extend(more),
                Err(error) if start == Start::Checkpoint => notes.push(format!("{error:#}")),
                Err(error) => return Err(error),
            }
        }
        Ok(Self { train: Arc::new(train), val, notes })
    }
}

/// Opens and checks the data of a config, as training does before it builds the model. Returns what is
/// worth a warning; if none of the data is on this machine, that alone.
///
/// # Errors
/// Whatever training would refuse.
pub fn check_data(config: &RunConfig) -> Result<Vec<String>> {
    let dataset = config.dataset()?;
    let sources: Vec<_> = dataset.splits().into_iter().filter_map(|s| dataset.source(s)).collect();
    match sources.first() {
        Some(first) if !sources.iter().any(|source| source.exists()) => Ok(vec![format!(
            "the data was not checked: it is not on this machine ({} does not exist)",
            first.display()
        )]),
        _ => Splits::open(config, Start::Config).map(|splits| splits.notes),
    }
}

/// The validation split, if the dataset has one.
fn validation_set(config: &RunConfig) -> Result<Option<Arc<Dataset>>> {
    if config.dataset()?.splits().contains(&Split::Val) {
        return scored_images::open(config, Split::Val).map(Some);
    }
    if let Some(metric) = &config.evaluation.best_metric {
        return Err(Error::config(format!(
            "evaluation.best_metric = \"{metric}\" needs a validation split: give [dataset] val, \
             or leave best_metric out"
        ))
        .into());
    }
    Ok(None)
}

fn check_scored(
    config: &RunConfig,
    split: Split,
    dataset: &Dataset,
    train: &Dataset,
) -> Result<Vec<String>> {
    let (trained, found): (Vec<_>, Vec<_>) =
        (train.category_names().collect(), dataset.category_names().collect());
    if trained != found {
        return Err(Error::data(format!(
            "{} has the categories {}, but {} has {}: every split needs the same ones in the same order",
            dataset.source.display(),
            found.join(", "),
            train.source.display(),
            trained.join(", ")
        ))
        .into());
    }
    let notes = check(config, split, dataset)?;
    check_files(config, dataset)?;
    Ok(notes)
}

/// What the images of a split have of what the task learns from.
#[derive(Debug, Default)]
struct Supply {
    /// Objects that are not crowds; for a task that learns from labels, labels.
    objects: usize,
    crowds: usize,
    boxes_only: usize,
    outlined_by_their_box: usize,
}

impl Supply {
    fn of(dataset: &Dataset, needs: TargetNeeds) -> Self {
        let mut supply = Self::default();
        for record in &dataset.records {
            if needs == TargetNeeds::ImageLabels {
                supply.objects += record.image_labels.len();
                continue;
            }
            for object in &record.objects {
                if object.is_crowd {
                    supply.crowds += 1;
                    continue;
                }
                supply.objects += 1;
                supply.boxes_only += usize::from(object.is_box_only());
                supply.outlined_by_their_box += usize::from(object.is_outlined_by_its_box());
            }
        }
        supply
    }

    fn has_no_masks(&self) -> bool {
        self.objects > 0 && self.boxes_only == self.objects
    }
}

/// Whether the task scores masks, but no object of the split has one.
pub(crate) fn lacks_masks(config: &RunConfig, dataset: &Dataset) -> bool {
    config.task.learns_from() == Some(TargetNeeds::Masks)
        && Supply::of(dataset, TargetNeeds::Masks).has_no_masks()
}

/// Checks the annotations of a split; returns what is worth a warning.
fn check(config: &RunConfig, split: Split, dataset: &Dataset) -> Result<Vec<String>> {
    config.task.check_labels(dataset)?;
    let Some(needs) = config.task.learns_from() else { return Ok(Vec::new()) };
    let supply = Supply::of(dataset, needs);
    let mut notes = nothing(config, split, dataset, needs, &supply)?;
    if needs != TargetNeeds::Masks {
        return Ok(notes);
    }
    let (source, objects) = (dataset.source.display(), counted(supply.objects, "object"));
    if supply.has_no_masks() {
        let lack = format!("{source}: no mask for any of its {objects}, only boxes");
        if !config.train.allow_boxes_as_masks {
            return Err(Error::data(format!(
                "{lack}, and this task learns masks. Annotate masks, or set \
                 train.allow_boxes_as_masks = true: each box then counts as a mask"
            ))
            .into());
        }
        notes.push(format!(
            "{lack}: each box counts as a mask (train.allow_boxes_as_masks){}",
            if split == Split::Train { "" } else { ", and scores of masks are left out" }
        ));
    } else if supply.boxes_only > 0 {
        notes.push(format!(
            "{source}: {} of its {objects} have no mask: the box counts as one, in training and in \
             scores of masks",
            supply.boxes_only
        ));
    }
    if supply.objects > 1 && supply.outlined_by_their_box == supply.objects {
        notes.push(format!(
            "{source}: the mask of each of its {objects} is exactly its box; were boxes exported as \
             masks?"
        ));
    }
    Ok(notes)
}

/// Refuses a split without anything to learn from or to score.
fn nothing(
    config: &RunConfig,
    split: Split,
    dataset: &Dataset,
    needs: TargetNeeds,
    supply: &Supply,
) -> Result<Vec<String>> {
    if supply.objects > 0 {
        return Ok(Vec::new());
    }
    let what = if needs == TargetNeeds::ImageLabels { "category" } else { "object" };
    let mut lack = format!(
        "{}: no {what} in any of its {}",
        dataset.source.display(),
        counted(dataset.records.len(), "image")
    );
    if supply.crowds > 0 {
        let _ = write!(lack, ", not counting {}", counted(supply.crowds, "crowd"));
    }
    let refused = match split {
        Split::Train if config.train.allow_no_objects => {
            return Ok(vec![format!("{lack} (train.allow_no_objects)")]);
        }
        Split::Test => return Ok(vec![format!("{lack}: there is nothing to score")]),
        Split::Train => format!(
            "{lack}: there is nothing to learn. Annotate some, or set train.allow_no_objects = true"
        ),
        Split::Val => format!(
            "{lack}: there is nothing to score. Annotate some, or leave the split out \
             (`~dataset.val`)"
        ),
    };
    Err(Error::data(refused).into())
}

/// Looks at the header of every image that is to be scored.
fn check_files(config: &RunConfig, dataset: &Dataset) -> Result<()> {
    // Filling the cache reads every image before the first step.
    if config.embedding_cache.is_some() {
        return Ok(());
    }
    let (reader, options) = (Reader::default(), config.preprocess.decode_options());
    let look = |record: &Record| {
        let (size, transposed) = reader.check_header(&record.path, record.frame, options)?;
        check_size(size, transposed, record.size, &record.name())
    };
    let found: Vec<_> = dataset.records.par_iter().filter_map(|r| look(r).err()).collect();
    let bad = found.len();
    // That the machine runs out of file handles is not the image's fault.
    let (data, others): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|e| kind(e) == Some(ErrorKind::Data));
    if let Some(error) = others.into_iter().next() {
        return Err(error);
    }
    let Some(first) = data.first() else { return Ok(()) };
    let (source, all) = (dataset.source.display(), dataset.records.len());
    let (allowed, limit) = match config.loader.bad_images {
        BadImages::Fail => (0, String::new()),
        BadImages::Skip => {
            let most = config.loader.max_bad_images;
            (most.min(all - 1), format!(", more than loader.max_bad_images = {most} allows"))
        }
    };
    if bad <= allowed {
        return Ok(());
    }
    Err(Error::data(format!(
        "{source}: {bad} of {} cannot be used{limit}; the first is {first:#}. Fix or remove them \
         (`sonotune data check` finds all faults)",
        counted(all, "image")
    ))
    .into())
}

/// Whether the size of a pixel is known for an image, from the annotation or a DICOM file.
fn knows_spacing(dataset: &Dataset) -> bool {
    let reader = Reader::default();
    let mut records = dataset.records.iter();
    records.any(|record| record.spacing.is_some() || reader.spacing(&record.path).is_some())
}

/// Refuses a metric of a category that the dataset does not have, and one in millimetres where no size of a
/// pixel is known. That the metric is one of those that the task declares was checked with the config.
fn require_known_metric(config: &RunConfig, dataset: &Dataset) -> Result<()> {
    let (Some(metric), Some(declared)) =
        (&config.evaluation.best_metric, config.task.metric_names())
    else {
        return Ok(());
    };
    if let Some(in_pixels) = metric.strip_suffix("_mm")
        && !knows_spacing(dataset)
    {
        return Err(Error::config(format!(
            "evaluation.best_metric = \"{metric}\" is in millimetres, but no image of {} has a `pixel_spacing`: \
             add it ([row, column] in millimetres), or use \"{in_pixels}\"",
            dataset.source.display()
        ))
        .into());
    }
    let names: Vec<&str> = dataset.category_names().collect();
    let is = |declared: &String| {
        declared == metric
            || (pattern::matches(declared, metric)
                && names.iter().any(|name| declared.replace('*', name) == *metric))
    };
    if declared.iter().any(is) {
        return Ok(());
    }
    Err(Error::config(format!(
        "evaluation.best_metric = \"{metric}\": there is no such category; the categories are {}",
        names.join(", ")
    ))
    .into())
}
