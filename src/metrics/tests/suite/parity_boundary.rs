//! Surface Dice and boundary IoU against SciPy, MONAI and surface-distance.

use std::process::Command;

use serde_json::{Value, json};
use sonotune_base::{Rle, seed::Rng};
use sonotune_metrics::{
    boundary::{BoundaryWidth, boundary_iou},
    overlap::{Spacing, nsd},
};
use sonotune_testing::{assert_success, python};

use crate::parity_overlap::blob;

struct Case {
    masks: [Vec<u8>; 2],
    size: (usize, usize),
    spacing: Spacing,
    tolerance: f64,
}

impl Case {
    fn new(number: u64) -> Self {
        let mut rng = Rng::at(18, &[number]);
        let size = (1 + rng.below(120) as usize, 1 + rng.below(120) as usize);
        let first = blob(&mut rng, size);
        // The second is another blob, or the first with a part moved, which scores higher.
        let second = match number % 3 {
            0 => blob(&mut rng, size),
            _ => {
                let mut moved = first.clone();
                let from = rng.below(moved.len() as u64) as usize;
                moved[from..].rotate_left((3 + rng.below(3) as usize).min(size.0 * size.1 - from));
                moved[0] = 1;
                moved
            }
        };
        let spacing = match number % 2 {
            0 => Spacing::default(),
            _ => Spacing { y: 0.1 + rng.uniform(), x: 0.1 + rng.uniform() },
        };
        Self { masks: [first, second], size, spacing, tolerance: 3.0 * rng.uniform() }
    }

    fn rles(&self) -> [Rle; 2] {
        let size = (self.size.0 as u32, self.size.1 as u32);
        self.masks.each_ref().map(|mask| Rle::from_mask(mask, size).unwrap())
    }

    fn nsd(&self) -> f64 {
        let [a, b] = self.rles();
        nsd(&a, &b, self.spacing, self.tolerance).unwrap().unwrap()
    }

    fn json(&self) -> Value {
        json!({"a": self.masks[0], "b": self.masks[1], "size": self.size,
               "spacing": [self.spacing.y, self.spacing.x], "tolerance": self.tolerance})
    }
}

fn answers(modules: &[&str], script: &str, cases: &[Case]) -> Option<Vec<Vec<f64>>> {
    let python = python(modules)?;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cases.json");
    let cases: Vec<Value> = cases.iter().map(Case::json).collect();
    std::fs::write(&path, json!(cases).to_string()).unwrap();
    let head = "import json, sys\nimport numpy as np\nresults = []\n\
                for case in json.load(open(sys.argv[1])):\n    \
                a, b = (np.array(case[k], bool).reshape(case['size']) for k in ('a', 'b'))\n    \
                spacing, tolerance = case['spacing'], case['tolerance']\n";
    let script = format!("{head}{script}\nprint(json.dumps(results))");
    let output = Command::new(python).arg("-c").arg(script).arg(&path).output().unwrap();
    assert_success(&output);
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Bands as the authors make them: the mask minus its erosion by a square, the image's edge being
/// outside.
const SCIPY: &str = r#"
    from scipy.ndimage import binary_erosion, distance_transform_edt
    borders = [m ^ binary_erosion(m) for m in (a, b)]
    to = [distance_transform_edt(~border, sampling=spacing) for border in borders]
    near = np.hstack([to[1][borders[0]], to[0][borders[1]]]) <= tolerance
    h, w = a.shape
    result = [near.mean()]
    diagonal = max(1, round(0.02 * np.sqrt(h * h + w * w)))
    distance = [max(1, round(tolerance / s)) for s in spacing]
    for y, x in ([diagonal] * 2, distance):
        square = np.ones((2 * y + 1, 2 * x + 1), bool)
        bands = [m & ~binary_erosion(m, square) for m in (a, b)]
        result.append((bands[0] & bands[1]).sum() / (bands[0] | bands[1]).sum())
    results.append(result)
"#;

#[test]
fn surface_dice_and_boundary_iou_equal_scipys_parity() {
    let cases: Vec<Case> = (0..40).map(Case::new).collect();
    let Some(theirs) = answers(&["scipy", "numpy"], SCIPY, &cases) else { return };
    let mut low = 0;
    for (case, theirs) in cases.iter().zip(&theirs) {
        let [a, b] = case.rles();
        let distance = BoundaryWidth::Distance(case.tolerance, case.spacing);
        let band = |width| boundary_iou(&a, &b, width).unwrap().unwrap();
        let ours = [case.nsd(), band(BoundaryWidth::default()), band(distance)];
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert!((ours - theirs).abs() < 1e-12, "{ours} here, {theirs} in SciPy");
        }
        low += usize::from(ours[0] < 0.5);
    }
    assert!((5..35).contains(&low), "the problems must differ: {low} of 40 below a half");
}

const MONAI: &str = r#"
    import torch
    from monai.metrics import compute_surface_dice
    a, b = (torch.from_numpy(m)[None, None] for m in (a, b))
    dice = compute_surface_dice(a, b, [tolerance], include_background=True, spacing=spacing)
    results.append([dice.item()])
"#;

#[test]
fn surface_dice_equals_monais_parity() {
    let cases: Vec<Case> = (0..12).map(Case::new).collect();
    let Some(theirs) = answers(&["monai", "torch", "numpy"], MONAI, &cases) else { return };
    for (case, theirs) in cases.iter().zip(&theirs) {
        // MONAI answers in single precision.
        let ours = case.nsd();
        assert!((ours - theirs[0]).abs() < 1e-6, "{ours} here, {theirs:?} in MONAI");
    }
}

const SURFACE_DISTANCE: &str = r#"
    import surface_distance as sd
    distances = sd.compute_surface_distances(a, b, spacing)
    same = sd.compute_surface_distances(a, a, spacing)
    at = sd.compute_surface_dice_at_tolerance
    results.append([at(distances, tolerance), at(same, tolerance), at(distances, 1e3)])
"#;

/// It measures contours between pixels by their length, so that figures differ: by 0.02 on average on these
/// blobs with ragged edges. The two agree on what is perfect.
#[test]
fn surface_dice_is_close_to_surface_distances_parity() {
    let cases: Vec<Case> = (0..40).map(Case::new).collect();
    let modules = ["surface_distance", "numpy"];
    let Some(theirs) = answers(&modules, SURFACE_DISTANCE, &cases) else { return };
    let mut apart = Vec::new();
    for (case, theirs) in cases.iter().zip(&theirs) {
        let [a, b] = case.rles();
        let same = nsd(&a, &a, case.spacing, case.tolerance).unwrap();
        let wide = nsd(&a, &b, case.spacing, 1e3).unwrap();
        assert_eq!([same, wide], [Some(1.0); 2]);
        assert!((theirs[1] - 1.0).abs() + (theirs[2] - 1.0).abs() < 1e-12, "{theirs:?}");
        apart.push((case.nsd() - theirs[0]).abs());
    }
    let mean = apart.iter().sum::<f64>() / apart.len() as f64;
    println!(
        "apart by {mean:.4} on average, {:.4} at most",
        apart.iter().copied().fold(0.0, f64::max)
    );
    assert!(mean < 0.05, "{apart:?}");
}
