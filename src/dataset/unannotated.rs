//! Images without annotation, for prediction: files, and the frames of clips.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use anyhow::Result;
use rayon::prelude::*;
use sonotune_base::{Error, ImageId, words::counted};
use sonotune_formats::dicom::directory;

use crate::{
    Dataset, Record,
    files::{Found, find_images, relative_text},
    pixels::{Kind, Reader},
};

/// Which frames of a clip are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FrameChoice {
    #[default]
    All,
    /// Every n-th, from the first.
    Every(NonZeroU32),
    /// At most this many, evenly spaced: the middle of as many equal parts of the clip.
    Number(NonZeroU32),
}

impl FrameChoice {
    /// The frames taken of `count`, ascending.
    #[must_use]
    pub fn of(self, count: u32) -> Vec<u32> {
        match self {
            Self::All => (0..count).collect(),
            Self::Every(step) => (0..count).step_by(step.get() as usize).collect(),
            Self::Number(number) if number.get() >= count => (0..count).collect(),
            Self::Number(number) => {
                let (number, count) = (u64::from(number.get()), u64::from(count));
                (0..number).map(|i| ((2 * i + 1) * count / (2 * number)) as u32).collect()
            }
        }
    }
}

impl Dataset {
    /// Images without annotation, for prediction: one file, or every image, DICOM file and clip below a folder, or
    /// every image that a DICOMDIR lists, in the order of their paths. A file of several frames gives a record for each that `choice` takes. The id
    /// is the path relative to that folder, as text, and for a frame its number: `clip.mp4#17`.
    ///
    /// # Errors
    /// If the path does not exist or has no images, or a single file cannot be opened as the clip it is. In a
    /// folder, such a file is one image, whose decoding fails.
    pub fn from_images(path: &Path, choice: FrameChoice) -> Result<Self> {
        if !path.exists() {
            return Err(Error::data(format!("{}: no such file or folder", path.display())).into());
        }
        let mut notes = Vec::new();
        let (base, files) = if is_directory(path) {
            (path.parent().unwrap_or(Path::new("")), images_listed(path)?)
        } else if path.is_file() {
            (path.parent().unwrap_or(Path::new("")), vec![path.to_path_buf()])
        } else {
            (path, files_below(path, &mut notes)?)
        };
        let reader = Reader::default();
        let count = |file: &PathBuf| match reader.num_frames_of_named(file) {
            Err(error) if file == path => Err(error),
            count => Ok(count.ok().flatten().unwrap_or(1)),
        };
        let counts: Vec<u32> = files.par_iter().map(count).collect::<Result<_>>()?;
        let mut records = Vec::new();
        let (mut clips, mut left_out) = (0, 0);
        for (file, &count) in files.iter().zip(&counts) {
            let frames = if count == 1 { vec![None] } else { some(choice.of(count)) };
            clips += usize::from(count > 1);
            left_out += count as usize - frames.len();
            for frame in frames {
                let record = Record { frame, ..Record::new(0_u64.into(), file.clone()) };
                let image_id = ImageId::Text(relative_text(&record.name(), base).into());
                records.push(Record { image_id, ..record });
            }
        }
        if left_out > 0 {
            let (frames, clips) = (counted(left_out, "frame"), counted(clips, "clip"));
            notes.push(format!("{frames} of {clips} left out, as asked for"));
        }
        let dataset = Self { records, notes, source: path.to_path_buf(), ..Self::default() };
        dataset.ensure_images()?;
        Ok(dataset)
    }
}

/// Whether it is the table of contents of a disc of DICOM files.
fn is_directory(path: &Path) -> bool {
    path.is_file() && path.file_name().is_some_and(|name| name.eq_ignore_ascii_case("DICOMDIR"))
}

/// The images of a DICOMDIR, sorted. One that is not there is an image whose decoding fails.
fn images_listed(directory: &Path) -> Result<Vec<PathBuf>> {
    let listed = directory::read(directory)?;
    let images = listed.into_iter().filter(|entry| entry.kind == "IMAGE");
    let mut files: Vec<PathBuf> = images.map(|entry| entry.path).collect();
    files.sort();
    files.dedup();
    Ok(files)
}

fn some(frames: Vec<u32>) -> Vec<Option<u32>> {
    frames.into_iter().map(Some).collect()
}

/// Images, DICOM files and clips below a folder, sorted; what else is there goes to `notes`.
fn files_below(folder: &Path, notes: &mut Vec<String>) -> Result<Vec<PathBuf>> {
    let Found { mut images, others } = find_images(folder)?;
    let (clips, others): (Vec<_>, Vec<_>) =
        others.into_par_iter().partition(|file| Kind::of(file) != Kind::Image);
    images.extend(clips);
    images.sort();
    let found = Found { images, others };
    if let Some(others) = found.others_in_words() {
        if found.images.is_empty() {
            let message = format!("{}: no images; {others}", folder.display());
            return Err(Error::data(message).into());
        }
        notes.push(format!("left out: {others}"));
    }
    Ok(found.images)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_as_asked_for() {
        let n = |n| NonZeroU32::new(n).unwrap();
        assert_eq!(FrameChoice::All.of(3), [0, 1, 2]);
        assert_eq!(FrameChoice::Every(n(3)).of(8), [0, 3, 6]);
        assert_eq!(FrameChoice::Every(n(9)).of(8), [0]);
        assert_eq!(FrameChoice::Number(n(2)).of(8), [2, 6]);
        assert_eq!(FrameChoice::Number(n(1)).of(9), [4]);
        assert_eq!(FrameChoice::Number(n(3)).of(10), [1, 5, 8]);
        assert_eq!(FrameChoice::Number(n(9)).of(2), [0, 1]);
    }
}
