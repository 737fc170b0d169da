//! Tags: names written on objects.

use image::{Rgb, RgbImage};

use crate::{
    boxes::fill,
    colour::INK,
    text::{draw_text, text_width},
};

/// Writes `text` on a tag of `colour` above the box `xyxy`, or inside if there is no room above. Its
/// size follows the picture's width.
pub fn draw_tag(image: &mut RgbImage, xyxy: [f64; 4], text: &str, colour: Rgb<u8>) {
    // Beyond any picture, and far from overflow.
    const FAR: f64 = 1e9;
    let size = (image.width() as f32 / 36.0).clamp(11.0, 24.0);
    let (width, height) = (text_width(text, size).ceil() as i64 + 4, size.ceil() as i64);
    let left = (xyxy[0] as i64).clamp(0, (i64::from(image.width()) - width).max(0));
    let start = xyxy[1].clamp(-FAR, FAR) as i64;
    let top = if start >= height { start - height } else { start.max(0) };
    fill(image, [left, top, left + width, top + height], colour);
    draw_text(image, (left as i32 + 2, top as i32), text, size, INK);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_above_its_box_or_inside() {
        let red = Rgb([255, 0, 0]);
        let tagged = |y: f64| {
            let mut image = RgbImage::new(120, 60);
            draw_tag(&mut image, [10.0, y, 50.0, 60.0], "a", red);
            (0..60).filter(|&row| image.get_pixel(10, row) == &red).collect::<Vec<_>>()
        };
        assert_eq!(tagged(30.0), (19..30).collect::<Vec<_>>());
        assert_eq!(tagged(5.0), (5..16).collect::<Vec<_>>());
        for odd in [[f64::NAN; 4], [1e300; 4], [-1e300; 4], [119.0, 59.0, 500.0, 500.0]] {
            draw_tag(&mut RgbImage::new(120, 60), odd, "tag", red);
        }
        draw_tag(&mut RgbImage::new(0, 0), [0.0; 4], "tag", red);
    }
}
