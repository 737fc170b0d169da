//! What scanners draw next to the picture.

use super::patient::View;

/// Depth ruler, focus mark and grey bar.
pub(super) fn draw(pixels: &mut [u8], view: &View) {
    let size = view.canvas.size as usize;
    let unit = (size / 128).max(1);
    let mut fill =
        |top: f64, left: usize, height: usize, width: usize, grey: &dyn Fn(usize) -> u8| {
            if top < 0.0 {
                return;
            }
            let top = top as usize;
            for row in top..(top + height).min(size) {
                for column in left.min(size)..(left + width).min(size) {
                    pixels[row * size + column] = grey(row - top);
                }
            }
        };
    // A tick every centimetre, a wider one every five.
    for centimetre in 0..=(view.probe.depth_mm / 10.0) as usize {
        let (row, _) = view.canvas.to_pixel(0.0, centimetre as f64 * 10.0);
        let width = if centimetre % 5 == 0 { 3 * unit } else { unit + unit / 2 };
        fill(row.round(), size - 4 * unit, unit.div_ceil(3), width.max(1), &|_| 215);
    }
    let (focus, _) = view.canvas.to_pixel(0.0, view.probe.focus_mm);
    for i in 0..2 * unit {
        fill(
            focus.round() - (2 * unit - i) as f64 * 0.5,
            size - 5 * unit - i,
            2 * unit - i,
            1,
            &|_| 200,
        );
    }
    let bar = size / 5;
    fill((size / 50) as f64, unit, bar, 2 * unit, &|row| (250 - row * 245 / bar) as u8);
}
