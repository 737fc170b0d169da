//! What the files of images hold besides what is used of them.

use std::path::Path;

use sonotune_base::{
    image_io::{Peaks, Stored},
    words::counted,
};

/// What was noticed about the files of some images.
#[derive(Debug, Default)]
pub(crate) struct StoredNotes {
    /// The first files with several images, and how many each has.
    several: Vec<String>,
    num_several: usize,
    peaks: Peaks,
}

impl StoredNotes {
    /// Files that are named.
    const SHOWN: usize = 3;

    /// Adds the file at `path`, called `name` in notes.
    pub(crate) fn add(&mut self, name: &str, stored: Stored) {
        if stored.pages > 1 {
            self.num_several += 1;
            if self.several.len() < Self::SHOWN {
                self.several.push(format!("{name} ({})", stored.pages));
            }
        }
        self.peaks.add(stored);
    }

    /// One sentence each.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        if self.num_several > 0 {
            let more = if self.num_several > self.several.len() { ", …" } else { "" };
            sentences.push(format!(
                "{} with several pages or frames, of which the first is used: {}{more}; save each as a \
                 file of its own, for example with tiffsplit, to have all of them",
                counted(self.num_several, "file"),
                self.several.join(", ")
            ));
        }
        if let Some(bits) = self.peaks.bits() {
            sentences.push(format!(
                "{}; if the device has {bits} bits, multiply the values by {} and save the images again",
                self.peaks.words(bits),
                1 << (16 - bits)
            ));
        }
        sentences
    }

    /// The note about a file whose other pages or frames are not used.
    pub(crate) fn of_file(path: &Path, stored: Stored) -> Option<String> {
        (stored.pages > 1).then(|| {
            format!(
                "image {}: {} pages or frames, of which the first is used; `sonotune data check` lists all \
                 such files",
                path.display(),
                stored.pages
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_files_are_named_and_all_counted() {
        let mut notes = StoredNotes::default();
        notes.add("z.png", Stored::default());
        assert!(notes.sentences().is_empty());
        for name in ["a.tif", "b.tif", "c.tif", "d.tif"] {
            notes.add(name, Stored { pages: 2, peak: None });
        }
        let sentences = notes.sentences();
        let expected = "4 files with several pages or frames, of which the first is used: a.tif (2), b.tif (2), \
                        c.tif (2), …; save each";
        assert!(sentences.len() == 1 && sentences[0].starts_with(expected), "{sentences:?}");
        notes.add("e.png", Stored { pages: 1, peak: Some(16383) });
        let sentences = notes.sentences();
        let expected = "no value of the 16-bit image exceeds 16383, as from a device of 14 bits: in 8 bits no \
                        pixel is brighter than 63 of 255; if the device has 14 bits, multiply the values by 4";
        assert!(sentences[1].starts_with(expected), "{sentences:?}");
        let path = Path::new("a.tif");
        assert_eq!(StoredNotes::of_file(path, Stored::default()), None);
        let note = StoredNotes::of_file(path, Stored { pages: 5, peak: None }).unwrap();
        assert!(note.starts_with("image a.tif: 5 pages or frames, of which the first is used"));
    }
}
