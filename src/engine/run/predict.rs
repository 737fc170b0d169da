//! Predicting images without annotations.

use std::{collections::HashSet, fs, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    evaluate::{decided, draw, eval_plan, predict_batch},
    model::{Model, ModelSource, Opened},
    train::load_plan,
};
use crate::{
    Error,
    config::Loaded,
    data::{
        Batch, Category, Dataset, Split,
        loader::{LoadPlan, Loader, prepare_batch},
    },
    device,
    fs::atomic_write,
    task::Prediction,
};

/// What to predict, and where to write it.
#[derive(Debug, Clone)]
pub struct PredictOptions {
    /// An image, or a folder searched for images.
    pub images: PathBuf,
    /// Receives `predictions.csv`, `predictions.json` and `pictures/`.
    pub out: PathBuf,
    pub source: ModelSource,
    /// Also draw every prediction on its image.
    pub pictures: bool,
    /// Replace the predictions of an earlier call.
    pub overwrite: bool,
}

/// What was written.
#[derive(Debug, Clone, serde::Serialize)]
pub struct PredictRecord {
    pub checkpoint: PathBuf,
    pub num_images: usize,
    /// Why an image has no prediction: one message each.
    pub failures: Vec<String>,
    pub csv: PathBuf,
    pub json: PathBuf,
    pub pictures: Option<PathBuf>,
}

const CSV: &str = "predictions.csv";
const JSON: &str = "predictions.json";
const PICTURES: &str = "pictures";

/// Predicts with a checkpoint of the run whose config is `loaded`.
///
/// # Errors
/// Of kind config, data or weights.
pub fn predict(loaded: &Loaded, options: &PredictOptions) -> Result<PredictRecord> {
    let decided = decided(loaded, &options.source)?;
    let config = &decided.as_ref().map_or(loaded, |decided| &decided.loaded).config;
    let device = device::choose(config.device)?.device;
    let dataset = Arc::new(Dataset::from_images(&options.images)?);
    let categories = match options.source {
        ModelSource::Pretrained => config.dataset.open(Split::Train)?.categories,
        _ => Vec::new(),
    };
    let Opened { model, path: checkpoint, .. } =
        Model::open(config, device, &options.source, &categories)?;
    prepare(options)?;
    let pictures = options.pictures.then(|| options.out.join(PICTURES));

    let (mut predictions, mut names) = (Vec::new(), PictureNames::default());
    let failures = each_readable(
        &dataset,
        &eval_plan(load_plan(config, &model), config, &*model.task),
        |batch| {
            for (index, prediction) in
                predict_batch(&model, batch, config, device)?.into_iter().enumerate()
            {
                if let Some(folder) = &pictures {
                    let picture = draw(&model, batch, index, &prediction, false)?;
                    let path = folder.join(names.name(&prediction.image_id.to_string()));
                    picture
                        .save(&path)
                        .with_context(|| format!("cannot write {}", path.display()))?;
                }
                predictions.push(prediction);
            }
            Ok(())
        },
    )?;

    let record = PredictRecord {
        checkpoint,
        num_images: predictions.len(),
        failures,
        csv: options.out.join(CSV),
        json: options.out.join(JSON),
        pictures,
    };
    atomic_write(&record.csv, &csv_text(&predictions, &model.categories)?)?;
    let document = json_document(&predictions, &model.categories, &record);
    atomic_write(&record.json, serde_json::to_string_pretty(&document)?.as_bytes())?;
    Ok(record)
}

/// Calls `visit` with every image that can be read, in batches and in order; the messages of the
/// others are returned. One damaged file must not cost the predictions of a thousand good ones.
fn each_readable(
    dataset: &Arc<Dataset>,
    plan: &LoadPlan,
    mut visit: impl FnMut(&Batch) -> Result<()>,
) -> Result<Vec<String>> {
    let mut failures = Vec::new();
    let records = dataset.records.chunks(plan.loader.batch_size);
    for (batch, records) in Loader::eval(dataset.clone(), plan.clone())?.zip(records) {
        if let Ok(batch) = batch {
            visit(&batch)?;
            continue;
        }
        for record in records {
            match prepare_batch(std::slice::from_ref(record), plan) {
                Ok(batch) => visit(&batch)?,
                Err(error) => failures.push(format!("{error:#}")),
            }
        }
    }
    Ok(failures)
}

/// Makes the output folder; refuses to mix with what is there.
fn prepare(options: &PredictOptions) -> Result<()> {
    let taken = [CSV, JSON, PICTURES].iter().any(|name| options.out.join(name).exists());
    if taken && !options.overwrite {
        return Err(Error::config(format!(
            "{} holds predictions already; choose another --out, or replace them with --overwrite",
            options.out.display()
        ))
        .into());
    }
    let folder = options.out.join(PICTURES);
    if taken && folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    let wanted = if options.pictures { &folder } else { &options.out };
    fs::create_dir_all(wanted).with_context(|| format!("cannot create {}", wanted.display()))
}

/// Flat file names for images of any folder; no two are alike.
#[derive(Debug, Default)]
struct PictureNames(HashSet<String>);

impl PictureNames {
    fn name(&mut self, image_id: &str) -> String {
        let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let flat: String = image_id.chars().map(plain).collect();
        let stem = flat.strip_suffix(".png").unwrap_or(&flat);
        let mut name = format!("{stem}.png");
        for count in 2.. {
            if self.0.insert(name.clone()) {
                break;
            }
            name = format!("{stem}-{count}.png");
        }
        name
    }
}

/// One line an image: labels and scores; then, where the task finds objects, one line each.
fn csv_text(predictions: &[Prediction], categories: &[Category]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let image_level = predictions.iter().any(|p| !p.scores.is_empty());
    if image_level {
        let scores = categories.iter().map(|c| format!("score_{}", c.name));
        writer.write_record(["image".into(), "labels".into()].into_iter().chain(scores))?;
        for prediction in predictions {
            let labels = label_names(prediction, categories).join(" ");
            let scores = prediction.scores.iter().map(|s| format!("{s:.6}"));
            writer.write_record(
                [prediction.image_id.to_string(), labels].into_iter().chain(scores),
            )?;
        }
    } else {
        writer.write_record(["image", "category", "score", "x0", "y0", "x1", "y1"])?;
        for prediction in predictions {
            for instance in &prediction.instances {
                let category = category_name(instance.category, categories);
                let corners = instance.bbox.iter().map(|v| format!("{v:.2}"));
                let head =
                    [prediction.image_id.to_string(), category, format!("{:.6}", instance.score)];
                writer.write_record(head.into_iter().chain(corners))?;
            }
        }
    }
    Ok(writer.into_inner()?)
}

fn json_document(
    predictions: &[Prediction],
    categories: &[Category],
    record: &PredictRecord,
) -> Value {
    let images: Vec<_> = predictions
        .iter()
        .map(|prediction| {
            let scores: serde_json::Map<_, _> = categories
                .iter()
                .zip(&prediction.scores)
                .map(|(category, &score)| (category.name.clone(), json!(score)))
                .collect();
            let instances: Vec<_> = prediction
                .instances
                .iter()
                .map(|instance| {
                    let mask = instance.mask.as_ref().map(|rle| {
                        json!({"size": [rle.height, rle.width], "counts": rle.to_compressed()})
                    });
                    json!({
                        "category": category_name(instance.category, categories),
                        "score": instance.score,
                        "bbox_xyxy": instance.bbox,
                        "segmentation": mask,
                    })
                })
                .collect();
            json!({
                "image": prediction.image_id.to_string(),
                "height": prediction.original_size.0,
                "width": prediction.original_size.1,
                "labels": label_names(prediction, categories),
                "scores": scores,
                "instances": instances,
            })
        })
        .collect();
    let names: Vec<_> = categories.iter().map(|c| &c.name).collect();
    json!({
        "checkpoint": record.checkpoint,
        "categories": names,
        "images": images,
        "failures": record.failures,
    })
}

fn label_names(prediction: &Prediction, categories: &[Category]) -> Vec<String> {
    prediction.labels.iter().map(|&label| category_name(label, categories)).collect()
}

fn category_name(index: usize, categories: &[Category]) -> String {
    categories.get(index).map_or_else(|| index.to_string(), |c| c.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_different_images_have_different_plain_names() {
        let mut names = PictureNames::default();
        assert_eq!(names.name("a/b c.png"), "a_b_c.png");
        assert_eq!(names.name("a.jpg"), "a.jpg.png");
        assert_eq!(names.name("a.jpg.png"), "a.jpg-2.png");
        assert!(!names.name("../../etc/x.png").contains('/'));
    }
}
