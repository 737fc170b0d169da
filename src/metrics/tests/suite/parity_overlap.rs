//! Overlap of masks against SciPy and NumPy.

use std::process::Command;

use serde_json::{self, json};
use sonotune_base::{Rle, seed::Rng};
use sonotune_metrics::overlap::{Spacing, overlap, surface_distances};

use sonotune_testing::python;

/// The same arithmetic in fp64; SciPy also takes the root before the percentile.
const TOLERANCE: f64 = 1e-12;

const SCIPY: &str = r#"
import json, sys
import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt
results = []
for case in json.load(open(sys.argv[1])):
    a, b = (np.array(case[k], bool).reshape(case['size']) for k in ('a', 'b'))
    shared, areas = (a & b).sum(), a.sum() + b.sum()
    borders = [m ^ binary_erosion(m) for m in (a, b)]
    to = [distance_transform_edt(~border, sampling=case['spacing']) for border in borders]
    directed = to[1][borders[0]], to[0][borders[1]]
    results.append([shared / (areas - shared), 2 * shared / areas,
                    max(np.percentile(d, 95) for d in directed),
                    np.percentile(np.hstack(directed), 95),
                    np.hstack(directed).mean()])
print(json.dumps(results))
"#;

/// A blob with a ragged edge, maybe with holes, maybe across the image's edge.
pub(crate) fn blob(rng: &mut Rng, (h, w): (usize, usize)) -> Vec<u8> {
    let (cy, cx) = (rng.uniform() * h as f64, rng.uniform() * w as f64);
    let radius = 2.0 + rng.uniform() * h.max(w) as f64 / 2.0;
    let (lobes, holes) = (2.0 + rng.below(7) as f64, rng.uniform() * 0.2);
    let mut mask: Vec<u8> = (0..h * w)
        .map(|i| {
            let (y, x) = ((i / w) as f64 - cy, (i % w) as f64 - cx);
            let edge = radius * (1.0 + 0.3 * (lobes * y.atan2(x)).sin());
            u8::from(y.hypot(x) < edge && rng.uniform() >= holes)
        })
        .collect();
    mask[(cy as usize).min(h - 1) * w + (cx as usize).min(w - 1)] = 1;
    mask
}

#[test]
fn overlap_equals_scipy_parity() {
    let Some(python) = python(&["scipy", "numpy"]) else { return };
    let mut cases = Vec::new();
    let mut ours = Vec::new();
    for case in 0..40 {
        let mut rng = Rng::at(17, &[case]);
        let (h, w) = (1 + rng.below(150) as usize, 1 + rng.below(150) as usize);
        let (a, b) = (blob(&mut rng, (h, w)), blob(&mut rng, (h, w)));
        let spacing = match case % 2 {
            0 => Spacing::default(),
            _ => Spacing { y: 0.1 + rng.uniform(), x: 0.1 + rng.uniform() },
        };
        let size = (h as u32, w as u32);
        let (first, second) =
            (Rle::from_mask(&a, size).unwrap(), Rle::from_mask(&b, size).unwrap());
        let measured = overlap(&first, &second, spacing).unwrap();
        let distances = surface_distances(&first, &second, spacing).unwrap().unwrap();
        ours.push([
            measured.iou.unwrap(),
            measured.dice.unwrap(),
            measured.hd95.unwrap(),
            distances.pooled_percentile(95.0),
            measured.assd.unwrap(),
        ]);
        cases.push(json!({ "size": [h, w], "spacing": [spacing.y, spacing.x], "a": a, "b": b }));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cases.json");
    std::fs::write(&file, serde_json::to_string(&cases).unwrap()).unwrap();
    let output = Command::new(python).args(["-c", SCIPY]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs: Vec<[f64; 5]> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(theirs.len(), ours.len());
    for (case, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        for (a, b) in ours.iter().zip(theirs) {
            assert!((a - b).abs() <= TOLERANCE * b.max(1.0), "case {case}: {ours:?}, {theirs:?}");
        }
    }
}
