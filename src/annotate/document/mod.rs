//! A COCO file under way: what the person did not change is written as it was read, byte for byte.
//!
//! Images that must not be learnt from (skipped, or begun without an object) stand under the key `sonotune` of the
//! file, where no trainer looks; all others in its lists.

mod entry;
mod read;
mod write;

use std::{collections::HashSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};
use sonotune_base::ImageId;

pub(crate) use entry::{Entry, set};

/// The one key of ours, in the file, its images and its annotations.
pub(crate) const OWN: &str = "sonotune";
/// Under [`OWN`] of the file: what is in none of its lists.
const SET_ASIDE: &str = "set_aside";

/// How far an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    #[default]
    Untouched,
    Draft,
    Done,
    Skipped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untouched => "untouched",
            Self::Draft => "draft",
            Self::Done => "done",
            Self::Skipped => "skipped",
        })
    }
}

impl FromStr for Status {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Untouched, Self::Draft, Self::Done, Self::Skipped]
            .into_iter()
            .find(|status| status.to_string() == text)
            .ok_or(())
    }
}

/// A whole COCO file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Document {
    /// The keys of the file in their order; `None` for its three lists and our own key.
    keys: Vec<(Box<str>, Option<Box<RawValue>>)>,
    pub(crate) categories: Vec<CategoryItem>,
    pub(crate) images: Vec<ImageItem>,
    /// What else is under our own key.
    own: Vec<(Box<str>, Box<RawValue>)>,
    next_image_id: u64,
    next_object_id: u64,
    next_position: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CategoryItem {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) entry: Entry,
}

/// An image with its objects.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ImageItem {
    pub(crate) file_name: String,
    pub(crate) frame: Option<u32>,
    /// `(height, width)` in pixels.
    pub(crate) size: (u32, u32),
    pub(crate) entry: Entry,
    pub(crate) objects: Vec<ObjectItem>,
    /// Whether it is in the file's lists, from which a model learns.
    pub(crate) is_listed: bool,
}

/// An annotation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ObjectItem {
    /// Order in the file.
    pub(crate) position: u64,
    pub(crate) category_id: u64,
    /// Unique in its image.
    pub(crate) uid: String,
    /// XYWH in pixels.
    pub(crate) bbox: [f64; 4],
    pub(crate) entry: Entry,
}

impl ImageItem {
    /// What is kept about the image under our own key.
    pub(crate) fn own(&self) -> Map<String, Value> {
        self.entry.get(OWN).unwrap_or_default()
    }

    /// How far it is. An image of a file that somebody else wrote is done if it has objects: nobody knows whether
    /// one without is a negative, or waits for its first object.
    pub(crate) fn status(&self) -> Status {
        let own = self.own();
        let told = own.get("status").and_then(Value::as_str).and_then(|text| text.parse().ok());
        told.unwrap_or(match (self.is_listed, self.objects.is_empty()) {
            (true, false) => Status::Done,
            (true, true) => Status::Untouched,
            (false, _) => Status::Skipped,
        })
    }

    pub(crate) fn notes(&self) -> String {
        self.own().get("notes").and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

impl Document {
    /// A file of these categories, without images.
    ///
    /// # Errors
    /// Never.
    pub(crate) fn new(categories: &[String]) -> anyhow::Result<Self> {
        let description = serde_json::json!({ "description": "Annotated with sonotune annotate" });
        let info = serde_json::value::to_raw_value(&description)?;
        let mut document = Self { keys: vec![("info".into(), Some(info))], ..Self::default() };
        document.start_numbers();
        for name in categories {
            document.add_category(name)?;
        }
        Ok(document)
    }

    /// Adds a category, with an id that no other has.
    ///
    /// # Errors
    /// Never.
    pub(crate) fn add_category(&mut self, name: &str) -> anyhow::Result<u64> {
        let id = self
            .categories
            .iter()
            .map(|category| category.id)
            .max()
            .map_or(1, |id| id.saturating_add(1));
        let entry = Entry::of(vec![set("id", &id)?, set("name", name)?])?;
        self.categories.push(CategoryItem { id, name: name.to_owned(), entry });
        Ok(id)
    }

    /// The id of a category.
    pub(crate) fn category_id(&self, name: &str) -> Option<u64> {
        self.categories.iter().find(|category| category.name == name).map(|category| category.id)
    }

    /// An id for a new image.
    pub(crate) fn new_image_id(&mut self) -> u64 {
        self.next_image_id += 1;
        self.next_image_id - 1
    }

    /// An id for a new annotation.
    pub(crate) fn new_object_id(&mut self) -> u64 {
        self.next_object_id += 1;
        self.next_object_id - 1
    }

    /// The place of a new annotation, behind all others.
    pub(crate) fn new_position(&mut self) -> u64 {
        self.next_position += 1;
        self.next_position - 1
    }

    /// Puts an image into the lists, or sets it aside. Ids that somebody else has given away meanwhile are replaced.
    ///
    /// # Errors
    /// Never, for entries that were read.
    pub(crate) fn list(&mut self, item: &mut ImageItem, is_listed: bool) -> anyhow::Result<()> {
        if is_listed && !item.is_listed {
            self.replace_taken_ids(item)?;
        }
        item.is_listed = is_listed;
        Ok(())
    }

    fn replace_taken_ids(&mut self, item: &mut ImageItem) -> anyhow::Result<()> {
        let listed = || self.images.iter().filter(|image| image.is_listed);
        let objects = listed().flat_map(|image| &image.objects);
        let taken: HashSet<ImageId> = match item.objects.is_empty() {
            true => HashSet::new(),
            false => objects.filter_map(|object| id(&object.entry)).collect(),
        };
        let is_taken = |entry: &Entry| id(entry).is_some_and(|id| taken.contains(&id));
        if listed().any(|image| id(&image.entry) == id(&item.entry)) {
            let id = self.new_image_id();
            item.entry = item.entry.with(vec![set("id", &id)?])?;
            for object in &mut item.objects {
                object.entry = object.entry.with(vec![set("image_id", &id)?])?;
            }
        }
        for object in item.objects.iter_mut().filter(|object| is_taken(&object.entry)) {
            object.entry = object.entry.with(vec![set("id", &self.new_object_id())?])?;
        }
        Ok(())
    }
}

/// The id of an entry, as the file spells it.
fn id(entry: &Entry) -> Option<ImageId> {
    entry.raw("id").and_then(|id| ImageId::from_json(id.get()).ok())
}
