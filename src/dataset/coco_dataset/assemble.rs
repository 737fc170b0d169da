//! From the lists of a COCO file to records: joins them by id and checks every entry.

use std::{collections::HashMap, path::Path};

use crate::coco::join::{entry, find, measures, unknown_category};
use anyhow::{Context, Result, bail};

use super::{Annotation, CategoryMap, CocoFile, Image};
use crate::{Dataset, Object, Record};
use sonotune_base::{Error, ImageId};

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
    let (list, annotations) =
        (file.images.unwrap_or_default(), file.annotations.unwrap_or_default());
    let mut records = Vec::with_capacity(list.len());
    for (i, image) in list.into_iter().enumerate() {
        let place = entry("images", i, image.id.as_ref());
        records.push(record(image, i, images).with_context(|| located(place))?);
    }
    let by_id = index_images(&records).map_err(|e| located(e.to_string()))?;
    let owners = find_owners(&annotations, &by_id).map_err(|e| located(format!("{e:#}")))?;
    drop(by_id);
    reserve_objects(&mut records, &owners);

    let (mut num_ignored, mut num_completed) = (0, 0);
    for (i, (mut annotation, owner)) in annotations.into_iter().zip(owners).enumerate() {
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

fn record(image: Image, index: usize, folder: &Path) -> Result<Record> {
    let size = image.size()?;
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
fn find_owners(annotations: &[Annotation], by_id: &HashMap<&ImageId, u32>) -> Result<Vec<u32>> {
    let owner = |(i, annotation): (usize, &Annotation)| {
        find("image_id", annotation.image_id.as_ref(), by_id, "")
            .with_context(|| entry("annotations", i, annotation.id.as_ref()))
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
fn object(raw: Annotation, size: Option<(u32, u32)>, map: &CategoryMap) -> Result<Option<Object>> {
    let id = raw.category_id.context("`category_id` is missing")?.0;
    let category =
        *map.indices.get(&id).ok_or_else(|| unknown_category(id, map.indices.keys().copied()))?;
    let segmentation = raw.segmentation.unwrap_or_default();
    segmentation.check(size).context("segmentation")?;
    let (bbox, area) = measures(raw.bbox, raw.area, &segmentation)?;
    Ok(category.map(|category| Object {
        category,
        bbox,
        area,
        is_crowd: raw.iscrowd.is_some_and(|flag| flag.0),
        segmentation,
    }))
}
