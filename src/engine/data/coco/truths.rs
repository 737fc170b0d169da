//! A COCO file as ground truth to score against: any ids, no image files.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;

use super::{
    entry,
    parse::{Bbox, Described, Entries, Entry, Flag, RawImage},
    read_hashed,
};
use crate::{
    Error,
    data::{ImageId, Segmentation, coco::assemble::image_size},
};

/// Annotated images, ascending by id, and categories, ascending by id: the order in which
/// pycocotools goes through them.
#[derive(Debug)]
pub struct CocoTruths {
    pub path: PathBuf,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    pub images: Vec<TruthImage>,
    pub categories: Vec<TruthCategory>,
    /// What the file lacked and how it was filled in.
    pub notes: Vec<String>,
    pub(super) image_index: HashMap<ImageId, u32>,
    pub(super) category_index: HashMap<ImageId, u32>,
}

/// An image to score.
#[derive(Debug)]
pub struct TruthImage {
    pub id: ImageId,
    /// `(height, width)`, if the file gives it.
    pub size: Option<(u32, u32)>,
    /// In the order of the file.
    pub objects: Vec<TruthObject>,
}

/// An annotated object.
#[derive(Debug)]
pub struct TruthObject {
    /// Position in the file's `annotations`, for messages.
    pub entry: u32,
    /// Index into [`CocoTruths::categories`].
    pub category: u32,
    /// XYWH, original pixels.
    pub bbox: [f64; 4],
    pub area: f64,
    pub is_crowd: bool,
    pub segmentation: Segmentation,
}

/// A category of the file.
#[derive(Debug, Clone)]
pub struct TruthCategory {
    pub id: ImageId,
    /// The id if the file has no name.
    pub name: String,
}

#[derive(Debug, Deserialize)]
struct TruthFile {
    images: Entries<RawImage>,
    annotations: Entries<RawTruth>,
    categories: Entries<RawLabel>,
}

impl Described for TruthFile {
    const EXPECTED: &'static str =
        "a COCO file: an object with the lists `images`, `annotations`, `categories`";
}

#[derive(Debug, Deserialize)]
struct RawTruth {
    id: Option<ImageId>,
    image_id: Option<ImageId>,
    category_id: Option<ImageId>,
    bbox: Option<Bbox>,
    area: Option<f64>,
    iscrowd: Option<Flag>,
    #[serde(default)]
    segmentation: Segmentation,
}

impl Described for RawTruth {
    const EXPECTED: &'static str = "an object with `image_id`, `category_id`, `bbox`";
}
impl Entry for RawTruth {
    const LIST: &'static str = "annotations";
}

#[derive(Debug, Deserialize)]
struct RawLabel {
    id: Option<ImageId>,
    name: Option<String>,
}

impl Described for RawLabel {
    const EXPECTED: &'static str = "an object with `id` and `name`";
}
impl Entry for RawLabel {
    const LIST: &'static str = "categories";
}

impl CocoTruths {
    /// Reads the ground truth at `path`; without `with_masks`, outlines are checked and discarded.
    ///
    /// An image without an id gets its position as id. A missing `iscrowd` is 0; missing boxes and
    /// areas are computed, and noted.
    ///
    /// # Errors
    /// A data error that names the file and the entry that is incomplete, contradictory, a duplicate or
    /// refers to something that does not exist.
    pub fn read(path: &Path, with_masks: bool) -> Result<Self> {
        let (file, sha256): (TruthFile, _) = read_hashed(path)?;
        assemble(file, path, sha256, with_masks)
            .map_err(|e| Error::data(format!("{}: {e:#}", path.display())).into())
    }

    /// Number of annotated objects, crowds among them.
    #[must_use]
    pub fn num_objects(&self) -> usize {
        self.images.iter().map(|image| image.objects.len()).sum()
    }
}

fn assemble(file: TruthFile, path: &Path, sha256: String, with_masks: bool) -> Result<CocoTruths> {
    let (mut images, image_index) = images(file.images.0)?;
    let (categories, category_index) = categories(file.categories.0)?;
    let mut seen: HashMap<ImageId, usize> = HashMap::new();
    let mut num_completed = 0;
    for (i, raw) in file.annotations.0.into_iter().enumerate() {
        let place = entry("annotations", i, raw.id.as_ref());
        if let Some(j) = raw.id.clone().and_then(|id| seen.insert(id, i)) {
            return Err(anyhow!("{place} has the same id as annotations[{j}]: ids must differ"));
        }
        num_completed += usize::from(raw.bbox.is_none() || raw.area.is_none());
        let owner = find("image_id", raw.image_id.as_ref(), &image_index);
        let image = &mut images[owner.with_context(|| place.clone())? as usize];
        let category = find("category_id", raw.category_id.as_ref(), &category_index);
        let category = category.with_context(|| place.clone())?;
        let mut object = object(raw, i, category, image.size).context(place)?;
        if !with_masks {
            object.segmentation = Segmentation::None;
        }
        image.objects.push(object);
    }
    let mut notes = Vec::new();
    if num_completed > 0 {
        notes.push(format!(
            "{num_completed} objects of the ground truth lacked area or bbox: computed"
        ));
    }
    if let Some(i) = seen.get(&ImageId::from(0)) {
        notes.push(format!(
            "annotations[{i}] has the id 0: pycocotools counts its detection as a false positive; here \
             it is a match"
        ));
    }
    Ok(CocoTruths {
        path: path.to_path_buf(),
        sha256,
        images,
        categories,
        notes,
        image_index,
        category_index,
    })
}

fn images(raw: Vec<RawImage>) -> Result<(Vec<TruthImage>, HashMap<ImageId, u32>)> {
    let mut images = Vec::with_capacity(raw.len());
    for (i, image) in raw.into_iter().enumerate() {
        let place = entry("images", i, image.id.as_ref());
        let size = image_size(&image).context(place)?;
        let id = image.id.unwrap_or_else(|| ImageId::from(i as u64));
        images.push(TruthImage { id, size, objects: Vec::new() });
    }
    images.sort_by(|a, b| a.id.cmp(&b.id));
    let index = index("images", images.iter().map(|image| &image.id))?;
    Ok((images, index))
}

fn categories(raw: Vec<RawLabel>) -> Result<(Vec<TruthCategory>, HashMap<ImageId, u32>)> {
    let mut categories = Vec::with_capacity(raw.len());
    for (i, label) in raw.into_iter().enumerate() {
        let id = label.id.with_context(|| format!("categories[{i}]: `id` is missing"))?;
        let name = label.name.unwrap_or_else(|| id.to_string());
        categories.push(TruthCategory { id, name });
    }
    ensure!(!categories.is_empty(), "`categories` is empty");
    categories.sort_by(|a, b| a.id.cmp(&b.id));
    let index = index("categories", categories.iter().map(|category| &category.id))?;
    Ok((categories, index))
}

fn index<'a>(list: &str, ids: impl Iterator<Item = &'a ImageId>) -> Result<HashMap<ImageId, u32>> {
    let mut index = HashMap::new();
    for (i, id) in ids.enumerate() {
        ensure!(
            index.insert(id.clone(), i as u32).is_none(),
            "two entries of `{list}` have the id {}",
            spelled(id)
        );
    }
    Ok(index)
}

/// The position of the entry that `key` refers to.
pub(super) fn find(key: &str, id: Option<&ImageId>, index: &HashMap<ImageId, u32>) -> Result<u32> {
    let id = id.with_context(|| format!("`{key}` is missing"))?;
    index.get(id).copied().ok_or_else(|| {
        let whose = if key == "image_id" { "image" } else { "category" };
        let hint = match id.respelled().filter(|other| index.contains_key(other)) {
            Some(other) => {
                format!(", but {} is: spell both alike, as a number or as text", spelled(&other))
            }
            None => String::new(),
        };
        anyhow!("{key} {} is not the id of any {whose} of the ground truth{hint}", spelled(id))
    })
}

/// An id as JSON has it.
pub(super) fn spelled(id: &ImageId) -> String {
    serde_json::to_string(id).unwrap_or_else(|_| id.to_string())
}

fn object(
    raw: RawTruth,
    index: usize,
    category: u32,
    size: Option<(u32, u32)>,
) -> Result<TruthObject> {
    raw.segmentation.check(size).context("segmentation")?;
    let bbox = match raw.bbox {
        Some(bbox) => bbox.0,
        None => raw.segmentation.bbox()?.context("has neither `bbox` nor `segmentation`")?,
    };
    check_bbox(bbox)?;
    let area = match raw.area {
        Some(area) => area,
        None => raw.segmentation.area()?.unwrap_or(bbox[2] * bbox[3]),
    };
    ensure!(area.is_finite() && area >= 0.0, "area {area} is not a number of pixels");
    Ok(TruthObject {
        entry: index as u32,
        category,
        bbox,
        area,
        is_crowd: raw.iscrowd.is_some_and(|flag| flag.0),
        segmentation: raw.segmentation,
    })
}

pub(super) fn check_bbox(bbox: [f64; 4]) -> Result<()> {
    ensure!(
        bbox.iter().all(|side| side.is_finite()) && bbox[2] >= 0.0 && bbox[3] >= 0.0,
        "bbox {bbox:?} is not [x, y, width, height] with a width and height of at least 0"
    );
    Ok(())
}
