//! Shows and changes one image.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::to_raw_value};
use sonotune_base::Error;

use super::Store;
use crate::{
    document::{Document, Entry, ImageItem, OWN, ObjectItem, Status, set},
    events::Event,
    images::Index,
    object::{Before, Object},
};

/// Under our own key: that the reader was shown the first reading, and that objects changed after that.
const COMPARED: &str = "compared";
const REVISED: &str = "revised";
/// Objects of an image at most.
const MAX_OBJECTS: usize = 2000;
/// Characters of a note at most.
const MAX_NOTES: usize = 20_000;

/// An image with its objects.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct State {
    id: u64,
    name: String,
    width: u32,
    height: u32,
    pub(crate) revision: u64,
    pub(crate) status: Status,
    pub(crate) objects: Vec<Object>,
    notes: String,
}

/// What a page wants an image to be.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Change {
    /// The revision that the page has changed.
    pub(crate) revision: u64,
    pub(crate) objects: Vec<Object>,
    pub(crate) status: Status,
    #[serde(default)]
    pub(crate) notes: String,
    #[serde(default)]
    pub(crate) client: Option<String>,
    /// How long the person worked on the image since the last change.
    #[serde(default)]
    pub(crate) seconds: f64,
}

/// Why a change was not saved.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Somebody else has changed the image meanwhile.
    Stale {
        message: String,
        current: Box<State>,
    },
    /// Another program has the file.
    Outside(anyhow::Error),
    /// Categories that objects have.
    InUse(String),
    Error(anyhow::Error),
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self::Error(error)
    }
}

impl ImageItem {
    /// Whether another has the same content, however its file numbers and spells it.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let same =
            |(a, b): (&ObjectItem, &ObjectItem)| a.uid == b.uid && a.entry.says_what(&b.entry);
        self.is_listed == other.is_listed
            && self.entry.says_what(&other.entry)
            && self.objects.len() == other.objects.len()
            && self.objects.iter().zip(&other.objects).all(same)
    }
}

impl Store {
    /// An image as it is saved.
    ///
    /// # Errors
    /// Kind data if it cannot be read, or its annotations do not fit it.
    pub(crate) fn state(&self, index: Index) -> Result<State> {
        let (height, width) = self.size(index)?;
        let item = self.places[index].map(|place| &self.document.images[place]);
        Ok(State {
            id: index as u64 + 1,
            name: self.images.name(index),
            width,
            height,
            revision: self.revisions[index],
            status: self.status(index),
            objects: self.objects(index)?,
            notes: item.map_or_else(String::new, ImageItem::notes),
        })
    }

    /// Saves an image; the new revision.
    ///
    /// # Errors
    /// If the page's revision is old, the change is not valid, or it cannot be written. Nothing has changed then.
    pub(crate) fn put(&mut self, index: Index, change: &Change) -> Result<u64, Refusal> {
        if let Err(error) = self.look_outside() {
            return Err(Refusal::Outside(self.with_kept(error, index, change)));
        }
        let size = self.size(index)?;
        self.check(change)?;
        let current = self.revisions[index];
        let item = self.item(&mut None, index, size, change)?;
        let before = self.places[index].map(|place| self.document.images[place].clone());
        if before.as_ref() == item.as_ref() {
            // Also of an old revision: a page that lost the answer to its save tries again.
            return Ok(current);
        }
        if change.revision != current {
            return Err(self.stale(index, change)?);
        }
        let Some(item) = item else { return Ok(current) };
        let place = self.places[index].unwrap_or(self.document.images.len());
        match self.document.images.get_mut(place) {
            Some(old) => *old = item,
            None => self.document.images.push(item),
        }
        if let Err(error) = self.save() {
            match before {
                Some(before) => self.document.images[place] = before,
                None => self.document.images.truncate(place),
            }
            return Err(error.into());
        }
        self.places[index] = Some(place);
        self.saves += 1;
        self.revisions[index] += 1;
        let (id, revision) = (index as u64 + 1, self.revisions[index]);
        self.events.send(Event::Image { id, revision, client: change.client.clone() });
        Ok(revision)
    }

    /// Remembers in the file that the reader has seen the first reading of an image.
    ///
    /// # Errors
    /// Errors of the disk.
    pub(crate) fn note_comparison(&mut self, index: Index) -> Result<()> {
        self.look_outside()?;
        let Some(place) = self.places[index] else { return Ok(()) };
        let before = self.document.images[place].entry.clone();
        let mut own = self.document.images[place].own();
        if own.insert(COMPARED.to_owned(), true.into()).is_some() {
            return Ok(());
        }
        self.document.images[place].entry = before.with(vec![set(OWN, &own)?])?;
        if let Err(error) = self.save() {
            self.document.images[place].entry = before;
            return Err(error);
        }
        Ok(())
    }

    /// Whether objects changed after the reader had seen the first reading.
    pub(crate) fn is_revised(&self, index: Index) -> bool {
        self.places[index]
            .is_some_and(|place| self.document.images[place].own().contains_key(REVISED))
    }

    /// Why an old revision is refused. What another program overtook is kept in a file.
    fn stale(&mut self, index: Index, change: &Change) -> Result<Refusal> {
        let current = Box::new(self.state(index)?);
        let by_outside =
            self.outside.get(&index).is_some_and(|&revision| change.revision < revision);
        let message = if by_outside {
            let path = self.keep_change(index, change)?;
            format!(
                "another program changed this image in {}; your version is kept in {}",
                self.path.display(),
                path.display()
            )
        } else {
            format!(
                "this image was changed in another tab (it is at revision {}, yours is {})",
                current.revision, change.revision
            )
        };
        Ok(Refusal::Stale { message, current })
    }

    /// Writes a change that cannot be saved into a COCO file of its own.
    fn keep_change(&mut self, index: Index, change: &Change) -> Result<std::path::PathBuf> {
        let size = self.images.size(index)?;
        let mut alone = Document::new(&[])?;
        alone.categories.clone_from(&self.document.categories);
        let item = self.item(&mut Some(&mut alone), index, size, change)?;
        alone.images.extend(item);
        self.keep(&format!("image {index} at {}", self.revisions[index]), &alone.to_bytes())
    }

    fn with_kept(&mut self, error: anyhow::Error, index: Index, change: &Change) -> anyhow::Error {
        let valid = self.check(change);
        match valid.and_then(|()| self.keep_change(index, change)) {
            Ok(path) => {
                Error::data(format!("{error:#}; your change is in {}", path.display())).into()
            }
            Err(other) => Error::data(format!(
                "{error:#}; your change could not be kept beside it: {other:#}"
            ))
            .into(),
        }
    }

    fn check(&self, change: &Change) -> Result<()> {
        let number = change.objects.len();
        ensure!(
            number <= MAX_OBJECTS,
            Error::data(format!("{number} objects, more than {MAX_OBJECTS}"))
        );
        ensure!(
            change.notes.chars().count() <= MAX_NOTES,
            Error::data(format!("the notes have more than {MAX_NOTES} characters"))
        );
        ensure!(
            change.status != Status::Untouched || change.objects.is_empty(),
            Error::data(
                "an image with objects cannot be `untouched`: make it `draft`, `done` or `skipped`"
            )
        );
        let ids: Vec<u64> = self.document.categories.iter().map(|category| category.id).collect();
        let mut uids = HashSet::new();
        for (i, object) in change.objects.iter().enumerate() {
            let place = || Error::data(format!("objects[{i}] (uid {:?})", object.uid));
            object.check(&ids).with_context(place)?;
            ensure!(
                uids.insert(&object.uid),
                Error::data(format!("two objects have the uid {:?}", object.uid))
            );
        }
        Ok(())
    }

    /// The image as the change wants it: what is there with what is new; `None` if it has nothing to remember. A
    /// change that is kept elsewhere has a document of its own.
    fn item(
        &mut self,
        elsewhere: &mut Option<&mut Document>,
        index: Index,
        size: (u32, u32),
        change: &Change,
    ) -> Result<Option<ImageItem>> {
        let file_name = self.images.file_name(index);
        let frame = self.images.files()[index].frame;
        let there = self.places[index].map(|place| self.document.images[place].clone());
        let has_nothing = change.objects.is_empty() && change.notes.is_empty();
        let is_begun = elsewhere.is_some() || change.status != Status::Untouched;
        let is_there = there.is_some();
        let mut item = match there {
            Some(item) => item,
            None if has_nothing && !is_begun => return Ok(None),
            None => {
                let document = elsewhere.as_deref_mut().unwrap_or(&mut self.document);
                let entry = new_entry(document, &file_name, size, frame)?;
                ImageItem { file_name, frame, size, entry, objects: Vec::new(), is_listed: false }
            }
        };
        let document = elsewhere.as_deref_mut().unwrap_or(&mut self.document);
        let before: HashMap<&str, &ObjectItem> =
            item.objects.iter().map(|object| (object.uid.as_str(), object)).collect();
        let image_id = item.entry.raw("id").context("an image without an id")?;
        let mut objects = Vec::with_capacity(change.objects.len());
        for (i, object) in change.objects.iter().enumerate() {
            let before = match before.get(object.uid.as_str()) {
                Some(item) => Before::There(item),
                None => Before::New {
                    position: document.new_position(),
                    id: document.new_object_id(),
                    image_id: image_id.clone(),
                },
            };
            let made = object.item(size, before, self.reader.as_deref());
            objects.push(
                made.with_context(|| Error::data(format!("objects[{i}] (uid {:?})", object.uid)))?,
            );
        }
        let has_objects = objects == item.objects;
        let is_same = is_there
            && has_objects
            && change.status == item.status()
            && change.notes == item.notes();
        if is_same && elsewhere.is_none() {
            return Ok(Some(item));
        }
        item.objects = objects;
        item.entry = item
            .entry
            .with(vec![set(OWN, &own(&item, change, !has_objects, self.reader.as_deref()))?])?;
        let is_listed = match change.status {
            Status::Done => true,
            Status::Draft => !item.objects.is_empty(),
            Status::Skipped | Status::Untouched => elsewhere.is_some(),
        };
        let document = elsewhere.as_deref_mut().unwrap_or(&mut self.document);
        document.list(&mut item, is_listed)?;
        Ok(Some(item))
    }
}

/// The entry of an image that was in no file.
fn new_entry(
    document: &mut Document,
    file_name: &str,
    size: (u32, u32),
    frame: Option<u32>,
) -> Result<Entry> {
    let mut keys = vec![
        set("id", &document.new_image_id())?,
        set("file_name", file_name)?,
        set("height", &size.0)?,
        set("width", &size.1)?,
    ];
    if let Some(frame) = frame {
        keys.push(("frame", Some(to_raw_value(&frame)?)));
    }
    Entry::of(keys)
}

/// What is kept about an image under our own key.
fn own(item: &ImageItem, change: &Change, is_changed: bool, reader: Option<&str>) -> Value {
    let mut own = item.own();
    own.insert("status".to_owned(), change.status.to_string().into());
    if change.notes.is_empty() {
        own.remove("notes");
    } else {
        own.insert("notes".to_owned(), change.notes.clone().into());
    }
    if let Some(reader) = reader {
        own.insert("reader".to_owned(), reader.into());
    }
    if own.contains_key(COMPARED) && is_changed {
        own.insert(REVISED.to_owned(), true.into());
    }
    let spent = own.get("seconds").and_then(Value::as_f64).unwrap_or_default();
    let seconds =
        if change.seconds.is_finite() { change.seconds.clamp(0.0, 86_400.0) } else { 0.0 };
    if spent + seconds > 0.0 {
        own.insert("seconds".to_owned(), (((spent + seconds) * 10.0).round() / 10.0).into());
    }
    Value::Object(own)
}
