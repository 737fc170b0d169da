//! Groups of images that must stay together.

use std::{borrow::Cow, collections::HashMap};

use anyhow::{Result, bail};
use sonotune_base::Error;

use super::{By, Part, SplitOptions, keys};
use crate::{CocoFile, ImageRecord};

/// Images that stay together, and what they show.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) unit: Unit,
    /// Its name in messages: `patient 17 of BUSBRA`.
    pub(super) name: String,
    /// Whether it holds several groups, whose images are the same.
    pub(super) is_united: bool,
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
    /// Equal values of a key that the user named.
    Key,
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

    fn absorb(&mut self, other: Self) {
        self.is_united = true;
        self.images.extend(other.images);
        self.images.sort_unstable();
        for (category, count) in other.objects {
            match self.objects.binary_search_by_key(&category, |o| o.0) {
                Ok(at) => self.objects[at].1 += count,
                Err(at) => self.objects.insert(at, (category, count)),
            }
        }
    }

    pub(super) fn shows(&self, category: usize) -> bool {
        self.objects.binary_search_by_key(&category, |o| o.0).is_ok()
    }
}

/// Equal for images that stay together, different for all others. Different datasets may use the same
/// names for patients and clips, and different patients the same names for clips.
type Key<'a> = (Unit, Option<&'a str>, Option<Cow<'a, str>>, Cow<'a, str>);

/// The groups of a file, in the order of their first images.
///
/// # Errors
/// If images are grouped by patient, clip or a key, and one does not specify it.
pub(super) fn of(file: &CocoFile, options: &SplitOptions) -> Result<Vec<Group>> {
    let mut indices: HashMap<Key<'_>, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    let mut group_of = Vec::with_capacity(file.images.len());
    for (i, image) in file.images.iter().enumerate() {
        let Some(key) = key(file, image, options) else { return untold(file, options) };
        let next = groups.len();
        if !indices.contains_key(&key) {
            groups.push(Group {
                unit: key.0,
                name: describe(&key, options),
                is_united: false,
                images: Vec::new(),
                objects: Vec::new(),
                official: false,
                may_validate: true,
                may_test: true,
                part: None,
            });
        }
        let index = *indices.entry(key).or_insert(next);
        groups[index].images.push(i);
        group_of.push(index);
    }
    count_objects(file, &mut groups, &group_of);
    Ok(groups)
}

fn key<'a>(file: &'a CocoFile, image: &'a ImageRecord, options: &SplitOptions) -> Option<Key<'a>> {
    let from = &image.provenance;
    let dataset = file.dataset_of(image);
    if let Some(wanted) = &options.group_by {
        return keys::value(image, wanted).map(|value| (Unit::Key, dataset, None, value));
    }
    let patient = || keys::patient(image);
    let by_patient = || patient().map(|name| (Unit::Patient, dataset, None, name));
    let clip = from.clip.as_deref().filter(|clip| !clip.trim().is_empty());
    let by_clip = || clip.map(|name| (Unit::Clip, dataset, patient(), name.into()));
    let by_image = || (Unit::Image, None, None, (&*image.file_name).into());
    match options.by {
        By::Patient => by_patient(),
        By::Clip => by_clip(),
        By::Image => Some(by_image()),
        By::Auto => {
            let is_part = from.frame.is_some() && !from.source_file.is_empty();
            let by_file =
                || is_part.then(|| (Unit::File, dataset, None, (&*from.source_file).into()));
            by_patient().or_else(by_clip).or_else(by_file).or_else(|| Some(by_image()))
        }
    }
}

/// `patient 17 of BUSBRA`.
fn describe((unit, dataset, _, name): &Key<'_>, options: &SplitOptions) -> String {
    let unit = match unit {
        Unit::Key => options.group_by.as_deref().unwrap_or_default(),
        Unit::Patient => "patient",
        Unit::Clip => "clip",
        Unit::File => "file",
        Unit::Image => "image",
    };
    format!("{unit} {name}{}", dataset.map(|name| format!(" of {name}")).unwrap_or_default())
}

fn untold(file: &CocoFile, options: &SplitOptions) -> Result<Vec<Group>> {
    let untold = || file.images.iter().filter(|image| key(file, image, options).is_none());
    let what = match (&options.group_by, options.by) {
        (Some(wanted), _) => {
            keys::require(file, wanted)?;
            wanted
        }
        (None, By::Patient) => "patient",
        (None, _) => "clip",
    };
    bail!(Error::data(format!(
        "{} of {} images do not specify their `{what}`, the first is {}; --by auto uses the largest \
         unit that each image specifies",
        untold().count(),
        file.images.len(),
        untold().next().map_or("", |image| &image.file_name)
    )))
}

/// Unites the groups of images that must stay together, given as lists of images.
pub(super) fn unite(groups: Vec<Group>, together: &[Vec<usize>]) -> Vec<Group> {
    let images =
        |(g, group): (usize, &Group)| group.images.iter().map(|&i| (i, g)).collect::<Vec<_>>();
    let group_of: HashMap<usize, usize> = groups.iter().enumerate().flat_map(images).collect();
    // The first group of those that each is united with.
    let mut first: Vec<usize> = (0..groups.len()).collect();
    for images in together {
        let mut united: Vec<usize> =
            images.iter().filter_map(|image| group_of.get(image)).map(|&g| first[g]).collect();
        united.sort_unstable();
        united.dedup();
        let Some(&lowest) = united.first() else { continue };
        for of in first.iter_mut().filter(|of| united.binary_search(of).is_ok()) {
            *of = lowest;
        }
    }
    let mut kept: Vec<Option<Group>> = Vec::with_capacity(groups.len());
    for (g, group) in groups.into_iter().enumerate() {
        match kept.get_mut(first[g]).and_then(Option::as_mut) {
            Some(into) => {
                into.absorb(group);
                kept.push(None);
            }
            None => kept.push(Some(group)),
        }
    }
    kept.into_iter().flatten().collect()
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
