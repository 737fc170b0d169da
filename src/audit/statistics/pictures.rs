//! All pictures of a survey, written to a folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use image::RgbImage;
use sonotune_draw::write_png;

use super::{
    Survey,
    charts::{class_balance, image_sizes, object_sizes, positions},
    samples::samples,
};
use sonotune_base::image_io::DecodeOptions;

/// How to draw the sheets of random images.
#[derive(Debug, Clone, Copy)]
pub struct PictureOptions {
    pub decode: DecodeOptions,
    /// Decides which images are shown.
    pub seed: u64,
    /// Maximum number of images per sheet.
    pub samples: usize,
}

impl Survey {
    /// Writes all pictures to `folder`, creating it; returns their paths.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write_pictures(&self, folder: &Path, options: PictureOptions) -> Result<Vec<PathBuf>> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("creating {}", folder.display()))?;
        let mut written = Vec::new();
        let mut write = |name: String, picture: &RgbImage| {
            let path = folder.join(name);
            write_png(&path, picture)?;
            written.push(path);
            anyhow::Ok(())
        };
        write("class_balance.png".into(), &class_balance(self).to_image())?;
        write("image_sizes.png".into(), &image_sizes(self).to_image())?;
        if self.splits.iter().any(|split| split.counts.num_objects > 0) {
            write("object_sizes.png".into(), &object_sizes(self).to_image())?;
            write("object_positions.png".into(), &positions(self).to_image())?;
        }
        let draw = (options.seed, options.samples);
        for split in &self.splits {
            if let Some(sheet) = samples(split, None, options.decode, draw) {
                write(format!("samples-{}.png", split.split), &sheet)?;
            }
            for (i, category) in split.counts.categories.iter().enumerate() {
                if let Some(sheet) = samples(split, Some(i), options.decode, draw) {
                    let name = plain(&category.name);
                    write(format!("samples-{}-{i}-{name}.png", split.split), &sheet)?;
                }
            }
        }
        Ok(written)
    }
}

/// A name that any file system accepts.
fn plain(name: &str) -> String {
    const LENGTH: usize = 40;
    let plain = |c: char| if c.is_alphanumeric() || c == '-' { c } else { '_' };
    name.chars().take(LENGTH).map(plain).collect()
}
