//! Cleaning steps between decoding and components. Planes hold category ids, `[H, W]`, row-major.

use super::{Connectivity, components, largest_component};
use crate::{
    Pixels,
    spec::{Clean, Opening},
};

/// Applies `steps` to `labels` in order; `image` is the annotated image, of the same size.
pub fn clean(labels: &mut Pixels, image: &Pixels, steps: &[Clean]) {
    let size = (labels.height, labels.width);
    for step in steps {
        match step {
            Clean::FillHoles => fill_holes(&mut labels.data, size),
            Clean::LargestComponent => largest_component(&mut labels.data, size),
            Clean::Opening(opening) => open(&mut labels.data, size, *opening),
            Clean::ClipToFieldOfView(opening) => {
                let mut view = foreground(image);
                largest_component(&mut view, size);
                open(&mut view, size, *opening);
                fill_convex_hull(&mut view, size);
                keep_where(&mut labels.data, &view);
            }
        }
    }
}

/// 1 where the image is not black.
pub(crate) fn foreground(image: &Pixels) -> Vec<u8> {
    let channels = image.channels;
    image.data.chunks_exact(channels).map(|p| u8::from(p.iter().any(|&v| v != 0))).collect()
}

/// Clears labels where `keep` is 0.
pub(crate) fn keep_where(labels: &mut [u8], keep: &[u8]) {
    for (label, keep) in labels.iter_mut().zip(keep) {
        if *keep == 0 {
            *label = 0;
        }
    }
}

/// 1 where a 4-connected path of 0 in `plane` reaches the border.
pub(crate) fn outside(plane: &[u8], (height, width): (u32, u32)) -> Vec<u8> {
    let (height, width) = (height as usize, width as usize);
    let mut reached = vec![0_u8; plane.len()];
    let mut open: Vec<usize> = Vec::new();
    let visit = |at: usize, reached: &mut [u8], open: &mut Vec<usize>| {
        if plane[at] == 0 && reached[at] == 0 {
            reached[at] = 1;
            open.push(at);
        }
    };
    for x in 0..width {
        visit(x, &mut reached, &mut open);
        visit((height - 1) * width + x, &mut reached, &mut open);
    }
    for y in 0..height {
        visit(y * width, &mut reached, &mut open);
        visit(y * width + width - 1, &mut reached, &mut open);
    }
    while let Some(at) = open.pop() {
        let x = at % width;
        if x > 0 {
            visit(at - 1, &mut reached, &mut open);
        }
        if x + 1 < width {
            visit(at + 1, &mut reached, &mut open);
        }
        if at >= width {
            visit(at - width, &mut reached, &mut open);
        }
        if at + width < plane.len() {
            visit(at + width, &mut reached, &mut open);
        }
    }
    reached
}

fn fill_holes(labels: &mut [u8], size: (u32, u32)) {
    let mut present: Vec<u8> = labels.to_vec();
    present.sort_unstable();
    present.dedup();
    let source = labels.to_vec();
    for label in present.into_iter().filter(|&label| label != 0) {
        let own: Vec<u8> = source.iter().map(|&value| u8::from(value == label)).collect();
        for (value, out) in labels.iter_mut().zip(outside(&own, size)) {
            if out == 0 {
                *value = label;
            }
        }
    }
}

/// Erosion and dilation by a square. All labels except 0 are treated as one foreground and kept
/// where the result covers them.
///
/// The outside of the image counts as foreground for the erosion and as background for the
/// dilation, as in scikit-image.
fn open(labels: &mut [u8], size: (u32, u32), opening: Opening) {
    let mut plane: Vec<u8> = labels.iter().map(|&value| u8::from(value != 0)).collect();
    let side = opening.size.max(1) as usize;
    // An even square has no centre: the longer side must be swapped between erosion and dilation,
    // or the result moves.
    let (before, behind) = (side / 2, side - 1 - side / 2);
    erode(&mut plane, size, before, behind);
    if opening.largest {
        largest_component(&mut plane, size);
    }
    dilate(&mut plane, size, behind, before);
    if opening.shifted && side.is_multiple_of(2) {
        shift_up_left(&mut plane, size);
        // The moved square covers pixels without a label: they take that of the foreground.
        let label = labels.iter().copied().find(|&value| value != 0).unwrap_or(0);
        for (value, keep) in labels.iter_mut().zip(&plane) {
            *value = if *keep == 0 {
                0
            } else if *value == 0 {
                label
            } else {
                *value
            };
        }
        return;
    }
    keep_where(labels, &plane);
}

fn shift_up_left(plane: &mut [u8], (height, width): (u32, u32)) {
    let (height, width) = (height as usize, width as usize);
    for y in 0..height {
        for x in 0..width {
            let inside = y + 1 < height && x + 1 < width;
            plane[y * width + x] = if inside { plane[(y + 1) * width + x + 1] } else { 0 };
        }
    }
}

/// 1 where the whole window, from `before` pixels up and left to `behind` down and right, is 1.
fn erode(plane: &mut [u8], size: (u32, u32), before: usize, behind: usize) {
    let invert = |plane: &mut [u8]| plane.iter_mut().for_each(|value| *value = 1 - *value);
    invert(plane);
    dilate(plane, size, before, behind);
    invert(plane);
}

/// 1 where the window contains a 1.
fn dilate(plane: &mut [u8], (height, width): (u32, u32), before: usize, behind: usize) {
    let (height, width) = (height as usize, width as usize);
    let mut line = Vec::new();
    for row in plane.chunks_exact_mut(width) {
        line.clear();
        line.extend_from_slice(row);
        spread(&line, row.iter_mut(), before, behind);
    }
    for x in 0..width {
        line.clear();
        line.extend((0..height).map(|y| plane[y * width + x]));
        spread(&line, plane[x..].iter_mut().step_by(width), before, behind);
    }
}

fn spread<'a>(line: &[u8], out: impl Iterator<Item = &'a mut u8>, before: usize, behind: usize) {
    let mut inside: usize = line.iter().take(behind).map(|&v| usize::from(v)).sum();
    for (at, out) in out.enumerate() {
        inside += line.get(at + behind).map_or(0, |&v| usize::from(v));
        if let Some(left) = at.checked_sub(before + 1) {
            inside -= usize::from(line[left]);
        }
        *out = u8::from(inside > 0);
    }
}

/// Fills the convex hull of the foreground's pixels.
fn fill_convex_hull(plane: &mut [u8], (height, width): (u32, u32)) {
    let size = (height, width);
    let mut points = Vec::new();
    for component in components(plane, size, Connectivity::Eight) {
        let mut own = vec![0; plane.len()];
        component.paint(&mut own, width);
        for (y, row) in own.chunks_exact(width as usize).enumerate() {
            let first = row.iter().position(|&v| v != 0);
            let last = row.iter().rposition(|&v| v != 0);
            points.extend(first.into_iter().chain(last).map(|x| (x as i64, y as i64)));
        }
    }
    points.sort_unstable();
    points.dedup();
    let hull = convex_hull(&points);
    if hull.len() < 3 {
        return;
    }
    for (index, value) in plane.iter_mut().enumerate() {
        let (x, y) = ((index % width as usize) as i64, (index / width as usize) as i64);
        let edges = hull.iter().zip(hull.iter().cycle().skip(1));
        if edges.into_iter().all(|(&a, &b)| turn(a, b, (x, y)) >= 0) {
            *value = 1;
        }
    }
}

fn turn(a: (i64, i64), b: (i64, i64), c: (i64, i64)) -> i64 {
    (b.0 - a.0) * (c.1 - a.1) - (b.1 - a.1) * (c.0 - a.0)
}

/// Corners of the convex hull of sorted points, in consistent order (Andrew's monotone chain).
fn convex_hull(points: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let half = |points: &mut dyn Iterator<Item = (i64, i64)>| {
        let mut chain: Vec<(i64, i64)> = Vec::new();
        for point in points {
            while let [.., a, b] = chain[..] {
                if turn(a, b, point) > 0 {
                    break;
                }
                chain.pop();
            }
            chain.push(point);
        }
        chain.pop();
        chain
    };
    let mut hull = half(&mut points.iter().copied());
    hull.extend(half(&mut points.iter().rev().copied()));
    hull
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(rows: &[&str]) -> Pixels {
        Pixels {
            height: rows.len() as u32,
            width: rows[0].len() as u32,
            channels: 1,
            data: rows.iter().flat_map(|row| row.bytes().map(|b| b - b'0')).collect(),
        }
    }

    fn cleaned(rows: &[&str], steps: &[Clean]) -> Pixels {
        let mut labels = plane(rows);
        let image = plane(rows);
        clean(&mut labels, &image, steps);
        labels
    }

    #[test]
    fn an_outline_is_filled_also_across_corners() {
        // Diagonal steps close the outline: background is 4-connected.
        let filled = cleaned(&["00100", "01010", "10001", "01010", "00100"], &[Clean::FillHoles]);
        assert_eq!(filled, plane(&["00100", "01110", "11111", "01110", "00100"]));
    }

    #[test]
    fn an_outline_that_the_border_cuts_stays_a_line() {
        let rows = ["10001", "01110"];
        assert_eq!(cleaned(&rows, &[Clean::FillHoles]), plane(&rows));
    }

    #[test]
    fn the_higher_label_wins_a_filled_overlap() {
        let rows = ["11111", "12221", "12021", "12221", "11111"];
        let filled = cleaned(&rows, &[Clean::FillHoles]);
        assert_eq!(filled, plane(&["11111", "12221", "12221", "12221", "11111"]));
    }

    #[test]
    fn an_even_opening_stays_in_place_unless_told_to_shift() {
        let rows = ["000000", "011000", "011000", "000010", "000000"];
        let opening = |shifted| [Clean::Opening(Opening { size: 2, largest: false, shifted })];
        let still = cleaned(&rows, &opening(false));
        assert_eq!(still, plane(&["000000", "011000", "011000", "000000", "000000"]));
        let moved = cleaned(&rows, &opening(true));
        assert_eq!(moved, plane(&["110000", "110000", "000000", "000000", "000000"]));
    }

    #[test]
    fn an_opening_may_empty_a_mask() {
        let opening = Opening { size: 4, largest: true, shifted: false };
        let empty = cleaned(&["000000", "001100", "000000", "000000"], &[Clean::Opening(opening)]);
        assert!(empty.data.iter().all(|&v| v == 0));
    }

    #[test]
    fn labels_outside_the_field_of_view_go() {
        let image = plane(&["000000", "011110", "010010", "011110", "000000"]);
        let mut labels = plane(&["300000", "022000", "022000", "000000", "000003"]);
        let opening = Opening { size: 1, largest: true, shifted: false };
        clean(&mut labels, &image, &[Clean::ClipToFieldOfView(opening)]);
        // The black pixels inside are within the hull.
        assert_eq!(labels, plane(&["000000", "022000", "022000", "000000", "000000"]));
    }
}
