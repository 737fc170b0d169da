//! Widths and heights of images as a scatter plot.

use sonotune_draw::{
    Figure, Rect,
    chart::{AxisStyle, INK, LinearAxis},
};

use super::{AXIS, LABEL, MARGIN, TOP, colour, entries, legend, legend_width, title};
use sonotune_base::words::counted;

use crate::statistics::Survey;

const SIDE: f32 = 640.0;
const STYLE: AxisStyle = AxisStyle { line: 1.0, ..AXIS };

/// A square for each size, whose side grows with the logarithm of the number of images.
#[must_use]
pub fn image_sizes(survey: &Survey) -> Figure {
    let sizes = || survey.splits.iter().flat_map(|s| &s.details.sizes);
    let most = sizes().map(|s| s.height.max(s.width)).max().unwrap_or(1);
    let axis = LinearAxis::new(f64::from(most), true, SIDE);
    let plot = Rect { x: MARGIN + 120.0, y: TOP, width: SIDE, height: SIDE };
    let (width, height) = (plot.x + SIDE + 60.0 + MARGIN, TOP + SIDE + 84.0 + MARGIN);
    let counts = entries(survey, |s| counted(s.details.sizes.len(), "size"));
    let mut figure = Figure::new((height as u32, width.max(legend_width(&counts)) as u32));
    title(&mut figure, "height over width of images, in pixels");
    legend(&mut figure, &counts);
    axis.draw_upwards(&mut figure, plot, STYLE);
    axis.draw_rightwards(&mut figure, plot, STYLE);
    figure.centred_text((plot.x + SIDE / 2.0, plot.bottom() + 44.0), "width", LABEL, INK);
    for (k, split) in survey.splits.iter().enumerate() {
        // Later splits are smaller, so that the earlier ones remain visible.
        let shrink = 1.0 - 0.25 * k as f32;
        for size in split.details.sizes.iter().rev() {
            let side = (8.0 + 4.0 * (size.num_images as f32).log2()) * shrink;
            let x = plot.x + axis.place(size.width as f32) - side / 2.0;
            let y = plot.bottom() - axis.place(size.height as f32) - side / 2.0;
            figure.bar(Rect { x, y, width: side, height: side }, colour(split.split));
        }
    }
    figure
}
