//! Parts of charts: axes, legends, bars, histograms and heat maps, drawn on a [`Figure`](crate::Figure).
//!
//! The caller lays out the figure and places each part; all lengths are in pixels.

mod axis;
mod bars;
mod heat;
mod histogram;
mod legend;
mod numbers;

use image::Rgb;

pub use crate::chart::{
    axis::{LinearAxis, LogAxis},
    bars::{Bar, BarStyle, bar_group},
    heat::{heat_map, heat_scale},
    histogram::histogram,
    legend::Legend,
    numbers::{number, power_of_ten, ticks},
};

/// Colour of the text in charts.
pub const INK: Rgb<u8> = Rgb([30, 30, 30]);

/// How an axis looks.
#[derive(Debug, Clone, Copy)]
pub struct AxisStyle {
    /// Height of the numbers.
    pub size: f32,
    /// Thickness of the lines.
    pub line: f32,
    /// Colour of the lines.
    pub colour: Rgb<u8>,
}
