//! Bilinear resizing with antialiasing, as Pillow and torchvision do it.

use anyhow::Result;
use fast_image_resize::{
    FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer,
    images::{TypedImage, TypedImageRef},
    pixels::{U8, U8x3},
};

use super::{
    Planes, Window,
    window::{crop, crop_planes},
};
use sonotune_base::image_io::Image;

/// Within one level of Pillow's `resize(…, BILINEAR)`: both work in fixed point, with different
/// numbers of bits. Returns the window of the resized image; it is cut out afterwards, since the
/// resizer's rounding depends on the part it is asked for.
pub(super) fn resize(image: Image, window: &Window) -> Result<Planes<u8>> {
    let (height, width) = window.resized();
    if (image.height, image.width) == (height, width) {
        let Image { height, width, channels, pixels, .. } = crop(image, window);
        return Ok(planar(pixels, channels, height as usize, width as usize));
    }
    let Image { height: from_height, width: from_width, channels, pixels, .. } = image;
    let from = (from_height, from_width);
    let resized = match channels {
        1 => convolve::<U8>(&pixels, from, (height, width))?,
        _ => convolve::<U8x3>(&pixels, from, (height, width))?,
    };
    Ok(crop_planes(planar(resized, channels, height as usize, width as usize), window))
}

/// The type of pixels is a parameter: a resizer that decides at run time is compiled for all that there are, which
/// takes minutes.
fn convolve<P: PixelTrait>(
    pixels: &[u8],
    (from_height, from_width): (u32, u32),
    (height, width): (u32, u32),
) -> Result<Vec<u8>> {
    let source = TypedImageRef::<P>::from_buffer(from_width, from_height, pixels)?;
    let mut resized = vec![0; height as usize * width as usize * size_of::<P>()];
    let mut target = TypedImage::<P>::from_buffer(width, height, &mut resized)?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new().resize_typed(&source, &mut target, &options)?;
    Ok(resized)
}

/// `[H, W, C]` to `[C, H, W]`.
pub(super) fn planar(pixels: Vec<u8>, channels: usize, height: usize, width: usize) -> Planes<u8> {
    if channels == 1 {
        return Planes { channels, height, width, data: pixels };
    }
    let mut data = vec![0; pixels.len()];
    let (red, rest) = data.split_at_mut(height * width);
    let (green, blue) = rest.split_at_mut(height * width);
    for (((pixel, r), g), b) in pixels.chunks_exact(3).zip(red).zip(green).zip(blue) {
        (*r, *g, *b) = (pixel[0], pixel[1], pixel[2]);
    }
    Planes { channels, height, width, data }
}
