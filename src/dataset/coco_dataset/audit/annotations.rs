//! Annotations, one by one.

use sonotune_base::words::did_you_mean;
use std::collections::{HashMap, HashSet, hash_map::Entry};

use crate::coco::{
    Bbox, Extra, Flag, Integer, Number,
    join::{in_either_spelling, measures, spelled},
};

use super::{
    Index,
    categories::Classes,
    lenient::{Lists, Refused, entry, required, value},
};
use crate::{
    Object,
    findings::{Audit, AuditedObject, Code, Place},
};
use sonotune_base::{Category, ImageId, Segmentation};

/// Joins the annotations to their images; returns the positions of images that have any.
pub(super) fn annotations(
    lists: &Lists<'_>,
    index: &Index,
    classes: &Classes,
    audit: &mut Audit,
) -> HashSet<usize> {
    let mut annotated = HashSet::new();
    let mut ids: HashMap<ImageId, usize> = HashMap::new();
    for (i, raw) in lists.annotations.iter().enumerate() {
        let mut place = Place::entry(&audit.source, format!("annotations[{i}]"));
        let keys = Refused::report(entry(raw), &mut audit.findings, || place.clone());
        let Some(keys) = keys else { continue };
        let id = value(&keys, "id", Code::MalformedEntry);
        place.annotation_id = Refused::report(id, &mut audit.findings, || place.clone()).flatten();
        let twice = place.annotation_id.clone().and_then(|id| match ids.entry(id) {
            Entry::Occupied(first) => Some(*first.get()),
            Entry::Vacant(vacant) => {
                vacant.insert(i);
                None
            }
        });
        let owner = owner(&keys, index, &mut place);
        if let Ok(Some(owner)) = owner {
            place.image = Some(audit.images[owner].path.clone());
        }
        if let Some(first) = twice {
            let got = format!("this id is also that of annotations[{first}]");
            audit.findings.add(Code::DuplicateAnnotationId, place.clone(), got);
        }
        let owner = Refused::report(owner, &mut audit.findings, || place.clone());
        // An image that cannot be used is reported itself.
        let Some(owner) = owner.flatten() else { continue };
        let id = place.annotation_id.clone();
        match object(&keys, audit.images[owner].size, classes, &audit.categories) {
            Ok(Some((object, own_box, own_area))) => {
                annotated.insert(owner);
                let entry = Some(i as u32);
                let object = AuditedObject { object, entry, id, own_box, own_area };
                audit.images[owner].objects.push(object);
            }
            Ok(None) => {}
            Err(refused) => {
                annotated.insert(owner);
                audit.findings.add(refused.code, place, refused.got);
            }
        }
    }
    annotated
}

/// Position of an annotation's image, `None` for one that cannot be used.
fn owner(keys: &Extra, index: &Index, place: &mut Place) -> Result<Option<usize>, Refused> {
    let id: ImageId = required(keys, "image_id")?;
    place.image_id = Some(id.clone());
    in_either_spelling(&id, index).ok_or_else(|| {
        let got = format!("image_id {} is not the id of any image", spelled(&id));
        Refused::new(Code::UnknownImage, got)
    })
}

/// The object, and whether box and area come from the file; `None` if its category is left out.
fn object(
    keys: &Extra,
    size: Option<(u32, u32)>,
    classes: &Classes,
    categories: &[Category],
) -> Result<Option<(Object, bool, bool)>, Refused> {
    let Integer(id) = required(keys, "category_id")?;
    let Some(category) = classes.indices.get(&id) else {
        let mut ids: Vec<String> = classes.indices.keys().map(ToString::to_string).collect();
        ids.sort_by_key(|id| (id.len(), id.clone()));
        // The id may be the name of a category.
        let hint = did_you_mean(&id.to_string(), categories.iter().map(|c| c.name.as_str()));
        let got = format!("category_id {id}; the ids are {}{hint}", ids.join(", "));
        return Err(Refused::new(Code::UnknownCategory, got));
    };
    let segmentation = segmentation(keys, size)?;
    let (own_box, own_area) = (bbox(keys)?, area(keys)?);
    let is_crowd: Option<Flag> = value(keys, "iscrowd", Code::MalformedEntry)?;
    let Some(category) = *category else { return Ok(None) };
    let (bbox, area) = measures(own_box.map(Bbox), own_area.map(Number), &segmentation)
        .map_err(|error| Refused::new(Code::MalformedEntry, format!("{error:#}")))?;
    let is_crowd = is_crowd.is_some_and(|flag| flag.0);
    let object = Object { category, bbox, area, is_crowd, segmentation };
    Ok(Some((object, own_box.is_some(), own_area.is_some())))
}

fn bbox(keys: &Extra) -> Result<Option<[f64; 4]>, Refused> {
    let Some(sides) = value::<Vec<Number>>(keys, "bbox", Code::MalformedEntry)? else {
        return Ok(None);
    };
    let sides: Vec<f64> = sides.into_iter().map(|Number(side)| side).collect();
    let Ok(bbox) = <[f64; 4]>::try_from(sides.as_slice()) else {
        let got = format!("`bbox` has {} numbers, not [x, y, width, height]", sides.len());
        return Err(Refused::new(Code::MalformedEntry, got));
    };
    if bbox.iter().any(|side| !side.is_finite()) {
        return Err(Refused::new(Code::BadNumber, format!("`bbox` is {bbox:?}")));
    }
    if bbox[2] < 0.0 || bbox[3] < 0.0 {
        let got = format!("`bbox` is {bbox:?}: width or height is negative");
        return Err(Refused::new(Code::BadNumber, got));
    }
    Ok(Some(bbox))
}

fn area(keys: &Extra) -> Result<Option<f64>, Refused> {
    match value::<Number>(keys, "area", Code::MalformedEntry)? {
        Some(Number(area)) if !area.is_finite() || area < 0.0 => {
            Err(Refused::new(Code::BadNumber, format!("`area` is {area}, not a number of pixels")))
        }
        area => Ok(area.map(|Number(area)| area)),
    }
}

fn segmentation(keys: &Extra, size: Option<(u32, u32)>) -> Result<Segmentation, Refused> {
    let is_rle = keys.get("segmentation").is_some_and(|raw| raw.get().starts_with('{'));
    let code = if is_rle { Code::BadRle } else { Code::BadPolygon };
    let segmentation: Segmentation = value(keys, "segmentation", code)?.unwrap_or_default();
    if let Segmentation::Polygons(polygons) = &segmentation {
        for (i, polygon) in polygons.iter().enumerate() {
            let what = match polygon.len() {
                length if !length.is_multiple_of(2) => "an odd count",
                0..6 => "fewer than three points",
                _ => continue,
            };
            let got = format!("polygon {i} has {} numbers: {what}", polygon.len());
            return Err(Refused::new(Code::BadPolygon, got));
        }
    }
    segmentation.check(None).map_err(|error| Refused::new(code, format!("{error:#}")))?;
    let other_size = size.is_some() && segmentation.size().is_some_and(|own| Some(own) != size);
    let code = if other_size { Code::MaskSize } else { code };
    segmentation.check(size).map_err(|error| Refused::new(code, format!("{error:#}")))?;
    Ok(segmentation)
}
