//! Areas of objects as a histogram on a logarithmic axis.

use sonotune_base::words::with_commas;
use sonotune_draw::{
    Figure, Rect,
    chart::{INK, LinearAxis, LogAxis, histogram},
};

use super::{AXIS, LABEL, MARGIN, TOP, colour, entries, legend, legend_width, title};
use crate::statistics::{SplitSurvey, Survey};

const WIDTH: f32 = 1000.0;
const HEIGHT: f32 = 460.0;
/// Bins of one power of ten.
const PER_DECADE: usize = 6;

/// How many objects have which area; the splits are stacked.
#[must_use]
pub fn object_sizes(survey: &Survey) -> Figure {
    // Below one pixel is the first bin.
    let bin = |area: f64| (area.max(1.0).log10() * PER_DECADE as f64).floor() as usize;
    let areas = || survey.splits.iter().flat_map(|s| &s.details.areas).copied();
    let largest = areas().filter(|area| area.is_finite()).fold(10.0, f64::max);
    let decades = bin(largest) / PER_DECADE + 1;
    let bins = decades * PER_DECADE;
    let mut counts = vec![vec![0u64; survey.splits.len()]; bins];
    for (k, split) in survey.splits.iter().enumerate() {
        for &area in split.details.areas.iter().filter(|area| area.is_finite()) {
            counts[bin(area).min(bins - 1)][k] += 1;
        }
    }
    let most = counts.iter().map(|c| c.iter().sum::<u64>()).max().unwrap_or(0);
    let axis = LinearAxis::new(most as f64, true, HEIGHT);
    let plot = Rect { x: MARGIN + 110.0, y: TOP, width: WIDTH, height: HEIGHT };
    let (width, height) = (plot.x + WIDTH + MARGIN + 30.0, TOP + HEIGHT + 84.0 + MARGIN);
    let sums = entries(survey, |s| with_commas(s.details.areas.len() as u64));
    let mut figure = Figure::new((height as u32, width.max(legend_width(&sums)) as u32));
    title(&mut figure, "area of objects in pixels");
    legend(&mut figure, &sums);
    axis.draw_upwards(&mut figure, plot, AXIS);
    let column = |counts: &Vec<u64>| -> Vec<_> {
        let part =
            |(split, &count): (&SplitSurvey, &u64)| (axis.place(count as f32), colour(split.split));
        survey.splits.iter().zip(counts).map(part).collect()
    };
    let columns: Vec<_> = counts.iter().map(column).collect();
    histogram(&mut figure, plot, &columns);
    let below = LogAxis { decades: decades as u32, length: WIDTH };
    below.draw_below(&mut figure, plot, AXIS);
    figure.centred_text((plot.x + WIDTH / 2.0, plot.bottom() + 48.0), "pixels", LABEL, INK);
    figure
}
