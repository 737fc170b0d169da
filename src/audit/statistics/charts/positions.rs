//! Where objects are, as a heat map.

use sonotune_base::words::{share, with_commas};
use sonotune_draw::{
    Figure, Rect,
    chart::{INK, heat_map, heat_scale},
};

use super::{LABEL, MARGIN, TITLE, title};
use crate::statistics::{CELLS, HeatMap, Survey};

/// Side of a cell.
const CELL: f32 = 14.0;
const SIDE: f32 = CELL * CELLS as f32;
const TOP: f32 = MARGIN + TITLE + 52.0;

/// For each position, how many of the images with objects have one there; all splits together.
#[must_use]
pub fn positions(survey: &Survey) -> Figure {
    let mut map = HeatMap::default();
    survey.splits.iter().for_each(|split| map.merge(&split.details.heat_map));
    let most = map.counts.iter().copied().max().unwrap_or(0);
    let left = MARGIN + 84.0;
    let (width, height) = (left + SIDE + 170.0 + MARGIN, TOP + SIDE + 44.0 + MARGIN);
    let mut figure = Figure::new((height as u32, width as u32));
    let images = with_commas(u64::from(map.num_images));
    title(&mut figure, &format!("where objects lie ({images} images with objects)"));
    let shares = map.counts.iter().map(|&count| count as f32 / most.max(1) as f32);
    heat_map(&mut figure, (left, TOP), CELL, CELLS, shares);
    let (centre, middle) = (left + SIDE / 2.0, TOP + (SIDE - LABEL) / 2.0);
    figure.centred_text((centre, TOP - LABEL - 6.0), "top", LABEL, INK);
    figure.centred_text((centre, TOP + SIDE + 8.0), "bottom", LABEL, INK);
    figure.right_text((left - 8.0, middle), "left", LABEL, INK);
    figure.text((left + SIDE + 8.0, middle), "right", LABEL, INK);
    scale(&mut figure, left + SIDE + 84.0, most, map.num_images);
    figure
}

/// What the colours mean, beside the map.
fn scale(figure: &mut Figure, x: f32, most: u32, num_images: u32) {
    heat_scale(figure, Rect { x, y: TOP, width: 28.0, height: SIDE });
    let most = f64::from(most) / f64::from(num_images.max(1));
    figure.text((x + 34.0, TOP), &share(most, 0), LABEL, INK);
    figure.text((x + 34.0, TOP + SIDE - LABEL), &share(0.0, 0), LABEL, INK);
}
