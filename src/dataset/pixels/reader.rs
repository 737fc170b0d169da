//! Reads images, and keeps a few clips open between them.

use std::{
    collections::{HashMap, VecDeque},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use sonotune_base::{
    Crop, Error,
    image_io::{self, DecodeOptions, Image, Stored},
};

use super::{Kind, has_image_ending, opened::Opened};
use crate::field_of_view;

/// Clips and DICOM files that stay open.
const MOST_OPEN: usize = 4;

/// Reads images and frames. For the frames of a clip in their order, each is decoded once, from several threads
/// as well; at most a few are in memory.
#[derive(Debug, Default)]
pub struct Reader {
    /// The last ones, oldest first.
    open: Mutex<VecDeque<(PathBuf, Arc<Opened>)>>,
    /// The fields of view of files with frames, for as long as the reader lives: a closed clip is not searched again.
    views: Mutex<HashMap<PathBuf, Option<[u32; 4]>>>,
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

    /// Decodes an image whole, and says which rectangle of it is the ultrasound; `None`: all of it. All frames of a
    /// file have the same rectangle: that of DICOM's regions, or what
    /// [`field_of_view::find`](crate::field_of_view::find) sees in the first frame.
    ///
    /// # Errors
    /// Same errors as [`decode`](Self::decode); kind data if a frame is of another size than the first one.
    pub fn decode_with_view(
        &self,
        path: &Path,
        frame: Option<u32>,
        options: DecodeOptions,
    ) -> Result<(Image, Option<Crop>)> {
        // The first frame comes first: a clip is played forwards.
        let of_file = match self.opened(path)? {
            Some(file) => Some((file.size()?, self.view(path, &file, options)?)),
            None => None,
        };
        let image = self.decode(path, frame, options)?;
        let size = (image.height, image.width);
        let rect = match of_file {
            None => field_of_view::find(&image.pixels, size, image.channels),
            Some((first, rect)) if rect.is_none() || first == size => rect,
            Some((first, _)) => {
                return Err(Error::data(format!(
                    "image {}: a frame of {}x{} pixels in a file whose first frame, in which the field of view is \
                     found, has {}x{} (height x width): set preprocess.crop = \"none\"",
                    path.display(),
                    size.0,
                    size.1,
                    first.0,
                    first.1
                ))
                .into());
            }
        };
        let crop = rect.map(|rect| Crop::new(rect, size)).transpose()?;
        Ok((image, crop.filter(|crop| !crop.is_whole())))
    }

    /// The field of view of an open file, searched once.
    fn view(&self, path: &Path, file: &Opened, options: DecodeOptions) -> Result<Option<[u32; 4]>> {
        let lock = || self.views.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = lock().get(path) {
            return Ok(*view);
        }
        check_pixels(path, file.size()?, options)?;
        let view = file.field_of_view()?;
        lock().insert(path.to_owned(), view);
        Ok(view)
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

    /// `[row, column]` in millimetres a pixel, if the file is DICOM and says.
    #[must_use]
    pub fn spacing(&self, path: &Path) -> Option<[f64; 2]> {
        if has_image_ending(path) {
            return None;
        }
        self.opened(path).ok().flatten().and_then(|file| file.spacing())
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
