//! The ellipse of least squares through points.

use std::f64::consts::PI;

use serde::Serialize;

/// An ellipse by its axes, in the unit of the points.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ellipse {
    /// Length of the long axis, from end to end.
    pub major: f64,
    /// Length of the short axis.
    pub minor: f64,
}

type Matrix = [[f64; 3]; 3];

impl Ellipse {
    /// The ellipse with the smallest sum of squared algebraic distances of `points`: the direct fit of Fitzgibbon et al.
    /// (PAMI 1999) in the stable form of Halir and Flusser (WSCG 1998).
    ///
    /// A part of the outline is enough, so that an object that the image cuts off has the ellipse of the whole. `None` if
    /// fewer than six points, or points along one line, determine none.
    #[must_use]
    pub fn fit(points: &[[f64; 2]]) -> Option<Self> {
        if points.len() < 6 {
            return None;
        }
        let (points, scale) = normalised(points)?;
        let conic = direct_fit(&points)?;
        let [major, minor] = axes(conic)?;
        Some(Self { major: major * scale, minor: minor * scale })
    }

    /// By Ramanujan's second approximation, which is exact to 1e-5 of it for axes up to 1 : 10.
    #[must_use]
    pub fn circumference(&self) -> f64 {
        let (a, b) = (self.major / 2.0, self.minor / 2.0);
        let h = ((a - b) / (a + b)).powi(2);
        PI * (a + b) * (1.0 + 3.0 * h / (10.0 + (4.0 - 3.0 * h).sqrt()))
    }
}

/// The points about their mean, in units of their mean distance from it: the sums of fourth powers then keep their digits.
fn normalised(points: &[[f64; 2]]) -> Option<(Vec<[f64; 2]>, f64)> {
    let count = points.len() as f64;
    let mean = [0, 1].map(|axis| points.iter().map(|p| p[axis]).sum::<f64>() / count);
    let centred: Vec<[f64; 2]> = points.iter().map(|p| [p[0] - mean[0], p[1] - mean[1]]).collect();
    let scale = centred.iter().map(|p| p[0].hypot(p[1])).sum::<f64>() / count;
    let normal = |p: &[f64; 2]| p.map(|value| value / scale);
    (scale > 0.0 && scale.is_finite()).then(|| (centred.iter().map(normal).collect(), scale))
}

/// `[a, b, c, d, e, f]` of `a x² + b x y + c y² + d x + e y + f = 0` with `4 a c > b²`.
fn direct_fit(points: &[[f64; 2]]) -> Option<[f64; 6]> {
    let [mut s1, mut s2, mut s3] = [[[0.0; 3]; 3]; 3];
    for &[y, x] in points {
        let (quadratic, linear) = ([x * x, x * y, y * y], [x, y, 1.0]);
        for i in 0..3 {
            for j in 0..3 {
                s1[i][j] += quadratic[i] * quadratic[j];
                s2[i][j] += quadratic[i] * linear[j];
                s3[i][j] += linear[i] * linear[j];
            }
        }
    }
    // The linear part follows from the quadratic: -s3⁻¹ s2ᵀ.
    let back = product(inverse(s3)?, transposed(s2)).map(|row| row.map(|v| -v));
    let added = product(s2, back);
    let reduced = |i: usize| [0, 1, 2].map(|j| s1[i][j] + added[i][j]);
    // Times the inverse of the constraint 4 a c - b² = 1.
    let system = [reduced(2).map(|v| v / 2.0), reduced(1).map(|v| -v), reduced(0).map(|v| v / 2.0)];
    let [a, b, c] = eigenvector(system)?;
    let [d, e, f] = back.map(|row| row[0] * a + row[1] * b + row[2] * c);
    (4.0 * a * c > b * b).then_some([a, b, c, d, e, f])
}

/// Lengths of the long and the short axis of a conic.
fn axes([a, b, c, d, e, f]: [f64; 6]) -> Option<[f64; 2]> {
    let determinant = 4.0 * a * c - b * b;
    // The centre, and the value there.
    let (x, y) = ((b * e - 2.0 * c * d) / determinant, (b * d - 2.0 * a * e) / determinant);
    let value = f + (d * x + e * y) / 2.0;
    let (half_sum, root) = ((a + c) / 2.0, ((a - c) / 2.0).hypot(b / 2.0));
    let mut axes = [half_sum - root, half_sum + root].map(|own| 2.0 * (-value / own).sqrt());
    axes.sort_unstable_by(|a, b| b.total_cmp(a));
    axes.iter().all(|axis| axis.is_finite() && *axis > 0.0).then_some(axes)
}

/// The eigenvector of the largest eigenvalue. The system is that of a constraint with one positive eigenvalue times a
/// positive matrix: its eigenvalues are real, and only the largest is not negative.
fn eigenvector(m: Matrix) -> Option<[f64; 3]> {
    let trace = m[0][0] + m[1][1] + m[2][2];
    let minors = (m[0][0] * m[1][1] - m[0][1] * m[1][0])
        + (m[0][0] * m[2][2] - m[0][2] * m[2][0])
        + (m[1][1] * m[2][2] - m[1][2] * m[2][1]);
    let determinant = determinant(m);
    // λ³ - trace λ² + minors λ - determinant = 0, by angles.
    let (shift, p) = (trace / 3.0, (trace * trace / 3.0 - minors).max(0.0) / 3.0);
    let q = shift * (shift * shift - minors / 2.0) + determinant / 2.0;
    let angle = if p > 0.0 { (q / p.powf(1.5)).clamp(-1.0, 1.0).acos() / 3.0 } else { 0.0 };
    let mut value = shift + 2.0 * p.sqrt() * angle.cos();
    // The root is small beside the others if the fit is good, and two steps of Newton give its digits back.
    for _ in 0..2 {
        let error = ((value - trace) * value + minors) * value - determinant;
        let slope = (3.0 * value - 2.0 * trace) * value + minors;
        if slope != 0.0 {
            value -= error / slope;
        }
    }
    let mut rows = m;
    for (i, row) in rows.iter_mut().enumerate() {
        row[i] -= value;
    }
    // At right angles to all rows: two of them say it, those that differ most.
    let candidates = [(0, 1), (0, 2), (1, 2)].map(|(i, j)| cross(rows[i], rows[j]));
    let length = |v: &[f64; 3]| v.iter().map(|x| x * x).sum::<f64>();
    let best = candidates.into_iter().max_by(|a, b| length(a).total_cmp(&length(b)))?;
    (length(&best) > 0.0).then_some(best)
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

fn determinant(m: Matrix) -> f64 {
    let first = cross(m[1], m[2]);
    m[0][0] * first[0] + m[0][1] * first[1] + m[0][2] * first[2]
}

fn transposed(m: Matrix) -> Matrix {
    [0, 1, 2].map(|i| [0, 1, 2].map(|j| m[j][i]))
}

fn product(a: Matrix, b: Matrix) -> Matrix {
    a.map(|row| [0, 1, 2].map(|j| row[0] * b[0][j] + row[1] * b[1][j] + row[2] * b[2][j]))
}

/// `None` if there is none: the points are on one line.
fn inverse(m: Matrix) -> Option<Matrix> {
    let determinant = determinant(m);
    let scale = m.iter().flatten().fold(0.0, |most: f64, v| most.max(v.abs()));
    if determinant.abs() <= 1e-12 * scale.powi(3) {
        return None;
    }
    let cofactors = [cross(m[1], m[2]), cross(m[2], m[0]), cross(m[0], m[1])];
    Some(transposed(cofactors).map(|row| row.map(|v| v / determinant)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_on_an_ellipse_give_it_back() {
        for (a, b, angle) in
            [(5.0, 3.0, 0.3), (1e-3, 9e-4, 2.0), (4e4, 1.0e4, -1.0), (2.0, 2.0, 0.0)]
        {
            let (sin, cos) = f64::sin_cos(angle);
            let point = |i: u32| {
                let (y, x) = f64::from(i).sin_cos();
                [1e3 * a + a * x * sin + b * y * cos, -50.0 * a + a * x * cos - b * y * sin]
            };
            // From a sixth of it on.
            for count in [6, 40] {
                let points: Vec<_> = (0..count).map(point).collect();
                let got = Ellipse::fit(&points).unwrap();
                assert!((got.major / (2.0 * a) - 1.0).abs() < 1e-7, "{got:?}");
                assert!((got.minor / (2.0 * b) - 1.0).abs() < 1e-7, "{got:?}");
            }
        }
    }

    #[test]
    fn points_that_determine_no_ellipse() {
        let line: Vec<_> = (0..20).map(|i| [f64::from(i), 2.0 * f64::from(i) + 1.0]).collect();
        assert_eq!(Ellipse::fit(&line), None);
        assert_eq!(Ellipse::fit(&[[1.0, 2.0]; 9]), None);
        assert_eq!(Ellipse::fit(&line[..5]), None);
        assert_eq!(Ellipse::fit(&[]), None);
    }

    #[test]
    fn circumferences_by_hand() {
        let of = |major, minor| Ellipse { major, minor }.circumference();
        assert!((of(2.0, 2.0) - 2.0 * PI).abs() < 1e-15);
        // 4 a E(m) with a = 5, b = 3 and a = 10, b = 1.
        assert!((of(10.0, 6.0) - 25.526_998_863).abs() < 1e-8);
        assert!((of(20.0, 2.0) - 40.639_741_801).abs() < 1e-2 * 0.05);
    }
}
