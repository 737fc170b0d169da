//! Letters: Hack, a typeface that is legible small, embedded in the program.

use std::sync::OnceLock;

use ab_glyph::{Font, FontRef, ScaleFont};
use image::{Rgb, RgbImage};

/// `None` could only mean a broken build; the pictures then come without words.
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

/// Draws `text` with its top left corner at `(x, y)`, antialiased; what lies outside the image is
/// cut.
pub fn draw_text(image: &mut RgbImage, (x, y): (i32, i32), text: &str, size: f32, colour: Rgb<u8>) {
    let Some(font) = font() else { return };
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

/// `text`, or as much of it as fits into `width` pixels, with an ellipsis.
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

/// `alpha` parts of `over`, the rest of `under`.
pub fn blend(under: Rgb<u8>, over: Rgb<u8>, alpha: f32) -> Rgb<u8> {
    let alpha = alpha.clamp(0.0, 1.0);
    let mix = |u: u8, o: u8| (f32::from(u) + (f32::from(o) - f32::from(u)) * alpha).round() as u8;
    Rgb(std::array::from_fn(|c| mix(under[c], over[c])))
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
    }

    #[test]
    fn long_text_ends_in_an_ellipsis() {
        let width = text_width("high_grade", 12.0) + 0.1;
        assert_eq!(shorten("high_grade", 12.0, width), "high_grade");
        assert_eq!(shorten("high_grade_serous", 12.0, width), "high_grad…");
        assert_eq!(shorten("x", 12.0, 1.0), "");
    }
}
