//! A split of a dataset: records, not pixels.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sonotune_base::words::did_you_mean;

use super::{
    ImagePrompts, Statistics,
    image_names::{Elsewhere, Places, sibling},
};
use crate::{findings::Audit, pixels::ImageFile};
use sonotune_base::Error;
use sonotune_base::{Category, ImageId, Segmentation, names::quoted};

/// Which part of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Train,
    Val,
    Test,
}

impl Split {
    /// In the order they are used.
    pub const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];
}

impl Split {
    /// The name in configs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The `[dataset]` table of a config.
#[typetag::serde(tag = "type")]
pub trait DatasetConfig: Debug + Send + Sync {
    /// The splits this config names, in the order of [`Split::ALL`].
    fn splits(&self) -> Vec<Split>;

    /// The file or folder that a split is read from, if it is one; for a split that is not named,
    /// `None`.
    fn source(&self, split: Split) -> Option<PathBuf> {
        let _ = split;
        None
    }

    /// Opens one split: reads annotations, not pixels. Every split of a config has the same
    /// categories in the same order.
    ///
    /// If files are missing, malformed or contradict each other; names the file and the entry. A
    /// split that the config does not name is a config error.
    fn open(&self, split: Split) -> Result<Dataset>;

    /// Reads one split without stopping at faults and reports all of them, for `sonotune data
    /// check`. By default: the result of [`open`](Self::open), or its single error.
    fn audit(&self, split: Split) -> Audit {
        Audit::of(self.open(split), Path::new(split.name()))
    }
}

sonotune_config::schema_of_types!(dyn DatasetConfig, "dataset");

/// An opened split.
#[derive(Debug, Clone, Default)]
pub struct Dataset {
    /// In the order of class indices.
    pub categories: Vec<Category>,
    pub records: Vec<Record>,
    /// The file or folder the records come from, for messages.
    pub source: PathBuf,
    /// SHA-256 of the annotation file, in hex; recorded with every score.
    pub source_sha256: Option<String>,
    /// What was left out or rewritten while loading, one sentence each; recorded with every score.
    pub notes: Vec<String>,
}

/// One image with its annotation.
#[derive(Debug, Clone)]
pub struct Record {
    pub image_id: ImageId,
    /// Absolute, or relative to the working directory.
    pub path: PathBuf,
    /// Which frame of the file, counted from 0, if the file is a clip or may have several.
    pub frame: Option<u32>,
    /// Millimetres a pixel of the file as stored: `[row, column]`, which is the distance of neighbouring rows
    /// (vertical) and of neighbouring columns (horizontal).
    pub spacing: Option<[f64; 2]>,
    /// `(height, width)` according to the annotation; checked against the file when decoded.
    pub size: Option<(u32, u32)>,
    /// Category indices of the image as a whole, ascending, without duplicates.
    pub image_labels: Vec<u32>,
    pub objects: Vec<Object>,
    /// Prompts for a promptable model; `None`: those its task derives from `objects`.
    pub prompts: Option<ImagePrompts>,
    /// Numbers of the image as a whole, by name, e.g. a measurement or an age. Finite.
    pub values: BTreeMap<String, f64>,
}

impl Record {
    /// An image without annotation.
    #[must_use]
    pub fn new(image_id: ImageId, path: PathBuf) -> Self {
        Self {
            image_id,
            path,
            frame: None,
            spacing: None,
            size: None,
            image_labels: Vec::new(),
            objects: Vec::new(),
            prompts: None,
            values: BTreeMap::new(),
        }
    }

    /// What its pixels are read from.
    #[must_use]
    pub fn image_file(&self) -> ImageFile {
        ImageFile::new(&self.path, self.frame)
    }

    /// Its name in messages and results, with the number of its frame: see [`ImageFile::name`].
    #[must_use]
    pub fn name(&self) -> PathBuf {
        self.image_file().name()
    }
}

/// One annotated object.
#[derive(Debug, Clone)]
pub struct Object {
    /// Index into [`Dataset::categories`].
    pub category: u32,
    /// XYWH, original pixels.
    pub bbox: [f64; 4],
    /// As given in the file, in original pixels; metrics by object size use it.
    pub area: f64,
    pub is_crowd: bool,
    pub segmentation: Segmentation,
}

impl Object {
    /// Whether it has a box and no mask.
    #[must_use]
    pub fn is_box_only(&self) -> bool {
        matches!(self.segmentation, Segmentation::None)
    }

    /// Whether its mask is its box: one polygon along the box, as tools write it that know boxes only.
    #[must_use]
    pub fn is_outlined_by_its_box(&self) -> bool {
        let Segmentation::Polygons(polygons) = &self.segmentation else { return false };
        let [polygon] = &polygons[..] else { return false };
        let [x, y, width, height] = self.bbox;
        let near = |a: f64, b: f64| (a - b).abs() < 0.5;
        let is_corner = |p: &[f64]| {
            (near(p[0], x) || near(p[0], x + width)) && (near(p[1], y) || near(p[1], y + height))
        };
        (8..=10).contains(&polygon.len()) && polygon.chunks_exact(2).all(is_corner)
    }
}

impl Dataset {
    /// Number of objects in all images.
    #[must_use]
    pub fn num_objects(&self) -> usize {
        self.records.iter().map(|r| r.objects.len()).sum()
    }

    /// Names of the categories, in the order of class indices.
    pub fn category_names(&self) -> impl Iterator<Item = &str> {
        self.categories.iter().map(|c| c.name.as_str())
    }

    /// Checks that every image has the numbers `names`.
    ///
    /// # Errors
    /// If an image lacks one; names the first such image and the values it has.
    pub fn require_values(&self, names: &[String]) -> Result<()> {
        for name in names {
            let lacks: Vec<_> =
                self.records.iter().filter(|r| !r.values.contains_key(name)).collect();
            let Some(first) = lacks.first() else { continue };
            let (message, hint) =
                (no_value(&first.image_id, &first.name(), name), value_hint(&first.values, name));
            return Err(Error::data(format!(
                "{}: {message} ({} of {} images lack it){hint}",
                self.source.display(),
                lacks.len(),
                self.records.len()
            ))
            .into());
        }
        Ok(())
    }

    /// Checks that every image file exists (not its content). On a network disk this takes a while,
    /// so opening checks only the first few.
    ///
    /// # Errors
    /// If any is missing; names the first one and how many there are.
    pub fn verify_files(&self) -> Result<()> {
        self.verify_first_files(usize::MAX)
    }

    /// Same as [`verify_files`](Self::verify_files), for the first `count` records.
    pub fn verify_first_files(&self, count: usize) -> Result<()> {
        self.verify(count, None)
    }

    /// Same as [`verify_first_files`](Self::verify_first_files); if the images are elsewhere, the error says
    /// so.
    pub(crate) fn verify(&self, count: usize, places: Option<&Places>) -> Result<()> {
        let looked_at = count.min(self.records.len());
        let missing: Vec<_> =
            self.records[..looked_at].iter().filter(|r| !r.path.is_file()).collect();
        let Some(first) = missing.first() else { return Ok(()) };
        let paths = self.records[..looked_at].iter().map(|record| record.path.as_path());
        let elsewhere = places.and_then(|places| Elsewhere::find(paths, places));
        let hint = elsewhere.and_then(|elsewhere| elsewhere.hint(&first.path));
        let hint = hint.or_else(|| Some(format!("there is {}", sibling(&first.path)?.display())));
        let hint = hint.unwrap_or_else(|| "check the image folder in the config".to_owned());
        Err(Error::data(format!(
            "{}: image {} has no file {} ({} of {looked_at} files checked are missing); {hint}",
            self.source.display(),
            first.image_id,
            first.path.display(),
            missing.len(),
        ))
        .into())
    }

    /// An error if the dataset has no images.
    pub fn ensure_images(&self) -> Result<()> {
        if self.records.is_empty() {
            let mut message = format!("{}: no images", self.source.display());
            for note in &self.notes {
                let _ = write!(message, "; {note}");
            }
            return Err(Error::data(message).into());
        }
        Ok(())
    }

    /// A readable paragraph: images, objects, and for each category its class index, id in the
    /// file, name and counts.
    #[must_use]
    pub fn summary(&self) -> String {
        Statistics::of(self).to_string()
    }
}

/// `image 7 (a.png) has no value "ga_weeks"`.
pub fn no_value(image_id: &ImageId, path: &Path, name: &str) -> String {
    format!("image {image_id} ({}) has no value \"{name}\"", path.display())
}

/// What there is in place of a value that an image lacks.
pub fn value_hint(values: &BTreeMap<String, f64>, name: &str) -> String {
    let names: Vec<&str> = values.keys().map(String::as_str).collect();
    if names.is_empty() {
        return "; the dataset has no values: list the name in its key `values`, if its type has that key"
            .to_owned();
    }
    let near = did_you_mean(name, names.iter().copied());
    format!("{near}; it has {}", quoted(&names))
}

/// The error of a split that the config does not name; `named` are those it does.
#[must_use]
pub fn missing_split(split: Split, named: &[Split]) -> anyhow::Error {
    let named: Vec<String> = named.iter().map(ToString::to_string).collect();
    Error::config(format!(
        "dataset.{split} is not set; the config names {}",
        if named.is_empty() { "no split".to_owned() } else { quoted(&named) }
    ))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset() -> Dataset {
        let category = |id, name: &str| Category { id, name: name.into() };
        let object = |category| Object {
            category,
            bbox: [0.0, 0.0, 2.0, 2.0],
            area: 4.0,
            is_crowd: category == 1,
            segmentation: Segmentation::None,
        };
        let record = |id: u64, labels: &[u32]| Record {
            image_labels: labels.to_vec(),
            objects: labels.iter().map(|&l| object(l)).collect(),
            ..Record::new(id.into(), format!("{id}.png").into())
        };
        Dataset {
            categories: vec![category(7, "benign"), category(3, "malignant")],
            records: vec![record(0, &[0, 1]), record(1, &[1]), record(2, &[])],
            source: "val.json".into(),
            ..Dataset::default()
        }
    }

    #[test]
    fn the_summary_counts_per_category() {
        assert_eq!(
            dataset().summary(),
            "val.json: 3 images, 3 objects (2 as crowds), 1 image without objects, 1 image \
             without label\n  \
             class 0 = benign     (id 7): 1 object, 1 image\n  \
             class 1 = malignant  (id 3): 2 objects, 2 images\n"
        );
    }

    #[test]
    fn values_that_a_task_needs_are_looked_for() {
        let mut dataset = dataset();
        let needs = ["ga_weeks".to_owned()];
        let error = dataset.require_values(&needs).unwrap_err().to_string();
        assert_eq!(
            error,
            "val.json: image 0 (0.png) has no value \"ga_weeks\" (3 of 3 images lack it); the \
             dataset has no values: list the name in its key `values`, if its type has that key"
        );
        for record in &mut dataset.records[..2] {
            record.values.insert("ga_weeks".to_owned(), 21.5);
        }
        dataset.records[2].values.insert("ga_week".to_owned(), 21.5);
        let error = dataset.require_values(&needs).unwrap_err().to_string();
        assert!(error.contains("image 2 (2.png)") && error.contains("1 of 3"), "{error}");
        assert!(error.contains("did you mean \"ga_week\""), "{error}");
        dataset.records[2].values.insert("ga_weeks".to_owned(), 0.0);
        dataset.require_values(&needs).unwrap();
    }

    #[test]
    fn missing_files_are_counted_and_the_first_named() {
        let error = dataset().verify_files().unwrap_err().to_string();
        assert!(error.contains("0.png") && error.contains("3 of 3"), "{error}");
    }
}
