//! Reads a COCO file for changing it.

use std::{collections::HashSet, path::Path};

use anyhow::{Context, Result};
use serde::de::MapAccess;
use serde_json::value::RawValue;
use sonotune_base::Error;
use sonotune_coco::CocoFile;
use sonotune_dataset::coco::{Extra, Fields, Manner, Object, Pair, from_slice};

use super::{CategoryItem, Document, Entry, ImageItem, OWN, ObjectItem, SET_ASIDE};

/// Ids beyond are left to those who made them: JavaScript and floating point round them.
const MAX_ID: u64 = 1 << 53;

type Raws = Vec<Box<RawValue>>;

/// A file's lists unread, and its other keys.
#[derive(Default)]
struct Lists {
    keys: Vec<(Box<str>, Option<Box<RawValue>>)>,
    images: Raws,
    annotations: Raws,
    categories: Raws,
    own: Option<Box<RawValue>>,
}

impl Fields for Lists {
    const EXPECTED: &'static str = "a COCO file";
    const MANNER: Manner = Manner::Tolerant;

    fn take<'de, A: MapAccess<'de>>(&mut self, pair: Pair<'_, A>) -> Result<(), A::Error> {
        let key: Box<str> = pair.key.into();
        let slot = match &*key {
            "images" => &mut self.images,
            "annotations" => &mut self.annotations,
            "categories" => &mut self.categories,
            OWN => {
                self.own = Some(pair.value()?);
                self.note(key);
                return Ok(());
            }
            _ => {
                self.keys.push((key, Some(pair.value()?)));
                return Ok(());
            }
        };
        *slot = pair.value::<Option<Raws>>()?.unwrap_or_default();
        self.note(key);
        Ok(())
    }
}

impl Lists {
    /// Remembers where a key of ours stands; of a repeated one the last counts.
    fn note(&mut self, key: Box<str>) {
        self.keys.retain(|(other, _)| *other != key);
        self.keys.push((key, None));
    }
}

/// What is set aside of one image.
#[derive(Default)]
struct Aside {
    image: Option<Box<RawValue>>,
    annotations: Raws,
}

impl Fields for Aside {
    const EXPECTED: &'static str = "an object with `image` and `annotations`";

    fn take<'de, A: MapAccess<'de>>(&mut self, pair: Pair<'_, A>) -> Result<(), A::Error> {
        match pair.key {
            "image" => self.image = Some(pair.value()?),
            "annotations" => self.annotations = pair.value()?,
            _ => pair.skip()?,
        }
        Ok(())
    }
}

impl Document {
    /// Reads the bytes of the file at `path`.
    ///
    /// # Errors
    /// Kind data, naming the file and the entry that is no COCO.
    pub(crate) fn from_slice(bytes: &[u8], path: &Path) -> Result<Self> {
        let file = CocoFile::from_slice(bytes, path)?;
        let lists: Lists = from_slice(bytes, path)?;
        let mut document = Self { keys: lists.keys, ..Self::default() };
        for (record, raw) in file.categories.iter().zip(&lists.categories) {
            let (id, name, entry) = (record.id, record.name.clone(), Entry::new(raw));
            document.categories.push(CategoryItem { id, name, entry });
        }
        document.take(&file, &lists.images, &lists.annotations, true);
        if let Some(own) = lists.own {
            document.take_own(&own, &lists.categories, path).with_context(|| {
                Error::data(format!("{}: what `{OWN}.{SET_ASIDE}` holds", path.display()))
            })?;
        }
        document.start_numbers();
        Ok(document)
    }

    /// Adds images with their objects; both lists are in the order of the records in `file`.
    fn take(&mut self, file: &CocoFile, images: &Raws, annotations: &Raws, is_listed: bool) {
        let start = self.images.len();
        for (record, raw) in file.images.iter().zip(images) {
            self.images.push(ImageItem {
                file_name: record.file_name.clone(),
                frame: record.provenance.frame,
                size: (record.height, record.width),
                entry: Entry::new(raw),
                objects: Vec::new(),
                is_listed,
            });
        }
        let mut uids = HashSet::with_capacity(annotations.len());
        for (record, raw) in file.annotations.iter().zip(annotations) {
            let position = self.new_position();
            let entry = Entry::new(raw);
            // Images are numbered from 1 in their order.
            let Some(image) = self.images.get_mut(start + record.image_id as usize - 1) else {
                continue;
            };
            let mut uid = uid(&entry, position);
            if !uids.insert((record.image_id, uid.clone())) {
                uid = format!("{uid}-{position}");
                uids.insert((record.image_id, uid.clone()));
            }
            let (category_id, bbox) = (record.category_id, record.bbox);
            image.objects.push(ObjectItem { position, category_id, uid, bbox, entry });
        }
    }

    /// Adds what is set aside. It is checked like the lists themselves.
    fn take_own(&mut self, own: &RawValue, categories: &Raws, path: &Path) -> Result<()> {
        let Object(keys): Object<Extra> = serde_json::from_str(own.get())?;
        let (aside, others): (Vec<_>, Vec<_>) =
            keys.0.into_iter().partition(|(key, _)| &**key == SET_ASIDE);
        self.own = others;
        let Some((_, aside)) = aside.into_iter().next_back() else { return Ok(()) };
        let aside: Vec<Object<Aside>> = serde_json::from_str(aside.get())?;
        let (mut images, mut annotations) = (Raws::new(), Raws::new());
        for Object(mut one) in aside {
            images.push(one.image.context("an entry has no `image`")?);
            annotations.append(&mut one.annotations);
        }
        if images.is_empty() {
            return Ok(());
        }
        let list = |list: &Raws| list.iter().map(|raw| raw.get()).collect::<Vec<_>>().join(",");
        let json = format!(
            "{{\"images\":[{}],\"annotations\":[{}],\"categories\":[{}]}}",
            list(&images),
            list(&annotations),
            list(categories)
        );
        let file = CocoFile::from_slice(json.as_bytes(), path)?;
        self.take(&file, &images, &annotations, false);
        Ok(())
    }

    /// Numbers for new entries start above all that are there.
    pub(super) fn start_numbers(&mut self) {
        let number = |entry: &Entry| entry.get::<u64>("id").filter(|&id| id < MAX_ID);
        let highest = |ids: &mut dyn Iterator<Item = u64>| ids.max().map_or(1, |id| id + 1);
        self.next_image_id =
            highest(&mut self.images.iter().filter_map(|image| number(&image.entry)));
        let objects = self.images.iter().flat_map(|image| &image.objects);
        self.next_object_id = highest(&mut objects.filter_map(|object| number(&object.entry)));
    }
}

/// The name of an object within its image: the page's own, else one that stays the same from reading to reading.
fn uid(entry: &Entry, position: u64) -> String {
    let own: Option<serde_json::Map<String, serde_json::Value>> = entry.get(OWN);
    let given = own.as_ref().and_then(|own| own.get("uid")).and_then(serde_json::Value::as_str);
    match (given, entry.raw("id")) {
        (Some(uid), _) if !uid.is_empty() => uid.to_owned(),
        (_, Some(id)) => format!("id{}", id.get().trim_matches('"')),
        (_, None) => format!("at{position}"),
    }
}
