//! Areas of objects as a histogram on a logarithmic axis.

use base::words::with_commas;
use curation::figure::Figure;

use super::{
    GRID, LABEL, MARGIN, TOP, centred, colour, legend, legend_width, number, power_of_ten,
    right_aligned, ticks, title,
};
use crate::data::statistics::{SplitSurvey, Survey};

const WIDTH: f32 = 1000.0;
const HEIGHT: f32 = 460.0;
/// Bins of one power of ten.
const PER_DECADE: f64 = 6.0;

/// How many objects have which area; splits on top of each other.
#[must_use]
pub fn object_sizes(survey: &Survey) -> Figure {
    // Below one pixel is the first bin.
    let bin = |area: f64| (area.max(1.0).log10() * PER_DECADE).floor() as usize;
    let largest = survey.splits.iter().flat_map(|s| &s.details.areas).copied().fold(10.0, f64::max);
    let decades = (bin(largest) / PER_DECADE as usize + 1) as f64;
    let bins = (decades * PER_DECADE) as usize;
    let mut counts = vec![vec![0u64; survey.splits.len()]; bins];
    for (k, split) in survey.splits.iter().enumerate() {
        for &area in split.details.areas.iter().filter(|area| area.is_finite()) {
            counts[bin(area).min(bins - 1)][k] += 1;
        }
    }
    let most = counts.iter().map(|c| c.iter().sum::<u64>()).max().unwrap_or(0);
    let ticks = ticks(most as f64, true);
    let scale = HEIGHT / ticks.last().copied().unwrap_or(1.0) as f32;
    let left = MARGIN + 110.0;
    let (width, height) = (left + WIDTH + MARGIN + 30.0, TOP + HEIGHT + 84.0 + MARGIN);
    let sum = |s: &SplitSurvey| (s.split, with_commas(s.details.areas.len() as u64));
    let sums: Vec<_> = survey.splits.iter().map(sum).collect();
    let mut figure = Figure::new(width.max(legend_width(&sums)) as u32, height as u32);
    title(&mut figure, "area of objects in pixels");
    legend(&mut figure, &sums);
    let bottom = TOP + HEIGHT;
    for tick in &ticks {
        let y = bottom - *tick as f32 * scale;
        figure.bar((left, y), (WIDTH, 2.0), GRID);
        right_aligned(&mut figure, (left - 10.0, y - LABEL / 2.0), &number(*tick));
    }
    let step = WIDTH / bins as f32;
    for (i, counts) in counts.iter().enumerate() {
        let mut y = bottom;
        for (split, &count) in survey.splits.iter().zip(counts) {
            let tall = count as f32 * scale;
            y -= tall;
            figure.bar((left + step * i as f32 + 1.0, y), (step - 2.0, tall), colour(split.split));
        }
    }
    for decade in 0..=decades as u32 {
        let x = left + step * (f64::from(decade) * PER_DECADE) as f32;
        figure.bar((x, bottom), (2.0, 10.0), GRID);
        centred(&mut figure, (x, bottom + 14.0), &power_of_ten(decade));
    }
    centred(&mut figure, (left + WIDTH / 2.0, bottom + 48.0), "pixels");
    figure
}
