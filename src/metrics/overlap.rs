//! How well a predicted mask covers the true one: IoU, Dice, surface distances, surface Dice.
//!
//! # Empty masks
//! | prediction, truth | IoU, Dice, NSD | HD95, ASSD |
//! |---|---|---|
//! | both with pixels | defined | defined |
//! | one empty | 0 | undefined: there is no border to measure to |
//! | both empty | undefined (NaN in nnU-Net) | undefined |
//!
//! Undefined values are left out of means and are counted ([`OverlapMeans`]): a model that predicts
//! nothing must not look better for it.

use anyhow::{Result, ensure};
use serde::Serialize;

use super::spans::Spans;
pub use super::surface::{Spacing, SurfaceDistances};
use sonotune_base::Rle;

/// Agreement of two masks; `None` if it is undefined.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Overlap {
    /// Intersection over union, in [0, 1].
    pub iou: Option<f64>,
    /// Twice the intersection over the sum of areas, in [0, 1].
    pub dice: Option<f64>,
    /// 95 % Hausdorff distance, see [`hd95`].
    pub hd95: Option<f64>,
    /// Average symmetric surface distance, see [`SurfaceDistances::mean`].
    pub assd: Option<f64>,
}

/// All measures of two masks, with distances in units of `spacing` (pixels by default).
///
/// # Errors
/// If the masks differ in size, or the spacing is not positive.
pub fn overlap(first: &Rle, second: &Rle, spacing: Spacing) -> Result<Overlap> {
    let pair = Pair::new(first, second)?;
    let distances = pair.distances(spacing)?;
    let (iou, dice) = pair.iou_and_dice();
    let distances = distances.as_ref();
    let hd95 = distances.map(|d| d.percentile(95.0));
    Ok(Overlap { iou, dice, hd95, assd: distances.map(SurfaceDistances::mean) })
}

/// Same as [`overlap`] in pixels, and its distances in millimetres if the `[row, column]` of a pixel is known.
///
/// # Errors
/// If the masks differ in size, or the spacing is not positive.
pub fn overlap_in_both(
    first: &Rle,
    second: &Rle,
    spacing: Option<[f64; 2]>,
) -> Result<(Overlap, Option<Overlap>)> {
    let pixels = overlap(first, second, Spacing::default())?;
    let Some([row, column]) = spacing else { return Ok((pixels, None)) };
    check_spacing(Spacing { y: row, x: column })?;
    // If pixels are squares, every distance is a multiple.
    let millimetres = match row.to_bits() == column.to_bits() {
        true => {
            let scaled = |pixels: Option<f64>| pixels.map(|pixels| pixels * row);
            Overlap { hd95: scaled(pixels.hd95), assd: scaled(pixels.assd), ..pixels }
        }
        false => overlap(first, second, Spacing { y: row, x: column })?,
    };
    Ok((pixels, Some(millimetres)))
}

/// Intersection over union; `None` when both masks are empty.
///
/// # Errors
/// If the masks differ in size.
pub fn iou(first: &Rle, second: &Rle) -> Result<Option<f64>> {
    Ok(Pair::new(first, second)?.iou_and_dice().0)
}

/// Dice coefficient; `None` when both masks are empty.
///
/// # Errors
/// If the masks differ in size.
pub fn dice(first: &Rle, second: &Rle) -> Result<Option<f64>> {
    Ok(Pair::new(first, second)?.iou_and_dice().1)
}

/// 95 % Hausdorff distance in units of `spacing`; `None` when a mask is empty.
///
/// The 95th percentile of the distances from each border pixel of one mask to the nearest border pixel
/// of the other, and the larger of the two directions: the definition of MONAI, Metrics Reloaded and
/// DeepMind's surface-distance. medpy pools both directions before it takes the percentile
/// ([`SurfaceDistances::pooled_percentile`]). A border pixel has one of its
/// four neighbours outside the mask or the image.
///
/// # Errors
/// If the masks differ in size, or the spacing is not positive.
pub fn hd95(first: &Rle, second: &Rle, spacing: Spacing) -> Result<Option<f64>> {
    Ok(surface_distances(first, second, spacing)?.map(|d| d.percentile(95.0)))
}

/// Normalised surface Dice (Nikolov et al. 2021): the share of both borders that is within `tolerance` of the other,
/// in units of `spacing`. In [0, 1]; 0 when one mask is empty, `None` when both are.
///
/// Counts border pixels, as MONAI's `compute_surface_dice` does and [`hd95`] here. DeepMind's
/// surface-distance weighs pieces of a contour between pixels by their length instead, which gives other figures.
///
/// # Errors
/// If the masks differ in size, the spacing is not positive, or the tolerance is negative.
pub fn nsd(first: &Rle, second: &Rle, spacing: Spacing, tolerance: f64) -> Result<Option<f64>> {
    ensure!(
        tolerance.is_finite() && tolerance >= 0.0,
        "a tolerance of {tolerance}: expected a number of at least 0"
    );
    let pair = Pair::new(first, second)?;
    let empty = pair.masks.iter().filter(|mask| mask.area == 0).count();
    Ok(match pair.distances(spacing)? {
        Some(distances) => Some(distances.within(tolerance)),
        None => (empty == 1).then_some(0.0),
    })
}

/// Distances between the borders of two masks; `None` when one is empty.
///
/// # Errors
/// If the masks differ in size, or the spacing is not positive.
pub fn surface_distances(
    first: &Rle,
    second: &Rle,
    spacing: Spacing,
) -> Result<Option<SurfaceDistances>> {
    Pair::new(first, second)?.distances(spacing)
}

pub(super) fn same_size(first: &Rle, second: &Rle) -> Result<()> {
    ensure!(
        (first.height, first.width) == (second.height, second.width),
        "masks of {}×{} and {}×{} pixels (height×width) cannot be compared",
        first.height,
        first.width,
        second.height,
        second.width
    );
    Ok(())
}

pub(super) fn check_spacing(spacing: Spacing) -> Result<()> {
    ensure!(
        [spacing.y, spacing.x].iter().all(|side| side.is_finite() && *side > 0.0),
        "a pixel of {}×{} (height×width) has no size",
        spacing.y,
        spacing.x
    );
    Ok(())
}

struct Pair {
    masks: [Spans; 2],
    height: u64,
}

impl Pair {
    fn new(first: &Rle, second: &Rle) -> Result<Self> {
        same_size(first, second)?;
        Ok(Self { masks: [Spans::of(first), Spans::of(second)], height: u64::from(first.height) })
    }

    fn iou_and_dice(&self) -> (Option<f64>, Option<f64>) {
        let [first, second] = &self.masks;
        let areas = first.area + second.area;
        if areas == 0 {
            return (None, None);
        }
        let shared = first.intersection(second);
        let iou = shared as f64 / (areas - shared) as f64;
        (Some(iou), Some(2.0 * shared as f64 / areas as f64))
    }

    fn distances(&self, spacing: Spacing) -> Result<Option<SurfaceDistances>> {
        check_spacing(spacing)?;
        let [first, second] = &self.masks;
        let defined = first.area > 0 && second.area > 0;
        Ok(defined.then(|| SurfaceDistances::new(first, second, self.height, spacing)))
    }
}

/// Means over pairs of masks, of the values that are defined.
#[derive(Debug, Clone, Default)]
pub struct OverlapMeans {
    iou: Mean,
    dice: Mean,
    hd95: Mean,
    assd: Mean,
    num_pairs: usize,
}

/// A mean and the number of values it is computed from.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Mean {
    sum: f64,
    /// Number of defined values.
    pub count: usize,
}

impl Mean {
    fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            self.sum += value;
            self.count += 1;
        }
    }

    /// NaN if there are no values.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.sum / self.count as f64
    }
}

impl OverlapMeans {
    /// Adds a pair.
    pub fn add(&mut self, overlap: &Overlap) {
        self.num_pairs += 1;
        self.iou.add(overlap.iou);
        self.dice.add(overlap.dice);
        self.hd95.add(overlap.hd95);
        self.assd.add(overlap.assd);
    }

    #[must_use]
    pub fn iou(&self) -> Mean {
        self.iou
    }

    #[must_use]
    pub fn dice(&self) -> Mean {
        self.dice
    }

    #[must_use]
    pub fn hd95(&self) -> Mean {
        self.hd95
    }

    #[must_use]
    pub fn assd(&self) -> Mean {
        self.assd
    }

    /// Number of pairs added, whether or not values are defined.
    #[must_use]
    pub fn num_pairs(&self) -> usize {
        self.num_pairs
    }

    /// Number of pairs with exactly one mask empty: 0 in IoU and Dice, not in the mean of HD95.
    #[must_use]
    pub fn num_one_empty(&self) -> usize {
        self.iou.count - self.hd95.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonotune_base::seed::Rng;

    fn mask(rows: &[&str]) -> Rle {
        let size = (rows.len() as u32, rows[0].len() as u32);
        let pixels: Vec<u8> = rows.concat().bytes().map(|c| u8::from(c == b'#')).collect();
        Rle::from_mask(&pixels, size).unwrap()
    }

    fn all(a: &Rle, b: &Rle) -> Overlap {
        overlap(a, b, Spacing::default()).unwrap()
    }

    #[test]
    fn two_pixels_by_hand() {
        let a = mask(&["#....", ".....", ".....", "....."]);
        let b = mask(&[".....", ".....", ".....", "....#"]);
        assert_eq!(
            all(&a, &b),
            Overlap { iou: Some(0.0), dice: Some(0.0), hd95: Some(5.0), assd: Some(5.0) }
        );
        let spacing = Spacing { y: 2.0, x: 0.5 };
        assert_eq!(hd95(&a, &b, spacing).unwrap(), Some(40.0_f64.sqrt()));
        let same = Overlap { iou: Some(1.0), dice: Some(1.0), hd95: Some(0.0), assd: Some(0.0) };
        assert_eq!(all(&a, &a), same);
    }

    #[test]
    fn distances_in_millimetres_equal_those_of_scaled_pixels() {
        let a = mask(&["#....", "#....", ".....", "....."]);
        let b = mask(&[".....", ".##..", ".....", "....#"]);
        for spacing in [[0.2, 0.2], [0.3, 0.1]] {
            let (pixels, both) = overlap_in_both(&a, &b, Some(spacing)).unwrap();
            assert_eq!(pixels, all(&a, &b));
            let (got, expected) = (both.unwrap(), overlap(&a, &b, Spacing::of(spacing)).unwrap());
            assert_eq!((got.iou, got.dice), (expected.iou, expected.dice));
            for (got, expected) in [(got.hd95, expected.hd95), (got.assd, expected.assd)] {
                assert!((got.unwrap() - expected.unwrap()).abs() < 1e-12);
            }
        }
        assert_eq!(overlap_in_both(&a, &b, None).unwrap(), (all(&a, &b), None));
        assert!(overlap_in_both(&a, &b, Some([0.1, 0.0])).is_err());
    }

    #[test]
    fn the_two_definitions_of_the_percentile_differ() {
        // From one pixel to a row of ten: 0 one way, 0 to 9 the other.
        let a = mask(&["#........."]);
        let b = mask(&["##########"]);
        let distances = surface_distances(&a, &b, Spacing::default()).unwrap().unwrap();
        assert_eq!(distances.from_first, [0.0]);
        assert!((distances.percentile(95.0) - 8.55).abs() < 1e-12);
        assert!((distances.pooled_percentile(95.0) - 8.5).abs() < 1e-12);
        assert_eq!(distances.percentile(100.0), 9.0);
        // The pooled mean is not the mean of the means, 2.25.
        assert_eq!(distances.mean(), 45.0 / 11.0);
    }

    #[test]
    fn surface_dice_counts_border_pixels_within_the_tolerance() {
        // From one pixel to a row of ten: 0 one way, 0 to 9 the other.
        let (a, b) = (mask(&["#........."]), mask(&["##########"]));
        let at = |tolerance| nsd(&a, &b, Spacing { y: 1.0, x: 0.1 }, tolerance).unwrap().unwrap();
        assert_eq!([at(0.0), at(0.3), at(0.35), at(1.0)], [2.0, 5.0, 5.0, 11.0].map(|n| n / 11.0));
    }

    #[test]
    fn the_rule_for_empty_masks() {
        let (empty, full) = (mask(&["..", ".."]), mask(&["##", "##"]));
        let surface = |a, b| nsd(a, b, Spacing::default(), 1.0).unwrap();
        assert_eq!(surface(&empty, &empty), None);
        assert_eq!((surface(&full, &empty), surface(&empty, &full)), (Some(0.0), Some(0.0)));
        let none = Overlap { iou: None, dice: None, hd95: None, assd: None };
        assert_eq!(all(&empty, &empty), none);
        let zero = Overlap { iou: Some(0.0), dice: Some(0.0), hd95: None, assd: None };
        assert_eq!((all(&full, &empty), all(&empty, &full)), (zero, zero));

        let mut means = OverlapMeans::default();
        for one in [none, zero, all(&full, &full)] {
            means.add(&one);
        }
        assert_eq!((means.iou().value(), means.iou().count), (0.5, 2));
        assert_eq!((means.hd95().value(), means.hd95().count), (0.0, 1));
        assert_eq!((means.num_pairs(), means.num_one_empty()), (3, 1));
        assert!(OverlapMeans::default().dice().value().is_nan());
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let error = iou(&mask(&["##"]), &mask(&["#", "#"])).unwrap_err().to_string();
        assert!(error.contains("1×2") && error.contains("2×1"), "{error}");
        let one = mask(&["#"]);
        for bad in [0.0, -1.0, f64::NAN] {
            assert!(hd95(&one, &one, Spacing { y: bad, x: 1.0 }).is_err());
        }
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(nsd(&one, &one, Spacing::default(), bad).is_err());
        }
        let none = Rle::new(0, 0, vec![]).unwrap();
        assert_eq!(all(&none, &none).iou, None);
    }

    /// Everything pixel by pixel.
    fn brute_force(a: &[u8], b: &[u8], (h, w): (usize, usize), spacing: Spacing) -> [f64; 4] {
        let both = a.iter().zip(b).filter(|(a, b)| **a + **b == 2).count() as f64;
        let sum = a.iter().chain(b).filter(|p| **p == 1).count() as f64;
        let border = |mask: &[u8]| -> Vec<(f64, f64)> {
            let on = |y: isize, x: isize| {
                (0..h as isize).contains(&y)
                    && (0..w as isize).contains(&x)
                    && mask[y as usize * w + x as usize] == 1
            };
            (0..(h * w) as isize)
                .map(|i| (i / w as isize, i % w as isize))
                .filter(|&(y, x)| {
                    on(y, x) && !(on(y - 1, x) && on(y + 1, x) && on(y, x - 1) && on(y, x + 1))
                })
                .map(|(y, x)| (y as f64 * spacing.y, x as f64 * spacing.x))
                .collect()
        };
        let (a, b) = (border(a), border(b));
        let distances = |from: &[(f64, f64)], to: &[(f64, f64)]| -> Vec<f64> {
            let nearest = |p: &(f64, f64)| {
                let to = to.iter().map(|q| (p.0 - q.0).hypot(p.1 - q.1));
                to.fold(f64::INFINITY, f64::min)
            };
            from.iter().map(nearest).collect()
        };
        let directed = |from: &[(f64, f64)], to: &[(f64, f64)]| -> f64 {
            let mut distances = distances(from, to);
            distances.sort_by(f64::total_cmp);
            let place = 0.95 * (distances.len() - 1) as f64;
            let (low, high) = (distances[place as usize], distances[place.ceil() as usize]);
            low + (high - low) * place.fract()
        };
        let all = [distances(&a, &b), distances(&b, &a)].concat();
        let assd = all.iter().sum::<f64>() / all.len() as f64;
        [both / (sum - both), 2.0 * both / sum, directed(&a, &b).max(directed(&b, &a)), assd]
    }

    #[test]
    fn random_masks_equal_brute_force() {
        for case in 0..200 {
            let mut rng = Rng::at(5, &[case]);
            let (h, w) = (1 + rng.below(30) as usize, 1 + rng.below(30) as usize);
            let spacing = Spacing { y: 0.1 + rng.uniform(), x: 0.1 + rng.uniform() };
            // Blobs, noise, single pixels; touching the image's edge and not.
            let mut draw = || -> Vec<u8> {
                let density = rng.uniform();
                let (cy, cx) = (rng.uniform() * h as f64, rng.uniform() * w as f64);
                let radius = rng.uniform() * 12.0;
                let mut mask: Vec<u8> = (0..h * w)
                    .map(|i| {
                        let (y, x) = ((i / w) as f64 - cy, (i % w) as f64 - cx);
                        u8::from(y.hypot(x) < radius && rng.uniform() < density.max(0.1) * 1.5)
                    })
                    .collect();
                let one = rng.below((h * w) as u64) as usize;
                mask[one] = 1;
                mask
            };
            let (a, b) = (draw(), draw());
            let size = (h as u32, w as u32);
            let (first, second) =
                (Rle::from_mask(&a, size).unwrap(), Rle::from_mask(&b, size).unwrap());
            let ours = overlap(&first, &second, spacing).unwrap();
            let ours = [ours.iou, ours.dice, ours.hd95, ours.assd].map(Option::unwrap);
            for (x, y) in ours.iter().zip(brute_force(&a, &b, (h, w), spacing)) {
                assert!((x - y).abs() < 1e-12, "case {case}: {ours:?}");
            }
        }
    }
}
