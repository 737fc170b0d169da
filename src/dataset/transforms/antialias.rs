//! Bilinear resizing with antialiasing, as Pillow and torchvision do it.

use anyhow::Result;
use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer, images::Image as Buffer,
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
    let resized = {
        let kind = if channels == 1 { PixelType::U8 } else { PixelType::U8x3 };
        let source = Buffer::from_vec_u8(from_width, from_height, pixels, kind)?;
        let mut target = Buffer::new(width, height, kind);
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        Resizer::new().resize(&source, &mut target, &options)?;
        target.into_vec()
    };
    Ok(crop_planes(planar(resized, channels, height as usize, width as usize), window))
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
