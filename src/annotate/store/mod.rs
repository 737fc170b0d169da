//! The annotations of a session: in memory as they are on disk, and nowhere ahead of it.
//!
//! A change is written to the file before it counts; if that fails, memory goes back to what the file has.

mod categories;
mod image;
mod kept;
mod open;
mod outside;
mod save;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use serde::Serialize;

use crate::{
    document::{Document, Status},
    events::Events,
    images::{Images, Index},
    lock::Lock,
    object::Object,
    palette::colour,
};

pub(crate) use categories::WantedCategory;
pub(crate) use image::{Change, Refusal, State};
pub(crate) use open::places;
pub(crate) use outside::Stamp;

/// Everything that a session saves.
pub(crate) struct Store {
    path: PathBuf,
    document: Document,
    images: Arc<Images>,
    /// Where each image of the session is in the document.
    places: Vec<Option<usize>>,
    /// Counts the changes of each image in this session.
    revisions: Vec<u64>,
    /// The revision of an image that another program changed.
    outside: HashMap<Index, u64>,
    /// Changes in this session.
    saves: u64,
    /// The file as we know it; `None` if it is not there.
    stamp: Option<Stamp>,
    /// A file that another program left unreadable, and why.
    broken: Option<(Stamp, String)>,
    /// What was kept beside the file, by what it is.
    kept: HashMap<String, PathBuf>,
    reader: Option<String>,
    events: Events,
    pub(crate) notes: Vec<String>,
    _lock: Lock,
}

/// An image in the list of a session.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    id: u64,
    name: String,
    width: Option<u32>,
    height: Option<u32>,
    status: Status,
    objects: usize,
    uncertainty: Option<f64>,
}

/// A category, as the page sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ShownCategory {
    pub(crate) id: u64,
    pub(crate) name: String,
    colour: String,
}

/// An image that the reader is done with.
pub(crate) struct Finished {
    pub(crate) objects: Vec<Object>,
    /// `(height, width)` in pixels.
    pub(crate) size: (u32, u32),
    pub(crate) categories: Vec<ShownCategory>,
    /// Whether objects changed after the reader had seen the first reading.
    pub(crate) is_revised: bool,
}

/// What a session has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The COCO file.
    pub file: PathBuf,
    /// Images that were offered.
    pub images: usize,
    pub done: usize,
    pub draft: usize,
    pub skipped: usize,
    pub untouched: usize,
    /// Objects of images that are offered.
    pub objects: usize,
    /// Changes that were saved in this session.
    pub saved: u64,
    /// Files beside the COCO file with changes that could not go into it.
    pub kept: Vec<PathBuf>,
}

impl Store {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn images(&self) -> &Arc<Images> {
        &self.images
    }

    pub(crate) fn revision(&self) -> u64 {
        self.saves
    }

    /// Images that the file has and the session has not.
    pub(crate) fn num_others(&self) -> usize {
        let shown: std::collections::HashSet<usize> =
            self.places.iter().flatten().copied().collect();
        self.document.images.len() - shown.len()
    }

    pub(crate) fn categories(&self) -> Vec<ShownCategory> {
        let shown = |(i, category): (usize, &crate::document::CategoryItem)| {
            let (id, name) = (category.id, category.name.clone());
            ShownCategory { id, name, colour: colour(i) }
        };
        self.document.categories.iter().enumerate().map(shown).collect()
    }

    /// The list of images, in the order of their numbers.
    pub(crate) fn rows(&self, uncertainty: &HashMap<Index, f64>) -> Vec<Row> {
        let row = |index: Index| {
            let item = self.places[index].map(|place| &self.document.images[place]);
            let size = item.map(|item| item.size).or_else(|| self.images.known_size(index));
            Row {
                id: index as u64 + 1,
                name: self.images.name(index),
                width: size.map(|size| size.1),
                height: size.map(|size| size.0),
                status: item.map_or(Status::Untouched, |item| item.status()),
                objects: item.map_or(0, |item| item.objects.len()),
                uncertainty: uncertainty.get(&index).copied(),
            }
        };
        (0..self.images.len()).map(row).collect()
    }

    pub(crate) fn summary(&self) -> Summary {
        let rows = self.rows(&HashMap::new());
        let count = |status| rows.iter().filter(|row| row.status == status).count();
        let mut kept: Vec<PathBuf> = self.kept.values().cloned().collect();
        kept.sort();
        Summary {
            file: self.path.clone(),
            images: rows.len(),
            done: count(Status::Done),
            draft: count(Status::Draft),
            skipped: count(Status::Skipped),
            untouched: count(Status::Untouched),
            objects: rows.iter().map(|row| row.objects).sum(),
            saved: self.saves,
            kept,
        }
    }

    /// The size of an image, by its header and by the file.
    ///
    /// # Errors
    /// Kind data if it cannot be read, or the two differ.
    pub(crate) fn size(&self, index: Index) -> Result<(u32, u32)> {
        let size = self.images.size(index)?;
        let Some(place) = self.places[index] else { return Ok(size) };
        let written = self.document.images[place].size;
        anyhow::ensure!(
            written == size,
            sonotune_base::Error::data(format!(
                "image {} has {}×{} pixels (height×width), but {}×{} according to {}: its annotations are of \
                 another image; correct or remove its entry in the file",
                self.images.name(index),
                size.0,
                size.1,
                written.0,
                written.1,
                self.path.display()
            ))
        );
        Ok(size)
    }

    /// The objects of an image.
    ///
    /// # Errors
    /// Kind data if a segmentation of the file does not fit the image.
    pub(crate) fn objects(&self, index: Index) -> Result<Vec<Object>> {
        let Some(place) = self.places[index] else { return Ok(Vec::new()) };
        let item = &self.document.images[place];
        item.objects.iter().map(|object| Object::of(object, item.size)).collect()
    }

    /// An image that the reader is done with.
    ///
    /// # Errors
    /// Same errors as [`objects`](Self::objects).
    pub(crate) fn finished(&self, index: Index) -> Result<Option<Finished>> {
        if self.status(index) != Status::Done {
            return Ok(None);
        }
        let (objects, size) = (self.objects(index)?, self.size(index)?);
        let is_revised = self.is_revised(index);
        Ok(Some(Finished { objects, size, categories: self.categories(), is_revised }))
    }

    pub(crate) fn status(&self, index: Index) -> Status {
        self.places[index].map_or(Status::Untouched, |place| self.document.images[place].status())
    }
}
