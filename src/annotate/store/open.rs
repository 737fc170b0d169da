//! Opens the file of a session, or begins it.

use std::{collections::HashMap, path::Path, sync::Arc};

use anyhow::{Context, Result, ensure};
use sonotune_base::{Error, fs::folder_of};
use sonotune_dataset::{
    image_names::Located,
    pixels::{ImageFile, Kind},
};

use super::{Store, outside::Stamp};
use crate::{document::Document, events::Events, images::Images, lock::Lock, options::Options};

impl Store {
    /// Opens the file of `options`, or begins it with the categories given there, else those of `others`: a first
    /// reading's or the model's.
    ///
    /// # Errors
    /// Kind config if another session has the file, or there are no categories; kind data if it is no COCO file or is
    /// about other images; errors of the disk.
    pub(crate) fn open(
        options: &Options,
        images: Arc<Images>,
        others: &[String],
        events: Events,
    ) -> Result<Self> {
        let path = options.annotations.clone().unwrap_or_else(|| options.default_file());
        // A link to a file is followed: renaming would replace the link.
        let path = path
            .canonicalize()
            .or_else(|_| std::path::absolute(path))
            .context("the current folder")?;
        ensure!(
            !path.is_dir(),
            Error::config(format!(
                "{} is a folder: pass a file name with --annotations",
                path.display()
            ))
        );
        if let Some(first) = &options.second_reading_of {
            check_second(&path, first)?;
        }
        let folder = folder_of(&path);
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create the folder {}", folder.display()))?;
        let lock = Lock::take(&path, &holder(options.reader.as_deref()))?;
        let read = Stamp::read(&path)?;
        let is_new = read.is_none();
        let (document, stamp) = match read {
            Some((bytes, stamp)) => (Document::from_slice(&bytes, &path)?, Some(stamp)),
            None => (Document::new(&[])?, None),
        };
        let (places, note) = places(&document, &images, &path)?;
        let own = path.file_name().unwrap_or_default().to_string_lossy();
        let only_own = format!("left out: there is one file with another ending, {own}");
        let mut notes: Vec<String> =
            images.notes.iter().filter(|note| !note.starts_with(&only_own)).cloned().collect();
        notes.extend(note);
        if !lock.is_held {
            notes.push(format!(
                "the disk of {} has no locks: make sure that nobody else annotates into it",
                path.display()
            ));
        }
        let revisions = vec![0; images.len()];
        let mut store = Self {
            path,
            document,
            images,
            places,
            revisions,
            outside: HashMap::new(),
            saves: 0,
            stamp,
            broken: None,
            kept: HashMap::new(),
            reader: options.reader.clone(),
            events,
            notes,
            _lock: lock,
        };
        let is_changed = store.add_categories(&options.categories, others)?;
        if is_new || is_changed {
            // If the file cannot be written, the person should know before the first click.
            store.save()?;
        }
        Ok(store)
    }

    /// Adds the categories asked for; if there are none at all, the others.
    fn add_categories(&mut self, asked_for: &[String], others: &[String]) -> Result<bool> {
        let names = if asked_for.is_empty() && self.document.categories.is_empty() {
            others
        } else {
            asked_for
        };
        let mut is_changed = false;
        for name in names {
            let name = name.trim();
            ensure!(!name.is_empty(), Error::config("--categories: a name is empty"));
            if self.document.category_id(name).is_none() {
                self.document.add_category(name)?;
                is_changed = true;
            }
        }
        ensure!(
            !self.document.categories.is_empty(),
            Error::config(
                "there are no categories: neither the file nor a model has any; name them, as in --categories \
                 cyst,tumour"
            )
        );
        Ok(is_changed)
    }

    /// Adds the categories of a model that the file does not have.
    pub(crate) fn add_found_categories(&mut self, names: &[String]) -> Result<()> {
        if self.add_categories(names, &[])? { self.save() } else { Ok(()) }
    }
}

/// A second reading must not go into the file of the first.
fn check_second(path: &Path, first: &Path) -> Result<()> {
    let is_own = first.canonicalize().is_ok_and(|first| first == path);
    ensure!(
        !is_own,
        Error::config(format!(
            "{} is the first reading: a second one needs a file of its own (--annotations)",
            first.display()
        ))
    );
    Ok(())
}

/// Who has the file, for the next who wants it.
fn holder(reader: Option<&str>) -> String {
    let reader = reader.map_or_else(String::new, |reader| format!(" ({reader})"));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { String::new() } else { format!(" on {}", host.trim()) };
    format!("process {}{host}{reader}", std::process::id())
}

/// Where each image of the session is in a document; of an image that is there twice the first counts.
///
/// # Errors
/// Kind data if the document has images and none is of the session.
pub(crate) fn places(
    document: &Document,
    images: &Images,
    path: &Path,
) -> Result<(Vec<Option<usize>>, Option<String>)> {
    let names = document.images.iter().map(|image| image.file_name.as_str());
    let located = Located::of(names, &images.folder, path);
    let mut by_file: HashMap<ImageFile, usize> = HashMap::with_capacity(located.files.len());
    for (place, (file, item)) in located.files.iter().zip(&document.images).enumerate().rev() {
        let frame = item.frame.filter(|_| Kind::of_named(file) != Kind::Image);
        by_file.insert(ImageFile::new(file, frame), place);
        if frame == Some(0) {
            // A clip of one frame is an image without a number.
            by_file.insert(ImageFile::new(file, None), place);
        }
    }
    let places: Vec<Option<usize>> =
        images.files().iter().map(|file| by_file.get(file).copied()).collect();
    let is_foreign = !document.images.is_empty() && places.iter().all(Option::is_none);
    ensure!(
        !is_foreign,
        Error::data(format!(
            "{} is about other images: none of its {} is below {}. It names {}, and the folder has {}: pass the folder \
             that its names are relative to, or another file with --annotations",
            path.display(),
            document.images.len(),
            images.folder.display(),
            document.images[0].file_name,
            images.file_name(0)
        ))
    );
    Ok((places, located.note))
}
