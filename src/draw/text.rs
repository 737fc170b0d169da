//! Text in Hack, a typeface that stays legible at small sizes and is embedded in the program.

use std::sync::OnceLock;

use ab_glyph::{Font, FontRef, ScaleFont};
use image::{Rgb, RgbImage, imageops};

use crate::colour::blend;

/// `None` only if the build is broken; pictures then have no text.
fn font() -> Option<&'static FontRef<'static>> {
    static FONT: OnceLock<Option<FontRef<'static>>> = OnceLock::new();
    FONT.get_or_init(|| FontRef::try_from_slice(epaint_default_fonts::HACK_REGULAR).ok()).as_ref()
}

/// Width in pixels of `text` at a line height of `size` pixels.
#[must_use]
pub fn text_width(text: &str, size: f32) -> f32 {
    let Some(font) = font() else { return 0.0 };
    let font = font.as_scaled(size);
    text.chars().map(|c| font.h_advance(font.glyph_id(c))).sum()
}

/// Width in pixels of the widest of `texts` at a line height of `size` pixels, 0 without texts.
pub fn widest<T: AsRef<str>>(texts: impl IntoIterator<Item = T>, size: f32) -> f32 {
    texts.into_iter().map(|text| text_width(text.as_ref(), size)).fold(0.0, f32::max)
}

/// Draws a line of `text`, antialiased, `size` pixels high, its top left corner at `(x, y)`.
pub fn draw_text(image: &mut RgbImage, (x, y): (i32, i32), text: &str, size: f32, colour: Rgb<u8>) {
    // Far outside any picture, where the arithmetic of outlines loses whole pixels.
    const FAR: u32 = 1 << 20;
    let Some(font) = font() else { return };
    if x.unsigned_abs() > FAR || y.unsigned_abs() > FAR {
        return;
    }
    let scaled = font.as_scaled(size);
    let mut left = x as f32;
    let baseline = y as f32 + scaled.ascent();
    for c in text.chars() {
        let id = scaled.glyph_id(c);
        let glyph = id.with_scale_and_position(size, ab_glyph::point(left, baseline));
        left += scaled.h_advance(id);
        let Some(outline) = font.outline_glyph(glyph) else { continue };
        let corner = outline.px_bounds().min;
        outline.draw(|dx, dy, coverage| {
            let (x, y) = (corner.x as i64 + i64::from(dx), corner.y as i64 + i64::from(dy));
            if let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y))
                && let Some(pixel) = image.get_pixel_mut_checked(x, y)
            {
                *pixel = blend(*pixel, colour, coverage);
            }
        });
    }
}

/// `text` if it fits into `width` pixels at a line height of `size` pixels; otherwise its beginning
/// with an ellipsis, or nothing if not even that fits.
#[must_use]
pub fn shorten(text: &str, size: f32, width: f32) -> String {
    if text_width(text, size) <= width {
        return text.to_owned();
    }
    let mut kept: Vec<char> = text.chars().collect();
    while kept.pop().is_some() {
        let shorter: String = kept.iter().chain(['…'].iter()).collect();
        if text_width(&shorter, size) <= width {
            return shorter;
        }
    }
    String::new()
}

/// Draws `text` to be read from bottom to top, on a strip of the colour `ground`; the strip's top left
/// corner is at `(left, top)`.
pub fn draw_text_upwards(
    image: &mut RgbImage,
    (left, top): (u32, u32),
    text: &str,
    size: f32,
    [colour, ground]: [Rgb<u8>; 2],
) {
    let (length, height) = (text_width(text, size).ceil() as u32, size.ceil() as u32 + 2);
    let mut strip = RgbImage::from_pixel(length.max(1), height, ground);
    draw_text(&mut strip, (0, 0), text, size, colour);
    imageops::replace(image, &imageops::rotate270(&strip), i64::from(left), i64::from(top));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_drawn_where_it_belongs_and_cut_at_the_edge() {
        let mut image = RgbImage::new(60, 30);
        draw_text(&mut image, (5, 4), "Ä|", 16.0, Rgb([255; 3]));
        let lit = |(x0, x1): (u32, u32)| {
            (x0..x1).flat_map(|x| (0..30).map(move |y| (x, y))).any(|(x, y)| image[(x, y)][0] > 128)
        };
        let advance = text_width("Ä", 16.0) as u32;
        assert!(lit((5, 5 + advance)) && lit((5 + advance, 5 + 2 * advance)));
        assert!(!lit((0, 4)) && !lit((6 + 2 * advance, 60)));
        draw_text(&mut image, (-8, -8), "cut", 16.0, Rgb([255; 3]));
        draw_text(&mut image, (55, 25), "cut", 16.0, Rgb([255; 3]));
        draw_text(&mut image, (i32::MIN, i32::MAX), "cut", 16.0, Rgb([255; 3]));
    }

    #[test]
    fn long_text_ends_in_an_ellipsis() {
        let width = text_width("high_grade", 12.0) + 0.1;
        assert_eq!(shorten("high_grade", 12.0, width), "high_grade");
        assert_eq!(shorten("high_grade_serous", 12.0, width), "high_grad…");
        assert_eq!(shorten("x", 12.0, 1.0), "");
    }

    #[test]
    fn the_widest_text_counts() {
        assert_eq!(widest(["a", "abc", "ab"], 12.0), text_width("abc", 12.0));
        assert_eq!(widest([""; 0], 12.0), 0.0);
    }

    #[test]
    fn text_can_be_read_upwards() {
        let (ink, ground) = (Rgb([255; 3]), Rgb([9, 0, 0]));
        let mut image = RgbImage::new(40, 60);
        draw_text_upwards(&mut image, (4, 5), "| ", 16.0, [ink, ground]);
        let length = text_width("| ", 16.0).ceil() as u32;
        assert_eq!(image[(4, 5)], ground);
        assert_eq!(image[(4, 5 + length)], Rgb([0; 3]));
        // The bar comes first, so it is at the bottom.
        let lit = |y0: u32, y1: u32| (y0..y1).any(|y| (4..22).any(|x| image[(x, y)][1] > 128));
        assert!(lit(5 + length / 2, 5 + length) && !lit(5, 5 + length / 2));
    }
}
