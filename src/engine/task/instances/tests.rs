use tch::Tensor;

use super::*;
use sonotune_base::{ImageId, Segmentation};

const BOTH: &[IouType] = &[IouType::Bbox, IouType::Segm];
const SIDE: u32 = 100;

fn square(x: f64, y: f64, side: f64) -> Rle {
    Segmentation::None.rasterize((SIDE, SIDE), [x, y, side, side]).unwrap()
}

fn object(category: u32, (x, y, side): (f64, f64, f64), is_crowd: bool) -> Object {
    Object {
        category,
        bbox: [x, y, side, side],
        area: side * side,
        is_crowd,
        segmentation: Segmentation::None,
    }
}

fn annotated(objects: Vec<Object>) -> Annotated {
    Annotated::of(&Target {
        image_id: ImageId::Unsigned(1),
        path: "a.png".into(),
        original_size: (SIDE.into(), SIDE.into()),
        crop: None,
        spacing: None,
        // As after a crop: nothing here may look at the input's frame.
        input_size: (7, 9),
        flipped: true,
        image_labels: Vec::new(),
        labels: Tensor::new(),
        boxes: Tensor::new(),
        masks: Tensor::new(),
        is_crowd: Tensor::new(),
        objects: objects.into(),
        prompts: None,
        values: Default::default(),
        stored: Default::default(),
    })
    .unwrap()
}

fn found(category: usize, (x, y, side): (f64, f64, f64), score: f64) -> Instance {
    Instance {
        category,
        score,
        bbox: [x, y, x + side, y + side],
        mask: Some(square(x, y, side)),
        answers: None,
    }
}

fn value(scores: &InstanceScores, name: &str) -> f64 {
    scores.metrics(BOTH).iter().find(|m| m.name == name).unwrap().value
}

#[test]
fn figures_are_those_of_boxes_and_of_masks_and_undefined_without_objects() {
    let mut scorer = InstanceScorer::new(2, false).unwrap();
    let image = annotated(vec![object(0, (10.0, 10.0, 40.0), false)]);
    // The box is exact, the mask is half of the object: IoU 0.5.
    let half = Segmentation::None.rasterize((SIDE, SIDE), [10.0, 10.0, 40.0, 20.0]).unwrap();
    let instance = Instance { mask: Some(half), ..found(0, (10.0, 10.0, 40.0), 0.9) };
    scorer.add(&image, [&instance]).unwrap();
    let scores = scorer.finish().unwrap();
    for (name, expected) in [
        ("bbox_mAP", 1.0),
        ("segm_mAP", 0.1),
        ("segm_mAP_50", 1.0),
        ("segm_mAP_75", 0.0),
        ("segm_mAP_m", 0.1),
    ] {
        assert!((value(&scores, name) - expected).abs() < 1e-12, "{name}");
    }
    assert!(value(&scores, "bbox_mAP_s").is_nan() && value(&scores, "segm_mAP_l").is_nan());
    let names: Vec<_> = scores.metrics(BOTH).into_iter().map(|m| m.name).collect();
    assert_eq!(names[..3], ["bbox_mAP", "bbox_mAP_50", "bbox_mAP_75"]);
    assert_eq!(
        names[6..],
        ["segm_mAP", "segm_mAP_50", "segm_mAP_75", "segm_mAP_s", "segm_mAP_m", "segm_mAP_l"]
    );
    // Empty again: nothing is left of the image.
    assert!(value(&scorer.finish().unwrap(), "bbox_mAP").is_nan());
}

#[test]
fn the_quality_of_an_image_counts_matches_misses_and_false_alarms() {
    let (a, b) = ((5.0, 5.0, 20.0), (60.0, 60.0, 20.0));
    let image = annotated(vec![object(0, a, false), object(1, b, false)]);
    let of = |image: &Annotated, found: &[Instance]| panoptic_quality(image, found).unwrap();
    assert_eq!(of(&image, &[found(0, a, 0.9), found(1, b, 0.8)]), Some(1.0));
    // One found, one missed; then the other under a wrong name, and the first twice.
    assert_eq!(of(&image, &[found(0, a, 0.9)]), Some(1.0 / 1.5));
    assert_eq!(of(&image, &[found(0, a, 0.9), found(0, b, 0.8)]), Some(0.5));
    assert_eq!(of(&image, &[found(0, a, 0.9), found(0, a, 0.8)]), Some(0.5));
    // Shifted by half its side: with an IoU of a third it matches nothing.
    assert_eq!(of(&image, &[found(0, (15.0, 5.0, 20.0), 0.9)]), Some(0.0));
    let nothing = annotated(vec![]);
    assert_eq!(of(&nothing, &[]), None);
    assert_eq!(of(&nothing, &[found(0, a, 0.9)]), Some(0.0));
    // Within a crowd nothing is false.
    let crowd = annotated(vec![object(1, (0.0, 0.0, 50.0), true)]);
    assert_eq!(of(&crowd, &[found(0, a, 0.9)]), None);
    assert_eq!(of(&crowd, &[found(0, b, 0.9)]), Some(0.0));
}

#[test]
fn the_table_says_which_category_is_found() {
    let mut scorer = InstanceScorer::new(3, false).unwrap();
    let (a, b) = ((5.0, 5.0, 30.0), (50.0, 50.0, 30.0));
    let image = annotated(vec![object(0, a, false), object(1, b, false), object(1, a, true)]);
    // The second is found under a wrong name.
    scorer.add(&image, &[found(0, a, 0.9), found(0, b, 0.8)]).unwrap();
    scorer.add(&annotated(vec![]), &[]).unwrap();
    let scores = scorer.finish().unwrap();
    let table = scores.by_category(&["cyst", "mass", "node"], BOTH);
    assert_eq!(table.rows[0], ["cyst", "100.0", "100.0", "100.0", "100.0", "1"]);
    assert_eq!(table.rows[1], ["mass", "0.0", "0.0", "0.0", "0.0", "1"]);
    assert_eq!(table.rows[2], ["node", "n/a", "n/a", "n/a", "n/a", "0"]);
    assert!((value(&scores, "bbox_mAP") - 0.5).abs() < 1e-12);
    let metrics = scores.per_class(&["cyst", "mass", "node"], BOTH);
    let of = |name: &str| metrics.iter().find(|m| m.name == name).unwrap().value;
    assert!((of("per_class/cyst/segm_mAP_50") - 1.0).abs() < 1e-12);
    assert_eq!(of("per_class/mass/bbox_mAP"), 0.0);
    assert!(of("per_class/node/segm_mAP").is_nan());

    let mut agnostic = InstanceScorer::new(3, true).unwrap();
    agnostic.add(&image, &[found(0, a, 0.9), found(0, b, 0.8)]).unwrap();
    let rows = agnostic.finish().unwrap().by_category(&["cyst", "mass", "node"], BOTH).rows;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0][1..], ["100.0", "100.0", "100.0", "100.0", "2"]);
}

#[test]
fn counts_tell_objects_from_crowds_and_from_nothing() {
    let mut counts = Counts::default();
    let gone = object(0, (200.0, 200.0, 5.0), false);
    let crowd = object(0, (1.0, 1.0, 5.0), true);
    counts.add(&annotated(vec![object(0, (1.0, 1.0, 5.0), false), gone, crowd]));
    counts.add(&annotated(vec![]));
    let expected = Counts {
        images: 2,
        images_without_objects: 1,
        objects: 2,
        crowds: 1,
        objects_without_pixels: 1,
        boxes_only: 2,
        images_with_spacing: 0,
    };
    assert_eq!(counts, expected);
}

#[test]
fn predictions_that_cannot_be_scored_are_named() {
    let mut scorer = InstanceScorer::new(1, false).unwrap();
    let image = annotated(vec![]);
    let good = || found(0, (1.0, 1.0, 3.0), 0.5);
    for (bad, expected) in [
        (Instance { mask: None, ..good() }, "mask"),
        (Instance { score: f64::NAN, ..good() }, "score"),
        (Instance { category: 1, ..good() }, "category 1"),
        (Instance { bbox: [3.0, 0.0, 1.0, 1.0], ..good() }, "bbox"),
    ] {
        let error = format!("{:#}", scorer.add(&image, &[good(), bad]).unwrap_err());
        assert!(error.contains("detections[1]") && error.contains(expected), "{error}");
    }
    assert!(InstanceScorer::new(0, false).is_err());
}
