//! Axes from 0, and logarithmic ones from 1.

use super::{AxisStyle, INK, number, power_of_ten, ticks};
use crate::figure::{Figure, Rect};
use sonotune_base::words::with_commas;

/// A linear axis from 0 to a round number.
#[derive(Debug, Clone)]
pub struct LinearAxis {
    ticks: Vec<f64>,
    /// Pixels per unit.
    scale: f32,
}

impl LinearAxis {
    /// An axis `length` pixels long that reaches `most`; with whole numbers only if `whole`.
    #[must_use]
    pub fn new(most: f64, whole: bool, length: f32) -> Self {
        let ticks = ticks(most, whole);
        let scale = length / ticks.last().copied().unwrap_or(1.0) as f32;
        Self { ticks, scale }
    }

    /// Distance of `value` from the origin, in pixels.
    #[must_use]
    pub fn place(&self, value: f32) -> f32 {
        value * self.scale
    }

    /// Draws the axis upwards: a line across `plot` at each tick, with its number on the left.
    pub fn draw_upwards(&self, figure: &mut Figure, plot: Rect, style: AxisStyle) {
        for &tick in &self.ticks {
            let y = plot.bottom() - self.place(tick as f32);
            figure.bar(Rect { y, height: style.line, ..plot }, style.colour);
            let corner = (plot.x - 10.0, y - style.size / 2.0);
            figure.right_text(corner, &number(tick), style.size, INK);
        }
    }

    /// Draws the axis to the right: a line down `plot` at each tick, with its number below.
    pub fn draw_rightwards(&self, figure: &mut Figure, plot: Rect, style: AxisStyle) {
        for &tick in &self.ticks {
            let x = plot.x + self.place(tick as f32);
            figure.bar(Rect { x, width: style.line, ..plot }, style.colour);
            figure.centred_text((x, plot.bottom() + 10.0), &number(tick), style.size, INK);
        }
    }
}

/// A logarithmic axis to the right, from 1 to a power of ten.
#[derive(Debug, Clone, Copy)]
pub struct LogAxis {
    /// Powers of ten along the axis, at least 1.
    pub decades: u32,
    /// Pixels from 1 to the end.
    pub length: f32,
}

impl LogAxis {
    /// An axis `length` pixels long that reaches `most`, and at least 10.
    #[must_use]
    pub fn new(most: u64, length: f32) -> Self {
        Self { decades: (most.max(10) as f32).log10().ceil() as u32, length }
    }

    /// Distance of `count` from the origin, pixels; 0 for both 0 and 1.
    #[must_use]
    pub fn place(self, count: u64) -> f32 {
        (count.max(1) as f32).log10() / self.decades.max(1) as f32 * self.length
    }

    /// Draws a line down `plot` at each power of ten, with the number in full above.
    pub fn draw_above(self, figure: &mut Figure, plot: Rect, style: AxisStyle) {
        for (decade, x) in self.marks(plot) {
            figure.bar(Rect { x, width: style.line, ..plot }, style.colour);
            let text = with_commas(10u64.saturating_pow(decade));
            figure.centred_text((x, plot.y - 6.0 - style.size), &text, style.size, INK);
        }
    }

    /// Draws a short mark below `plot` at each power of ten, with the number in short below.
    pub fn draw_below(self, figure: &mut Figure, plot: Rect, style: AxisStyle) {
        for (decade, x) in self.marks(plot) {
            let y = plot.bottom();
            figure.bar(Rect { x, y, width: style.line, height: 10.0 }, style.colour);
            figure.centred_text((x, y + 14.0), &power_of_ten(decade), style.size, INK);
        }
    }

    /// Each power of ten and its x.
    fn marks(self, plot: Rect) -> impl Iterator<Item = (u32, f32)> {
        let place = move |decade| decade as f32 / self.decades.max(1) as f32 * self.length;
        (0..=self.decades).map(move |decade| (decade, plot.x + place(decade)))
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    const PLOT: Rect = Rect { x: 100.0, y: 50.0, width: 300.0, height: 200.0 };
    const STYLE: AxisStyle = AxisStyle { size: 20.0, line: 2.0, colour: Rgb([200; 3]) };

    #[test]
    fn a_linear_axis_has_a_line_at_each_tick() {
        let axis = LinearAxis::new(9.0, true, 200.0);
        assert_eq!((axis.place(0.0), axis.place(5.0), axis.place(10.0)), (0.0, 100.0, 200.0));
        let mut figure = Figure::new((300, 450));
        axis.draw_upwards(&mut figure, PLOT, STYLE);
        let ys: Vec<f32> = figure.bars().map(|(area, _)| area.y).collect();
        assert_eq!(ys, [250.0, 210.0, 170.0, 130.0, 90.0, 50.0]);
        LinearAxis::new(f64::NAN, true, 300.0).draw_rightwards(&mut figure, PLOT, STYLE);
        let xs: Vec<f32> = figure.bars().skip(6).map(|(area, _)| area.x).collect();
        assert_eq!(xs, [100.0, 400.0]);
        figure.check_legible().unwrap();
    }

    #[test]
    fn a_logarithmic_axis_ends_at_a_power_of_ten() {
        let axis = LogAxis::new(101, 300.0);
        assert_eq!([0, 1, 10, 100, 1000].map(|n| axis.place(n)), [0.0, 0.0, 100.0, 200.0, 300.0]);
        assert_eq!((LogAxis::new(0, 1.0).decades, LogAxis::new(1000, 1.0).decades), (1, 3));
        let mut figure = Figure::new((300, 450));
        axis.draw_above(&mut figure, PLOT, STYLE);
        axis.draw_below(&mut figure, PLOT, STYLE);
        let xs: Vec<f32> = figure.bars().map(|(area, _)| area.x).collect();
        assert_eq!(xs, [100.0, 200.0, 300.0, 400.0, 100.0, 200.0, 300.0, 400.0]);
        figure.check_legible().unwrap();
        LogAxis::new(u64::MAX, 300.0).draw_above(&mut figure, PLOT, STYLE);
    }
}
