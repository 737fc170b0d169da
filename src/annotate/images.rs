//! The images of a session, by number. The list costs no look into them.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::UNIX_EPOCH,
};

use anyhow::{Context, Result};
use image::{
    ExtendedColorType, ImageEncoder,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};
use sonotune_base::{Error, image_io::DecodeOptions};
use sonotune_dataset::{
    Dataset, FrameChoice,
    files::relative_text,
    pixels::{ImageFile, Reader},
};

/// Images with more pixels are refused by their header: a browser would not draw them either.
pub(crate) const MAX_PIXELS: u64 = 1 << 26;
const DECODE: DecodeOptions = DecodeOptions { exif: true, max_pixels: MAX_PIXELS };

/// Index of an image in the session; the page's number is one more.
pub(crate) type Index = usize;

/// Images on disk.
pub(crate) struct Images {
    /// The folder that names are relative to.
    pub(crate) folder: PathBuf,
    list: Vec<ImageFile>,
    /// `(height, width)`, once it was asked for.
    sizes: Mutex<Vec<Option<(u32, u32)>>>,
    reader: Reader,
    pub(crate) notes: Vec<String>,
}

impl Images {
    /// The images at `path`, as `predict` takes them.
    ///
    /// # Errors
    /// If it does not exist or has no images.
    pub(crate) fn open(path: &Path, frames: FrameChoice) -> Result<Self> {
        let absent = || Error::data(format!("{}: no such file or folder", path.display()));
        // Links are followed: absolute names in a file can be compared.
        let path = path.canonicalize().with_context(absent)?;
        let dataset = Dataset::from_images(&path, frames)?;
        let folder =
            if path.is_dir() { path } else { sonotune_base::fs::folder_of(&path).to_owned() };
        let list: Vec<ImageFile> =
            dataset.records.iter().map(|record| record.image_file()).collect();
        let sizes = Mutex::new(vec![None; list.len()]);
        Ok(Self { folder, list, sizes, reader: Reader::default(), notes: dataset.notes })
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn files(&self) -> &[ImageFile] {
        &self.list
    }

    /// What the person reads: the path within the folder, and for a frame its number.
    pub(crate) fn name(&self, index: Index) -> String {
        relative_text(&self.list[index].name(), &self.folder)
    }

    /// `file_name` of a COCO file, which has the frame beside it.
    pub(crate) fn file_name(&self, index: Index) -> String {
        relative_text(&self.list[index].path, &self.folder)
    }

    /// The size, if it is known already.
    pub(crate) fn known_size(&self, index: Index) -> Option<(u32, u32)> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)[index]
    }

    /// `(height, width)` by the file's header.
    ///
    /// # Errors
    /// Kind data if it cannot be read, or is too large.
    pub(crate) fn size(&self, index: Index) -> Result<(u32, u32)> {
        if let Some(size) = self.known_size(index) {
            return Ok(size);
        }
        let file = &self.list[index];
        let size = self.reader.read_size(&file.path, file.frame, DECODE)?;
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(size);
        Ok(size)
    }

    /// The pixels as PNG.
    ///
    /// # Errors
    /// Kind data if the image cannot be read, or is too large.
    pub(crate) fn png(&self, index: Index) -> Result<Vec<u8>> {
        let file = &self.list[index];
        let image = self.reader.decode(&file.path, file.frame, DECODE)?.into_grey_if_equal();
        let colour =
            if image.channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
        let mut png = Vec::new();
        PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Adaptive)
            .write_image(&image.pixels, image.width, image.height, colour)
            .with_context(|| format!("image {file} as PNG"))?;
        Ok(png)
    }

    /// What a model is asked about.
    ///
    /// # Errors
    /// Kind data if the file is gone.
    pub(crate) fn for_model(&self, index: Index) -> Result<sonotune_serve::Image> {
        let file = self.list[index].clone();
        let about = std::fs::metadata(&file.path)
            .with_context(|| Error::data(format!("cannot read image {}", file.path.display())))?;
        let since = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let nanoseconds = since.unwrap_or_default().as_nanos();
        Ok(sonotune_serve::Image { file, version: format!("{nanoseconds}-{}", about.len()) })
    }
}
