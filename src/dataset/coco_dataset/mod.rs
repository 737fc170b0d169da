//! Datasets in COCO's JSON format.
//!
//! ```toml
//! [dataset]
//! type = "coco"
//! root = "data/busbra"                # what the other paths are relative to
//! train = "train.json"
//! val = { annotations = "val.json", images = "images/val" }
//! categories = ["benign", "malignant"]  # optional: the order of class indices
//! ```

mod assemble;
mod audit;
mod categories;
mod frames;
mod values;

use std::{
    borrow::Cow,
    fmt,
    path::{Path, PathBuf},
};

use crate::coco::{
    self, FILE, Fields, File, Integer, Pair, Plain, from_slice, join::entry, parse_hashed, read,
};
pub use crate::coco::{
    CocoResults, CocoTruths, FoundObject, TruthCategory, TruthImage, TruthObject,
};
use anyhow::Result;
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess},
};

use serde_json::value::RawValue;

use super::{Dataset, DatasetConfig, Record, Split, dataset::missing_split};
use crate::coco_dataset::{assemble::assemble, categories::CategoryMap};
use crate::findings::Audit;
use crate::image_names::{Places, resolve};
use sonotune_base::{Error, pattern};
use sonotune_base::{
    names::{duplicate, quoted},
    words::did_you_mean,
};

/// Class indices come from category ids, which must be integers.
type Training = Plain<Integer>;
type CocoFile = File<Training>;
type Image = coco::Image<Training>;
type Annotation = coco::Annotation<Training>;
type RawCategory = coco::Category<Training>;

/// A COCO file of which only the categories matter; the rest is passed over.
#[derive(Default)]
struct CategoriesOnly {
    categories: Option<Vec<RawCategory>>,
}

impl Fields for CategoriesOnly {
    const EXPECTED: &'static str = FILE;

    fn take<'de, A: MapAccess<'de>>(&mut self, pair: Pair<'_, A>) -> Result<(), A::Error> {
        match pair.key {
            "categories" => pair.list(&mut self.categories),
            _ => pair.skip(),
        }
    }

    fn finish<E: de::Error>(&self) -> Result<(), E> {
        self.categories.as_ref().map(drop).ok_or_else(|| E::missing_field("categories"))
    }
}

/// `type = "coco"`: annotation files in COCO's format.
///
/// Polygons, compressed and uncompressed run lengths; ids as integers or strings. Categories are matched
/// by name: every split must have the same names, in any order and with any ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CocoConfig {
    /// Folder that all other paths are relative to.
    #[serde(default)]
    pub root: PathBuf,
    /// Folder, below `root`, that `file_name` is relative to.
    #[serde(default)]
    pub images: PathBuf,
    /// Annotation file, below `root`; or a table `{ annotations = "…", images = "…" }` if the split has its own
    /// folder of images.
    pub train: Option<CocoSplit>,
    /// Same as `train`, for validation.
    pub val: Option<CocoSplit>,
    /// Same as `train`, for the test split, which `sonotune eval` scores.
    pub test: Option<CocoSplit>,
    /// Names in the order of class indices. If absent, the order of the train file.
    pub categories: Option<Vec<String>>,
    /// Names whose objects are left out; at least one split must have each of them.
    #[serde(default)]
    pub ignore_categories: Vec<String>,
    /// Merges all categories into one, `object`.
    #[serde(default)]
    pub agnostic: bool,
    /// Patterns of `file_name` whose images are left out of every split, e.g. `["BUSI/*", "BUSBRA/*"]`; the
    /// number of images left out is recorded with every score. A pattern that matches nothing in the training
    /// split is an error.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Classes of the image itself: those of its objects, or `none`.
    #[serde(default)]
    pub image_label: ImageLabel,
    /// Keys of the file's image entries that hold a number for the image (a measurement, an age); every image
    /// must have each of them. For tasks that learn numbers (docs/add-a-task.md).
    #[serde(default)]
    pub values: Vec<String>,
    /// Keeps images without objects; leaving them out hides false positives.
    #[serde(default = "yes")]
    pub keep_empty: bool,
    /// Which image files are checked for existence on opening: `all`, `some` (the first eight; for a slow
    /// network), `none`. A missing file is an error on reading in any case.
    #[serde(default)]
    pub check_files: CheckFiles,
}

fn yes() -> bool {
    true
}

/// Files of one split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CocoSplit {
    /// Annotation file, below `root`.
    pub annotations: PathBuf,
    /// Folder of its images, below `root`; absent: that of the dataset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<PathBuf>,
}

/// A split as a table.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SplitTable {
    /// Annotation file, below `root`.
    annotations: PathBuf,
    /// Folder of this split's images, below `root`; absent: `dataset.images`.
    images: Option<PathBuf>,
}

/// Where the classes of an image come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageLabel {
    /// An image has the categories of its objects.
    #[default]
    FromObjects,
    /// Images have no classes.
    None,
}

/// Which image files are checked on opening. Reading a missing one is an error in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckFiles {
    /// The first eight: finds a wrong folder at once.
    Some,
    /// Every one: a second on a local disk, minutes on a slow network.
    #[default]
    All,
    None,
}

impl CheckFiles {
    pub(super) fn check(self, dataset: &Dataset) -> Result<()> {
        self.check_in(dataset, None)
    }

    /// Same as [`check`](Self::check), with the places where the images may be otherwise.
    fn check_in(self, dataset: &Dataset, places: Option<&Places>) -> Result<()> {
        match self {
            Self::Some => dataset.verify(8, places),
            Self::All => dataset.verify(usize::MAX, places),
            Self::None => Ok(()),
        }
    }
}

impl JsonSchema for CocoSplit {
    fn schema_name() -> Cow<'static, str> {
        "CocoSplit".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, <SplitTable as JsonSchema>::json_schema(generator)] })
    }
}

impl<'de> Deserialize<'de> for CocoSplit {
    /// Written by hand, since serde's untagged form does not say what is wrong inside.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = CocoSplit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an annotation file, or { annotations = \"…\", images = \"…\" }")
            }

            fn visit_str<E: de::Error>(self, path: &str) -> Result<CocoSplit, E> {
                Ok(CocoSplit { annotations: path.into(), images: None })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<CocoSplit, A::Error> {
                let table = SplitTable::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(CocoSplit { annotations: table.annotations, images: table.images })
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

inventory::submit! {
    sonotune_config::Summary::of("dataset", "coco", "COCO JSON: polygons, compressed and uncompressed RLE, boxes")
        .schema::<CocoConfig>()
}

#[typetag::serde(name = "coco")]
impl DatasetConfig for CocoConfig {
    fn splits(&self) -> Vec<Split> {
        Split::ALL.into_iter().filter(|&s| self.split(s).is_some()).collect()
    }

    fn source(&self, split: Split) -> Option<PathBuf> {
        self.split(split).map(|files| self.root.join(&files.annotations))
    }

    fn open(&self, split: Split) -> Result<Dataset> {
        self.check()?;
        let Some(files) = self.split(split) else {
            return Err(missing_split(split, &self.splits()));
        };
        let path = self.root.join(&files.annotations);
        let bytes = read(&path)?;
        let (mut file, sha256) = parse_hashed(&bytes, |bytes| from_slice(bytes, &path), &path)?;
        let map = self.category_map(split, &path, &file)?;
        let places = self.places(split, files);
        let frames = raw_frames(&mut file);
        let mut dataset = assemble(file, &path, &places.images, map)?;
        if !self.values.is_empty() {
            values::add(&mut dataset.records, &self.values, &bytes, &path)?;
        }
        drop(bytes);
        dataset.source_sha256 = Some(sha256);
        dataset.ensure_images()?;
        let mut paths: Vec<_> = dataset.records.iter_mut().map(|record| &mut record.path).collect();
        dataset.notes.extend(resolve(&mut paths, &places.images));
        set_frames(&mut dataset, &frames)?;
        exclude(&mut dataset, &self.exclude, &places.images, split)?;
        if !self.keep_empty {
            drop_empty(&mut dataset)?;
        }
        if split == Split::Train && self.categories.is_none() {
            dataset.notes.extend(unused_categories(&dataset, &self.ignore_categories));
        }
        if self.image_label == ImageLabel::FromObjects {
            label_images(&mut dataset);
        }
        self.check_files.check_in(&dataset, Some(&places))?;
        Ok(dataset)
    }

    fn audit(&self, split: Split) -> Audit {
        audit::audit(self, split)
    }
}

impl CocoConfig {
    fn places(&self, split: Split, files: &CocoSplit) -> Places {
        let (images, key) = match &files.images {
            Some(images) => (images, format!("dataset.{split}.images")),
            None => (&self.images, "dataset.images".to_owned()),
        };
        let (images, source) = (self.root.join(images), self.root.join(&files.annotations));
        Places { images, root: self.root.clone(), source, key: Some(key) }
    }

    fn split(&self, split: Split) -> Option<&CocoSplit> {
        match split {
            Split::Train => self.train.as_ref(),
            Split::Val => self.val.as_ref(),
            Split::Test => self.test.as_ref(),
        }
    }

    fn check(&self) -> Result<()> {
        if let Some(name) = duplicate(&self.values) {
            return Err(Error::config(format!("dataset.values lists \"{name}\" twice")).into());
        }
        let Some(names) = &self.categories else { return Ok(()) };
        let complaint = if self.agnostic {
            "cannot be combined with `agnostic = true`, which makes every category one".to_owned()
        } else if names.is_empty() {
            "is empty: name at least one, or leave the key out".to_owned()
        } else if let Some(name) = duplicate(names) {
            format!("lists \"{name}\" twice")
        } else if let Some(name) = names.iter().find(|n| self.ignore_categories.contains(n)) {
            format!("lists \"{name}\", which `ignore_categories` leaves out")
        } else {
            return Ok(());
        };
        Err(Error::config(format!("dataset.categories {complaint}")).into())
    }

    /// How the file's categories become class indices. Without `categories`, the train file decides,
    /// so that all splits agree.
    fn category_map(&self, split: Split, path: &Path, file: &CocoFile) -> Result<CategoryMap> {
        let own = file.categories.as_deref().unwrap_or_default();
        self.check_ignored(split, own, path)?;
        let map = CategoryMap::new(own, &self.ignore_categories, path)?;
        if self.agnostic {
            return Ok(map.agnostic());
        }
        if let Some(names) = &self.categories {
            return map.ordered(names, "dataset.categories", path);
        }
        match &self.train {
            Some(train) if split != Split::Train => {
                let train = self.root.join(&train.annotations);
                let file: CategoriesOnly = from_slice(&read(&train)?, &train)?;
                let own = file.categories.unwrap_or_default();
                let own = CategoryMap::new(&own, &self.ignore_categories, &train)?;
                map.ordered(&own.names(), &format!("those of {}", train.display()), path)
            }
            _ => Ok(map),
        }
    }
}

impl CocoConfig {
    /// # Errors
    /// If no split has a category that is to be ignored. One split may lack it: that is a reason to
    /// ignore it.
    fn check_ignored(&self, split: Split, own: &[RawCategory], path: &Path) -> Result<()> {
        let names = |list: &[RawCategory]| {
            list.iter().filter_map(|c| c.name.as_ref().map(|t| t.0.clone())).collect()
        };
        let own: Vec<String> = names(own);
        let mut unknown: Vec<&String> =
            self.ignore_categories.iter().filter(|name| !own.contains(name)).collect();
        for other in self.splits().into_iter().filter(|&other| other != split) {
            let Some(files) = self.split(other).filter(|_| !unknown.is_empty()) else { continue };
            let path = self.root.join(&files.annotations);
            // A file that cannot be read is reported when its split is opened.
            let read = read(&path).and_then(|bytes| from_slice::<CategoriesOnly>(&bytes, &path));
            let Ok(file) = read else { continue };
            let others: Vec<String> = names(&file.categories.unwrap_or_default());
            unknown.retain(|name| !others.contains(name));
        }
        let Some(name) = unknown.first() else { return Ok(()) };
        let hint = did_you_mean(name, own.iter().map(String::as_str));
        Err(Error::data(format!(
            "{}: has no category \"{name}\"{hint}, which dataset.ignore_categories names",
            path.display()
        ))
        .into())
    }
}

/// The key `frame` of each image.
fn raw_frames(file: &mut CocoFile) -> Vec<Option<Box<RawValue>>> {
    file.images.iter_mut().flatten().map(|image| image.rest.frame.take()).collect()
}

/// Says which frame of its file each record is; `raw` is the key `frame` of each.
fn set_frames(dataset: &mut Dataset, raw: &[Option<Box<RawValue>>]) -> Result<()> {
    let counts = frames::counts(dataset.records.iter().map(|record| record.path.as_path()));
    let of_record = |(i, record): (usize, &Record)| {
        let count = counts.get(record.path.as_path()).copied();
        let frame = count.map(|count| frames::frame(raw[i].as_deref(), count)).transpose();
        let frame = frame.map(Option::flatten);
        frame.map_err(|why| {
            let place = entry("images", i, Some(&record.image_id));
            let (source, file) = (dataset.source.display(), record.path.display());
            Error::data(format!("{source}: {place}: {file}: {why}"))
        })
    };
    let all: Vec<Option<u32>> =
        dataset.records.iter().enumerate().map(of_record).collect::<Result<_, _>>()?;
    for (record, frame) in dataset.records.iter_mut().zip(all) {
        record.frame = frame;
    }
    Ok(())
}

/// Leaves out the images below `folder` whose name matches a pattern.
fn exclude(dataset: &mut Dataset, patterns: &[String], folder: &Path, split: Split) -> Result<()> {
    let mut counts = vec![0usize; patterns.len()];
    dataset.records.retain(|record| {
        let name = record.path.strip_prefix(folder).unwrap_or(&record.path).to_string_lossy();
        let mut keep = true;
        for (pattern, count) in patterns.iter().zip(&mut counts) {
            if pattern::matches(pattern, &name) {
                *count += 1;
                keep = false;
            }
        }
        keep
    });
    for (pattern, count) in patterns.iter().zip(counts) {
        if count > 0 {
            dataset.notes.push(format!("{count} images left out: dataset.exclude \"{pattern}\""));
        } else if split == Split::Train {
            return Err(Error::config(format!(
                "dataset.exclude: \"{pattern}\" matches no image of {}; the names look like \"{}\"",
                dataset.source.display(),
                dataset.records.first().map_or("", |r| r.path.to_str().unwrap_or_default()),
            ))
            .into());
        }
    }
    dataset.ensure_images()
}

fn drop_empty(dataset: &mut Dataset) -> Result<()> {
    let before = dataset.records.len();
    dataset.records.retain(|record| !record.objects.is_empty());
    let dropped = before - dataset.records.len();
    if dropped > 0 {
        dataset.notes.push(format!(
            "{dropped} of {before} images left out: no objects (keep_empty = false)"
        ));
    }
    dataset.ensure_images()
}

/// Says which categories have no object, such as the background or a root of other categories; `ignored`
/// are those that the config leaves out already.
fn unused_categories(dataset: &Dataset, ignored: &[String]) -> Option<String> {
    const MAX_NAMED: usize = 8;
    let mut is_used = vec![false; dataset.categories.len()];
    for object in dataset.records.iter().flat_map(|record| &record.objects) {
        is_used[object.category as usize] = true;
    }
    if !is_used.contains(&true) {
        return None;
    }
    let names = dataset.category_names().zip(&is_used);
    let unused: Vec<&str> = names.filter(|(_, used)| !**used).map(|(name, _)| name).collect();
    let list: Vec<&str> = ignored.iter().map(String::as_str).chain(unused.clone()).collect();
    let remedy = format!("dataset.ignore_categories = [{}]", quoted(&list));
    match unused.as_slice() {
        [] => None,
        [name] => Some(format!(
            "category \"{name}\" has no object, but is a class; to leave it out: {remedy}"
        )),
        names if names.len() <= MAX_NAMED => Some(format!(
            "categories {} have no object, but are classes; to leave them out: {remedy}",
            quoted(names)
        )),
        names => Some(format!(
            "{} of {} categories have no object, but are classes: {} and others; \
             dataset.ignore_categories leaves them out",
            names.len(),
            is_used.len(),
            quoted(&names[..MAX_NAMED])
        )),
    }
}

fn label_images(dataset: &mut Dataset) {
    for record in &mut dataset.records {
        let mut labels: Vec<u32> = record.objects.iter().map(|o| o.category).collect();
        labels.sort_unstable();
        labels.dedup();
        record.image_labels = labels;
    }
}
