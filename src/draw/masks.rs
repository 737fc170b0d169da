//! Masks, tinted and outlined.

use image::{Rgb, RgbImage};
use sonotune_base::Rle;

use crate::colour::blend;

/// Opacity of a mask's inside: the texture below stays visible.
const MASK_ALPHA: f32 = 0.35;

/// Tints the inside of a mask and outlines it; the mask may have any size and is scaled to the image.
pub fn draw_mask(image: &mut RgbImage, mask: &Rle, colour: Rgb<u8>) {
    paint(image, mask, colour, MASK_ALPHA);
}

/// Outlines a mask; the mask may have any size and is scaled to the image.
pub fn draw_outline(image: &mut RgbImage, mask: &Rle, colour: Rgb<u8>) {
    paint(image, mask, colour, 0.0);
}

fn paint(image: &mut RgbImage, mask: &Rle, colour: Rgb<u8>, alpha: f32) {
    let (width, height) = image.dimensions();
    if mask.width == 0 || mask.height == 0 {
        return;
    }
    let bits = mask.to_mask();
    let set = |x: u32, y: u32| {
        let scaled =
            |v: u32, of: u32, to: u32| (u64::from(v) * u64::from(to) / u64::from(of)) as usize;
        let (x, y) = (scaled(x, width, mask.width), scaled(y, height, mask.height));
        bits.get(y * mask.width as usize + x) == Some(&1)
    };
    // With a thousand small masks, visiting all pixels of the image for each would take too long.
    let [left, top, across, down] = mask.bbox();
    let span = |from: f64, length: f64, of: u32, to: u32| {
        let scale = f64::from(to) / f64::from(of);
        let end = ((from + length) * scale).ceil() + 1.0;
        ((from * scale).floor() as u32).saturating_sub(1)..(end as u32).min(to)
    };
    for y in span(top, down, mask.height, height) {
        for x in span(left, across, mask.width, width) {
            if !set(x, y) {
                continue;
            }
            let inner = x > 0
                && y > 0
                && x + 1 < width
                && y + 1 < height
                && set(x - 1, y)
                && set(x + 1, y)
                && set(x, y - 1)
                && set(x, y + 1);
            let pixel = image.get_pixel_mut(x, y);
            *pixel = if inner { blend(*pixel, colour, alpha) } else { colour };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: Rgb<u8> = Rgb([255, 0, 0]);
    const BLACK: Rgb<u8> = Rgb([0; 3]);

    #[test]
    fn a_mask_is_tinted_inside_and_outlined_at_any_scale() {
        // Columns 1 to 3 of a 4×5 mask, whole.
        let mask = Rle { height: 4, width: 5, counts: vec![4, 12, 4] };
        let mut image = RgbImage::new(10, 8);
        draw_mask(&mut image, &mask, RED);
        assert_eq!(image.get_pixel(1, 4), &BLACK);
        assert_eq!(image.get_pixel(2, 4), &RED);
        assert_eq!(image.get_pixel(4, 4), &Rgb([89, 0, 0]));
        assert_eq!(image.get_pixel(4, 0), &RED);
        assert_eq!(image.get_pixel(8, 4), &BLACK);
        // Runs that do not fit the size.
        draw_mask(&mut image, &Rle { height: 4, width: 5, counts: vec![0, 99] }, RED);
        draw_mask(&mut image, &Rle { height: 0, width: 0, counts: vec![1] }, RED);
    }

    #[test]
    fn an_outline_leaves_the_inside() {
        let mask = Rle { height: 4, width: 5, counts: vec![4, 12, 4] };
        let mut image = RgbImage::new(10, 8);
        draw_outline(&mut image, &mask, RED);
        assert_eq!((image.get_pixel(2, 4), image.get_pixel(4, 4)), (&RED, &BLACK));
    }
}
