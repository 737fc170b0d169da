//! Where the voxels of a volume are in space, as its header says.

/// An affine map from voxels to positions towards left, back and head, in the units of the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
    /// The step to the next voxel along x, y and z, the fastest axis first.
    pub steps: [[f64; 3]; 3],
    /// The position of the first voxel.
    pub origin: [f64; 3],
}

/// Share of a step by which directions, and of a voxel by which positions may differ: headers
/// hold rounded numbers.
const TOLERANCE: f64 = 0.01;
const SHIFT: f64 = 0.5;

impl Geometry {
    /// Whether the steps are finite and not zero, so that they can be compared.
    pub(super) fn is_regular(&self) -> bool {
        self.origin.iter().all(|v| v.is_finite()) && self.steps.iter().all(|s| length(s) > 0.0)
    }

    /// How `mask` differs from `self` beyond rounding, in words; `shape` is (x, y, z) of both.
    #[must_use]
    pub fn difference(&self, mask: &Self, shape: [usize; 3]) -> Option<String> {
        let axes: Vec<usize> = (0..3).filter(|&axis| shape[axis] > 1).collect();
        for &axis in &axes {
            let (image, mask) = (&self.steps[axis], &mask.steps[axis]);
            let (a, b) = (length(image), length(mask));
            let dot: f64 = image.iter().zip(mask).map(|(a, b)| a * b).sum();
            let name = ["x", "y", "z"][axis];
            if dot < (1.0 - TOLERANCE) * a * b {
                return Some(format!(
                    "along {name}, the mask goes towards {}, the image towards {}",
                    towards(mask),
                    towards(image)
                ));
            }
            if (a - b).abs() > TOLERANCE * a.max(b) {
                return Some(format!(
                    "along {name}, the mask's voxels are {} apart, the image's {}",
                    rounded(b),
                    rounded(a)
                ));
            }
        }
        let apart: Vec<f64> = self.origin.iter().zip(&mask.origin).map(|(a, b)| b - a).collect();
        let shifted = axes.iter().any(|&axis| {
            let step = &self.steps[axis];
            let along: f64 = step.iter().zip(&apart).map(|(s, d)| s * d).sum();
            along.abs() > SHIFT * length(step) * length(step)
        });
        shifted.then(|| {
            let position = |p: &[f64; 3]| p.map(rounded).join(", ");
            format!(
                "the mask's first voxel is at ({}), the image's at ({})",
                position(&mask.origin),
                position(&self.origin)
            )
        })
    }
}

fn length(step: &[f64; 3]) -> f64 {
    step.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// The nearest direction of the body.
fn towards(step: &[f64; 3]) -> &'static str {
    const NAMES: [[&str; 2]; 3] = [["right", "left"], ["front", "back"], ["feet", "head"]];
    let largest = (0..3).max_by(|&a, &b| step[a].abs().total_cmp(&step[b].abs())).unwrap_or(0);
    NAMES[largest][usize::from(step[largest] > 0.0)]
}

fn rounded(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}
