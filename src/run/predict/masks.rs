//! Writes masks as PNG.

use std::{fs, io::Cursor, path::Path};

use anyhow::{Context, Result, ensure};
use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, Luma};

use sonotune_base::{Error, Rle, Size, fs::atomic_write};
use sonotune_engine::task::Instance;

/// Which masks are written as PNG.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum MaskFiles {
    /// One file per image: 0 is background, n the nth object of the image; where objects overlap, the
    /// more confident one. 16 bit if there are more than 255 objects.
    #[default]
    Labels,
    /// One folder per image with one file per object, 0 and 255.
    Objects,
    None,
}

/// Writes the masks of one image at `folder/stem`, with the extension of the format.
pub(super) fn write(
    form: MaskFiles,
    instances: &[Instance],
    size: Size,
    folder: &Path,
    stem: &str,
) -> Result<()> {
    let sides = (u32::try_from(size.0)?, u32::try_from(size.1)?);
    match form {
        MaskFiles::None => Ok(()),
        MaskFiles::Labels => {
            write_png(&label_map(instances, sides)?, &folder.join(format!("{stem}.png")))
        }
        MaskFiles::Objects => {
            let folder = folder.join(stem);
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
            for (i, instance) in instances.iter().enumerate() {
                let mut picture = GrayImage::new(sides.1, sides.0);
                if let Some(mask) = &instance.mask {
                    paint(mask, sides, &mut picture, 255)?;
                }
                write_png(&picture.into(), &folder.join(format!("{}.png", i + 1)))?;
            }
            Ok(())
        }
    }
}

/// Encodes a picture and writes it whole or not at all.
pub(super) fn write_png(picture: &DynamicImage, path: &Path) -> Result<()> {
    let mut bytes = Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, ImageFormat::Png)
        .with_context(|| format!("cannot encode {}", path.display()))?;
    atomic_write(path, bytes.get_ref())
}

fn label_map(instances: &[Instance], (height, width): (u32, u32)) -> Result<DynamicImage> {
    if instances.len() > usize::from(u16::MAX) {
        return Err(Error::config(format!(
            "{} objects are too many for a label map: use --masks objects",
            instances.len()
        ))
        .into());
    }
    // The most confident last, so that it is on top; among equals, the first.
    let mut order: Vec<_> = (0..instances.len()).rev().collect();
    order.sort_by(|&a, &b| instances[a].score.total_cmp(&instances[b].score));
    let mut labels: ImageBuffer<Luma<u16>, Vec<u16>> = ImageBuffer::new(width, height);
    for i in order {
        if let Some(mask) = &instances[i].mask {
            paint(mask, (height, width), &mut labels, i as u16 + 1)?;
        }
    }
    if instances.len() > usize::from(u8::MAX) {
        return Ok(labels.into());
    }
    let bytes = labels.iter().map(|&label| label as u8).collect();
    let labels = GrayImage::from_raw(width, height, bytes).context("as many labels as pixels")?;
    Ok(labels.into())
}

fn paint<T: image::Primitive>(
    mask: &Rle,
    size: (u32, u32),
    picture: &mut ImageBuffer<Luma<T>, Vec<T>>,
    value: T,
) -> Result<()> {
    ensure!((mask.height, mask.width) == size, "a mask of another size than its image");
    mask.paint(picture, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns `from..to` of a 2×6 image.
    fn instance(from: u32, to: u32, score: f64) -> Instance {
        let counts = vec![2 * from, 2 * (to - from), 2 * (6 - to)];
        Instance {
            category: 0,
            score,
            bbox: [0.0; 4],
            mask: Some(Rle { height: 2, width: 6, counts }),
            answers: None,
        }
    }

    #[test]
    fn the_surer_object_lies_on_top_and_of_equals_the_first() {
        let instances = [instance(0, 3, 0.5), instance(2, 5, 0.9), instance(3, 6, 0.5)];
        let DynamicImage::ImageLuma8(map) = label_map(&instances, (2, 6)).unwrap() else {
            panic!("8 bit do")
        };
        assert_eq!(map.as_raw()[..6], [1, 1, 2, 2, 2, 3]);
        assert_eq!(map.as_raw()[..6], map.as_raw()[6..]);
        let equals = [instance(0, 3, 0.5), instance(2, 5, 0.5)];
        let map = label_map(&equals, (2, 6)).unwrap().into_luma8();
        assert_eq!(map.as_raw()[..6], [1, 1, 1, 2, 2, 0]);
    }

    #[test]
    fn many_objects_take_16_bits() {
        let instances: Vec<_> = (0..300).map(|i| instance(i % 5, 6, f64::from(i))).collect();
        let DynamicImage::ImageLuma16(map) = label_map(&instances, (2, 6)).unwrap() else {
            panic!("16 bit")
        };
        assert_eq!(map.as_raw()[..6], [296, 297, 298, 299, 300, 300]);
        assert!(label_map(&vec![instance(0, 1, 0.0); 65_536], (2, 6)).is_err());
    }
}
