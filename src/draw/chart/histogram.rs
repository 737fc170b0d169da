//! Histograms.

use image::Rgb;

use crate::figure::{Figure, Rect};

/// Draws columns of equal width that fill `plot` from left to right. Each column is a stack of parts
/// with their heights in pixels, the first one at the bottom.
pub fn histogram(figure: &mut Figure, plot: Rect, columns: &[Vec<(f32, Rgb<u8>)>]) {
    let step = plot.width / columns.len() as f32;
    for (i, parts) in columns.iter().enumerate() {
        let mut y = plot.bottom();
        for &(height, colour) in parts {
            y -= height;
            let x = plot.x + step * i as f32 + 1.0;
            figure.bar(Rect { x, y, width: step - 2.0, height }, colour);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_stacked_from_the_bottom() {
        let (red, blue) = (Rgb([255, 0, 0]), Rgb([0, 0, 255]));
        let mut figure = Figure::new((100, 100));
        let plot = Rect { x: 10.0, y: 10.0, width: 80.0, height: 80.0 };
        histogram(&mut figure, plot, &[vec![(20.0, red), (5.0, blue)], vec![(80.0, red)]]);
        let part = |x, y, height| Rect { x, y, width: 38.0, height };
        let expected = [
            (part(11.0, 70.0, 20.0), red),
            (part(11.0, 65.0, 5.0), blue),
            (part(51.0, 10.0, 80.0), red),
        ];
        assert_eq!(figure.bars().collect::<Vec<_>>(), expected);
        histogram(&mut figure, plot, &[]);
    }
}
