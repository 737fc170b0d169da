//! Everything that is wrong in a COCO file, in one pass.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use serde_json::value::RawValue;

use super::{
    CocoConfig, ImageLabel,
    lenient::{
        AnnotationEntry, CategoryEntry, ImageEntry, Lax, Lists, Refused, entry, quoted_nan,
        required, value,
    },
    parse::{Flag, Integer},
    read,
};
use crate::{
    data::{
        Category, ImageId, Object, Segmentation, Split,
        check::{Audit, AuditedImage, AuditedObject, Code, Findings, Place, path_leaves},
        names::{did_you_mean, mismatch, quoted},
    },
    pattern,
};

/// Reads the file of `split` as far as it goes.
pub(super) fn audit(config: &CocoConfig, split: Split) -> Audit {
    let Some(files) = config.split(split) else { return Audit::default() };
    let source = config.root.join(&files.annotations);
    let folder = config.root.join(files.images.as_ref().unwrap_or(&config.images));
    let root = if config.root.as_os_str().is_empty() { &folder } else { &config.root };
    let mut audit = Audit { source, root: Some(root.clone()), ..Audit::default() };
    let bytes = match read(&audit.source) {
        Ok(bytes) => bytes,
        Err(error) => return unreadable(audit, &error),
    };
    let bytes = quoted_nan(&bytes);
    let lists = match Lists::read(&bytes, &audit.source) {
        Ok(lists) => lists,
        Err(error) => return unreadable(audit, &error),
    };
    let classes = Classes::read(config, split, &lists, &mut audit);
    let images = Images { folder: &folder, config };
    let index = images.read(&lists, &mut audit);
    let annotated = annotations(&lists, &index, &classes, &mut audit);
    images.finish(&annotated, &mut audit);
    audit
}

fn unreadable(mut audit: Audit, error: &anyhow::Error) -> Audit {
    // The place says which file it is.
    let prefix = format!("{}: ", audit.source.display());
    let text = format!("{error:#}").replacen(&prefix, "", 1);
    audit.findings.add(Code::UnreadableAnnotations, Place::file(&audit.source), text);
    audit
}

/// From category ids to class indices.
struct Classes {
    /// By id; `None` for those left out.
    indices: HashMap<i64, Option<u32>>,
}

impl Classes {
    fn read(config: &CocoConfig, split: Split, lists: &Lists<'_>, audit: &mut Audit) -> Self {
        let listed = listed(&lists.categories, &audit.source, Some(&mut audit.findings));
        let ignored = |c: &Category| config.ignore_categories.contains(&c.name);
        let mut indices: HashMap<i64, Option<u32>> = HashMap::new();
        let (left_out, kept): (Vec<_>, Vec<_>) = listed.into_iter().partition(ignored);
        indices.extend(left_out.iter().map(|c| (c.id, None)));
        if config.agnostic {
            audit.categories = vec![Category { id: 1, name: "object".into() }];
            indices.extend(kept.iter().map(|c| (c.id, Some(0))));
            return Self { indices };
        }
        let (names, origin) = expected(config, split, &kept);
        let own: Vec<&str> = kept.iter().map(|c| c.name.as_str()).collect();
        let names_str: Vec<&str> = names.iter().map(String::as_str).collect();
        if let Some(difference) = mismatch(&own, &names_str) {
            let place = Place::file(&audit.source);
            let (expected, got) = (format!("{} ({origin})", quoted(&names)), quoted(&own));
            let got = format!("{got}: {difference}");
            audit.findings.add_expected(Code::CategoriesDiffer, place, expected, got);
        }
        for name in &names {
            let id = kept.iter().find(|c| c.name == *name).map_or(-1, |c| c.id);
            audit.categories.push(Category { id, name: name.clone() });
        }
        for category in kept {
            let known = audit.categories.iter().position(|c| c.name == category.name);
            let index = known.unwrap_or(audit.categories.len()) as u32;
            // Of two with one id, the first counts.
            indices.entry(category.id).or_insert(Some(index));
            if known.is_none() {
                audit.categories.push(category);
            }
        }
        Self { indices }
    }
}

/// The categories of a list that can be read, with duplicates.
fn listed(
    entries: &[&RawValue],
    source: &Path,
    mut findings: Option<&mut Findings>,
) -> Vec<Category> {
    let mut categories: Vec<Category> = Vec::new();
    let mut found = |i: usize, category: Option<String>, refused: Refused| {
        let place = Place { category, ..Place::entry(source, format!("categories[{i}]")) };
        if let Some(findings) = &mut findings {
            findings.add(refused.code, place, refused.got);
        }
    };
    let mut positions = Vec::new();
    for (i, raw) in entries.iter().enumerate() {
        let category = entry::<CategoryEntry<'_>>(raw).and_then(|c| {
            let Integer(id) = required("id", c.id)?;
            Ok(Category { id, name: required("name", c.name)? })
        });
        let category = match category {
            Ok(category) => category,
            Err(refused) => {
                found(i, None, refused);
                continue;
            }
        };
        let first = |same: &dyn Fn(&Category) -> bool| {
            categories.iter().position(same).map(|at: usize| positions[at])
        };
        let duplicate = match first(&|c| c.id == category.id) {
            Some(j) => Some(format!("id {} is also that of categories[{j}]", category.id)),
            None => first(&|c| c.name == category.name)
                .map(|j| format!("\"{}\" is also the name of categories[{j}]", category.name)),
        };
        if let Some(got) = duplicate {
            let refused = Refused::new(Code::DuplicateCategory, got);
            found(i, Some(category.name.clone()), refused);
            // Its id stays known, for its annotations are not of an unknown category.
            if categories.iter().any(|c| c.id == category.id) {
                continue;
            }
        }
        categories.push(category);
        positions.push(i);
    }
    categories
}

/// The names that a split should have, without repeats, and who says so.
fn expected(config: &CocoConfig, split: Split, own: &[Category]) -> (Vec<String>, String) {
    let distinct = |names: Vec<String>| {
        let mut seen = HashSet::new();
        names.into_iter().filter(|name| seen.insert(name.clone())).collect::<Vec<_>>()
    };
    if let Some(names) = &config.categories {
        return (distinct(names.clone()), "dataset.categories".into());
    }
    let own = || own.iter().map(|c| c.name.clone()).collect();
    let Some(train) = config.train.as_ref().filter(|_| split != Split::Train) else {
        return (distinct(own()), String::new());
    };
    let train = config.root.join(&train.annotations);
    let names = read(&train).ok().and_then(|bytes| {
        let bytes = quoted_nan(&bytes);
        let lists = Lists::read(&bytes, &train).ok()?;
        let mut names: Vec<String> =
            listed(&lists.categories, &train, None).into_iter().map(|c| c.name).collect();
        names.retain(|name| !config.ignore_categories.contains(name));
        Some(names)
    });
    // A train file that cannot be read is reported with its own split.
    (distinct(names.unwrap_or_else(own)), format!("those of {}", train.display()))
}

struct Images<'a> {
    folder: &'a Path,
    config: &'a CocoConfig,
}

/// Positions in `Audit::images` by id; `None` for entries that cannot be used.
type Index = HashMap<ImageId, Option<usize>>;

impl Images<'_> {
    fn read(&self, lists: &Lists<'_>, audit: &mut Audit) -> Index {
        let dataset = lists.info.and_then(dataset_name);
        let mut index = Index::with_capacity(lists.images.len());
        let mut first_entry: HashMap<ImageId, usize> = HashMap::new();
        let mut files: HashMap<PathBuf, usize> = HashMap::new();
        for (i, raw) in lists.images.iter().enumerate() {
            let place = || Place::entry(&audit.source, format!("images[{i}]"));
            let keys = match entry::<ImageEntry<'_>>(raw) {
                Ok(keys) => keys,
                Err(refused) => {
                    audit.findings.add(refused.code, place(), refused.got);
                    continue;
                }
            };
            let id = match value::<ImageId>("id", keys.id, Code::MalformedEntry) {
                Ok(id) => id.unwrap_or_else(|| ImageId::from(i as u64)),
                Err(refused) => {
                    audit.findings.add(refused.code, place(), refused.got);
                    continue;
                }
            };
            let place = || Place { image_id: Some(id.clone()), ..place() };
            let twice = first_entry.get(&id).copied();
            let mut image = match self.image(&keys, i, id.clone(), dataset.as_deref()) {
                Ok(image) => image,
                Err(refused) => {
                    audit.findings.add(refused.code, place(), refused.got);
                    index.entry(id).or_insert(None);
                    continue;
                }
            };
            let place = || Place { image: Some(image.path.clone()), ..place() };
            if let Some(first) = twice {
                let got = format!("id {id} is also that of images[{first}]");
                audit.findings.add(Code::DuplicateImageId, place(), got);
                // Its annotations cannot be told from the other's.
                image.without_objects = false;
            }
            if let Some(first) = files.insert(image.path.clone(), i) {
                let got = format!("is also the file of images[{first}]");
                audit.findings.add(Code::DuplicateFile, place(), got);
            }
            first_entry.entry(id.clone()).or_insert(i);
            index.entry(id).or_insert(Some(audit.images.len()));
            audit.images.push(image);
        }
        self.outside_root(audit);
        index
    }

    fn image(
        &self,
        keys: &ImageEntry<'_>,
        i: usize,
        image_id: ImageId,
        dataset: Option<&str>,
    ) -> Result<AuditedImage, Refused> {
        let name: String = required("file_name", keys.file_name)?;
        if name.is_empty() {
            return Err(Refused::new(Code::MalformedEntry, "`file_name` is empty"));
        }
        let side = |key: &str, raw| -> Result<Option<u32>, Refused> {
            let Some(Integer(n)) = value(key, raw, Code::MalformedEntry)? else { return Ok(None) };
            u32::try_from(n).ok().filter(|&n| n > 0).map(Some).ok_or_else(|| {
                Refused::new(Code::BadNumber, format!("`{key}` is {n}, not a number of pixels"))
            })
        };
        let text = |raw: Option<&RawValue>| {
            let id = raw.and_then(|raw| ImageId::from_json(raw.get()).ok())?;
            Some(id.to_string()).filter(|text| !text.is_empty())
        };
        let dataset = text(keys.dataset).or_else(|| dataset.map(str::to_owned));
        let within = |text: String| match &dataset {
            Some(dataset) => format!("{text} of {dataset}").into(),
            None => text.into(),
        };
        Ok(AuditedImage {
            image_id,
            path: self.folder.join(name),
            entry: Some(format!("images[{i}]")),
            size: side("height", keys.height)?.zip(side("width", keys.width)?),
            image_labels: Vec::new(),
            objects: Vec::new(),
            without_objects: true,
            patient: text(keys.patient).map(within),
            clip: text(keys.clip).map(within),
        })
    }

    fn outside_root(&self, audit: &mut Audit) {
        let root = audit.root.as_deref().unwrap_or(self.folder);
        let outside: Vec<usize> =
            (0..audit.images.len()).filter(|&i| path_leaves(&audit.images[i].path, root)).collect();
        for i in outside {
            let place = audit.place(&audit.images[i]);
            let expected = format!("a path below {}", root.display());
            let got = audit.images[i].path.display().to_string();
            audit.findings.add_expected(Code::PathOutsideRoot, place, expected, got);
        }
    }

    /// Leaves out what the config does, and reports images without objects.
    fn finish(&self, annotated: &HashSet<usize>, audit: &mut Audit) {
        let images = std::mem::take(&mut audit.images);
        for (i, mut image) in images.into_iter().enumerate() {
            image.without_objects &= !annotated.contains(&i);
            let name =
                image.path.strip_prefix(self.folder).unwrap_or(&image.path).to_string_lossy();
            let excluded = self.config.exclude.iter().any(|p| pattern::matches(p, &name));
            if excluded || (!self.config.keep_empty && image.without_objects) {
                audit.left_out.push(image.path);
                continue;
            }
            if self.config.image_label == ImageLabel::FromObjects {
                let mut labels: Vec<u32> =
                    image.objects.iter().map(|o| o.object.category).collect();
                labels.sort_unstable();
                labels.dedup();
                image.image_labels = labels;
            }
            audit.images.push(image);
        }
    }
}

/// `info.dataset`.
fn dataset_name(info: &RawValue) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Info {
        dataset: Option<String>,
    }
    serde_json::from_str::<Info>(info.get()).ok()?.dataset
}

/// Joins the annotations to their images; returns the positions of images that have any.
fn annotations(
    lists: &Lists<'_>,
    index: &Index,
    classes: &Classes,
    audit: &mut Audit,
) -> HashSet<usize> {
    let mut annotated = HashSet::new();
    let mut ids: HashMap<ImageId, usize> = HashMap::new();
    for (i, raw) in lists.annotations.iter().enumerate() {
        let mut place = Place::entry(&audit.source, format!("annotations[{i}]"));
        let keys = match entry::<AnnotationEntry<'_>>(raw) {
            Ok(keys) => keys,
            Err(refused) => {
                audit.findings.add(refused.code, place, refused.got);
                continue;
            }
        };
        match value::<ImageId>("id", keys.id, Code::MalformedEntry) {
            Ok(id) => place.annotation_id = id,
            Err(refused) => audit.findings.add(refused.code, place.clone(), refused.got),
        }
        if let Some(id) = place.annotation_id.clone()
            && let Some(first) = ids.insert(id.clone(), i)
        {
            let got = format!("id {id} is also that of annotations[{first}]");
            audit.findings.add(Code::DuplicateAnnotationId, place.clone(), got);
            ids.insert(id, first);
        }
        let owner = match owner(&keys, index, &mut place) {
            Ok(owner) => owner,
            Err(refused) => {
                audit.findings.add(refused.code, place, refused.got);
                continue;
            }
        };
        // That of an image which is reported itself.
        let Some(owner) = owner else { continue };
        place.image = Some(audit.images[owner].path.clone());
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
fn owner(
    keys: &AnnotationEntry<'_>,
    index: &Index,
    place: &mut Place,
) -> Result<Option<usize>, Refused> {
    let id: ImageId = required("image_id", keys.image_id)?;
    place.image_id = Some(id.clone());
    index.get(&id).copied().ok_or_else(|| {
        let spelled = |id: &ImageId| serde_json::to_string(id).unwrap_or_else(|_| id.to_string());
        let hint = match id.respelled().filter(|other| index.contains_key(other)) {
            Some(other) => format!(", but {} is", spelled(&other)),
            None => String::new(),
        };
        let got = format!("image_id {} is not the id of any image{hint}", spelled(&id));
        Refused::new(Code::UnknownImage, got)
    })
}

/// The object, and whether box and area are its own; `None` when its category is left out.
fn object(
    keys: &AnnotationEntry<'_>,
    size: Option<(u32, u32)>,
    classes: &Classes,
    categories: &[Category],
) -> Result<Option<(Object, bool, bool)>, Refused> {
    let Integer(id) = required("category_id", keys.category_id)?;
    let Some(category) = classes.indices.get(&id) else {
        let mut ids: Vec<String> = classes.indices.keys().map(ToString::to_string).collect();
        ids.sort_by_key(|id| (id.len(), id.clone()));
        // An id that was written as one of the names.
        let hint = did_you_mean(&id.to_string(), categories.iter().map(|c| c.name.as_str()));
        let got = format!("category_id {id}; the ids are {}{hint}", ids.join(", "));
        return Err(Refused::new(Code::UnknownCategory, got));
    };
    let segmentation = segmentation(keys.segmentation, size)?;
    let own_box = bbox(keys.bbox)?;
    let own_area = area(keys.area)?;
    let is_crowd: Option<Flag> = value("iscrowd", keys.iscrowd, Code::MalformedEntry)?;
    let Some(category) = *category else { return Ok(None) };
    let computed = || segmentation.bbox().ok().flatten();
    let bbox = own_box.or_else(computed).ok_or_else(|| {
        Refused::new(Code::MalformedEntry, "has neither `bbox` nor `segmentation`")
    })?;
    let computed = || segmentation.area().ok().flatten().unwrap_or(bbox[2] * bbox[3]);
    let area = own_area.unwrap_or_else(computed);
    let is_crowd = is_crowd.is_some_and(|flag| flag.0);
    let object = Object { category, bbox, area, is_crowd, segmentation };
    Ok(Some((object, own_box.is_some(), own_area.is_some())))
}

fn bbox(raw: Option<&RawValue>) -> Result<Option<[f64; 4]>, Refused> {
    let Some(sides) = value::<Vec<Lax>>("bbox", raw, Code::MalformedEntry)? else {
        return Ok(None);
    };
    let sides: Vec<f64> = sides.into_iter().map(|Lax(side)| side).collect();
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

fn area(raw: Option<&RawValue>) -> Result<Option<f64>, Refused> {
    match value::<Lax>("area", raw, Code::MalformedEntry)? {
        Some(Lax(area)) if !area.is_finite() || area < 0.0 => {
            Err(Refused::new(Code::BadNumber, format!("`area` is {area}, not a number of pixels")))
        }
        area => Ok(area.map(|Lax(area)| area)),
    }
}

fn segmentation(raw: Option<&RawValue>, size: Option<(u32, u32)>) -> Result<Segmentation, Refused> {
    let is_rle = raw.is_some_and(|raw| raw.get().starts_with('{'));
    let code = if is_rle { Code::BadRle } else { Code::BadPolygon };
    let segmentation: Segmentation = value("segmentation", raw, code)?.unwrap_or_default();
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
    segmentation.check(size).map_err(|e| Refused::new(Code::MaskSize, format!("{e:#}")))?;
    Ok(segmentation)
}
