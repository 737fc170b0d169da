//! Decode → resize → augment → normalise and pad, each as the reference does it.
//!
//! [`Augmentation`] says how an image of the training sequence is changed, [`Window`] which part of
//! it is kept. [`resize`] turns a decoded image into planes of its final size; [`normalize_into`]
//! writes them, mirrored if so drawn, into their place of a batch. [`Fitted`] is both with the fewest
//! bytes in between. [`Placement`] is what the annotation must follow.

mod antialias;
mod area;
mod augmentation;
mod bilinear_f32;
mod bilinear_u8;
mod config;
mod cropping;
mod doppler;
mod fitted;
mod nearest;
mod normalize;
mod placement;
mod sampling;
mod simd;
mod size;
mod window;

pub use augmentation::{Augmentation, Jitter};
pub use config::{AugmentConfig, Normalize, PadOrder, PadTo, PreprocessConfig, Resample};
pub use cropping::{Cropping, cut};
pub use doppler::Doppler;
pub use fitted::Fitted;
pub use normalize::{Normalization, normalize_into};
pub use placement::{Placement, TargetNeeds};
pub use size::{SizeRule, scaled_size};
pub use window::Window;

use anyhow::Result;
use sonotune_base::{Rle, image_io::Image};

/// Pixels by channel, `[C, H, W]`; one channel stands for three equal ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Planes<T> {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub data: Vec<T>,
}

/// A resized image, values in 0..=255.
#[derive(Debug, Clone, PartialEq)]
pub enum Resized {
    /// Rounded to whole levels.
    U8(Planes<u8>),
    /// Not rounded.
    F32(Planes<f32>),
}

impl Resized {
    /// `(height, width)`.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        match self {
            Self::U8(p) => (p.height, p.width),
            Self::F32(p) => (p.height, p.width),
        }
    }
}

/// Resizes `image` to `size`, `(height, width)`, by the given method.
///
/// # Errors
/// If the antialiasing resizer fails, which it has no reason to for a decoded image.
pub fn resize(image: Image, size: (u32, u32), resample: Resample) -> Result<Resized> {
    resize_window(image, &Window::whole(size), resample)
}

/// The part `window` of what [`resize`] returns, bit for bit.
///
/// # Errors
/// Same errors as [`resize`].
pub fn resize_window(image: Image, window: &Window, resample: Resample) -> Result<Resized> {
    let image = image.into_grey_if_equal();
    Ok(match resample {
        Resample::Reference => Resized::U8(bilinear_u8::resize_u8(image, window)),
        Resample::ReferenceFloat => Resized::F32(bilinear_f32::resize_f32(&image, window)),
        Resample::Antialias => Resized::U8(antialias::resize(image, window)?),
        Resample::Area if area::shrinks(&image, window) => {
            Resized::U8(area::resize_area(&image, window))
        }
        Resample::Area => Resized::U8(bilinear_u8::resize_u8(image, window)),
    })
}

/// The grey level of an RGB pixel: ITU-R BT.601, the weights of OpenCV.
pub(crate) fn luma(pixel: &[u8]) -> u8 {
    let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
    ((299 * red + 587 * green + 114 * blue + 500) / 1000) as u8
}

/// Resizes a mask as OpenCV's `INTER_NEAREST` does; returns the window, `[H, W]` of 0 and 1.
#[must_use]
pub fn resize_mask(mask: &Rle, window: &Window) -> Vec<u8> {
    nearest::resize_nearest(mask, window)
}
