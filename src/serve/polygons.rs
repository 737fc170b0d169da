//! Outlines of masks.

use std::collections::HashMap;

use sonotune_base::Rle;

/// A corner between pixels: `(x, y)`, so that pixel `(x, y)` is between `(x, y)` and `(x + 1, y + 1)`.
type Corner = (i32, i32);

/// The outlines of a mask, one for each connected part, as `[x0, y0, x1, y1, …]` along the edges of the pixels, where
/// the right and bottom edges of the image are its width and height. Holes are left out. Corners that are
/// closer than `tolerance` pixels to the simplified outline are dropped.
pub(crate) fn outlines(mask: &Rle, tolerance: f64) -> Vec<Vec<f64>> {
    let edges = Edges::of(mask);
    edges
        .loops()
        .into_iter()
        .filter(|corners| doubled_area(corners) > 0)
        .filter_map(|corners| {
            let corners = simplified(&corners, tolerance);
            let flat = corners.iter().flat_map(|&(x, y)| [f64::from(x), f64::from(y)]);
            (corners.len() >= 3).then(|| flat.collect())
        })
        .collect()
}

/// The edges between a mask and what surrounds it, each with the mask on its right on a screen, where y goes down.
struct Edges {
    /// By the corner they leave; at most two leave a corner.
    from: HashMap<Corner, Vec<Corner>>,
    order: Vec<(Corner, Corner)>,
}

impl Edges {
    fn of(mask: &Rle) -> Self {
        let [x, y, w, h] = mask.bbox().map(|v| v as usize);
        let pixels = mask.to_mask_part(y..y + h, x..x + w);
        let inside = |column: i64, row: i64| {
            let within = (0..w as i64).contains(&column) && (0..h as i64).contains(&row);
            within && pixels[row as usize * w + column as usize] != 0
        };
        let (left, top) = (x as i32, y as i32);
        let mut edges = Self { from: HashMap::new(), order: Vec::new() };
        for row in 0..h as i64 {
            for column in (0..w as i64).filter(|&column| inside(column, row)) {
                let (x, y) = (left + column as i32, top + row as i32);
                for (neighbour, start, end) in [
                    ((column, row - 1), (x, y), (x + 1, y)),
                    ((column + 1, row), (x + 1, y), (x + 1, y + 1)),
                    ((column, row + 1), (x + 1, y + 1), (x, y + 1)),
                    ((column - 1, row), (x, y + 1), (x, y)),
                ] {
                    if !inside(neighbour.0, neighbour.1) {
                        edges.from.entry(start).or_default().push(end);
                        edges.order.push((start, end));
                    }
                }
            }
        }
        edges
    }

    /// Closed walks along all edges. Where two parts touch at a corner, each walk turns to stay with its own part.
    fn loops(mut self) -> Vec<Vec<Corner>> {
        let mut loops = Vec::new();
        for (start, end) in std::mem::take(&mut self.order) {
            if !self.take(start, end) {
                continue;
            }
            let (mut corners, mut before, mut at) = (vec![start], start, end);
            // A walk may pass its start before its end, if its part touches itself there.
            while at != start || self.has(at, to_the_right(before, at)) {
                corners.push(at);
                let Some(next) = self.next(before, at) else { break };
                (before, at) = (at, next);
            }
            loops.push(corners);
        }
        loops
    }

    fn has(&self, start: Corner, end: Corner) -> bool {
        self.from.get(&start).is_some_and(|ends| ends.contains(&end))
    }

    fn take(&mut self, start: Corner, end: Corner) -> bool {
        let Some(ends) = self.from.get_mut(&start) else { return false };
        let Some(place) = ends.iter().position(|other| *other == end) else { return false };
        ends.swap_remove(place);
        true
    }

    fn next(&mut self, before: Corner, at: Corner) -> Option<Corner> {
        let right = to_the_right(before, at);
        let ends = self.from.get(&at)?;
        let next = if ends.contains(&right) { right } else { *ends.first()? };
        self.take(at, next).then_some(next)
    }
}

/// The corner after a turn to the right at `at`.
fn to_the_right(before: Corner, at: Corner) -> Corner {
    (at.0 - (at.1 - before.1), at.1 + (at.0 - before.0))
}

/// Positive for an outline around the mask, negative around a hole.
fn doubled_area(corners: &[Corner]) -> i64 {
    let next = corners.iter().cycle().skip(1);
    let cross = |(a, b): (&Corner, &Corner)| {
        i64::from(a.0) * i64::from(b.1) - i64::from(b.0) * i64::from(a.1)
    };
    corners.iter().zip(next).map(cross).sum()
}

/// Drops corners on straight lines, then those within `tolerance` (Douglas and Peucker, 1973).
fn simplified(corners: &[Corner], tolerance: f64) -> Vec<Corner> {
    let count = corners.len();
    let turns = |i: usize| {
        let (a, b, c) = (corners[(i + count - 1) % count], corners[i], corners[(i + 1) % count]);
        (b.0 - a.0, b.1 - a.1) != (c.0 - b.0, c.1 - b.1)
    };
    let corners: Vec<_> = (0..count).filter(|&i| turns(i)).map(|i| corners[i]).collect();
    if tolerance <= 0.0 || corners.len() <= 4 {
        return corners;
    }
    // The outline is split at its first corner and at the one farthest from it.
    let distance = |&(x, y): &Corner| {
        let (dx, dy) = (i64::from(x - corners[0].0), i64::from(y - corners[0].1));
        dx * dx + dy * dy
    };
    let far = (0..corners.len()).max_by_key(|&i| distance(&corners[i])).unwrap_or(0);
    let mut kept = vec![false; corners.len() + 1];
    let mut closed = corners.clone();
    closed.push(corners[0]);
    let mut open = vec![(0, far), (far, corners.len())];
    (kept[0], kept[far]) = (true, true);
    while let Some((start, end)) = open.pop() {
        let off = |i: usize| from_segment(closed[i], closed[start], closed[end]);
        let farthest = (start + 1..end).max_by(|&a, &b| off(a).total_cmp(&off(b)));
        if let Some(i) = farthest.filter(|&i| off(i) > tolerance) {
            kept[i] = true;
            open.extend([(start, i), (i, end)]);
        }
    }
    (0..corners.len()).filter(|&i| kept[i]).map(|i| corners[i]).collect()
}

/// How far a point is from a segment.
fn from_segment(point: Corner, start: Corner, end: Corner) -> f64 {
    let minus = |a: Corner, b: Corner| (f64::from(a.0 - b.0), f64::from(a.1 - b.1));
    let ((px, py), (sx, sy)) = (minus(point, start), minus(end, start));
    let length = sx * sx + sy * sy;
    let along = if length > 0.0 { ((px * sx + py * sy) / length).clamp(0.0, 1.0) } else { 0.0 };
    (px - along * sx).hypot(py - along * sy)
}

#[cfg(test)]
mod tests {
    use sonotune_base::{Segmentation, seed::Rng};

    use super::*;

    fn mask(rows: &[&str]) -> Rle {
        let pixels: Vec<u8> =
            rows.iter().flat_map(|row| row.bytes().map(|byte| u8::from(byte == b'#'))).collect();
        Rle::from_mask(&pixels, (rows.len() as u32, rows[0].len() as u32)).unwrap()
    }

    #[test]
    fn a_square_has_four_corners_and_a_hole_is_left_out() {
        let square = mask(&["....", ".##.", ".##."]);
        assert_eq!(outlines(&square, 0.0), [[1.0, 1.0, 3.0, 1.0, 3.0, 3.0, 1.0, 3.0]]);
        let ring = mask(&["###", "#.#", "###"]);
        assert_eq!(outlines(&ring, 0.0), [[0.0, 0.0, 3.0, 0.0, 3.0, 3.0, 0.0, 3.0]]);
        assert!(outlines(&mask(&["..", ".."]), 0.0).is_empty());
    }

    #[test]
    fn parts_that_touch_at_a_corner_stay_apart() {
        assert_eq!(outlines(&mask(&["#.", ".#"]), 0.0).len(), 2);
        assert_eq!(outlines(&mask(&[".#", "#."]), 0.0).len(), 2);
    }

    #[test]
    fn an_outline_without_tolerance_gives_the_mask_back() {
        for case in 0..200 {
            let mut rng = Rng::at(case, &[7]);
            let (h, w) = (1 + rng.below(20) as u32, 1 + rng.below(20) as u32);
            let density = rng.uniform();
            let pixels: Vec<u8> = (0..h * w).map(|_| u8::from(rng.uniform() < density)).collect();
            let mask = Rle::from_mask(&pixels, (h, w)).unwrap();
            let polygons = outlines(&mask, 0.0);
            if polygons.is_empty() {
                assert_eq!(mask.area(), 0);
                continue;
            }
            let drawn = Segmentation::Polygons(polygons).rasterize((h, w), [0.0; 4]).unwrap();
            let (drawn, mask) = (drawn.to_mask(), mask.to_mask());
            assert!(drawn.iter().zip(&mask).all(|(drawn, mask)| drawn >= mask), "case {case}");
            // Only holes may be filled: their pixels cannot reach the border through the background.
            let filled = filled(&mask, h as usize, w as usize);
            assert_eq!(drawn, filled, "case {case}");
        }
    }

    /// The mask without its holes, whose pixels are connected by their corners as well.
    fn filled(mask: &[u8], h: usize, w: usize) -> Vec<u8> {
        let mut outside = vec![false; (h + 2) * (w + 2)];
        let mut next = vec![(0_usize, 0_usize)];
        while let Some((y, x)) = next.pop() {
            let is_mask =
                (1..=h).contains(&y) && (1..=w).contains(&x) && mask[(y - 1) * w + x - 1] != 0;
            if is_mask || std::mem::replace(&mut outside[y * (w + 2) + x], true) {
                continue;
            }
            for (dy, dx) in [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)] {
                if let (Some(y), Some(x)) = (y.checked_add_signed(dy), x.checked_add_signed(dx))
                    && y < h + 2
                    && x < w + 2
                {
                    next.push((y, x));
                }
            }
        }
        let pixel = |i: usize| u8::from(!outside[(i / w + 1) * (w + 2) + i % w + 1]);
        (0..h * w).map(pixel).collect()
    }

    #[test]
    fn a_tolerance_drops_corners_and_keeps_the_shape() {
        let size = (200, 200);
        let inside = |i: u32| {
            let (x, y) = (f64::from(i % 200) - 99.5, f64::from(i / 200) - 99.5);
            u8::from(x.hypot(y) < 60.0)
        };
        let pixels: Vec<u8> = (0..200 * 200).map(inside).collect();
        let disc = Rle::from_mask(&pixels, size).unwrap();
        let (all, few) = (outlines(&disc, 0.0), outlines(&disc, 1.0));
        assert!(few[0].len() * 4 < all[0].len(), "{} of {}", few[0].len(), all[0].len());
        let drawn = Segmentation::Polygons(few).rasterize(size, [0.0; 4]).unwrap();
        let apart = (drawn.area() as f64 - disc.area() as f64).abs() / disc.area() as f64;
        assert!(apart < 0.02, "{apart}");
    }
}
