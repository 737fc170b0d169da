//! Turns the lists of a COCO file into records: joins them by id and checks every entry.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use base::{Error, ImageId, Segmentation};
use serde_json::value::RawValue;

use super::{
    AnnotationRecord, CategoryRecord, CocoFile, ImageRecord,
    parse::{self, RawAnnotation, RawFile, RawImage},
};

impl CocoFile {
    /// Reads the COCO file at `path`. Images and annotations are numbered from 1.
    ///
    /// # Errors
    /// Names the file and the list, index and key of anything that is missing, malformed, used twice
    /// or refers to nothing.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path)
            .with_context(|| Error::data(format!("cannot read {}", path.display())))?;
        Self::from_slice(&bytes, path)
    }

    /// Reads a COCO file's bytes; `path` is for messages.
    ///
    /// # Errors
    /// Same errors as [`read`](Self::read).
    pub fn from_slice(bytes: &[u8], path: &Path) -> Result<Self> {
        let raw = parse::from_slice(bytes, path)?;
        join(raw).with_context(|| Error::data(path.display().to_string()))
    }
}

fn join(raw: RawFile) -> Result<CocoFile> {
    check_lists(&raw)?;
    check_categories(&raw.categories)?;
    let numbers = number_images(&raw.images)?;
    check_ids(&raw.annotations)?;
    let category_ids: HashSet<u64> = raw.categories.iter().map(|c| c.id).collect();
    let mut annotations = Vec::with_capacity(raw.annotations.len());
    for (i, mut annotation) in raw.annotations.into_iter().enumerate() {
        let id = annotation.id.take();
        let joined = image_number(&annotation, &numbers).and_then(|image_id| {
            joined_annotation(annotation, i as u64 + 1, image_id, &category_ids)
        });
        annotations.push(joined.with_context(|| entry("annotations", i, id.as_ref()))?);
    }
    drop(numbers);
    let mut images = Vec::with_capacity(raw.images.len());
    for (i, image) in raw.images.into_iter().enumerate() {
        let place = entry("images", i, image.id.as_ref());
        images.push(joined_image(image, i as u64 + 1).context(place)?);
    }
    Ok(CocoFile {
        info: raw.info,
        images,
        annotations,
        categories: raw.categories,
        extra: raw.extra,
    })
}

/// `images[3] (id 17)`.
fn entry(list: &str, index: usize, id: Option<&ImageId>) -> String {
    match id {
        Some(id) => format!("{list}[{index}] (id {id})"),
        None => format!("{list}[{index}]"),
    }
}

/// Refuses a file that has neither images nor categories: it is some other kind of file.
fn check_lists(raw: &RawFile) -> Result<()> {
    ensure!(
        !(raw.images.is_empty() && raw.categories.is_empty()),
        "has neither `images` nor `categories`: not a COCO image file?"
    );
    Ok(())
}

fn check_categories(categories: &[CategoryRecord]) -> Result<()> {
    let mut seen: HashMap<u64, usize> = HashMap::new();
    for (i, category) in categories.iter().enumerate() {
        ensure!(!category.name.is_empty(), "categories[{i}] (id {}): `name` is empty", category.id);
        if let Some(j) = seen.insert(category.id, i) {
            bail!(
                "categories[{j}] and categories[{i}] have the same id {} (\"{}\" and \"{}\")",
                category.id,
                categories[j].name,
                category.name
            );
        }
    }
    Ok(())
}

/// Number of each image, from 1, by its id; an image without an id has its position as id.
fn number_images(images: &[RawImage]) -> Result<HashMap<ImageId, u64>> {
    let mut numbers = HashMap::with_capacity(images.len());
    for (i, image) in images.iter().enumerate() {
        let id = image.id.clone().unwrap_or_else(|| ImageId::from(i as u64));
        if let Some(first) = numbers.insert(id, i as u64 + 1) {
            let name = |image: &RawImage| image.file_name.clone().unwrap_or_default();
            let j = first as usize - 1;
            bail!(
                "{} and images[{j}] have the same id ({} and {})",
                entry("images", i, image.id.as_ref()),
                name(image),
                name(&images[j])
            );
        }
    }
    Ok(numbers)
}

fn check_ids(annotations: &[RawAnnotation]) -> Result<()> {
    let mut seen = HashMap::with_capacity(annotations.len());
    for (i, annotation) in annotations.iter().enumerate() {
        let Some(id) = &annotation.id else { continue };
        if let Some(j) = seen.insert(id, i) {
            bail!("annotations[{j}] and annotations[{i}] have the same id {id}");
        }
    }
    Ok(())
}

fn image_number(annotation: &RawAnnotation, numbers: &HashMap<ImageId, u64>) -> Result<u64> {
    let id = annotation.image_id.as_ref().context("`image_id` is missing")?;
    numbers.get(id).copied().ok_or_else(|| {
        let quote = |id: &ImageId| serde_json::to_string(id).unwrap_or_else(|_| id.to_string());
        match id.respelled().filter(|other| numbers.contains_key(other)) {
            Some(other) => anyhow!(
                "image_id {} is not the id of any image, but {} is: spell both alike, as a number \
                 or as text",
                quote(id),
                quote(&other)
            ),
            None => anyhow!("image_id {} is not the id of any image", quote(id)),
        }
    })
}

fn joined_image(raw: RawImage, id: u64) -> Result<ImageRecord> {
    let side = |value: Option<u64>, key: &str| -> Result<u32> {
        let value = value.with_context(|| format!("`{key}` is missing"))?;
        let pixels = u32::try_from(value).ok().filter(|&pixels| pixels > 0);
        pixels.with_context(|| format!("`{key}` is {value}: expected a number of pixels"))
    };
    let file_name =
        raw.file_name.filter(|name| !name.is_empty()).context("`file_name` is missing")?;
    Ok(ImageRecord {
        id,
        height: side(raw.height, "height")?,
        width: side(raw.width, "width")?,
        file_name,
        dataset: raw.dataset,
        application: raw.application,
        provenance: raw.provenance,
        extra: raw.extra,
    })
}

fn joined_annotation(
    raw: RawAnnotation,
    id: u64,
    image_id: u64,
    category_ids: &HashSet<u64>,
) -> Result<AnnotationRecord> {
    let category_id = raw.category_id.context("`category_id` is missing")?;
    if !category_ids.contains(&category_id) {
        let mut ids: Vec<_> = category_ids.iter().collect();
        ids.sort_unstable();
        bail!("category_id {category_id} is not the id of any category; they are {ids:?}");
    }
    let (bbox, area) = match (raw.bbox, raw.area) {
        (Some(bbox), Some(area)) => (bbox, area),
        (bbox, area) => completed(bbox, area, raw.segmentation.as_deref())?,
    };
    ensure!(
        bbox.iter().all(|side| side.is_finite()) && bbox[2] >= 0.0 && bbox[3] >= 0.0,
        "bbox {bbox:?} is not [x, y, width, height] with a width and height of at least 0"
    );
    ensure!(area.is_finite() && area >= 0.0, "area {area} is not a number of pixels");
    Ok(AnnotationRecord {
        id,
        image_id,
        category_id,
        bbox,
        area,
        segmentation: raw.segmentation,
        iscrowd: raw.iscrowd,
        extra: raw.extra,
    })
}

/// Box and area of an object, taken from its mask if the file lacks one or both.
fn completed(
    bbox: Option<[f64; 4]>,
    area: Option<f64>,
    segmentation: Option<&RawValue>,
) -> Result<([f64; 4], f64)> {
    let mask: Segmentation = match segmentation {
        Some(json) => serde_json::from_str(json.get()).context("`segmentation`")?,
        None => Segmentation::None,
    };
    mask.check(None).context("`segmentation`")?;
    let bbox = match bbox {
        Some(bbox) => bbox,
        None => mask.bbox()?.context("has neither `bbox` nor `segmentation`")?,
    };
    let area = match area {
        Some(area) => area,
        None => mask.area()?.unwrap_or(bbox[2] * bbox[3]),
    };
    Ok((bbox, area))
}
