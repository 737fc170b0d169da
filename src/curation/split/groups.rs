//! Groups of images that must stay together.

use std::collections::HashMap;

use anyhow::{Result, bail};
use sonotune_base::Error;

use super::{By, Part};
use crate::coco::{CocoFile, ImageRecord};

/// Images that stay together, and what they show.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) unit: Unit,
    /// Indices into the file's images, ascending.
    pub(super) images: Vec<usize>,
    /// Category index and number of objects, by ascending index.
    pub(super) objects: Vec<(usize, usize)>,
    /// Whether the authors' split places it.
    pub(super) official: bool,
    /// Whether it may be in validation.
    pub(super) may_validate: bool,
    pub(super) may_test: bool,
    /// `None`: not placed yet.
    pub(super) part: Option<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Unit {
    Patient,
    Clip,
    File,
    Image,
}

impl Group {
    /// Its size in images.
    pub(super) fn len(&self) -> usize {
        self.images.len()
    }

    /// Its part; a group that has not been placed is for training.
    pub(super) fn part(&self) -> Part {
        self.part.unwrap_or(Part::Train)
    }

    pub(super) fn is_free(&self) -> bool {
        self.part.is_none()
    }

    pub(super) fn shows(&self, category: usize) -> bool {
        self.objects.binary_search_by_key(&category, |o| o.0).is_ok()
    }

    /// `patient 17 of BUSBRA`.
    pub(super) fn describe(&self, file: &CocoFile) -> String {
        let image = &file.images[self.images[0]];
        let from = &image.provenance;
        let of = file.dataset_of(image).map(|name| format!(" of {name}")).unwrap_or_default();
        match self.unit {
            Unit::Patient => format!("patient {}{of}", from.patient.as_deref().unwrap_or_default()),
            Unit::Clip => format!("clip {}{of}", from.clip.as_deref().unwrap_or_default()),
            Unit::File => format!("file {}{of}", from.source_file),
            Unit::Image => format!("image {}", image.file_name),
        }
    }
}

/// Equal for images that stay together, different for all others. Different datasets may use the same
/// names for patients and clips, and different patients the same names for clips.
type Key<'a> = (Unit, Option<&'a str>, Option<&'a str>, &'a str);

/// The groups of a file, in the order of their first images.
///
/// # Errors
/// If images are grouped by patient or clip and one does not specify it.
pub(super) fn of(file: &CocoFile, by: By) -> Result<Vec<Group>> {
    let mut indices: HashMap<Key<'_>, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    let mut group_of = Vec::with_capacity(file.images.len());
    for (i, image) in file.images.iter().enumerate() {
        let Some(key) = key(file, image, by) else { return untold(file, by) };
        let index = *indices.entry(key).or_insert(groups.len());
        if index == groups.len() {
            groups.push(Group {
                unit: key.0,
                images: Vec::new(),
                objects: Vec::new(),
                official: false,
                may_validate: true,
                may_test: true,
                part: None,
            });
        }
        groups[index].images.push(i);
        group_of.push(index);
    }
    count_objects(file, &mut groups, &group_of);
    Ok(groups)
}

fn key<'a>(file: &'a CocoFile, image: &'a ImageRecord, by: By) -> Option<Key<'a>> {
    let from = &image.provenance;
    let dataset = file.dataset_of(image);
    let (patient, clip) = (from.patient.as_deref(), from.clip.as_deref());
    let by_patient = patient.map(|name| (Unit::Patient, dataset, None, name));
    let by_clip = clip.map(|name| (Unit::Clip, dataset, patient, name));
    let by_image = (Unit::Image, None, None, &*image.file_name);
    match by {
        By::Patient => by_patient,
        By::Clip => by_clip,
        By::Image => Some(by_image),
        By::Auto => {
            let is_part = from.frame.is_some() && !from.source_file.is_empty();
            let by_file = is_part.then(|| (Unit::File, dataset, None, &*from.source_file));
            by_patient.or(by_clip).or(by_file).or(Some(by_image))
        }
    }
}

fn untold(file: &CocoFile, by: By) -> Result<Vec<Group>> {
    let untold = || file.images.iter().filter(|image| key(file, image, by).is_none());
    let what = if by == By::Patient { "patient" } else { "clip" };
    bail!(Error::data(format!(
        "{} of {} images do not specify their `{what}`, the first is {}; --by auto uses the largest \
         unit that each image specifies",
        untold().count(),
        file.images.len(),
        untold().next().map_or("", |image| &image.file_name)
    )))
}

fn count_objects(file: &CocoFile, groups: &mut [Group], group_of: &[usize]) {
    let images = file.index_by_id();
    let categories: HashMap<u64, usize> =
        file.categories.iter().enumerate().map(|(i, c)| (c.id, i)).collect();
    for annotation in &file.annotations {
        let image = images.get(&annotation.image_id);
        let category = categories.get(&annotation.category_id);
        let (Some(&image), Some(&category)) = (image, category) else { continue };
        let objects = &mut groups[group_of[image]].objects;
        match objects.binary_search_by_key(&category, |o| o.0) {
            Ok(at) => objects[at].1 += 1,
            Err(at) => objects.insert(at, (category, 1)),
        }
    }
}
