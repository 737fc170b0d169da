//! Reads images, and keeps a few clips open between them.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use sonotune_base::{
    Error,
    image_io::{self, DecodeOptions, Image, Stored},
};

use super::{Kind, has_image_ending, opened::Opened};

/// Clips and DICOM files that stay open.
const MOST_OPEN: usize = 4;

/// Reads images and frames. For the frames of a clip in their order, each is decoded once, from several threads
/// as well; at most a few are in memory.
#[derive(Debug, Default)]
pub struct Reader {
    /// The last ones, oldest first.
    open: Mutex<VecDeque<(PathBuf, Arc<Opened>)>>,
}

impl Reader {
    /// See [`decode`](super::decode).
    ///
    /// # Errors
    /// See there.
    pub fn decode(&self, path: &Path, frame: Option<u32>, options: DecodeOptions) -> Result<Image> {
        // Most are ordinary images, whose first bytes need not be read twice.
        let ordinary = frame.is_none() && has_image_ending(path);
        let decoded = ordinary.then(|| image_io::decode_file(path, options));
        if let Some(Ok(image)) = decoded {
            return Ok(image);
        }
        match self.opened(path)? {
            None => decoded.unwrap_or_else(|| image_io::decode_file(path, options)),
            Some(file) => {
                let index = file.index(frame)?;
                check_pixels(path, file.size()?, options)?;
                let pixels = file.frame(index)?;
                check_pixels(path, (pixels.height, pixels.width), options)?;
                Ok(Image {
                    height: pixels.height,
                    width: pixels.width,
                    channels: pixels.channels,
                    pixels: pixels.data,
                    transposed: false,
                    stored: Stored::default(),
                })
            }
        }
    }

    /// See [`read_size`](super::read_size).
    ///
    /// # Errors
    /// See there.
    pub fn read_size(
        &self,
        path: &Path,
        frame: Option<u32>,
        options: DecodeOptions,
    ) -> Result<(u32, u32)> {
        self.size_by(path, frame, options, image_io::read_size)
    }

    /// Size of an image or a frame, and whether EXIF rotates it by 90°, as far as headers tell without pixels;
    /// see [`image_io::check_header`].
    ///
    /// # Errors
    /// Same errors as [`decode`](super::decode).
    pub fn check_header(
        &self,
        path: &Path,
        frame: Option<u32>,
        options: DecodeOptions,
    ) -> Result<((u32, u32), bool)> {
        let mut transposed = false;
        let size = self.size_by(path, frame, options, |path, options| {
            let (size, turned) = image_io::check_header(path, options)?;
            transposed = turned;
            Ok(size)
        })?;
        Ok((size, transposed))
    }

    fn size_by(
        &self,
        path: &Path,
        frame: Option<u32>,
        options: DecodeOptions,
        mut of_image: impl FnMut(&Path, DecodeOptions) -> Result<(u32, u32)>,
    ) -> Result<(u32, u32)> {
        let ordinary = frame.is_none() && has_image_ending(path);
        let read = ordinary.then(|| of_image(path, options));
        if let Some(Ok(size)) = read {
            return Ok(size);
        }
        let Some(file) = self.opened(path)? else {
            return read.unwrap_or_else(|| of_image(path, options));
        };
        file.index(frame)?;
        let size = file.size()?;
        check_pixels(path, size, options)?;
        Ok(size)
    }

    /// See [`num_frames`](super::num_frames).
    ///
    /// # Errors
    /// See there.
    pub fn num_frames(&self, path: &Path) -> Result<Option<u32>> {
        let Some(file) = self.opened(path)? else { return Ok(None) };
        let count = u32::try_from(file.num_frames());
        let many = |_| Error::data(format!("image {}: it has too many frames", path.display()));
        Ok(Some(count.map_err(many)?))
    }

    /// Same as [`num_frames`](Self::num_frames), except that a file called an image counts as one without a
    /// look.
    ///
    /// # Errors
    /// See there.
    pub fn num_frames_of_named(&self, path: &Path) -> Result<Option<u32>> {
        if has_image_ending(path) { Ok(None) } else { self.num_frames(path) }
    }

    /// The open file at `path`; `None` if it is an ordinary image.
    fn opened(&self, path: &Path) -> Result<Option<Arc<Opened>>> {
        let known = |open: &VecDeque<(PathBuf, Arc<Opened>)>| {
            open.iter().find(|(other, _)| other == path).map(|(_, file)| file.clone())
        };
        let lock = || self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = known(&lock()) {
            return Ok(Some(file));
        }
        let Some(file) = Opened::open(path, Kind::of(path))? else { return Ok(None) };
        let mut open = lock();
        // Another thread may have been faster.
        if let Some(file) = known(&open) {
            return Ok(Some(file));
        }
        let file = Arc::new(file);
        open.push_back((path.to_owned(), file.clone()));
        if open.len() > MOST_OPEN {
            open.pop_front();
        }
        Ok(Some(file))
    }
}

fn check_pixels(path: &Path, (height, width): (u32, u32), options: DecodeOptions) -> Result<()> {
    let (pixels, limit) = (u64::from(height) * u64::from(width), options.max_pixels);
    if pixels <= limit {
        return Ok(());
    }
    Err(Error::data(format!(
        "image {}: its frames have {height}x{width} = {pixels} pixels, the limit is {limit} (preprocess.max_pixels)",
        path.display()
    ))
    .into())
}
