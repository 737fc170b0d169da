use super::*;

fn truth(x: f64, side: f64) -> Truth<'static> {
    Truth {
        category: 0,
        bbox: [x, 0.0, side, side],
        area: side * side,
        is_crowd: false,
        mask: None,
    }
}

fn found(x: f64, side: f64, score: f64) -> Detection<'static> {
    Detection { category: 0, score, bbox: [x, 0.0, side, side], area: None, mask: None }
}

fn evaluate(images: &[(&[Truth<'_>], &[Detection<'_>])]) -> CocoResult {
    let mut evaluator = CocoEvaluator::new(Params::new(IouType::Bbox, 1)).unwrap();
    for (truths, detections) in images {
        evaluator.add_image(truths, detections).unwrap();
    }
    evaluator.finish()
}

fn at_half(result: &CocoResult) -> f64 {
    result.average_precision(&Query { iou: Some(0.5), ..Query::default() })
}

#[test]
fn one_of_two_found_behind_a_false_alarm() {
    let result = evaluate(&[(
        &[truth(0.0, 40.0), truth(100.0, 40.0)],
        &[found(500.0, 40.0, 0.9), found(0.0, 40.0, 0.8)],
    )]);
    // Precision 1/2 up to a recall of 1/2: 51 of 101 thresholds.
    assert!((at_half(&result) - 0.5 * 51.0 / 101.0).abs() < 1e-12);
    assert_eq!(result.average_recall(&Query::default()), 0.5);
    assert_eq!(result.average_recall(&Query { max_dets: Some(1), ..Query::default() }), 0.0);
}

#[test]
fn nothing_at_all_is_minus_one_and_no_detections_are_zero() {
    assert_eq!(evaluate(&[]).stats(), [-1.0; 12]);
    assert_eq!(evaluate(&[(&[], &[found(0.0, 40.0, 0.5)])]).stats(), [-1.0; 12]);
    let stats = evaluate(&[(&[truth(0.0, 40.0)], &[])]).stats();
    // 40² is medium.
    assert_eq!(stats, [0.0, 0.0, 0.0, -1.0, 0.0, -1.0, 0.0, 0.0, 0.0, -1.0, 0.0, -1.0]);
}

#[test]
fn a_crowd_takes_any_number_and_counts_for_nothing() {
    let crowd = Truth { is_crowd: true, ..truth(0.0, 200.0) };
    let result = evaluate(&[(
        &[crowd, truth(500.0, 40.0)],
        &[found(10.0, 40.0, 0.9), found(60.0, 40.0, 0.8), found(500.0, 40.0, 0.7)],
    )]);
    assert!((at_half(&result) - 1.0).abs() < 1e-12);
}

#[test]
fn equal_scores_rank_by_position_whatever_the_order_of_arrival() {
    let score = |positions: [u64; 2]| {
        let mut evaluator = CocoEvaluator::new(Params::new(IouType::Bbox, 1)).unwrap();
        let hit = evaluator.match_image(&[truth(0.0, 40.0)], &[found(0.0, 40.0, 0.5)]).unwrap();
        let miss = evaluator.match_image(&[], &[found(0.0, 40.0, 0.5)]).unwrap();
        evaluator.insert(positions[0], miss);
        evaluator.insert(positions[1], hit);
        at_half(&evaluator.finish())
    };
    assert!((score([0, 1]) - 0.5).abs() < 1e-12);
    assert!((score([1, 0]) - 1.0).abs() < 1e-12);
}

#[test]
fn agnostic_takes_any_category_for_the_same() {
    let mut params = Params::new(IouType::Bbox, 2);
    params.class_agnostic = true;
    let mut evaluator = CocoEvaluator::new(params).unwrap();
    let other = Detection { category: 1, ..found(0.0, 40.0, 0.5) };
    evaluator.add_image(&[truth(0.0, 40.0)], &[other]).unwrap();
    assert!((at_half(&evaluator.finish()) - 1.0).abs() < 1e-12);
}

#[test]
fn unusable_input_is_named() {
    let evaluator = |iou_type| CocoEvaluator::new(Params::new(iou_type, 1)).unwrap();
    let detection = |d: Detection<'_>| {
        format!(
            "{:#}",
            evaluator(IouType::Bbox).add_image(&[], &[found(0.0, 1.0, 0.5), d]).unwrap_err()
        )
    };
    for (error, says) in [
        (detection(found(0.0, 1.0, f64::NAN)), "detections[1]: score NaN is not finite"),
        (detection(found(0.0, -1.0, 0.5)), "with a width and height of at least 0"),
        (detection(found(f64::INFINITY, 1.0, 0.5)), "detections[1]: bbox [inf"),
        (detection(Detection { category: 1, ..found(0.0, 1.0, 0.5) }), "category 1 is beyond"),
    ] {
        assert!(error.contains(says), "{error}");
    }
    let (a, b) = (Rle::new(2, 3, vec![6]).unwrap(), Rle::new(3, 2, vec![6]).unwrap());
    let mut segm = evaluator(IouType::Segm);
    assert!(segm.add_image(&[truth(0.0, 1.0)], &[]).is_err());
    let t = Truth { mask: Some(&a), ..truth(0.0, 1.0) };
    let d = Detection { mask: Some(&b), ..found(0.0, 1.0, 0.5) };
    let error = segm.add_image(&[t], &[d]).unwrap_err().to_string();
    assert!(error.contains("3×2") && error.contains("2×3"), "{error}");
    let mut params = Params::new(IouType::Bbox, 1);
    params.max_dets = vec![10, 1];
    assert!(CocoEvaluator::new(params).unwrap_err().to_string().contains("max_dets"));
}
