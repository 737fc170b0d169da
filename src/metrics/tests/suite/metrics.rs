//! Metrics against scikit-learn and the reference.

use serde_json::{self, Value};
use sonotune_metrics::classification::{Classifications, macro_mean, mean_defined};

use sonotune_testing::{fixture, shared};

fn numbers(value: &Value) -> Vec<f64> {
    // `null` marks undefined values.
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect()
}

#[track_caller]
fn close(what: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (g, e) in got.iter().zip(expected) {
        assert!(
            g.is_nan() && e.is_nan() || (g - e).abs() < tolerance,
            "{what}: {got:?}, expected {expected:?}"
        );
    }
}

fn argmax(scores: &[f64]) -> usize {
    (0..scores.len()).rev().max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap()
}

#[test]
fn classification_metrics_equal_scikit_learn() {
    let text = std::fs::read_to_string(fixture("metrics/classification.json")).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let problems = file["problems"].as_array().unwrap();
    assert!(problems.len() >= 5);
    for problem in problems {
        let multi_label = problem["multi_label"].as_bool().unwrap();
        let classes = problem["auroc"].as_array().unwrap().len();
        let mut all = Classifications::new(classes);
        let rows = problem["truth"].as_array().unwrap().iter();
        for (truth, scores) in rows.zip(problem["scores"].as_array().unwrap()) {
            let truth: Vec<usize> = numbers(truth).iter().map(|&label| label as usize).collect();
            let scores = numbers(scores);
            let predicted = if multi_label {
                (0..classes).filter(|&class| scores[class] >= 0.5).collect()
            } else {
                vec![argmax(&scores)]
            };
            all.add(&truth, &predicted, &scores).unwrap();
        }
        let per_class = all.per_class();
        // The same sums in another order.
        const ROUNDING: f64 = 1e-12;
        let check = |what: &str, got: &[f64], expected: &Value| {
            close(what, got, &numbers(expected), ROUNDING);
        };
        let mean = macro_mean(&per_class);
        check("macro", &[mean.precision, mean.recall, mean.f1], &problem["macro"]);
        let micro = all.micro();
        check("micro", &[micro.precision, micro.recall, micro.f1], &problem["micro"]);
        for (class, expected) in per_class.iter().zip(problem["per_class"].as_array().unwrap()) {
            let got = [class.precision, class.recall, class.f1, class.support() as f64];
            check("class", &got, expected);
        }
        let auroc: Vec<f64> = per_class.iter().map(|c| c.auroc).collect();
        check("AUROC", &auroc, &problem["auroc"]);
        let precision: Vec<f64> = per_class.iter().map(|c| c.average_precision).collect();
        check("average precision", &precision, &problem["average_precision"]);
        close("accuracy", &[all.accuracy()], &[problem["accuracy"].as_f64().unwrap()], ROUNDING);
        if !multi_label {
            assert_eq!(serde_json::json!(all.confusion_matrix()), problem["confusion"]);
        }
    }
}

#[test]
fn parity_single_label_metric() {
    let Some(path) = shared("reference/single_label_metric.json") else { return };
    let reference: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let scores: Vec<Vec<f64>> =
        reference["scores"].as_array().unwrap().iter().map(numbers).collect();
    let mut all = Classifications::new(scores[0].len());
    for (scores, truth) in scores.iter().zip(numbers(&reference["gt"])) {
        // mmpretrain predicts only categories with scores above 0: none for an image of zeros.
        let predicted = Some(argmax(scores)).filter(|&best| scores[best] > 0.0);
        all.add(&[truth as usize], predicted.as_slice(), scores).unwrap();
    }
    // The reference computes percentages in fp32.
    const FP32_PERCENT: f64 = 2e-5;
    let per_class = all.per_class();
    let mean = macro_mean(&per_class);
    let got = [100.0 * mean.precision, 100.0 * mean.recall, 100.0 * mean.f1, all.len() as f64];
    close("macro", &got, &numbers(&reference["macro"]), FP32_PERCENT);
    let columns = reference["classwise"].as_array().unwrap();
    let column = |value: fn(&sonotune_metrics::classification::ClassMetrics) -> f64| {
        per_class.iter().map(value).collect::<Vec<_>>()
    };
    close("precision", &column(|c| 100.0 * c.precision), &numbers(&columns[0]), FP32_PERCENT);
    close("recall", &column(|c| 100.0 * c.recall), &numbers(&columns[1]), FP32_PERCENT);
    close("F1", &column(|c| 100.0 * c.f1), &numbers(&columns[2]), FP32_PERCENT);
    close("support", &column(|c| c.support() as f64), &numbers(&columns[3]), FP32_PERCENT);
    assert!(mean_defined(per_class.iter().map(|c| c.auroc)).is_finite());
}
