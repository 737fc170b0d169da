//! The pictures of a clip's frames, as a video.

use std::{
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use image::{RgbImage, imageops};
use sonotune_formats::{
    Pixels,
    avi_writer::{AviFormat, AviWriter},
};

use super::outputs::ImageName;

/// Shown per second, whatever the clip's own rate: what is looked at frame by frame may be slower.
const FRAMES_PER_SECOND: u32 = 25;
const QUALITY: u8 = 90;

/// A video that is being written under a temporary name.
#[derive(Debug)]
pub(super) struct Overlay {
    /// The clip.
    file: String,
    path: PathBuf,
    temporary: PathBuf,
    size: (u32, u32),
    writer: AviWriter<BufWriter<File>>,
}

impl Overlay {
    /// Begins the video of the clip that `image` is a frame of; `first` is the picture of that frame, whose size
    /// all have.
    pub(super) fn create(
        image: ImageName<'_>,
        first: &RgbImage,
        folder: &Path,
        stem: &str,
    ) -> Result<Self> {
        let path = folder.join(format!("{stem}.avi"));
        let temporary = folder.join(format!("{stem}.avi.part"));
        let create = || format!("cannot create {}", temporary.display());
        let out = BufWriter::new(File::create(&temporary).with_context(create)?);
        let (width, height) = first.dimensions();
        let format =
            AviFormat { height, width, frames_per_second: FRAMES_PER_SECOND, quality: QUALITY };
        let writer = AviWriter::new(out, format).with_context(create)?;
        Ok(Self { file: image.file.to_owned(), path, temporary, size: (height, width), writer })
    }

    /// Whether `image` is a frame of this clip.
    pub(super) fn is_of(&self, image: ImageName<'_>) -> bool {
        image.frame.is_some() && image.file == self.file
    }

    /// Appends the picture of a frame, at the top left of the video if it is of another size.
    pub(super) fn add(&mut self, picture: &RgbImage) -> Result<()> {
        let (height, width) = self.size;
        let mut canvas = RgbImage::new(width, height);
        imageops::replace(&mut canvas, picture, 0, 0);
        let frame = Pixels { height, width, channels: 3, data: canvas.into_raw() };
        self.writer.add(&frame).with_context(|| format!("writing {}", self.temporary.display()))
    }

    pub(super) fn finish(self) -> Result<()> {
        let Self { path, temporary, writer, .. } = self;
        let write = || -> Result<()> {
            let file = writer.finish()?.into_inner()?;
            file.sync_all()?;
            Ok(fs::rename(&temporary, &path)?)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}
