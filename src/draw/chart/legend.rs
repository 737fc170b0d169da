//! Legends: which colour means what.

use image::Rgb;

use super::INK;
use crate::{
    figure::{Figure, Rect},
    text::text_width,
};

/// A row of swatches with their texts; all in pixels.
#[derive(Debug, Clone, Copy)]
pub struct Legend {
    /// Height of the texts.
    pub size: f32,
    /// `(height, width)` of a swatch.
    pub swatch: (f32, f32),
    /// How far the top of a swatch is below the top of its text.
    pub drop: f32,
    /// From the left edge of a swatch to its text.
    pub indent: f32,
    /// From the end of a text to the next swatch.
    pub gap: f32,
}

impl Legend {
    /// Draws `entries`, the first one's swatch at `x`, the texts' top at `y`.
    pub fn draw(&self, figure: &mut Figure, (x, y): (f32, f32), entries: &[(Rgb<u8>, String)]) {
        let mut x = x;
        let (height, width) = self.swatch;
        for (colour, text) in entries {
            figure.bar(Rect { x, y: y + self.drop, width, height }, *colour);
            figure.text((x + self.indent, y), text, self.size, INK);
            x += self.indent + text_width(text, self.size) + self.gap;
        }
    }

    /// Width that `entries` need.
    #[must_use]
    pub fn width(&self, entries: &[(Rgb<u8>, String)]) -> f32 {
        let frame = self.indent + self.gap;
        entries.iter().map(|(_, text)| frame + text_width(text, self.size)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stand_side_by_side() {
        let legend =
            Legend { size: 20.0, swatch: (14.0, 30.0), drop: 3.0, indent: 40.0, gap: 20.0 };
        let entries = ["one", "another"].map(|text| (Rgb([9; 3]), text.to_owned()));
        let width = legend.width(&entries).ceil() as u32;
        let mut figure = Figure::new((40, width));
        legend.draw(&mut figure, (0.0, 10.0), &entries);
        figure.check_legible().unwrap();
        let second = 40.0 + text_width("one", 20.0) + 20.0;
        let expected = Rect { x: second, y: 13.0, width: 30.0, height: 14.0 };
        assert_eq!(figure.bars().nth(1), Some((expected, Rgb([9; 3]))));
    }
}
