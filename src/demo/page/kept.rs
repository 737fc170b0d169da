//! Pictures that are also written as files, for slides.

use std::fs;

use anyhow::{Context, Result};
use image::RgbImage;

use crate::folder::DemoFolder;

/// Writes pictures to the folder `pictures`.
pub(super) struct Kept<'a>(&'a DemoFolder);

impl<'a> Kept<'a> {
    pub(super) fn new(folder: &'a DemoFolder) -> Self {
        Self(folder)
    }

    /// Writes a picture under a name without ending.
    pub(super) fn keep(&mut self, name: &str, picture: &RgbImage) -> Result<()> {
        let folder = self.0.pictures();
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        sonotune_draw::write_png(&folder.join(format!("{name}.png")), picture)
    }
}
