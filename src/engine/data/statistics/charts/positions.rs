//! Where objects lie, as a heat map.

use base::words::{share, with_commas};
use curation::figure::Figure;
use image::Rgb;

use super::{LABEL, MARGIN, TITLE, centred, right_aligned, title};
use crate::data::statistics::{CELLS, HeatMap, Survey};

/// Side of a cell.
const CELL: f32 = 14.0;
const SIDE: f32 = CELL * CELLS as f32;
const TOP: f32 = MARGIN + TITLE + 52.0;

/// For each place of the image, in how many of those with objects one lies there; all splits.
#[must_use]
pub fn positions(survey: &Survey) -> Figure {
    let mut map = HeatMap::default();
    survey.splits.iter().for_each(|split| map.merge(&split.details.heat_map));
    let most = map.counts.iter().copied().max().unwrap_or(0);
    let left = MARGIN + 84.0;
    let (width, height) = (left + SIDE + 170.0 + MARGIN, TOP + SIDE + 44.0 + MARGIN);
    let mut figure = Figure::new(width as u32, height as u32);
    let images = with_commas(u64::from(map.num_images));
    title(&mut figure, &format!("where objects lie ({images} images with objects)"));
    for (i, &count) in map.counts.iter().enumerate() {
        let (row, column) = ((i / CELLS) as f32, (i % CELLS) as f32);
        let height = count as f32 / most.max(1) as f32;
        figure.bar((left + column * CELL, TOP + row * CELL), (CELL, CELL), heat(height));
    }
    centred(&mut figure, (left + SIDE / 2.0, TOP - LABEL - 6.0), "top");
    centred(&mut figure, (left + SIDE / 2.0, TOP + SIDE + 8.0), "bottom");
    right_aligned(&mut figure, (left - 8.0, TOP + (SIDE - LABEL) / 2.0), "left");
    scale(&mut figure, left + SIDE + 84.0, most, map.num_images);
    let right = left + SIDE + 8.0;
    figure.text((right, TOP + (SIDE - LABEL) / 2.0), "right", LABEL, super::INK);
    figure
}

/// What the colours mean, beside the map.
fn scale(figure: &mut Figure, x: f32, most: u32, num_images: u32) {
    const STEPS: usize = 64;
    let step = SIDE / STEPS as f32;
    for i in 0..STEPS {
        let height = 1.0 - i as f32 / (STEPS - 1) as f32;
        figure.bar((x, TOP + i as f32 * step), (28.0, step + 0.5), heat(height));
    }
    let most = f64::from(most) / f64::from(num_images.max(1));
    figure.text((x + 34.0, TOP), &share(most, 0), LABEL, super::INK);
    figure.text((x + 34.0, TOP + SIDE - LABEL), &share(0.0, 0), LABEL, super::INK);
}

/// From near black over red and yellow to near white: darker is less, in grey too.
fn heat(share: f32) -> Rgb<u8> {
    const STOPS: [[f32; 3]; 5] = [
        [12.0, 7.0, 34.0],
        [101.0, 21.0, 110.0],
        [212.0, 72.0, 66.0],
        [251.0, 170.0, 40.0],
        [252.0, 250.0, 190.0],
    ];
    let at = share.clamp(0.0, 1.0) * (STOPS.len() - 1) as f32;
    let below = (at as usize).min(STOPS.len() - 2);
    let part = at - below as f32;
    Rgb(std::array::from_fn(|c| {
        let (a, b) = (STOPS[below][c], STOPS[below + 1][c]);
        (a + (b - a) * part).round() as u8
    }))
}
