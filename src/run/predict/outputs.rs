//! The files of a prediction.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use image::RgbImage;
use serde_json::{Value, json};

use super::{
    PredictOptions, area,
    clips::{ClipScore, ClipScores},
    coco::{CocoText, Info, Named},
    masks::{self, MaskFiles},
    names::FlatNames,
    overlay::Overlay,
};
use sonotune_base::{Category, Error, ImageId, fs::atomic_write};
use sonotune_dataset::ImagePrompts;
use sonotune_engine::{
    batch::Target,
    task::{Averaging, Prediction},
};

pub(super) const CSV: &str = "predictions.csv";
pub(super) const JSON: &str = "predictions.json";
const PICTURES: &str = "pictures";
const MASKS: &str = "masks";

/// Collects predictions, image by image; pictures and masks are written immediately, tables at the end.
#[derive(Debug)]
pub(super) struct Outputs<'a> {
    categories: &'a [Category],
    pub(super) csv: PathBuf,
    pub(super) json: PathBuf,
    pub(super) pictures: Option<PathBuf>,
    masks: MaskFiles,
    masks_folder: PathBuf,
    has_masks: bool,
    names: FlatNames,
    /// Whether image ids are those of an annotation file.
    keeps_ids: bool,
    table: Option<Table>,
    /// The video of the clip whose frames are being added.
    overlay: Option<Overlay>,
    clips: ClipScores,
    pub(super) num_images: usize,
    num_objects: usize,
}

/// The image of a prediction.
#[derive(Debug, Clone, Copy)]
pub(super) struct ImageName<'a> {
    /// Path of its file.
    pub(super) file: &'a str,
    /// Which frame of the file, if it is one.
    pub(super) frame: Option<u32>,
    /// The prompted frame that its answers go back to, if that is another one.
    pub(super) carried_from: Option<u32>,
    /// What it is called: the file, and the number of its frame (`clip.mp4#17`).
    pub(super) name: &'a str,
}

/// The tables, whose form depends on what the task predicts.
#[derive(Debug)]
enum Table {
    /// One line per image.
    Images { csv: csv::Writer<Vec<u8>>, json: Vec<Value>, values: Vec<String> },
    /// One line per object.
    Objects { csv: csv::Writer<Vec<u8>>, coco: CocoText },
}

/// Creates the output folder; refuses to mix with existing predictions.
pub(super) fn prepare(options: &PredictOptions) -> Result<()> {
    let out = &options.out;
    let taken = [CSV, JSON, PICTURES, MASKS].iter().any(|name| out.join(name).exists());
    if taken && !options.overwrite {
        return Err(Error::config(format!(
            "{} already contains predictions; choose another --out, or replace them with --overwrite",
            out.display()
        ))
        .into());
    }
    for folder in [PICTURES, MASKS].map(|name| out.join(name)) {
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot empty {}", folder.display()))?;
        }
    }
    make_folder(if options.pictures { out.join(PICTURES) } else { out.clone() }.as_path())
}

fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

impl<'a> Outputs<'a> {
    pub(super) fn new(
        options: &PredictOptions,
        categories: &'a [Category],
        (keeps_ids, gives_objects): (bool, bool),
        averaging: Option<Box<dyn Averaging>>,
    ) -> Result<Self> {
        let out = &options.out;
        Ok(Self {
            categories,
            csv: out.join(CSV),
            json: out.join(JSON),
            pictures: options.pictures.then(|| out.join(PICTURES)),
            masks: options.masks,
            masks_folder: out.join(MASKS),
            has_masks: false,
            names: FlatNames::default(),
            keeps_ids,
            // Otherwise the first prediction decides.
            table: if gives_objects { Some(Table::objects()?) } else { None },
            overlay: None,
            clips: ClipScores::new(averaging),
            num_images: 0,
            num_objects: 0,
        })
    }

    /// Adds the prediction of an image, whose picture is drawn if requested.
    pub(super) fn add(
        &mut self,
        image: ImageName<'_>,
        target: &Target,
        prediction: &Prediction,
        picture: impl FnOnce() -> Result<RgbImage>,
    ) -> Result<()> {
        self.num_images += 1;
        self.num_objects += prediction.instances.len();
        let file_name = image.name;
        let stem = self.names.stem(file_name);
        if let Some(folder) = self.pictures.clone() {
            let path = folder.join(format!("{stem}.png"));
            let picture = picture()?;
            self.add_to_video(image, &picture, &folder)?;
            masks::write_png(&picture.into(), &path)?;
        }
        self.clips.add(image, prediction);
        let with_masks = prediction.instances.iter().any(|i| i.mask.is_some());
        // An image without any object also has a map: all background.
        let no_object = self.has_masks && prediction.instances.is_empty();
        if self.masks != MaskFiles::None && (with_masks || no_object) {
            make_folder(&self.masks_folder)?;
            let size = prediction.original_size;
            masks::write(self.masks, &prediction.instances, size, &self.masks_folder, &stem)?;
            self.has_masks = true;
        }
        let image_id = match self.keeps_ids {
            true => prediction.image_id.clone(),
            false => ImageId::from(self.num_images as u64),
        };
        let table = match &mut self.table {
            Some(table) => table,
            None => self.table.insert(if prediction.is_of_image() {
                Table::images(self.categories, prediction)?
            } else {
                Table::objects()?
            }),
        };
        let prompts = match &target.prompts {
            Some(ImagePrompts::Objects(prompts)) => prompts.as_slice(),
            _ => &[],
        };
        let prompt_name = |i: usize| prompts.get(i).and_then(|prompt| prompt.name.as_deref());
        match table {
            Table::Images { csv, json, values } => {
                anyhow::ensure!(
                    prediction.values.keys().eq(values.iter()),
                    "{file_name}: the task gave the values {:?}, but {values:?} for the first image",
                    prediction.values.keys().collect::<Vec<_>>()
                );
                csv.write_record(image_row(file_name, prediction, self.categories))?;
                json.push(image_entry(image, prediction, self.categories));
            }
            Table::Objects { csv, coco } => {
                let named = Named { name: image, image_id: &image_id, spacing: target.spacing };
                coco.add(named, prediction, self.categories, prompt_name)?;
                for (i, instance) in prediction.instances.iter().enumerate() {
                    let name = instance.answers.and_then(|answer| prompt_name(answer.object));
                    let head = [
                        file_name.to_owned(),
                        (i + 1).to_string(),
                        name.unwrap_or_default().to_owned(),
                        category_name(instance.category, self.categories),
                        format!("{:.6}", instance.score),
                        area(instance).to_string(),
                    ];
                    let corners = instance.bbox.iter().map(|v| format!("{v:.2}"));
                    csv.write_record(head.into_iter().chain(corners))?;
                }
            }
        }
        Ok(())
    }

    /// Appends the picture of a frame to the video of its clip.
    fn add_to_video(
        &mut self,
        image: ImageName<'_>,
        picture: &RgbImage,
        folder: &Path,
    ) -> Result<()> {
        if self.overlay.as_ref().is_some_and(|overlay| !overlay.is_of(image)) {
            self.finish_video()?;
        }
        if image.frame.is_none() {
            return Ok(());
        }
        if self.overlay.is_none() {
            let stem = self.names.stem(image.file);
            self.overlay = Some(Overlay::create(image, picture, folder, &stem)?);
        }
        self.overlay.as_mut().map_or(Ok(()), |overlay| overlay.add(picture))
    }

    fn finish_video(&mut self) -> Result<()> {
        self.overlay.take().map_or(Ok(()), Overlay::finish)
    }

    /// The score of each clip, from those of its frames, if the task scores images.
    ///
    /// # Errors
    /// If the predictions of a clip cannot be averaged.
    pub(super) fn clip_scores(&self) -> Result<Vec<ClipScore>> {
        self.clips.averaged(self.categories)
    }

    /// Number of predicted objects, if the task predicts any.
    pub(super) fn num_objects(&self) -> Option<usize> {
        matches!(self.table, Some(Table::Objects { .. })).then_some(self.num_objects)
    }

    /// Folder of the masks, if there are any.
    pub(super) fn masks_folder(&self) -> Option<PathBuf> {
        self.has_masks.then(|| self.masks_folder.clone())
    }

    /// Writes the tables.
    pub(super) fn finish(mut self, info: &Info<'_>) -> Result<()> {
        self.finish_video()?;
        let clips = self.clip_scores()?;
        let table = match self.table {
            Some(table) => table,
            None => Table::of_labels(self.categories)?,
        };
        let (csv, json) = match table {
            Table::Objects { csv, coco } => (csv, coco.finish(info, self.categories)?),
            Table::Images { csv, json, .. } => {
                let names: Vec<_> = self.categories.iter().map(|c| &c.name).collect();
                let mut document = json!({
                    "checkpoint": info.checkpoint,
                    "categories": names,
                    "images": json,
                    "failures": info.failures,
                });
                if !info.ensemble.is_empty() {
                    document["ensemble"] = json!(info.ensemble);
                }
                if !clips.is_empty() {
                    document["clips"] = json!(clips);
                }
                if !info.conditions.is_empty() {
                    document["conditions"] = json!(info.conditions);
                }
                (csv, serde_json::to_string_pretty(&document)?)
            }
        };
        atomic_write(&self.csv, &csv.into_inner()?)?;
        atomic_write(&self.json, json.as_bytes())
    }
}

impl Table {
    fn objects() -> Result<Self> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record([
            "image", "label", "name", "category", "score", "area", "x0", "y0", "x1", "y1",
        ])?;
        Ok(Self::Objects { csv, coco: CocoText::default() })
    }

    /// Columns for the values in `first`, which all predictions have.
    fn images(categories: &[Category], first: &Prediction) -> Result<Self> {
        if first.scores.is_empty() {
            return Self::new_images(&[], &first.values);
        }
        let scores = categories.iter().map(|c| format!("score_{}", c.name));
        let columns: Vec<_> = std::iter::once("labels".to_owned()).chain(scores).collect();
        Self::new_images(&columns, &first.values)
    }

    /// If no image was predicted, so that the values are unknown.
    fn of_labels(categories: &[Category]) -> Result<Self> {
        let scores = categories.iter().map(|c| format!("score_{}", c.name));
        let columns: Vec<_> = std::iter::once("labels".to_owned()).chain(scores).collect();
        Self::new_images(&columns, &BTreeMap::new())
    }

    fn new_images(columns: &[String], values: &BTreeMap<String, f64>) -> Result<Self> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        let head = std::iter::once("image").chain(columns.iter().map(String::as_str));
        csv.write_record(head.chain(values.keys().map(String::as_str)))?;
        Ok(Self::Images { csv, json: Vec::new(), values: values.keys().cloned().collect() })
    }
}

fn image_row(file_name: &str, prediction: &Prediction, categories: &[Category]) -> Vec<String> {
    let mut row = vec![file_name.to_owned()];
    if !prediction.scores.is_empty() {
        row.push(label_names(prediction, categories).join(" "));
    }
    row.extend(prediction.scores.iter().map(|s| format!("{s:.6}")));
    // As many digits as needed to read back the same number.
    row.extend(prediction.values.values().map(f64::to_string));
    row
}

fn image_entry(image: ImageName<'_>, prediction: &Prediction, categories: &[Category]) -> Value {
    let scores: serde_json::Map<_, _> = categories
        .iter()
        .zip(&prediction.scores)
        .map(|(category, &score)| (category.name.clone(), json!(score)))
        .collect();
    let mut entry = json!({
        "image": image.name,
        "height": prediction.original_size.0,
        "width": prediction.original_size.1,
        "labels": label_names(prediction, categories),
        "scores": scores,
        "instances": [],
    });
    if let Some(frame) = image.frame {
        entry["file_name"] = json!(image.file);
        entry["frame"] = json!(frame);
    }
    if !prediction.values.is_empty() {
        entry["values"] = json!(prediction.values);
    }
    entry
}

fn label_names(prediction: &Prediction, categories: &[Category]) -> Vec<String> {
    prediction.labels.iter().map(|&label| category_name(label, categories)).collect()
}

pub(super) fn category_name(index: usize, categories: &[Category]) -> String {
    categories.get(index).map_or_else(|| index.to_string(), |c| c.name.clone())
}
