//! A matrix of counts as a heat map.

use image::{Rgb, RgbImage};

use crate::{
    boxes::fill,
    colour::{INK, WHITE, blend},
    text::{draw_text, draw_text_upwards, shorten, text_width, widest},
};

const EMPTY: Rgb<u8> = Rgb([240, 244, 248]);
const FULL: Rgb<u8> = Rgb([8, 64, 129]);
const LABEL_SIZE: f32 = 16.0;
/// Width up to which a name is written in full, in pixels.
const LABEL_WIDTH: f32 = 200.0;

/// Counts of pairs of classes, e.g. a confusion matrix.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    /// `counts[row][column]`, square.
    pub counts: &'a [Vec<u64>],
    /// Names of the classes, for rows and columns alike.
    pub names: &'a [String],
    /// What the rows are.
    pub rows: &'a str,
    /// What the columns are.
    pub columns: &'a str,
}

impl Matrix<'_> {
    /// The heat map, with a row and a column for each class; the shade of a cell is its share of the
    /// row, so that rare classes are as visible as frequent ones. Counts are written if they fit.
    #[must_use]
    pub fn to_image(&self) -> RgbImage {
        let classes = self.counts.len() as u32;
        // Large enough for the numbers of a few classes, small enough for a hundred.
        let cell = (720 / classes.max(1)).clamp(8, 72);
        let size = LABEL_SIZE.min(cell as f32);
        let labels: Vec<String> =
            self.names.iter().map(|n| shorten(n, size, LABEL_WIDTH)).collect();
        let line = LABEL_SIZE.ceil() as u32 + 4;
        let start = line + widest(&labels, size).ceil() as u32 + 12;
        // The heading must fit above a small matrix as well.
        let side = |heading: &str| {
            let end = (cell * classes).max(text_width(heading, LABEL_SIZE) as u32);
            start + end + 8
        };
        let mut picture = RgbImage::from_pixel(side(self.columns), side(self.rows), WHITE);
        draw_text(&mut picture, (start as i32, 2), self.columns, LABEL_SIZE, INK);
        draw_text_upwards(&mut picture, (2, start), self.rows, LABEL_SIZE, [INK, WHITE]);
        for (i, label) in labels.iter().enumerate() {
            let offset = start + i as u32 * cell + (cell.saturating_sub(size as u32)) / 2;
            let before = start - 6 - text_width(label, size).ceil() as u32;
            draw_text(&mut picture, (before as i32, offset as i32), label, size, INK);
            draw_text_upwards(&mut picture, (offset, before), label, size, [INK, WHITE]);
        }
        for (row, line) in self.counts.iter().enumerate() {
            let total = line.iter().sum::<u64>().max(1) as f64;
            for (column, &count) in line.iter().take(self.counts.len()).enumerate() {
                let corner = (start + column as u32 * cell, start + row as u32 * cell);
                draw_cell(&mut picture, corner, cell, count, count as f64 / total);
            }
        }
        picture
    }
}

fn draw_cell(picture: &mut RgbImage, (left, top): (u32, u32), cell: u32, count: u64, share: f64) {
    // One pixel of the ground stays between cells.
    let end = [left + cell - 1, top + cell - 1];
    let shade = blend(EMPTY, FULL, share as f32);
    fill(picture, [left, top, end[0], end[1]].map(i64::from), shade);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(counts: &[Vec<u64>], names: &[String]) -> RgbImage {
        Matrix { counts, names, rows: "truth", columns: "predicted" }.to_image()
    }

    #[test]
    fn shades_are_shares_of_the_row() {
        let names = ["a".to_owned(), "b".to_owned()];
        let picture = picture(&[vec![90, 0], vec![5, 5]], &names);
        let line = LABEL_SIZE.ceil() as u32 + 4;
        let origin = line + text_width("a", LABEL_SIZE).ceil() as u32 + 12;
        let at = |row: u32, column: u32| {
            *picture.get_pixel(origin + column * 72 + 2, origin + row * 72 + 2)
        };
        assert_eq!(at(0, 0), FULL);
        assert_eq!(at(0, 1), EMPTY);
        assert_eq!(at(1, 0), at(1, 1));
    }

    #[test]
    fn any_number_of_classes_and_any_name_can_be_drawn() {
        let _ = picture(&[], &[]);
        let many: Vec<String> = (0..150).map(|i| format!("{i} {}", "long ".repeat(20))).collect();
        let _ = picture(&vec![vec![1; 150]; 150], &many);
        // Fewer names than classes, rows that are too long or too short.
        let _ = picture(&[vec![1, 2, 3], vec![]], &many[..1]);
        let _ = picture(&[vec![1]], &many);
    }
}
