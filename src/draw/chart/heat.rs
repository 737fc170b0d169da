//! Heat maps and the scale of their colours.

use crate::{
    colour::heat,
    figure::{Figure, Rect},
};

/// Draws `shares` (in `0..=1`, row by row) as square cells, `columns` in a row and `cell` pixels wide;
/// the top left corner is at `(x, y)`.
pub fn heat_map(
    figure: &mut Figure,
    (x, y): (f32, f32),
    cell: f32,
    columns: usize,
    shares: impl IntoIterator<Item = f32>,
) {
    for (i, share) in shares.into_iter().enumerate() {
        let (row, column) = ((i / columns.max(1)) as f32, (i % columns.max(1)) as f32);
        let (x, y) = (x + column * cell, y + row * cell);
        figure.bar(Rect { x, y, width: cell, height: cell }, heat(share));
    }
}

/// Draws all colours of a heat map from 1 at the top of `area` to 0 at its bottom.
pub fn heat_scale(figure: &mut Figure, area: Rect) {
    const STEPS: usize = 64;
    let step = area.height / STEPS as f32;
    for i in 0..STEPS {
        let share = 1.0 - i as f32 / (STEPS - 1) as f32;
        // The overlap closes the gaps that rounding would leave.
        let part = Rect { y: area.y + i as f32 * step, height: step + 0.5, ..area };
        figure.bar(part, heat(share));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_in_rows() {
        let mut figure = Figure::new((40, 60));
        heat_map(&mut figure, (10.0, 5.0), 14.0, 3, [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]);
        let picture = figure.to_image();
        let at = |row: u32, column: u32| *picture.get_pixel(17 + 14 * column, 12 + 14 * row);
        assert_eq!((at(0, 0), at(0, 2), at(1, 0)), (heat(0.0), heat(0.5), heat(0.75)));
        heat_map(&mut figure, (0.0, 0.0), 1.0, 0, [1.0]);
    }

    #[test]
    fn the_scale_has_no_gap() {
        let mut figure = Figure::new((100, 10));
        heat_scale(&mut figure, Rect { x: 0.0, y: 0.0, width: 10.0, height: 100.0 });
        let picture = figure.to_image();
        assert_eq!(picture.get_pixel(5, 0), &heat(1.0));
        assert!(picture.pixels().all(|pixel| pixel.0 != [255; 3]));
    }
}
