//! Sizes of masks against scikit-image and SciPy (`tests/fixtures/metrics/shapes.py`).

use serde_json::Value;
use sonotune_base::Rle;
use sonotune_metrics::{overlap::Spacing, shape::Shape};

/// The same points and the same arithmetic in fp64; the fit solves an eigenvalue problem in another way.
const TOLERANCE: f64 = 1e-8;
/// Ramanujan's approximation against the elliptic integral, for axes up to 1 : 2.5.
const APPROXIMATION: f64 = 2e-6;

#[test]
fn sizes_equal_scikit_images_parity() {
    let text = include_str!("../../../../tests/fixtures/metrics/shapes.json");
    let all: Value = serde_json::from_str(text).unwrap();
    let cases = all["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 16);
    for (index, case) in cases.iter().enumerate() {
        let number = |value: &Value| value.as_f64().unwrap();
        let [height, width] = [0, 1].map(|i| case["size"][i].as_u64().unwrap() as u32);
        let runs = case["counts"].as_array().unwrap();
        let runs = runs.iter().map(|run| run.as_u64().unwrap() as u32).collect();
        let mask = Rle::new(height, width, runs).unwrap();
        let spacing = Spacing::of([0, 1].map(|i| number(&case["spacing"][i])));
        let shape = Shape::of(&mask, spacing).unwrap().unwrap();
        let ellipse = shape.ellipse.unwrap();
        for (key, got, tolerance) in [
            ("area", shape.area, TOLERANCE),
            ("max_diameter", shape.max_diameter, TOLERANCE),
            ("min_diameter", shape.min_diameter, TOLERANCE),
            ("major", ellipse.major, TOLERANCE),
            ("minor", ellipse.minor, TOLERANCE),
            ("circumference", ellipse.circumference(), APPROXIMATION),
        ] {
            let expected = number(&case[key]);
            let apart = (got - expected).abs() / expected;
            assert!(apart < tolerance, "case {index}, {key}: {got} here, {expected} there");
        }
    }
}
