//! Confusion matrix as a heat map.

use image::{Rgb, RgbImage, imageops};

use super::{
    INK, WHITE,
    text::{blend, draw_text, shorten, text_width},
};

const FULL: Rgb<u8> = Rgb([8, 64, 129]);
const LABEL_SIZE: f32 = 16.0;
/// Longest class name that is written out, pixels.
const LABEL_WIDTH: f32 = 200.0;

/// Heat map of `counts[truth][predicted]` with one row and column a class; the shade is the share of
/// the row, so that rare classes show as well.
#[must_use]
pub fn confusion_matrix(counts: &[Vec<u64>], names: &[String]) -> RgbImage {
    let classes = counts.len() as u32;
    // Large enough for the figures of a few classes, small enough for a hundred.
    let cell = (720 / classes.max(1)).clamp(8, 72);
    let size = LABEL_SIZE.min(cell as f32);
    let labels: Vec<String> = names.iter().map(|n| shorten(n, size, LABEL_WIDTH)).collect();
    let widest = labels.iter().map(|l| text_width(l, size).ceil() as u32).max().unwrap_or(0);
    let line = LABEL_SIZE.ceil() as u32 + 4;
    let (left, top) = (line + widest + 12, line + widest + 12);
    let side = cell * classes;
    // The heading must fit above a small matrix too.
    let width = (left + side + 8).max(left + text_width("predicted", LABEL_SIZE) as u32 + 8);
    let height = (top + side + 8).max(top + text_width("truth", LABEL_SIZE) as u32 + 8);
    let mut picture = RgbImage::from_pixel(width, height, WHITE);

    draw_text(&mut picture, (left as i32, 2), "predicted", LABEL_SIZE, INK);
    draw_upwards(&mut picture, (2, top), "truth", LABEL_SIZE);
    for (i, label) in labels.iter().enumerate() {
        let offset = i as u32 * cell + (cell.saturating_sub(size as u32)) / 2;
        let indent = left - 6 - text_width(label, size).ceil() as u32;
        draw_text(&mut picture, (indent as i32, (top + offset) as i32), label, size, INK);
        let length = text_width(label, size).ceil() as u32;
        draw_upwards(&mut picture, (left + offset, top - 6 - length), label, size);
    }
    for (row, line) in counts.iter().enumerate() {
        let total = line.iter().sum::<u64>().max(1) as f64;
        for (column, &count) in line.iter().take(counts.len()).enumerate() {
            let corner = (left + column as u32 * cell, top + row as u32 * cell);
            draw_cell(&mut picture, corner, cell, count, count as f64 / total);
        }
    }
    picture
}

fn draw_cell(picture: &mut RgbImage, (left, top): (u32, u32), cell: u32, count: u64, share: f64) {
    let shade = blend(Rgb([240, 244, 248]), FULL, share as f32);
    // One pixel of the ground stays between cells.
    let tile = RgbImage::from_pixel(cell - 1, cell - 1, shade);
    imageops::replace(picture, &tile, i64::from(left), i64::from(top));
    let text = count.to_string();
    let size = (cell as f32 * 0.34).min(LABEL_SIZE + 4.0);
    if size < 9.0 || text_width(&text, size) > cell as f32 {
        return;
    }
    let indent = (cell as f32 - text_width(&text, size)) / 2.0;
    let drop = (cell as f32 - size) / 2.0;
    let ink = if share > 0.5 { WHITE } else { INK };
    let corner = (left as i32 + indent as i32, top as i32 + drop as i32);
    draw_text(picture, corner, &text, size, ink);
}

/// Text read from below, its top left corner at `(left, top)`.
fn draw_upwards(picture: &mut RgbImage, (left, top): (u32, u32), text: &str, size: f32) {
    let (length, height) = (text_width(text, size).ceil() as u32, size.ceil() as u32 + 2);
    let mut strip = RgbImage::from_pixel(length.max(1), height, WHITE);
    draw_text(&mut strip, (0, 0), text, size, INK);
    let turned = imageops::rotate270(&strip);
    imageops::replace(picture, &turned, i64::from(left), i64::from(top));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_are_shares_of_the_row() {
        let names = ["a".to_owned(), "b".to_owned()];
        let picture = confusion_matrix(&[vec![90, 0], vec![5, 5]], &names);
        let line = LABEL_SIZE.ceil() as u32 + 4;
        let origin = line + text_width("a", LABEL_SIZE).ceil() as u32 + 12;
        let at = |row: u32, column: u32| {
            *picture.get_pixel(origin + column * 72 + 2, origin + row * 72 + 2)
        };
        assert_eq!(at(0, 0), FULL);
        assert_eq!(at(0, 1), Rgb([240, 244, 248]));
        assert_eq!(at(1, 0), at(1, 1));
        // No class, many classes, long names.
        let _ = confusion_matrix(&[], &[]);
        let many: Vec<String> = (0..150).map(|i| format!("{i} {}", "long ".repeat(20))).collect();
        let _ = confusion_matrix(&vec![vec![1; 150]; 150], &many);
    }
}
