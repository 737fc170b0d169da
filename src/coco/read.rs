//! Turns the lists of a COCO file into records: joins them by id and checks every entry.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::value::RawValue;
use sonotune_base::{Error, ImageId, Segmentation, json::spells_nan};
use sonotune_dataset::coco::{
    Unsigned, from_slice,
    join::{entry, find_image, measures, pixels, unknown_category},
    other_json, text,
};

use super::{
    AnnotationRecord, CategoryRecord, CocoFile, ImageRecord,
    parse::{RawAnnotation, RawCategory, RawFile, RawImage},
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
        let raw: RawFile = from_slice(bytes, path)?;
        let located = || Error::data(path.display().to_string());
        if raw.images.as_ref().is_none_or(Vec::is_empty)
            && raw.categories.as_ref().is_none_or(Vec::is_empty)
        {
            // Such a file is of another kind; a list of nothing has categories at least.
            let what = text(bytes, path).ok().and_then(|text| other_json(&text));
            let what = what.unwrap_or_else(|| {
                "has neither `images` nor `categories`, so it is not a COCO file of images"
                    .to_owned()
            });
            return Err(anyhow!(what)).with_context(located);
        }
        join(raw).with_context(located)
    }
}

fn join(raw: RawFile) -> Result<CocoFile> {
    let (raw_images, raw_annotations) =
        (raw.images.unwrap_or_default(), raw.annotations.unwrap_or_default());
    let categories = categories(raw.categories.unwrap_or_default());
    check_categories(&categories)?;
    let numbers = number_images(&raw_images)?;
    let category_ids: HashSet<u64> = categories.iter().map(|c| c.id).collect();
    let mut annotations = Vec::with_capacity(raw_annotations.len());
    for (i, mut annotation) in raw_annotations.into_iter().enumerate() {
        let id = annotation.id.take();
        let image_id = find_image(annotation.image_id.as_ref(), &numbers);
        let joined = image_id.and_then(|image_id| {
            joined_annotation(annotation, i as u64 + 1, image_id, &category_ids)
        });
        annotations.push(joined.with_context(|| entry("annotations", i, id.as_ref()))?);
    }
    drop(numbers);
    let mut images = Vec::with_capacity(raw_images.len());
    for (i, image) in raw_images.into_iter().enumerate() {
        let place = entry("images", i, image.id.as_ref());
        images.push(joined_image(image, i as u64 + 1).context(place)?);
    }
    Ok(CocoFile { images, annotations, categories, ..raw.rest })
}

/// Id and name are there: the reader refuses categories without.
fn categories(raw: Vec<RawCategory>) -> Vec<CategoryRecord> {
    let record =
        |raw: RawCategory| Some(CategoryRecord { id: raw.id?.0, name: raw.name?.0, ..raw.rest });
    raw.into_iter().filter_map(record).collect()
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

/// Number of each image, from 1, by its id.
fn number_images(images: &[RawImage]) -> Result<HashMap<ImageId, u64>> {
    let mut numbers = HashMap::with_capacity(images.len());
    for (i, image) in images.iter().enumerate() {
        let id = image.required_id().with_context(|| entry("images", i, None))?;
        if let Some(first) = numbers.insert(id, i as u64 + 1) {
            let name = |image: &RawImage| image.required_name().unwrap_or_default().to_owned();
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

fn joined_image(raw: RawImage, id: u64) -> Result<ImageRecord> {
    let side = |value: Option<Unsigned>, key: &str| -> Result<u32> {
        pixels(key, value.with_context(|| format!("`{key}` is missing"))?.0)
    };
    let file_name = raw.required_name()?.to_owned();
    let (height, width) = (side(raw.height, "height")?, side(raw.width, "width")?);
    let spacing = raw.pixel_spacing.map(|spacing| spacing.0);
    Ok(ImageRecord { id, file_name, height, width, spacing, ..raw.rest })
}

fn joined_annotation(
    raw: RawAnnotation,
    id: u64,
    image_id: u64,
    category_ids: &HashSet<u64>,
) -> Result<AnnotationRecord> {
    let category_id = raw.category_id.context("`category_id` is missing")?.0;
    if !category_ids.contains(&category_id) {
        return Err(unknown_category(category_id, category_ids.iter().copied()));
    }
    ensure!(
        !raw.segmentation.as_ref().is_some_and(|json| spells_nan(json.get())),
        "`segmentation` has a coordinate that is NaN or infinite"
    );
    // Masks stay unread unless they have to tell what the file leaves out.
    let mask = match &raw.segmentation {
        Some(json) if raw.bbox.is_none() || raw.area.is_none() => mask(json)?,
        _ => Segmentation::None,
    };
    let (bbox, area) = measures(raw.bbox, raw.area, &mask)?;
    Ok(AnnotationRecord {
        id,
        image_id,
        category_id,
        bbox,
        area,
        segmentation: raw.segmentation,
        iscrowd: raw.iscrowd.is_some_and(|flag| flag.0),
        extra: raw.rest,
    })
}

fn mask(json: &RawValue) -> Result<Segmentation> {
    let mask: Segmentation = serde_json::from_str(json.get()).context("`segmentation`")?;
    mask.check(None).context("`segmentation`")?;
    Ok(mask)
}
