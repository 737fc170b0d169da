//! Pictures scaled, and several of them on one sheet.

use image::{
    RgbImage,
    imageops::{self, FilterType},
};

use crate::colour::WHITE;

/// `image` scaled so that its longest side is `side` pixels.
#[must_use]
pub fn fit(image: &RgbImage, side: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    let longest = width.max(height).max(1);
    let scaled = |length: u32| {
        ((f64::from(length) * f64::from(side) / f64::from(longest)).round() as u32).max(1)
    };
    if longest == side {
        return image.clone();
    }
    imageops::resize(image, scaled(width), scaled(height), FilterType::Triangle)
}

/// Pictures side by side in rows of `columns`, each in a cell of the largest one's size, on white.
#[must_use]
pub fn grid(pictures: &[RgbImage], columns: u32) -> RgbImage {
    const GAP: u32 = 4;
    let columns = columns.clamp(1, (pictures.len() as u32).max(1));
    let width = pictures.iter().map(RgbImage::width).max().unwrap_or(1);
    let height = pictures.iter().map(RgbImage::height).max().unwrap_or(1);
    let rows = (pictures.len() as u32).div_ceil(columns).max(1);
    let mut sheet =
        RgbImage::from_pixel(columns * (width + GAP) - GAP, rows * (height + GAP) - GAP, WHITE);
    for (i, picture) in pictures.iter().enumerate() {
        let (row, column) = (i as u32 / columns, i as u32 % columns);
        let left = column * (width + GAP) + (width - picture.width()) / 2;
        let top = row * (height + GAP);
        imageops::replace(&mut sheet, picture, i64::from(left), i64::from(top));
    }
    sheet
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn a_grid_holds_pictures_of_any_size() {
        let red = RgbImage::from_pixel(4, 2, Rgb([255, 0, 0]));
        let tall = RgbImage::from_pixel(2, 6, Rgb([0, 255, 0]));
        let sheet = grid(&[red.clone(), tall, red], 2);
        assert_eq!(sheet.dimensions(), (4 + 4 + 4, 6 + 4 + 6));
        assert_eq!(sheet.get_pixel(9, 0), &Rgb([0, 255, 0]));
        assert_eq!(sheet.get_pixel(0, 10), &Rgb([255, 0, 0]));
        assert_eq!(grid(&[], 3).dimensions(), (1, 1));
    }

    #[test]
    fn fitting_keeps_the_aspect_and_never_vanishes() {
        let image = RgbImage::new(1000, 2);
        assert_eq!(fit(&image, 100).dimensions(), (100, 1));
        assert_eq!(fit(&RgbImage::new(64, 48), 256).dimensions(), (256, 192));
    }
}
