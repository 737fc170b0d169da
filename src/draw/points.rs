//! Points.

use image::{Rgb, RgbImage};

use crate::colour::WHITE;

/// Draws a point as a disc of `colour` with a white rim, its centre at `(x, y)`; its size follows the
/// picture's, so that it is visible on any.
pub fn draw_point(image: &mut RgbImage, centre: (f64, f64), colour: Rgb<u8>) {
    let radius = (f64::from(image.width().max(image.height())) / 130.0).max(2.5);
    draw_disc(image, centre, radius + (radius / 3.0).max(1.0), WHITE);
    draw_disc(image, centre, radius, colour);
}

/// Fills the pixels whose centres are at most `radius` from `(x, y)`.
pub fn draw_disc(image: &mut RgbImage, (x, y): (f64, f64), radius: f64, colour: Rgb<u8>) {
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

    #[test]
    fn a_point_is_a_disc_with_a_rim() {
        let red = Rgb([255, 0, 0]);
        let mut image = RgbImage::new(80, 40);
        draw_point(&mut image, (22.0, 22.0), red);
        let row: Vec<_> = (17..23).map(|x| *image.get_pixel(x, 22)).collect();
        let black = Rgb([0; 3]);
        assert_eq!(row, [black, black, WHITE, red, red, red]);
        for odd in [(f64::NAN, 1e9), (-1e300, 2.0), (79.9, f64::INFINITY)] {
            draw_point(&mut image, odd, red);
        }
        draw_point(&mut RgbImage::new(0, 0), (0.0, 0.0), red);
    }
}
