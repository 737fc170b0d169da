//! Horizontal bars with a name and their counts.

use image::Rgb;
use sonotune_base::words::with_commas;

use super::INK;
use crate::figure::{Figure, Rect};

/// One bar.
#[derive(Debug, Clone, Copy)]
pub struct Bar {
    /// Written at the end of the bar.
    pub count: u64,
    /// Pixels.
    pub length: f32,
    /// Colour of the bar.
    pub colour: Rgb<u8>,
}

/// How bars look; all in pixels.
#[derive(Debug, Clone, Copy)]
pub struct BarStyle {
    /// From one bar to the next.
    pub pitch: f32,
    /// Left free between two bars.
    pub gap: f32,
    /// Shortest bar of a count above 0, so that 1 is visible next to thousands.
    pub least: f32,
    /// Height of the name.
    pub name: f32,
    /// From the name to the bars.
    pub indent: f32,
    /// Height of the counts.
    pub count: f32,
    /// How far the top of a count is below the top of its bar.
    pub drop: f32,
}

/// Draws bars below each other, the first one's top left corner at `(x, y)`, with a common name on
/// their left and its count at the end of each.
pub fn bar_group(
    figure: &mut Figure,
    (x, y): (f32, f32),
    name: &str,
    bars: &[Bar],
    style: &BarStyle,
) {
    let middle = y + (style.pitch * bars.len() as f32 - style.name) / 2.0;
    figure.right_text((x - style.indent, middle), name, style.name, INK);
    for (i, bar) in bars.iter().enumerate() {
        let y = y + style.pitch * i as f32;
        let width = bar.length.max(if bar.count > 0 { style.least } else { 0.0 });
        figure.bar(Rect { x, y, width, height: style.pitch - style.gap }, bar.colour);
        let corner = (x + width + 8.0, y + style.drop);
        figure.text(corner, &with_commas(bar.count), style.count, INK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_above_0_is_visible() {
        let colour = Rgb([1, 2, 3]);
        let bars =
            [(0, 0.0), (1, 0.1), (9, 90.0)].map(|(count, length)| Bar { count, length, colour });
        let style = BarStyle {
            pitch: 20.0,
            gap: 2.0,
            least: 3.0,
            name: 16.0,
            indent: 10.0,
            count: 16.0,
            drop: 1.0,
        };
        let mut figure = Figure::new((80, 220));
        bar_group(&mut figure, (100.0, 10.0), "name", &bars, &style);
        let areas: Vec<Rect> = figure.bars().map(|(area, _)| area).collect();
        assert_eq!(areas.iter().map(|a| a.width).collect::<Vec<_>>(), [0.0, 3.0, 90.0]);
        assert_eq!(areas[2], Rect { x: 100.0, y: 50.0, width: 90.0, height: 18.0 });
        figure.check_legible().unwrap();
    }
}
