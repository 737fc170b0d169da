//! The points of a mask's outline.

use sonotune_base::Rle;

use crate::{frame::Frame, overlap::Spacing, spans::Spans};

/// The middles of the pixel edges between a mask and what surrounds it; `[y, x]` in units of the spacing, from the centre
/// of the image's first pixel.
pub(super) struct Outline {
    pub(super) within_image: Vec<[f64; 2]>,
    /// Those where the image ends.
    at_edge: Vec<[f64; 2]>,
}

impl Outline {
    /// For a mask with pixels; `spans` are its own.
    pub(super) fn of(mask: &Rle, spans: &Spans, spacing: Spacing) -> Self {
        let frame = Frame::around(&[spans], u64::from(mask.height));
        let (inside, pieces) = frame.raster(spans);
        let outside = surroundings(&inside, frame.height);
        let mut outline = Self { within_image: Vec::new(), at_edge: Vec::new() };
        let (height, width) = (f64::from(mask.height), f64::from(mask.width));
        for place in pieces.into_iter().flatten() {
            let [y, x] = frame.pixel(place);
            for (neighbour, dy, dx) in [
                (place - 1, -0.5, 0.0),
                (place + 1, 0.5, 0.0),
                (place - frame.height, 0.0, -0.5),
                (place + frame.height, 0.0, 0.5),
            ] {
                if !outside[neighbour] {
                    continue;
                }
                let (y, x) = (y + dy, x + dx);
                let is_edge = y < 0.0 || x < 0.0 || y > height - 1.0 || x > width - 1.0;
                let list = if is_edge { &mut outline.at_edge } else { &mut outline.within_image };
                list.push([y * spacing.y, x * spacing.x]);
            }
        }
        outline
    }

    pub(super) fn points(&self) -> impl Iterator<Item = [f64; 2]> {
        self.within_image.iter().chain(&self.at_edge).copied()
    }
}

/// The background that is connected with the frame's margin through common edges: not the holes.
fn surroundings(inside: &[bool], height: usize) -> Vec<bool> {
    let mut outside = vec![false; inside.len()];
    let mut next = vec![0];
    while let Some(place) = next.pop() {
        if outside[place] || inside[place] {
            continue;
        }
        outside[place] = true;
        let y = place % height;
        next.extend((y > 0).then(|| place - 1));
        next.extend((y + 1 < height).then(|| place + 1));
        next.extend(place.checked_sub(height));
        next.extend(Some(place + height).filter(|&right| right < inside.len()));
    }
    outside
}
