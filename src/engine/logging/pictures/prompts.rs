//! Prompts drawn on an image.

use image::{Rgb, RgbImage};

use super::{RIGHT, WHITE, WRONG, overlay::draw_box};
use crate::{Size, data::ObjectPrompt};

/// Draws the points of a prompt (green on the object, red off it) and its box in `colour`; the
/// prompt's frame has `original_size`, the image any scale of it.
pub fn draw_prompt(
    image: &mut RgbImage,
    prompt: &ObjectPrompt,
    original_size: Size,
    colour: Rgb<u8>,
) {
    let (width, height) = image.dimensions();
    let scale_x = f64::from(width) / original_size.1.max(1) as f64;
    let scale_y = f64::from(height) / original_size.0.max(1) as f64;
    if let Some([x0, y0, x1, y1]) = prompt.bbox {
        let scaled = [x0 * scale_x, y0 * scale_y, x1 * scale_x, y1 * scale_y];
        draw_box(image, scaled, (width.max(height) / 400).max(1), colour);
    }
    let radius = (f64::from(width.max(height)) / 130.0).max(2.5);
    for point in &prompt.points {
        // Whole numbers are centres of pixels.
        let centre = ((point.x + 0.5) * scale_x, (point.y + 0.5) * scale_y);
        draw_disc(image, centre, radius + (radius / 3.0).max(1.0), WHITE);
        draw_disc(image, centre, radius, if point.positive { RIGHT } else { WRONG });
    }
}

fn draw_disc(image: &mut RgbImage, (x, y): (f64, f64), radius: f64, colour: Rgb<u8>) {
    let pixels = |centre: f64, side: u32| {
        let first = (centre - radius).floor().max(0.0) as u32;
        first..((centre + radius).ceil().max(0.0) as u32).min(side)
    };
    for row in pixels(y, image.height()) {
        for column in pixels(x, image.width()) {
            let (dx, dy) = (f64::from(column) + 0.5 - x, f64::from(row) + 0.5 - y);
            if dx * dx + dy * dy <= radius * radius {
                image.put_pixel(column, row, colour);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::PointPrompt;

    #[test]
    fn points_are_discs_where_they_point() {
        let mut image = RgbImage::new(80, 40);
        let point = |x, y, positive| PointPrompt { x, y, positive };
        let points =
            vec![point(5.0, 5.0, true), point(15.0, 5.0, false), point(f64::NAN, 1e9, true)];
        let prompt =
            ObjectPrompt { points, bbox: Some([0.0, 0.0, 20.0, 10.0]), ..Default::default() };
        // The picture has four times the pixels of the image on each axis.
        draw_prompt(&mut image, &prompt, (10, 20), Rgb([1, 2, 3]));
        assert_eq!(image.get_pixel(22, 22), &RIGHT);
        assert_eq!(image.get_pixel(62, 22), &WRONG);
        assert_eq!(image.get_pixel(22, 24), &WHITE);
        assert_eq!(image.get_pixel(22, 30), &Rgb([0; 3]));
        assert_eq!(image.get_pixel(0, 39), &Rgb([1, 2, 3]));
        draw_prompt(&mut RgbImage::new(0, 0), &prompt, (0, 0), WHITE);
    }
}
