//! From the lists of a COCO file to records: joins them by id and checks every entry.

use std::{collections::HashMap, path::Path};

use crate::coco::{
    Bbox,
    join::{entry, find_image, measures, same_id, unknown_category},
};
use anyhow::{Context, Result, bail};

use super::{Annotation, CategoryMap, CocoFile, Image};
use crate::{Dataset, Object, Record, shares::Shares};
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
    for (i, image) in list.iter().enumerate() {
        let place = entry("images", i, image.id.as_ref());
        records.push(record(image, images).with_context(|| located(place))?);
    }
    let by_id = index_images(&records).map_err(|e| located(e.to_string()))?;
    let owners = find_owners(&annotations, &by_id).map_err(|e| located(format!("{e:#}")))?;
    drop(by_id);
    check_ids(&annotations).map_err(|e| located(e.to_string()))?;
    reserve_objects(&mut records, &owners);

    let (mut num_ignored, mut num_completed) = (0, 0);
    let mut shares = Shares::default();
    for (i, (mut annotation, owner)) in annotations.into_iter().zip(owners).enumerate() {
        let id = annotation.id.take();
        let record = &mut records[owner as usize];
        let own_box = annotation.bbox.map(|Bbox(bbox)| bbox);
        num_completed += usize::from(own_box.is_none() || annotation.area.is_none());
        let place = || entry("annotations", i, id.as_ref());
        match object(annotation, record.size, &map).with_context(|| located(place()))? {
            Some(object) => {
                shares.add(own_box, &object.segmentation, place);
                record.objects.push(object);
            }
            None => num_ignored += 1,
        }
    }
    if let Some(message) = shares.all() {
        return Err(located(message).into());
    }
    let mut notes: Vec<String> = shares.some().into_iter().collect();
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

fn record(image: &Image, folder: &Path) -> Result<Record> {
    let path = folder.join(image.required_name()?);
    Ok(Record {
        size: image.size()?,
        spacing: image.pixel_spacing.map(|spacing| spacing.0),
        ..Record::new(image.required_id()?, path)
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
        find_image(annotation.image_id.as_ref(), by_id)
            .with_context(|| entry("annotations", i, annotation.id.as_ref()))
    };
    annotations.iter().enumerate().map(owner).collect()
}

/// Two annotations of one id are one object that was written twice, or two objects.
fn check_ids(annotations: &[Annotation]) -> Result<()> {
    let mut seen = HashMap::with_capacity(annotations.len());
    for (i, annotation) in annotations.iter().enumerate() {
        let Some(id) = &annotation.id else { continue };
        if let Some(j) = seen.insert(id, i) {
            bail!("{} {}", entry("annotations", i, Some(id)), same_id(j));
        }
    }
    Ok(())
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
