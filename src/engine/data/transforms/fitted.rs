//! An image waiting for its place in a batch, in its smallest form.

use anyhow::Result;

use super::{
    Normalization, Resample, Resized, antialias::planar, bilinear_f32, normalize_into, resize,
};
use crate::data::image_io::Image;

/// An image whose size in the batch is settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted(Form);

#[derive(Debug, Clone, PartialEq)]
enum Form {
    Resized(Resized),
    /// Resized as it is written: as floats it would take four times the memory, there and back.
    Deferred {
        image: Image,
        size: (u32, u32),
    },
}

impl Fitted {
    /// Of `image`, to be brought to `size`, `(height, width)`, by the named method.
    ///
    /// # Errors
    /// As [`resize`].
    pub fn new(image: Image, size: (u32, u32), resample: Resample) -> Result<Self> {
        if resample != Resample::ReferenceFloat {
            return resize(image, size, resample).map(Form::Resized).map(Self);
        }
        let image = image.into_grey_if_equal();
        Ok(Self(if (image.height, image.width) == size {
            let (height, width) = (size.0 as usize, size.1 as usize);
            Form::Resized(Resized::U8(planar(image.pixels, image.channels, height, width)))
        } else {
            Form::Deferred { image, size }
        }))
    }

    /// `(height, width)` once written.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        match &self.0 {
            Form::Resized(resized) => resized.size(),
            Form::Deferred { size, .. } => (size.0 as usize, size.1 as usize),
        }
    }

    /// What [`resize`] and then [`normalize_into`] write, to the bit.
    pub fn write_into(
        &self,
        normalization: &Normalization,
        flip: bool,
        padded: (usize, usize),
        out: &mut [f32],
    ) {
        match &self.0 {
            Form::Resized(resized) => normalize_into(resized, normalization, flip, padded, out),
            Form::Deferred { image, size } => {
                bilinear_f32::resize_normalized(image, *size, normalization, flip, padded, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{backbone::BackboneSpec, data::transforms::PadOrder, seed::Rng};

    #[test]
    fn writes_what_resizing_and_normalising_write() {
        let spec = BackboneSpec {
            pixel_mean: [123.675, 116.28, 103.53],
            pixel_std: [58.395, 57.12, 57.375],
            square_size: None,
            divisor: 1,
            levels: Vec::new(),
        };
        let normalization = Normalization::new(&spec, PadOrder::PadThenNormalize);
        let padded = (24, 40);
        for (size, channels) in [((23, 37), 3), ((11, 9), 1), ((17, 13), 3), ((1, 40), 3)] {
            for resample in [Resample::Reference, Resample::ReferenceFloat, Resample::Antialias] {
                for flip in [false, true] {
                    let image = noise(17, 13, channels);
                    let mut expected = vec![f32::NAN; 3 * padded.0 * padded.1];
                    let resized = resize(image.clone(), size, resample).unwrap();
                    normalize_into(&resized, &normalization, flip, padded, &mut expected);
                    let mut got = vec![f32::NAN; expected.len()];
                    let fitted = Fitted::new(image, size, resample).unwrap();
                    assert_eq!(fitted.size(), (size.0 as usize, size.1 as usize));
                    fitted.write_into(&normalization, flip, padded, &mut got);
                    assert_eq!(got, expected, "{size:?} {channels} {resample:?} {flip}");
                }
            }
        }
    }

    fn noise(height: u32, width: u32, channels: usize) -> Image {
        let mut rng = Rng::at(7, &[]);
        let count = height as usize * width as usize * channels;
        let pixels = (0..count).map(|_| rng.below(256) as u8).collect();
        Image { height, width, channels, pixels, transposed: false }
    }
}
