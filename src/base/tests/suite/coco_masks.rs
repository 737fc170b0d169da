//! Masks against pycocotools, bit for bit.

use serde_json::Value;
use sonotune_base::{Rle, Segmentation};

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect()
}

fn bbox(value: &Value) -> [f64; 4] {
    numbers(value).try_into().unwrap()
}

#[test]
fn polygons_boxes_and_strings_equal_pycocotools_parity() {
    let text = std::fs::read_to_string(sonotune_testing::fixture("coco/polygons.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(cases.len() >= 80);
    for (i, case) in cases.iter().enumerate() {
        let size = numbers(&case["size"]);
        let (height, width) = (size[0] as u32, size[1] as u32);
        let polygons = case["polygons"].as_array().unwrap().iter().map(numbers).collect();
        let rle = Segmentation::Polygons(polygons).rasterize((height, width), [0.0; 4]).unwrap();
        // Runs of length zero and the order of runs show in the string: equality is exact.
        assert_eq!(rle.to_compressed(), case["counts"].as_str().unwrap(), "case {i}");
        assert_eq!(rle.area(), case["area"].as_u64().unwrap(), "case {i}");
        assert_eq!(rle.bbox(), bbox(&case["tight_bbox"]), "case {i}");

        let stored = case["counts"].as_str().unwrap();
        assert_eq!(Rle::from_compressed(height, width, stored).unwrap(), rle, "case {i}");
        assert_eq!(Rle::from_mask(&rle.to_mask(), (height, width)).unwrap(), rle, "case {i}");

        let boxed = Segmentation::None.rasterize((height, width), bbox(&case["bbox"])).unwrap();
        assert_eq!(boxed.to_compressed(), case["bbox_counts"].as_str().unwrap(), "case {i}");
    }
}
