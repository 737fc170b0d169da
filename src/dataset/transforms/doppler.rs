//! Images with colour, as Doppler writes it over the grey ones.

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sonotune_base::{Error, image_io::Image, words};

use super::luma;

/// Channels of a coloured pixel differ by more levels than this: JPEG and the conversions of video make those of
/// grey pixels differ by some.
const GREY_LEVELS: u8 = 40;
/// An image in which this share of the pixels is coloured has more than a mark, a logo or a coloured caption.
const SHARE: f64 = 0.005;

/// What to do with images in colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Doppler {
    /// They stay as they are.
    #[default]
    Keep,
    /// Every image becomes grey: ITU-R BT.601 luma, the weights of OpenCV.
    Grey,
    /// An image is refused in which more than 0.5 % of the pixels are coloured: channels that differ by more than
    /// 40 levels.
    Refuse,
}

impl Doppler {
    pub(super) fn is_keep(&self) -> bool {
        *self == Self::Keep
    }

    /// # Errors
    /// Kind data, if the image is to be refused.
    pub fn apply(self, image: Image) -> Result<Image> {
        match self {
            Self::Grey if image.channels == 3 => {
                let pixels = image.pixels.chunks_exact(3).map(luma).collect();
                Ok(Image { channels: 1, pixels, ..image })
            }
            Self::Refuse if coloured(&image) > SHARE => Err(Error::data(format!(
                "{} of its pixels are coloured, as by Doppler: leave it out, or set preprocess.doppler = \"grey\" \
                 or \"keep\"",
                words::share(coloured(&image), 1)
            ))
            .into()),
            _ => Ok(image),
        }
    }
}

/// The share of coloured pixels.
fn coloured(image: &Image) -> f64 {
    if image.channels != 3 {
        return 0.0;
    }
    let is_coloured = |pixel: &&[u8]| {
        let (low, high) = (pixel.iter().min(), pixel.iter().max());
        high.zip(low).is_some_and(|(high, low)| high - low > GREY_LEVELS)
    };
    let count = image.pixels.chunks_exact(3).filter(is_coloured).count();
    count as f64 / (f64::from(image.height) * f64::from(image.width)).max(1.0)
}

#[cfg(test)]
mod tests {
    use sonotune_base::image_io::Stored;

    use super::*;

    /// 10×100 grey pixels, of which the first `count` are red.
    fn image(count: usize) -> Image {
        let pixel = |i: usize| if i < count { [200, 40, 30] } else { [90, 110, 100] };
        Image {
            height: 10,
            width: 100,
            channels: 3,
            pixels: (0..1000).flat_map(pixel).collect(),
            transposed: false,
            stored: Stored::default(),
        }
    }

    #[test]
    fn colour_is_kept_dropped_or_refused() {
        assert_eq!(Doppler::Keep.apply(image(500)).unwrap(), image(500));
        let grey = Doppler::Grey.apply(image(1)).unwrap();
        assert_eq!((grey.channels, grey.pixels.len()), (1, 1000));
        // 0.299·200 + 0.587·40 + 0.114·30 = 86.7 and 0.299·90 + 0.587·110 + 0.114·100 = 102.9.
        assert_eq!(grey.pixels[..2], [87, 103]);
        // A mark is no Doppler.
        assert_eq!(Doppler::Refuse.apply(image(5)).unwrap(), image(5));
        let error = Doppler::Refuse.apply(image(6)).unwrap_err().to_string();
        assert!(error.contains("0.6") && error.contains("preprocess.doppler"), "{error}");
        assert_eq!(Doppler::Refuse.apply(grey.clone()).unwrap(), grey);
    }
}
