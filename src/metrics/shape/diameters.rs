//! Feret diameters: distances of parallel lines that touch a set of points from both sides.

use std::cmp::Ordering;

/// The corners of the convex hull of points `[y, x]`, in order around it.
pub(super) fn hull(points: impl Iterator<Item = [f64; 2]>) -> Vec<[f64; 2]> {
    let mut points: Vec<_> = points.collect();
    let order = |a: &[f64; 2], b: &[f64; 2]| -> Ordering {
        a[0].total_cmp(&b[0]).then_with(|| a[1].total_cmp(&b[1]))
    };
    points.sort_unstable_by(order);
    points.dedup();
    if points.len() < 3 {
        return points;
    }
    let mut hull = half(points.iter());
    let upper = half(points.iter().rev());
    // The ends are in both halves.
    hull.pop();
    hull.extend_from_slice(&upper[..upper.len() - 1]);
    hull
}

/// One side of the hull, from the first of the sorted points to the last.
fn half<'p>(points: impl Iterator<Item = &'p [f64; 2]>) -> Vec<[f64; 2]> {
    let mut chain: Vec<[f64; 2]> = Vec::new();
    for &point in points {
        while let [.., before, last] = chain[..] {
            if cross(before, last, point) > 0.0 {
                break;
            }
            chain.pop();
        }
        chain.push(point);
    }
    chain
}

/// Twice the area of the triangle, positive if it turns one way and negative the other.
fn cross(a: [f64; 2], b: [f64; 2], c: [f64; 2]) -> f64 {
    (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
}

fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

/// The largest distance of two corners.
pub(super) fn largest(hull: &[[f64; 2]]) -> f64 {
    let from = |(i, a): (usize, &[f64; 2])| {
        hull[i + 1..].iter().map(|b| distance(*a, *b)).fold(0.0, f64::max)
    };
    hull.iter().enumerate().map(from).fold(0.0, f64::max)
}

/// The smallest width: one of the lines goes along a side of the hull.
pub(super) fn smallest(hull: &[[f64; 2]]) -> f64 {
    if hull.len() < 3 {
        return 0.0;
    }
    let width = |i: usize| {
        let (a, b) = (hull[i], hull[(i + 1) % hull.len()]);
        let far = hull.iter().map(|c| cross(a, b, *c).abs()).fold(0.0, f64::max);
        far / distance(a, b)
    };
    (0..hull.len()).map(width).fold(f64::INFINITY, f64::min)
}
