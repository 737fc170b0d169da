//! Which part of an image is used at all.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sonotune_base::{Crop, image_io::Image};

/// What an image is cut to before anything else is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cropping {
    /// It stays whole.
    #[default]
    None,
    /// The ultrasound region: that of the DICOM file, or what [`find`](crate::field_of_view::find) sees in the
    /// picture.
    FieldOfView,
}

impl Cropping {
    pub(super) fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// The rectangle of an image; the whole image if it is of another size than the rectangle's.
#[must_use]
pub fn cut(image: Image, crop: Crop) -> Image {
    if crop.is_whole() || (image.height, image.width) != crop.full {
        return image;
    }
    let (row, channels) = (image.width as usize * image.channels, image.channels);
    let columns =
        crop.offset.1 as usize * channels..(crop.offset.1 + crop.size.1) as usize * channels;
    let rows = image.pixels.chunks_exact(row).skip(crop.offset.0 as usize);
    let pixels = rows.take(crop.size.0 as usize).flat_map(|row| &row[columns.clone()]);
    let (height, width) = crop.size;
    Image { height, width, pixels: pixels.copied().collect(), ..image }
}

#[cfg(test)]
mod tests {
    use sonotune_base::image_io::Stored;

    use super::*;

    #[test]
    fn a_rectangle_is_cut_out() {
        let image = |height, width, channels, pixels| Image {
            height,
            width,
            channels,
            pixels,
            transposed: false,
            stored: Stored::default(),
        };
        let crop = Crop::new([1, 1, 2, 1], (3, 4)).unwrap();
        assert_eq!(cut(image(3, 4, 1, (0..12).collect()), crop), image(1, 2, 1, vec![5, 6]));
        let colour = cut(image(3, 4, 3, (0..36).collect()), crop);
        assert_eq!(colour, image(1, 2, 3, (15..21).collect()));
        let whole = Crop::new([0, 0, 4, 3], (3, 4)).unwrap();
        assert_eq!(cut(image(3, 4, 1, vec![7; 12]), whole), image(3, 4, 1, vec![7; 12]));
    }
}
