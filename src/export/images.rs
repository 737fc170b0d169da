//! Images for checks, which fill the network's input: no resizing is compared.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use image::RgbImage;
use sonotune_base::{Error, ImageId};
use sonotune_dataset::{
    Dataset, FrameChoice, ImagePrompts, ObjectPrompt, PointPrompt, Record, Split, TargetNeeds,
    pixels::Reader,
    transforms::{Cropping, Doppler, Normalize},
};
use sonotune_draw::write_png;
use sonotune_engine::{
    batch::Batch,
    loader::{LoadPlan, prepare_batch},
    task::Prediction,
};
use sonotune_run::{Model, config::RunConfig};
use tch::{Kind, Tensor, no_grad};

use crate::prepare::Preparation;

/// Images for checks, of the size that they have in the network's input.
#[derive(Debug)]
pub(crate) struct Images {
    pub(crate) fitted: Vec<Fitted>,
    /// Where they come from.
    pub(crate) source: String,
}

/// One image.
#[derive(Debug)]
pub(crate) struct Fitted {
    /// `[H, W, 3]` f32 RGB, whole levels.
    pub(crate) pixels: Tensor,
    /// The network's input, and the target that predictions refer to.
    pub(crate) batch: Batch,
}

/// The images that a user named, those of the validation split, or a drawn one.
///
/// # Errors
/// Of kind data if the named images cannot be used.
pub(crate) fn gather(
    model: &Model<'_>,
    preparation: &Preparation,
    (named, most): (Option<&Path>, usize),
    folder: &Path,
) -> Result<Images> {
    let (records, source) = records(model.config, named, folder)?;
    // Evenly spaced: neighbours in a list are often of one patient.
    let step = records.len().div_ceil(most).max(1);
    let records = records.into_iter().step_by(step);
    let mut fitted = Vec::new();
    for (index, record) in records.enumerate() {
        let path = folder.join(format!("image{index}.png"));
        let image = fit(model, preparation, &record, &path);
        fitted.push(image.with_context(|| record.name().display().to_string())?);
    }
    ensure!(!fitted.is_empty(), Error::data(format!("{source}: no images to check with")));
    Ok(Images { fitted, source })
}

fn records(
    config: &RunConfig,
    named: Option<&Path>,
    folder: &Path,
) -> Result<(Vec<Record>, String)> {
    if let Some(path) = named {
        let records = Dataset::from_images(path, FrameChoice::All)?.records;
        return Ok((records, path.display().to_string()));
    }
    if let Some(dataset) = &config.dataset
        && dataset.splits().contains(&Split::Val)
        && let Ok(split) = dataset.open(Split::Val)
        && split.records.iter().any(|record| record.path.exists())
    {
        let there = split.records.into_iter().filter(|record| record.path.exists());
        let unlabelled =
            there.map(|r| Record { frame: r.frame, ..Record::new(r.image_id, r.path) });
        return Ok((unlabelled.collect(), "the validation split".to_owned()));
    }
    let path = folder.join("drawn.png");
    write_png(&path, &drawn(config.preprocess.image_size))?;
    let record = Record::new(ImageId::Unsigned(1), path);
    Ok((vec![record], "a drawn test image".to_owned()))
}

/// A bright ellipse in speckle.
fn drawn(side: u32) -> RgbImage {
    let (width, height) = (side, (side * 3 / 4).max(1));
    RgbImage::from_fn(width, height, |x, y| {
        let across = (f64::from(x) / f64::from(width) - 0.5) / 0.3;
        let down = (f64::from(y) / f64::from(height) - 0.5) / 0.25;
        let bright = if across * across + down * down < 1.0 { 150 } else { 40 };
        let speckle = x.wrapping_mul(2_654_435_761).wrapping_add(y.wrapping_mul(40_503)) >> 16;
        image::Rgb([(bright + speckle % 60) as u8; 3])
    })
}

/// How the model prepares images for predictions.
fn plan(model: &Model<'_>) -> LoadPlan {
    LoadPlan {
        preprocess: model.config.preprocess.clone(),
        augment: Default::default(),
        spec: model.spec.input.clone(),
        needs: TargetNeeds::ImageLabels,
        loader: model.config.loader.clone(),
        seed: 0,
        pixels: Default::default(),
        preparation: None,
        reader: std::sync::Arc::new(Reader::default()),
        share: Default::default(),
        embeddings: None,
    }
}

/// The image as the network sees it becomes an image file of its own, at `path`; preparing that changes nothing
/// but the numbers' scale.
fn fit(
    model: &Model<'_>,
    preparation: &Preparation,
    record: &Record,
    path: &Path,
) -> Result<Fitted> {
    let mut plan = plan(model);
    let seen = prepare_batch(std::slice::from_ref(record), &plan)?;
    let (height, width) = seen.targets.first().context("no target")?.input_size;
    let pixels = levels(&seen.images, preparation, (height, width))?;
    let (h, w) = (u32::try_from(pixels.size()[0])?, u32::try_from(pixels.size()[1])?);
    let bytes = Vec::<u8>::try_from(pixels.to_kind(Kind::Uint8).flatten(0, -1))?;
    write_png(path, &RgbImage::from_raw(w, h, bytes).context("an image of its own size")?)?;
    plan.preprocess.crop = Cropping::None;
    plan.preprocess.doppler = Doppler::Keep;
    let own = Record::new(record.image_id.clone(), path.to_owned());
    Ok(Fitted { pixels, batch: prepare_batch(&[own], &plan)? })
}

/// Whole levels of the unpadded part, its longest side lengthened to the input's where rounding lost a pixel.
fn levels(
    images: &Tensor,
    preparation: &Preparation,
    (height, width): (i64, i64),
) -> Result<Tensor> {
    let image = images.get(0).narrow(1, 0, height).narrow(2, 0, width);
    let per_channel =
        |values: [f64; 3]| Tensor::from_slice(&values).to_kind(Kind::Float).view([3, 1, 1]);
    let values = match preparation.normalize {
        Normalize::MeanStd => image * per_channel(preparation.std) + per_channel(preparation.mean),
        Normalize::MinMax => image * 255.0,
    };
    let side = preparation.side;
    let (bottom, right) = match height >= width {
        true => (side - height, 0),
        false => (0, side - width),
    };
    let values = values.unsqueeze(0).f_replication_pad2d([0, right, 0, bottom])?;
    Ok(values.get(0).permute([1, 2, 0]).round().clamp(0.0, 255.0).contiguous())
}

impl Fitted {
    /// `(height, width)`.
    pub(crate) fn size(&self) -> (i64, i64) {
        (self.pixels.size()[0], self.pixels.size()[1])
    }

    /// This program's own prediction, with prompts for a promptable model.
    pub(crate) fn predict(
        &self,
        model: &Model<'_>,
        prompts: Option<&[ObjectPrompt]>,
    ) -> Result<Prediction> {
        let mut batch = self.batch.shallow_clone();
        for target in &mut batch.targets {
            target.prompts = prompts.map(|prompts| ImagePrompts::Objects(prompts.to_vec()));
        }
        let mut predictions = no_grad(|| model.task.predict(&batch))?;
        ensure!(predictions.len() == 1, "one image, {} predictions", predictions.len());
        Ok(predictions.remove(0))
    }

    /// A click, a box, a box with a click, and two clicks, one of them on something else.
    pub(crate) fn prompts(&self) -> Vec<ObjectPrompt> {
        let (height, width) = (self.size().0 as f64, self.size().1 as f64);
        let click = |x: f64, y: f64, positive| PointPrompt {
            x: (x * width).floor(),
            y: (y * height).floor(),
            positive,
        };
        let points = |points: Vec<PointPrompt>| ObjectPrompt { points, ..ObjectPrompt::default() };
        let bbox = Some([0.25 * width, 0.3 * height, 0.75 * width, 0.7 * height]);
        vec![
            points(vec![click(0.5, 0.5, true)]),
            ObjectPrompt { bbox, ..ObjectPrompt::default() },
            ObjectPrompt { bbox, ..points(vec![click(0.45, 0.55, true)]) },
            points(vec![click(0.4, 0.5, true), click(0.1, 0.15, false)]),
        ]
    }
}
