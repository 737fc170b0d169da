//! Captions: lines of text below a picture.

use image::{Rgb, RgbImage, imageops};

use crate::{
    colour::{INK, WHITE},
    text::{draw_text, shorten},
};

/// A line below a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caption {
    /// Shortened if it does not fit.
    pub text: String,
    /// Colour of the letters, on a dark bar.
    pub colour: Rgb<u8>,
}

impl Caption {
    /// A neutral line, white.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), colour: WHITE }
    }
}

/// `image` with a dark bar of captions below; the letters' size follows the image's width.
#[must_use]
pub fn with_captions(image: &RgbImage, captions: &[Caption]) -> RgbImage {
    let (width, height) = image.dimensions();
    let size = (width as f32 / 26.0).clamp(12.0, 28.0);
    let line = (size * 1.3).ceil() as u32;
    let margin = line / 3;
    let bar = captions.len() as u32 * line + if captions.is_empty() { 0 } else { margin };
    let mut picture = RgbImage::from_pixel(width, height + bar, INK);
    imageops::replace(&mut picture, image, 0, 0);
    for (i, caption) in captions.iter().enumerate() {
        let top = height + margin / 2 + i as u32 * line;
        let text = shorten(&caption.text, size, width.saturating_sub(2 * margin) as f32);
        draw_text(&mut picture, (margin as i32, top as i32), &text, size, caption.colour);
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_go_below_the_image() {
        let image = RgbImage::from_pixel(104, 20, Rgb([7; 3]));
        assert_eq!(with_captions(&image, &[]), image);
        let red = Rgb([255, 0, 0]);
        let captions =
            [Caption::new("long ".repeat(20)), Caption { text: "█".into(), colour: red }];
        let picture = with_captions(&image, &captions);
        // Two lines of 16 pixels and a margin of 5.
        assert_eq!(picture.dimensions(), (104, 20 + 2 * 16 + 5));
        assert_eq!((picture.get_pixel(50, 19), picture.get_pixel(103, 56)), (&Rgb([7; 3]), &INK));
        let has = |wanted: Rgb<u8>, from: u32, to: u32| {
            (from..to).any(|y| (0..104).any(|x| picture.get_pixel(x, y) == &wanted))
        };
        assert!(has(red, 38, 57) && !has(red, 0, 34));
    }
}
