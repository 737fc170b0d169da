//! Draws closed polygons as masks, pixel for pixel like the two libraries that drew the published ones.
//!
//! In both rules the boundary belongs to the polygon, and if it crosses itself the even-odd rule
//! decides. They differ in how a slanted edge is rounded. (COCO's own rule, without the boundary, is
//! implemented by [`sonotune_base::Segmentation`].)

use serde::{Deserialize, Serialize};

/// Which library decides what pixels are inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolygonRule {
    /// `PIL.ImageDraw.polygon(points, fill=value, outline=value)`.
    Pillow,
    /// `cv2.fillPoly(mask, [points], value)`.
    Opencv,
}

/// A vertex as both rules need it: truncated towards zero. `None` if it is not a pixel position.
#[must_use]
pub fn vertex(x: f64, y: f64) -> Option<(i32, i32)> {
    let whole = |v: f64| (v.abs() < f64::from(i32::MAX)).then_some(v as i32);
    Some((whole(x)?, whole(y)?))
}

/// Sets the pixels of a closed polygon in a mask `[height, width]` to `value`. Points are (x, y) and
/// may be outside; no points leave the mask unchanged, one draws a dot, two a line.
///
/// # Panics
/// When `into` does not have `height * width` elements.
pub fn fill(
    points: &[(i32, i32)],
    height: usize,
    width: usize,
    rule: PolygonRule,
    into: &mut [u8],
    value: u8,
) {
    assert_eq!(into.len(), height * width, "a mask of {height}×{width}");
    if points.is_empty() || into.is_empty() {
        return;
    }
    let mut canvas = Canvas { height: height as i64, width: width as i64, into, value };
    match rule {
        PolygonRule::Pillow => pillow::fill(points, &mut canvas),
        PolygonRule::Opencv => opencv::fill(points, &mut canvas),
    }
}

struct Canvas<'a> {
    height: i64,
    width: i64,
    into: &'a mut [u8],
    value: u8,
}

impl Canvas<'_> {
    /// Both ends belong to the run; pixels outside are left out.
    fn run(&mut self, y: i64, from: i64, to: i64) {
        let (from, to) = (from.max(0), to.min(self.width - 1));
        if (0..self.height).contains(&y) && from <= to {
            let row = y * self.width;
            self.into[(row + from) as usize..=(row + to) as usize].fill(self.value);
        }
    }
}

mod pillow {
    use super::Canvas;

    /// A side that is not horizontal, from its start; `slope` in pixels per row.
    struct Side {
        top: i64,
        bottom: i64,
        x: f32,
        y: i64,
        slope: f32,
    }

    impl Side {
        fn at(&self, y: i64) -> f32 {
            (y - self.y) as f32 * self.slope + self.x
        }

        fn reaches(&self, y: i64) -> bool {
            (self.top..=self.bottom).contains(&y)
        }

        fn ends_at(&self, y: i64) -> bool {
            y == self.top || y == self.bottom
        }
    }

    pub(super) fn fill(points: &[(i32, i32)], canvas: &mut Canvas) {
        let mut sides = Vec::new();
        let next = points.iter().skip(1).chain(&points[..1]);
        for (&(x0, y0), &(x1, y1)) in points.iter().zip(next) {
            let (x0, y0, x1, y1) = (i64::from(x0), i64::from(y0), i64::from(x1), i64::from(y1));
            if y0 == y1 {
                canvas.run(y0, x0.min(x1), x0.max(x1));
                continue;
            }
            let slope = (x1 - x0) as f32 / (y1 - y0) as f32;
            let (top, bottom) = (y0.min(y1), y0.max(y1));
            sides.push(Side { top, bottom, x: x0 as f32, y: y0, slope });
        }
        let Some(top) = sides.iter().map(|side| side.top).min() else { return };
        let Some(last) = sides.iter().map(|side| side.bottom).max() else { return };
        let last = last.min(canvas.height);
        for y in top.max(0)..=last {
            let mut crossings = crossings(&sides, y, last);
            crossings.sort_by(f32::total_cmp);
            for pair in crossings.chunks_exact(2) {
                canvas.run(y, half_up(pair[0]), half_down(pair[1]));
            }
        }
    }

    /// Where the sides meet row `y`. A side that ends there counts twice, except in the last row: it
    /// closes what it opened.
    fn crossings(sides: &[Side], y: i64, last: i64) -> Vec<f32> {
        let mut crossings = Vec::new();
        for (i, side) in sides.iter().enumerate().filter(|(_, side)| side.reaches(y)) {
            let x = side.at(y);
            if y == side.bottom && y < last {
                crossings.extend([x, x]);
            } else if side.ends_at(y) && side.slope != 0.0 {
                crossings.push(corner(side, &sides[..i], y, x));
            } else {
                crossings.push(x);
            }
        }
        crossings
    }

    /// Flat corners would leave a gap: if two sides meet and both continue in the same direction by more
    /// than a pixel per row, the row of the corner reaches up to one pixel before the adjacent row.
    fn corner(side: &Side, before: &[Side], y: i64, x: f32) -> f32 {
        let beside = if y == side.bottom { y - 1 } else { y + 1 };
        let meets = |other: &&Side| {
            other.ends_at(y)
                && other.slope != 0.0
                && x.round() == other.at(y).round()
                && other.reaches(beside)
        };
        let Some(other) = before.iter().find(meets) else { return x };
        let (a, b) = (side.at(beside), other.at(beside));
        if x > a + 1.0 && x > b + 1.0 {
            a.max(b).round() + 1.0
        } else if x < a - 1.0 && x < b - 1.0 {
            a.min(b).round() - 1.0
        } else {
            x
        }
    }

    /// Rounds halves away from zero; `half_down` rounds them towards zero.
    fn half_up(x: f32) -> i64 {
        if x >= 0.0 { (x + 0.5).floor() as i64 } else { -((x.abs() + 0.5).floor() as i64) }
    }

    fn half_down(x: f32) -> i64 {
        if x >= 0.0 { (x - 0.5).ceil() as i64 } else { -((x.abs() - 0.5).ceil() as i64) }
    }
}

mod opencv {
    use super::Canvas;

    /// Fractional bits.
    const FRACTION: u32 = 16;

    type Point = (i64, i64);

    /// A side that is not horizontal: in row `top` it is at `x` and moves by `step` per row; both
    /// are fixed-point numbers.
    struct Side {
        top: i64,
        bottom: i64,
        x: i128,
        step: i128,
    }

    pub(super) fn fill(points: &[(i32, i32)], canvas: &mut Canvas) {
        let points: Vec<Point> =
            points.iter().map(|&(x, y)| (i64::from(x), i64::from(y))).collect();
        let mut sides = Vec::new();
        let previous = points.iter().cycle().skip(points.len() - 1);
        for (&from, &to) in previous.zip(&points) {
            if let Some((from, to)) = clip(from, to, canvas).1 {
                line(from, to, canvas);
            }
            sides.extend(side(from, to, canvas));
        }
        interior(&sides, canvas);
    }

    fn interior(sides: &[Side], canvas: &mut Canvas) {
        let Some(top) = sides.iter().map(|side| side.top).min() else { return };
        let Some(bottom) = sides.iter().map(|side| side.bottom).max() else { return };
        let mut xs = Vec::new();
        for y in top.max(0)..bottom.min(canvas.height) {
            xs.clear();
            let active = sides.iter().filter(|side| (side.top..side.bottom).contains(&y));
            xs.extend(active.map(|side| side.x + i128::from(y - side.top) * side.step));
            xs.sort_unstable();
            for pair in xs.chunks_exact(2) {
                let (from, to) = ((pair[0] + (1 << FRACTION) - 1) >> FRACTION, pair[1] >> FRACTION);
                let within = |x: i128| x.clamp(-1, i128::from(canvas.width)) as i64;
                canvas.run(y, within(from), within(to));
            }
        }
    }

    /// A side passes through the ends of its visible part, which are whole pixels.
    fn side(from: Point, to: Point, canvas: &Canvas) -> Option<Side> {
        if from.1 == to.1 {
            return None;
        }
        let (mut a, mut b) = clip(from, to, canvas).0;
        if a.1 == b.1 {
            // The visible part is horizontal; the rows of the ends are kept.
            (a.1, b.1) = (from.1, to.1);
        }
        let fixed = |x: i64| i128::from(x) << FRACTION;
        let step = (fixed(b.0) - fixed(a.0)) / i128::from(b.1 - a.1);
        let (start, end, anchor) = if from.1 < to.1 { (from, to, a) } else { (to, from, b) };
        let x = fixed(anchor.0) + i128::from(start.1 - anchor.1) * step;
        Some(Side { top: start.1, bottom: end.1, x, step })
    }

    /// Both ends moved to the frame, as far as the method gets before it finds that nothing is
    /// visible; and the visible part, if there is one.
    fn clip(from: Point, to: Point, canvas: &Canvas) -> ((Point, Point), Option<(Point, Point)>) {
        const LEFT: u8 = 1;
        const RIGHT: u8 = 2;
        const ABOVE: u8 = 4;
        const BELOW: u8 = 8;
        let (right, bottom) = (canvas.width - 1, canvas.height - 1);
        let sideways = |x: i64| u8::from(x < 0) * LEFT + u8::from(x > right) * RIGHT;
        let beyond =
            |(x, y): Point| sideways(x) + u8::from(y < 0) * ABOVE + u8::from(y > bottom) * BELOW;
        // by * of / over in doubles, truncated towards zero.
        let part = |by: i64, of: i64, over: i64| (by as f64 * of as f64 / over as f64) as i64;
        let ((mut x1, mut y1), (mut x2, mut y2)) = (from, to);
        let (mut c1, mut c2) = (beyond(from), beyond(to));
        if c1 & c2 == 0 && c1 | c2 != 0 {
            if c1 & (ABOVE | BELOW) != 0 {
                let edge = if c1 < BELOW { 0 } else { bottom };
                x1 += part(edge - y1, x2 - x1, y2 - y1);
                y1 = edge;
                c1 = sideways(x1);
            }
            if c2 & (ABOVE | BELOW) != 0 {
                let edge = if c2 < BELOW { 0 } else { bottom };
                x2 += part(edge - y2, x2 - x1, y2 - y1);
                y2 = edge;
                c2 = sideways(x2);
            }
            if c1 & c2 == 0 && c1 | c2 != 0 {
                if c1 != 0 {
                    let edge = if c1 == LEFT { 0 } else { right };
                    y1 += part(edge - x1, y2 - y1, x2 - x1);
                    x1 = edge;
                    c1 = 0;
                }
                if c2 != 0 {
                    let edge = if c2 == LEFT { 0 } else { right };
                    y2 += part(edge - x2, y2 - y1, x2 - x1);
                    x2 = edge;
                    c2 = 0;
                }
            }
        }
        let ends = ((x1, y1), (x2, y2));
        (ends, (c1 | c2 == 0).then_some(ends))
    }

    /// Bresenham's line, always from left to right.
    fn line(from: Point, to: Point, canvas: &mut Canvas) {
        let ((mut x, mut y), (end_x, end_y)) = if to.0 < from.0 { (to, from) } else { (from, to) };
        let (dx, dy, down) = (end_x - x, (end_y - y).abs(), (end_y - y).signum());
        let (long, short, is_steep) = if dy > dx { (dy, dx, true) } else { (dx, dy, false) };
        let mut error = long - 2 * short;
        for _ in 0..=long {
            canvas.run(y, x, x);
            let both = error < 0;
            error += if both { 2 * long } else { 0 } - 2 * short;
            if both || !is_steep {
                x += 1;
            }
            if both || is_steep {
                y += down;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::*;
    use crate::fixture;

    #[derive(Deserialize)]
    struct Case {
        kind: String,
        size: (usize, usize),
        points: Vec<(i32, i32)>,
        /// Lengths of alternating runs of 0 and 1, row by row, 0 first.
        pillow: Option<Vec<usize>>,
        opencv: Vec<usize>,
    }

    fn unpack(runs: &[usize]) -> Vec<u8> {
        let run = |(i, &n): (usize, &usize)| std::iter::repeat_n((i % 2) as u8, n);
        runs.iter().enumerate().flat_map(run).collect()
    }

    /// Pillow 13.0 and OpenCV 5.0 drew the expected masks of polygons of all kinds: convex, simple,
    /// crossing themselves, degenerate, partly and wholly outside. Every pixel must match.
    #[test]
    fn parity_with_pillow_and_opencv() {
        let text = fs::read_to_string(fixture("polygons.json")).unwrap();
        let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
        assert!(cases.len() > 200);
        let mut differing: BTreeMap<_, (usize, usize)> = BTreeMap::new();
        for case in cases {
            let rules =
                [(PolygonRule::Pillow, case.pillow), (PolygonRule::Opencv, Some(case.opencv))];
            for (rule, runs) in rules {
                let Some(runs) = runs else { continue };
                let (height, width) = case.size;
                let mut mask = vec![0; height * width];
                fill(&case.points, height, width, rule, &mut mask, 1);
                let expected = unpack(&runs);
                assert_eq!(mask.len(), expected.len());
                let pixels = mask.iter().zip(&expected).filter(|(a, b)| a != b).count();
                let entry = differing.entry((format!("{rule:?}"), case.kind.clone())).or_default();
                entry.0 += usize::from(pixels > 0);
                entry.1 += pixels;
                if pixels > 0 {
                    eprintln!("{rule:?} {} {:?} {:?}: {pixels}", case.kind, case.size, case.points);
                }
            }
        }
        assert!(differing.values().all(|&(cases, _)| cases == 0), "{differing:?}");
    }

    #[test]
    fn a_square_has_its_boundary() {
        for rule in [PolygonRule::Pillow, PolygonRule::Opencv] {
            let mut mask = vec![9; 64];
            fill(&[(1, 1), (5, 1), (5, 5), (1, 5)], 8, 8, rule, &mut mask, 3);
            assert_eq!(mask.iter().filter(|&&v| v == 3).count(), 25);
            assert_eq!(mask.iter().filter(|&&v| v == 9).count(), 39);
        }
    }

    #[test]
    fn extreme_vertices_do_not_overflow() {
        let (low, high) = (i32::MIN, i32::MAX);
        for rule in [PolygonRule::Pillow, PolygonRule::Opencv] {
            let mut mask = vec![0; 100];
            fill(&[(low, low), (high, low), (high, high), (low, high)], 10, 10, rule, &mut mask, 1);
            fill(&[(low, high), (3, low), (high, 5)], 10, 10, rule, &mut mask, 1);
            fill(&[], 10, 10, rule, &mut mask, 1);
            fill(&[(1, 1)], 0, 0, rule, &mut [], 1);
        }
        assert_eq!(vertex(-0.9, 3.99), Some((0, 3)));
        assert_eq!((vertex(f64::NAN, 0.0), vertex(0.0, 1e12)), (None, None));
    }
}
