//! Where in a picture the ultrasound is.
//!
//! A machine's screen holds the image of the probe on a plain background, and around it text, rulers, a grey bar
//! and symbols. [`of_regions`] takes what a DICOM file says about them. Without that, [`find`] looks at the picture,
//! in five steps, none of which draws anything at random:
//!
//! 1. The background is the grey level that most of the picture's border has; black, if no level has half of it.
//! 2. The picture is divided into square cells, 128 along its longer side, of at least 4 pixels. A cell counts if
//!    at least 30 % of its pixels differ from the background by more than 4 levels: text, rulers and
//!    frames are thin strokes, so that most of their cells do not count, and the speckle of tissue is everywhere.
//! 3. What is narrower than three cells is dropped (a morphological opening), then gaps of up to four cells are
//!    closed: shadows and vessels.
//! 4. The largest connected part stays, and every other that has at least a twentieth of its area: a screen may
//!    show two images side by side, and a shadow may part the near field from the deep one. The rectangle around
//!    them, a cell wider at each side, is the field of view.
//! 5. If it is less than a tenth of the picture, or more than 95 %, the picture stays whole.
//!
//! Public scripts do the same by other means: a threshold, a closing, and the box of the largest contour (OpenCV's
//! `findContours`); sonocrop keeps what moves in a clip, which a single image does not tell.

mod grid;

use sonotune_formats::dicom::Region;

use crate::transforms::luma;
use grid::Grid;

/// Pixels whose grey level differs from the background's by no more than this many levels belong to it: JPEG and
/// the codecs of video leave some.
const NOISE: u8 = 4;
/// The share of a cell's pixels that makes it part of an image.
const SHARE: f64 = 0.3;
/// A level within this distance of the background's is one with it, where the border is looked at.
const SAME: usize = 4;
const CELLS: u32 = 128;
const SMALLEST_CELL: u32 = 4;
/// The area of a part that is kept beside the largest, as a share of that one's.
const LEAST_PART: f64 = 0.05;
/// Shares of the picture's area between which a rectangle is believed.
const BELIEVED: std::ops::RangeInclusive<f64> = 0.1..=0.95;

/// PS3.3, C.8.5.5.1.1: 2D.
const FORMAT_2D: u16 = 1;
/// PS3.3, C.8.5.5.1.2: tissue and colour flow.
const TISSUE: [u16; 2] = [1, 2];

/// The rectangle `[x, y, width, height]` around the 2D regions of a DICOM file that show tissue or flow; if none
/// does, around all 2D regions; `None` without any.
#[must_use]
pub fn of_regions(regions: &[Region]) -> Option<[u32; 4]> {
    let flat = |region: &&Region| region.spatial_format == FORMAT_2D;
    let shows = |region: &&Region| flat(region) && TISSUE.contains(&region.data_type);
    let around = |chosen: &mut dyn Iterator<Item = &Region>| {
        chosen.map(|region| region.rect).reduce(|[x, y, width, height], [u, v, w, h]| {
            let (left, top) = (x.min(u), y.min(v));
            [left, top, (x + width).max(u + w) - left, (y + height).max(v + h) - top]
        })
    };
    around(&mut regions.iter().filter(shows)).or_else(|| around(&mut regions.iter().filter(flat)))
}

/// The rectangle `[x, y, width, height]` of the ultrasound in a picture of `(height, width)` with 1 or 3 channels,
/// `[H, W, C]`; `None`: all of it, or not found.
#[must_use]
pub fn find(pixels: &[u8], (height, width): (u32, u32), channels: usize) -> Option<[u32; 4]> {
    let area = f64::from(height) * f64::from(width);
    if area == 0.0 {
        return None;
    }
    let grey: Vec<u8>;
    let levels = if channels == 3 {
        grey = pixels.chunks_exact(3).map(luma).collect();
        &grey
    } else {
        pixels
    };
    let background = background(levels, (height as usize, width as usize));
    let side = height.max(width).div_ceil(CELLS).max(SMALLEST_CELL);
    let cells =
        Grid::of_picture(levels, (height, width), side, |level| level.abs_diff(background) > NOISE);
    let [left, top, right, bottom] = cells.opened(1).closed(2).around_large_parts(LEAST_PART)?;
    let edge = |cell: usize, end: u32| (cell as u32).saturating_mul(side).min(end);
    let (x, y) = (edge(left.saturating_sub(1), width), edge(top.saturating_sub(1), height));
    let (x_end, y_end) = (edge(right + 1, width), edge(bottom + 1, height));
    let share = f64::from(x_end - x) * f64::from(y_end - y) / area;
    BELIEVED.contains(&share).then_some([x, y, x_end - x, y_end - y])
}

/// The grey level around the picture.
fn background(levels: &[u8], (height, width): (usize, usize)) -> u8 {
    let rim = (height.min(width) / 100).max(1);
    let mut counts = [0u32; 256];
    for (y, row) in levels.chunks_exact(width).enumerate() {
        if y < rim || y + rim >= height {
            row.iter().for_each(|&level| counts[usize::from(level)] += 1);
        } else {
            let ends = row.iter().take(rim).chain(row.iter().rev().take(rim));
            ends.for_each(|&level| counts[usize::from(level)] += 1);
        }
    }
    let near = |level: usize| -> u32 {
        counts[level.saturating_sub(SAME)..(level + SAME + 1).min(256)].iter().sum()
    };
    // Among equals the darkest.
    let level = (0..256).rev().max_by_key(|&level| (near(level), counts[level])).unwrap_or(0);
    if 2 * near(level) >= counts.iter().sum() { level as u8 } else { 0 }
}

#[cfg(test)]
mod tests;
