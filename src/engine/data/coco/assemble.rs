//! From the lists of a COCO file to records: joins them by id and checks every entry.

use std::{collections::HashMap, path::Path};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::{
    categories::CategoryMap,
    entry,
    parse::{CocoFile, Integer, RawAnnotation, RawImage},
};
use crate::{
    Error,
    data::{Dataset, ImageId, Object, Record},
};

/// Joins annotations to their images. `path` is the path of the file, for messages; `images` is the
/// folder that `file_name` is relative to.
///
/// # Errors
/// Names the file and the entry that is incomplete, contradictory or unknown.
pub(super) fn assemble(
    file: CocoFile,
    path: &Path,
    images: &Path,
    map: CategoryMap,
) -> Result<Dataset> {
    let located = |place: String| Error::data(format!("{}: {place}", path.display()));
    let mut records = Vec::with_capacity(file.images.0.len());
    for (i, image) in file.images.0.into_iter().enumerate() {
        let place = entry("images", i, image.id.as_ref());
        records.push(record(image, i, images).with_context(|| located(place))?);
    }
    let by_id = index_images(&records).map_err(|e| located(e.to_string()))?;
    let owners = find_owners(&file.annotations.0, &by_id).map_err(|e| located(e.to_string()))?;
    drop(by_id);
    reserve_objects(&mut records, &owners);

    let (mut num_ignored, mut num_completed) = (0, 0);
    for (i, (mut annotation, owner)) in file.annotations.0.into_iter().zip(owners).enumerate() {
        let id = annotation.id.take();
        let record = &mut records[owner as usize];
        num_completed += usize::from(annotation.bbox.is_none() || annotation.area.is_none());
        match object(annotation, record.size, &map)
            .with_context(|| located(entry("annotations", i, id.as_ref())))?
        {
            Some(object) => record.objects.push(object),
            None => num_ignored += 1,
        }
    }
    let mut notes = Vec::new();
    if num_ignored > 0 {
        notes.push(format!("{num_ignored} objects left out (ignore_categories)"));
    }
    if num_completed > 0 {
        notes.push(format!("{num_completed} objects lacked area or bbox: computed"));
    }
    Ok(Dataset {
        categories: map.categories,
        records,
        source: path.to_path_buf(),
        source_sha256: None,
        notes,
    })
}

fn record(image: RawImage, index: usize, folder: &Path) -> Result<Record> {
    let size = image_size(&image)?;
    let file_name =
        image.file_name.filter(|name| !name.is_empty()).context("`file_name` is missing")?;
    Ok(Record {
        size,
        ..Record::new(
            image.id.unwrap_or_else(|| ImageId::from(index as u64)),
            folder.join(&*file_name),
        )
    })
}

/// `(height, width)`, unless the file lacks one of them.
pub(super) fn image_size(image: &RawImage) -> Result<Option<(u32, u32)>> {
    let side = |value: Option<Integer>, name: &str| -> Result<Option<u32>> {
        let Some(Integer(n)) = value else { return Ok(None) };
        match u32::try_from(n) {
            Ok(n) if n > 0 => Ok(Some(n)),
            _ => bail!("`{name}` is {n}: expected a number of pixels"),
        }
    };
    Ok(side(image.height, "height")?.zip(side(image.width, "width")?))
}

fn index_images(records: &[Record]) -> Result<HashMap<&ImageId, u32>> {
    let mut by_id = HashMap::with_capacity(records.len());
    for (i, record) in records.iter().enumerate() {
        if let Some(j) = by_id.insert(&record.image_id, i as u32) {
            bail!(
                "images[{i}] and images[{j}] have the same id {} ({} and {})",
                record.image_id,
                record.path.display(),
                records[j as usize].path.display()
            );
        }
    }
    Ok(by_id)
}

/// Index of the image of each annotation.
fn find_owners(annotations: &[RawAnnotation], by_id: &HashMap<&ImageId, u32>) -> Result<Vec<u32>> {
    let owner = |(i, annotation): (usize, &RawAnnotation)| {
        let place = || entry("annotations", i, annotation.id.as_ref());
        let id = annotation
            .image_id
            .as_ref()
            .ok_or_else(|| anyhow!("{}: `image_id` is missing", place()))?;
        by_id.get(id).copied().ok_or_else(|| {
            let quote = |id: &ImageId| serde_json::to_string(id).unwrap_or_else(|_| id.to_string());
            match id.respelled().filter(|other| by_id.contains_key(other)) {
                Some(other) => anyhow!(
                    "{}: image_id {} is not the id of any image, but {} is: spell both alike, as \
                     a number or as text",
                    place(),
                    quote(id),
                    quote(&other)
                ),
                None => anyhow!("{}: image_id {} is not the id of any image", place(), quote(id)),
            }
        })
    };
    annotations.iter().enumerate().map(owner).collect()
}

/// A list that grows on its own starts with room for four objects; most images have one.
fn reserve_objects(records: &mut [Record], owners: &[u32]) {
    let mut counts = vec![0u32; records.len()];
    for &owner in owners {
        counts[owner as usize] += 1;
    }
    for (record, count) in records.iter_mut().zip(counts) {
        record.objects.reserve_exact(count as usize);
    }
}

/// The checked object; `None` when its category is left out.
fn object(
    raw: RawAnnotation,
    size: Option<(u32, u32)>,
    map: &CategoryMap,
) -> Result<Option<Object>> {
    let Integer(category_id) = raw.category_id.context("`category_id` is missing")?;
    let category = *map.indices.get(&category_id).ok_or_else(|| {
        let mut ids: Vec<_> = map.indices.keys().copied().collect();
        ids.sort_unstable();
        anyhow!("category_id {category_id} is not the id of any category; they are {ids:?}")
    })?;
    raw.segmentation.check(size).context("segmentation")?;
    let bbox = match raw.bbox {
        Some(bbox) => bbox.0,
        None => raw.segmentation.bbox()?.context("has neither `bbox` nor `segmentation`")?,
    };
    ensure!(
        bbox.iter().all(|side| side.is_finite()) && bbox[2] >= 0.0 && bbox[3] >= 0.0,
        "bbox {bbox:?} is not [x, y, width, height] with a width and height of at least 0"
    );
    let area = match raw.area {
        Some(area) => area,
        None => raw.segmentation.area()?.unwrap_or(bbox[2] * bbox[3]),
    };
    ensure!(area.is_finite() && area >= 0.0, "area {area} is not a number of pixels");
    Ok(category.map(|category| Object {
        category,
        bbox,
        area,
        is_crowd: raw.iscrowd.is_some_and(|flag| flag.0),
        segmentation: raw.segmentation,
    }))
}
