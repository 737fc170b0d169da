//! The images to compare: those that COCO files list, and those below folders.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sonotune_base::Error;
use sonotune_dataset::{
    files::find_images,
    pixels::{ImageFile, Reader},
};

use crate::{CocoFile, layout};

/// The images to compare.
#[derive(Debug, Default)]
pub struct Sources {
    /// Each image once.
    pub files: Vec<ImageFile>,
    pub entries: Vec<Entry>,
    /// How names in COCO files were read.
    pub notes: Vec<String>,
    /// What to change where a file is missing.
    hints: HashMap<PathBuf, String>,
}

/// One listing of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Index into [`Sources::files`].
    pub file: usize,
    pub dataset: Option<String>,
    /// Name of the COCO file that lists it, without its extension.
    pub split: Option<String>,
}

/// Every frame of the file at `path`. One that cannot be read is reported when it is decoded.
fn frames_of(reader: &Reader, path: &Path) -> Vec<ImageFile> {
    match reader.num_frames_of_named(path).ok().flatten() {
        Some(count) if count > 1 => (0..count).map(|i| ImageFile::new(path, Some(i))).collect(),
        _ => vec![ImageFile::new(path, None)],
    }
}

impl Sources {
    /// Collects the images of `inputs`: COCO files, or folders with images.
    ///
    /// # Errors
    /// If an input is missing, unreadable, or has no image.
    pub fn collect(inputs: &[PathBuf]) -> Result<Self> {
        let mut sources = Self::default();
        let mut known = HashMap::new();
        for input in inputs {
            let before = sources.entries.len();
            if input.is_dir() {
                sources.add_folder(input, &mut known)?;
            } else {
                sources.add_file(input, &mut known)?;
            }
            if sources.entries.len() == before {
                return Err(Error::data(format!("{}: contains no images", input.display())).into());
            }
        }
        Ok(sources)
    }

    fn add_file(&mut self, path: &Path, known: &mut HashMap<ImageFile, usize>) -> Result<()> {
        let coco = CocoFile::read(path)?;
        let (folder, located) = layout::locate(path, &coco)?;
        let missing =
            located.files.iter().filter_map(|file| Some((file.clone(), located.hint(file)?)));
        self.hints.extend(missing);
        self.notes.extend(located.note);
        let folder_name = layout::dataset_name(&folder);
        let split = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let files = layout::image_files(&coco, located.files);
        for (image, file) in coco.images.iter().zip(files) {
            let dataset = coco.dataset_of(image).map(str::to_owned).or(folder_name.clone());
            let file = self.index_of(file, known);
            self.entries.push(Entry { file, dataset, split: split.clone() });
        }
        Ok(())
    }

    /// Why the image at `path` was not compared.
    pub(super) fn refusal(&self, file: &ImageFile, error: &anyhow::Error) -> String {
        let path = file.path.as_path();
        match self.hints.get(path) {
            Some(hint) => format!("image {}: {hint}", path.display()),
            None => format!("{error:#}"),
        }
    }

    fn add_folder(&mut self, folder: &Path, known: &mut HashMap<ImageFile, usize>) -> Result<()> {
        let real = folder.canonicalize().with_context(|| folder.display().to_string())?;
        let dataset = real.file_name().map(|name| name.to_string_lossy().into_owned());
        let reader = Reader::default();
        for image in find_images(folder)?.images {
            for file in frames_of(&reader, &image) {
                let file = self.index_of(file, known);
                self.entries.push(Entry { file, dataset: dataset.clone(), split: None });
            }
        }
        Ok(())
    }

    /// Index of an image file, so that each is decoded once, however often and by whatever path it is
    /// listed.
    fn index_of(&mut self, file: ImageFile, known: &mut HashMap<ImageFile, usize>) -> usize {
        let path = file.path.canonicalize().unwrap_or_else(|_| file.path.clone());
        let real = ImageFile { path, frame: file.frame };
        *known.entry(real).or_insert_with(|| {
            self.files.push(file);
            self.files.len() - 1
        })
    }
}
