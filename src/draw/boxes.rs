//! Boxes, outlined and filled.

use image::{Rgb, RgbImage};

/// Outlines the box `xyxy` in `colour`; the line is `stroke` pixels wide and lies inside the box.
pub fn draw_box(image: &mut RgbImage, xyxy: [f64; 4], stroke: u32, colour: Rgb<u8>) {
    let (width, height) = image.dimensions();
    if width == 0 || height == 0 {
        return;
    }
    let [x0, y0, x1, y1] = xyxy;
    let pixel = |value: f64, limit: u32| (value.max(0.0) as u32).min(limit - 1);
    // A box ends where its last pixel ends.
    let (left, right) = (pixel(x0, width), pixel((x1 - 1.0).ceil(), width));
    let (top, bottom) = (pixel(y0, height), pixel((y1 - 1.0).ceil(), height));
    for y in top..=bottom {
        for x in left..=right {
            let inside = [x - left, right - x, y - top, bottom - y];
            if inside.iter().any(|&distance| distance < stroke) {
                image.put_pixel(x, y, colour);
            }
        }
    }
}

/// Fills the box `xyxy` with `colour`.
pub fn fill(image: &mut RgbImage, xyxy: [i64; 4], colour: Rgb<u8>) {
    let (width, height) = image.dimensions();
    let within = |value: i64, limit: u32| value.clamp(0, i64::from(limit)) as u32;
    let [x0, y0, x1, y1] = xyxy;
    for y in within(y0, height)..within(y1, height) {
        for x in within(x0, width)..within(x1, width) {
            image.put_pixel(x, y, colour);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: Rgb<u8> = Rgb([255, 0, 0]);

    #[test]
    fn a_box_covers_its_border_pixels() {
        let mut image = RgbImage::new(10, 10);
        draw_box(&mut image, [2.0, 3.0, 6.0, 8.0], 1, RED);
        let drawn = |x, y| image.get_pixel(x, y) == &RED;
        assert!(drawn(2, 3) && drawn(5, 3) && drawn(2, 7) && drawn(5, 7) && drawn(2, 5));
        assert!(!drawn(3, 5) && !drawn(6, 5) && !drawn(4, 8) && !drawn(1, 3));
        // Outside, reversed, not finite: cut off, never a panic.
        for odd in [[-5.0, -5.0, 99.0, 99.0], [8.0, 8.0, 2.0, 2.0], [f64::NAN; 4]] {
            draw_box(&mut image, odd, 3, RED);
        }
        draw_box(&mut RgbImage::new(0, 0), [0.0, 0.0, 1.0, 1.0], 1, RED);
    }

    #[test]
    fn a_filled_box_has_all_its_pixels_and_no_other() {
        let mut image = RgbImage::new(6, 5);
        fill(&mut image, [4, -3, 99, 2], RED);
        let drawn: Vec<_> =
            image.enumerate_pixels().filter(|p| p.2 == &RED).map(|p| (p.0, p.1)).collect();
        assert_eq!(drawn, [(4, 0), (5, 0), (4, 1), (5, 1)]);
        fill(&mut image, [i64::MAX, 3, i64::MIN, i64::MAX], RED);
        fill(&mut RgbImage::new(0, 0), [0, 0, 1, 1], RED);
    }
}
