//! A COCO file as ground truth to score against: any ids, no image files.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, ensure};
use sonotune_base::{Error, ImageId, Segmentation};

use super::{
    Annotation, Bbox, Category, File, Image, Plain, from_slice,
    join::{entry, find, measures, same_id, spelled},
    parse_hashed, read,
};
use crate::shares::Shares;

/// What follows "any image" in messages.
pub(super) const OF_TRUTHS: &str = " of the ground truth";

type Scoring = Plain<ImageId>;

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

impl CocoTruths {
    /// Reads the ground truth at `path`; without `with_masks`, outlines are checked and discarded.
    ///
    /// A missing `iscrowd` is 0; missing boxes and areas are computed, and noted.
    ///
    /// # Errors
    /// A data error that names the file and the entry that is incomplete, contradictory, a duplicate or
    /// refers to something that does not exist.
    pub fn read(path: &Path, with_masks: bool) -> Result<Self> {
        let (file, sha256) = parse_hashed(&read(path)?, |bytes| from_slice(bytes, path), path)?;
        assemble(file, path, sha256, with_masks)
            .map_err(|e| Error::data(format!("{}: {e:#}", path.display())).into())
    }

    /// Number of annotated objects, crowds among them.
    #[must_use]
    pub fn num_objects(&self) -> usize {
        self.images.iter().map(|image| image.objects.len()).sum()
    }
}

fn assemble(
    file: File<Scoring>,
    path: &Path,
    sha256: String,
    with_masks: bool,
) -> Result<CocoTruths> {
    let (mut images, image_index) = images(file.images.unwrap_or_default())?;
    let (categories, category_index) = categories(file.categories.unwrap_or_default())?;
    let mut seen: HashMap<ImageId, usize> = HashMap::new();
    let mut num_completed = 0;
    let mut shares = Shares::default();
    for (i, raw) in file.annotations.unwrap_or_default().into_iter().enumerate() {
        let place = entry("annotations", i, raw.id.as_ref());
        if let Some(j) = raw.id.clone().and_then(|id| seen.insert(id, i)) {
            return Err(anyhow!("{place} {}", same_id(j)));
        }
        num_completed += usize::from(raw.bbox.is_none() || raw.area.is_none());
        let owner = find("image_id", raw.image_id.as_ref(), &image_index, OF_TRUTHS);
        let image = &mut images[owner.with_context(|| place.clone())? as usize];
        let category = raw.category_id.as_ref();
        let category = find("category_id", category, &category_index, OF_TRUTHS);
        let category = category.with_context(|| place.clone())?;
        let own_box = raw.bbox.map(|Bbox(bbox)| bbox);
        let mut object = object(raw, i, category, image.size).with_context(|| place.clone())?;
        shares.add(own_box, &object.segmentation, || place);
        if !with_masks {
            object.segmentation = Segmentation::None;
        }
        image.objects.push(object);
    }
    let shares = shares.some().map(|what| format!("ground truth: {what}"));
    let mut notes: Vec<String> = shares.into_iter().collect();
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

fn images(raw: Vec<Image<Scoring>>) -> Result<(Vec<TruthImage>, HashMap<ImageId, u32>)> {
    let mut images = Vec::with_capacity(raw.len());
    for (i, image) in raw.into_iter().enumerate() {
        let place = entry("images", i, image.id.as_ref());
        let size = image.size().with_context(|| place.clone())?;
        let id = image.required_id().context(place)?;
        images.push(TruthImage { id, size, objects: Vec::new() });
    }
    images.sort_by(|a, b| a.id.cmp(&b.id));
    let index = index("images", images.iter().map(|image| &image.id))?;
    Ok((images, index))
}

fn categories(raw: Vec<Category<Scoring>>) -> Result<(Vec<TruthCategory>, HashMap<ImageId, u32>)> {
    let mut categories = Vec::with_capacity(raw.len());
    for (i, label) in raw.into_iter().enumerate() {
        let id = label.id.with_context(|| format!("categories[{i}]: `id` is missing"))?;
        let name = label.name.map_or_else(|| id.to_string(), |name| name.0);
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

fn object(
    raw: Annotation<Scoring>,
    index: usize,
    category: u32,
    size: Option<(u32, u32)>,
) -> Result<TruthObject> {
    let segmentation = raw.segmentation.unwrap_or_default();
    segmentation.check(size).context("segmentation")?;
    let (bbox, area) = measures(raw.bbox, raw.area, &segmentation)?;
    Ok(TruthObject {
        entry: index as u32,
        category,
        bbox,
        area,
        is_crowd: raw.iscrowd.is_some_and(|flag| flag.0),
        segmentation,
    })
}
