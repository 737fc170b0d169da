//! Widths and heights of images as a scatter plot.

use base::words::counted;
use curation::figure::Figure;

use super::{
    GRID, LABEL, MARGIN, TOP, centred, colour, legend, legend_width, number, right_aligned, ticks,
    title,
};
use crate::data::statistics::{SplitSurvey, Survey};

const SIDE: f32 = 640.0;

/// A square for each size, whose side grows with the logarithm of the number of images.
#[must_use]
pub fn image_sizes(survey: &Survey) -> Figure {
    let sizes = || survey.splits.iter().flat_map(|s| &s.details.sizes);
    let most = sizes().map(|s| s.height.max(s.width)).max().unwrap_or(1);
    let ticks = ticks(f64::from(most), true);
    let scale = SIDE / ticks.last().copied().unwrap_or(1.0) as f32;
    let left = MARGIN + 120.0;
    let (width, height) = (left + SIDE + 60.0 + MARGIN, TOP + SIDE + 84.0 + MARGIN);
    let count = |s: &SplitSurvey| (s.split, counted(s.details.sizes.len(), "size"));
    let counts: Vec<_> = survey.splits.iter().map(count).collect();
    let mut figure = Figure::new(width.max(legend_width(&counts)) as u32, height as u32);
    title(&mut figure, "height over width of images, in pixels");
    legend(&mut figure, &counts);
    let bottom = TOP + SIDE;
    for tick in &ticks {
        let at = *tick as f32 * scale;
        figure.bar((left, bottom - at), (SIDE, 1.0), GRID);
        figure.bar((left + at, TOP), (1.0, SIDE), GRID);
        right_aligned(&mut figure, (left - 10.0, bottom - at - LABEL / 2.0), &number(*tick));
        centred(&mut figure, (left + at, bottom + 10.0), &number(*tick));
    }
    centred(&mut figure, (left + SIDE / 2.0, bottom + 44.0), "width");
    for (k, split) in survey.splits.iter().enumerate() {
        // Later splits are smaller, so that the earlier ones are seen behind them.
        let shrink = 1.0 - 0.25 * k as f32;
        for size in split.details.sizes.iter().rev() {
            let side = (8.0 + 4.0 * (size.num_images as f32).log2()) * shrink;
            let x = left + size.width as f32 * scale - side / 2.0;
            let y = bottom - size.height as f32 * scale - side / 2.0;
            figure.bar((x, y), (side, side), colour(split.split));
        }
    }
    figure
}
