//! Notices what other programs do to the file.

use std::{
    fs::Metadata,
    hash::{DefaultHasher, Hasher},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    time::SystemTime,
};

use anyhow::{Context, Result};
use sonotune_base::{Error, words::counted};

use super::{Store, places};
use crate::{document::Document, events::Event, images::Index};

/// What tells one content of a file from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
    hash: u64,
}

impl Stamp {
    pub(super) fn of(bytes: &[u8], about: &Metadata) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        let (modified, length, inode) = (about.modified().ok(), about.len(), about.ino());
        Self { modified, length, inode, hash: hasher.finish() }
    }

    /// The file's content; `None` if it is not there.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub(crate) fn read(path: &Path) -> Result<Option<(Vec<u8>, Self)>> {
        let cannot = || Error::data(format!("cannot read {}", path.display()));
        let about = match std::fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            about => about.with_context(cannot)?,
        };
        let bytes = std::fs::read(path).with_context(cannot)?;
        let stamp = Self::of(&bytes, &about);
        Ok(Some((bytes, stamp)))
    }

    /// Whether the file at `path` is certainly the same, without reading it.
    pub(crate) fn is_current(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|about| self.is_of(&about))
    }

    fn is_of(&self, about: &Metadata) -> bool {
        (self.modified, self.length, self.inode)
            == (about.modified().ok(), about.len(), about.ino())
    }
}

impl Store {
    /// Takes over what another program wrote: changes of other images are merged, an image that both changed stays
    /// theirs, and whoever saves over it is refused.
    ///
    /// # Errors
    /// Kind data if the file is unreadable now; what we have of it is kept beside it.
    pub(crate) fn look_outside(&mut self) -> Result<()> {
        if self.stamp.as_ref().is_some_and(|stamp| stamp.is_current(&self.path)) {
            self.broken = None;
            return Ok(());
        }
        let Some((bytes, stamp)) = Stamp::read(&self.path)? else {
            if self.stamp.take().is_some() {
                let path = self.path.display();
                self.tell(format!(
                    "{path} was removed by another program; the next change writes it again, whole"
                ));
            }
            return Ok(());
        };
        if self
            .stamp
            .as_ref()
            .is_some_and(|known| known.hash == stamp.hash && known.length == stamp.length)
        {
            self.stamp = Some(stamp);
            self.broken = None;
            return Ok(());
        }
        if let Some((known, why)) = &self.broken
            && known.hash == stamp.hash
        {
            return Err(Error::data(why.clone()).into());
        }
        let read = Document::from_slice(&bytes, &self.path).and_then(|theirs| {
            places(&theirs, &self.images, &self.path).map(|(places, _)| (theirs, places))
        });
        match read {
            Ok((theirs, places)) => {
                self.broken = None;
                self.stamp = Some(stamp);
                self.take_over(theirs, places);
                Ok(())
            }
            Err(error) => Err(self.refuse_file(stamp, &error)),
        }
    }

    /// Keeps what we have beside a file that cannot be read any more.
    fn refuse_file(&mut self, stamp: Stamp, error: &anyhow::Error) -> anyhow::Error {
        let ours = self.document.to_bytes();
        let kept = match self.keep(&format!("file {}", stamp.hash), &ours) {
            Ok(path) => format!("what was saved before is in {}", path.display()),
            Err(error) => {
                format!("what was saved before could not be written beside it either ({error:#})")
            }
        };
        let why = format!(
            "another program changed the file, and it cannot be continued: {error:#}. Nothing is saved until it is \
             whole again (or removed); {kept}"
        );
        self.tell(why.clone());
        self.broken = Some((stamp, why.clone()));
        Error::data(why).into()
    }

    fn take_over(&mut self, theirs: Document, places: Vec<Option<usize>>) {
        let ours = std::mem::replace(&mut self.document, theirs);
        let old_places = std::mem::replace(&mut self.places, places);
        let has_categories = ours.categories != self.document.categories;
        let mut changed: Vec<Index> = Vec::new();
        for (index, old) in old_places.iter().enumerate() {
            let old = old.map(|place| &ours.images[place]);
            let new = self.places[index].map(|place| &self.document.images[place]);
            let is_same = match (old, new) {
                (Some(old), Some(new)) => old.is_like(new),
                (None, None) => true,
                _ => false,
            };
            if !is_same {
                changed.push(index);
            }
        }
        for &index in &changed {
            self.revisions[index] += 1;
            self.outside.insert(index, self.revisions[index]);
            let (id, revision) = (index as u64 + 1, self.revisions[index]);
            self.events.send(Event::Image { id, revision, client: None });
        }
        if has_categories {
            self.events.send(Event::Categories);
        }
        let images = counted(changed.len(), "image");
        self.tell(format!(
            "another program changed {}: {images} of this session changed",
            self.path.display()
        ));
    }

    fn tell(&self, text: String) {
        self.events.send(Event::File { text });
    }
}
