//! Calibration against torchmetrics, scikit-learn and SciPy.

use serde_json::{Value, json};
use sonotune_base::seed::Rng;
use sonotune_statistics::calibration::{
    Bins, brier, brier_binary, fit_temperature, negative_log_likelihood, reliability, top_label,
    with_temperature,
};

use crate::reference::{answer, assert_close, numbers};

struct Problem {
    logits: Vec<Vec<f64>>,
    probabilities: Vec<Vec<f64>>,
    labels: Vec<usize>,
    bins: usize,
}

/// Rows of an overconfident model, with two to five categories.
fn problems() -> Vec<Problem> {
    let of = |number: u64| {
        let mut rng = Rng::at(51, &[number]);
        let (categories, rows) = (2 + number as usize % 4, 40 + rng.below(200) as usize);
        let mut labels: Vec<usize> =
            (0..rows).map(|_| rng.below(categories as u64) as usize).collect();
        // scikit-learn takes the categories from the labels.
        (0..categories).for_each(|category| labels[category] = category);
        let logits: Vec<Vec<f64>> = labels
            .iter()
            .map(|&label| {
                let gain = |category| if category == label { 2.0 } else { 0.0 };
                (0..categories).map(|category| gain(category) + 3.0 * rng.normal()).collect()
            })
            .collect();
        let probabilities = with_temperature(&logits, 1.0);
        Problem { logits, probabilities, labels, bins: 5 + number as usize }
    };
    (0..8).map(of).collect()
}

fn as_json(problems: &[Problem]) -> Value {
    let of = |p: &Problem| {
        let Problem { logits, probabilities, labels, bins } = p;
        json!({"logits": logits, "probabilities": probabilities, "labels": labels, "bins": bins})
    };
    json!(problems.iter().map(of).collect::<Vec<_>>())
}

const SKLEARN: &str = r#"
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss
answers = []
for case in problem:
    p, y, z = (np.array(case[k]) for k in ('probabilities', 'labels', 'logits'))
    top, right = p.max(1), p.argmax(1) == y
    answer = {}
    for strategy in ('uniform', 'quantile'):
        curve = calibration_curve(right, top, n_bins=case['bins'], strategy=strategy)
        answer[strategy] = [list(c) for c in curve]
    answer['brier'] = [brier_score_loss(y, p, labels=range(p.shape[1]), scale_by_half=False),
                       brier_score_loss(y == 0, p[:, 0])]
    answer['likelihood'] = log_loss(y, p, labels=range(p.shape[1]))
    def loss(u):
        scaled = z / np.exp(u)
        return (logsumexp(scaled, axis=1) - scaled[np.arange(len(y)), y]).mean()
    fit = minimize_scalar(loss, bounds=(-4, 4), method='bounded', options={'xatol': 1e-12})
    answer['temperature'] = [loss(0), fit.fun, np.exp(fit.x)]
    answers.append(answer)
print(json.dumps(answers))
"#;

#[test]
fn calibration_equals_scikit_learns_parity() {
    let problems = problems();
    let modules = ["scipy", "sklearn", "numpy"];
    let Some(theirs) = answer(&modules, SKLEARN, &as_json(&problems)) else { return };
    for (problem, theirs) in problems.iter().zip(theirs.as_array().unwrap()) {
        let Problem { logits, probabilities, labels, bins } = problem;
        let (top, right) = top_label(probabilities, labels).unwrap();
        for (name, bins) in
            [("uniform", Bins::EqualWidth(*bins)), ("quantile", Bins::EqualMass(*bins))]
        {
            let table = reliability(&top, &right, bins).unwrap();
            // Empty bins are not in scikit-learn's curve.
            let filled = || table.bins.iter().filter(|bin| bin.rows > 0);
            let accuracies: Vec<f64> = filled().map(|bin| bin.accuracy).collect();
            let confidences: Vec<f64> = filled().map(|bin| bin.confidence).collect();
            assert_close(name, &accuracies, &numbers(&theirs[name][0]));
            assert_close(name, &confidences, &numbers(&theirs[name][1]));
        }
        let first: Vec<f64> = probabilities.iter().map(|row| row[0]).collect();
        let is_first: Vec<bool> = labels.iter().map(|&label| label == 0).collect();
        let ours =
            [brier(probabilities, labels).unwrap(), brier_binary(&first, &is_first).unwrap()];
        assert_close("Brier", &ours, &numbers(&theirs["brier"]));
        let likelihood = negative_log_likelihood(probabilities, labels).unwrap();
        assert_close("log loss", &[likelihood], &[theirs["likelihood"].as_f64().unwrap()]);
        let fit = fit_temperature(logits, labels).unwrap();
        let theirs = numbers(&theirs["temperature"]);
        assert_close("likelihoods", &[fit.before, fit.after], &theirs[..2]);
        // A minimiser that sees values only is exact to the root of what they are.
        assert!((fit.value / theirs[2] - 1.0).abs() < 1e-6, "{fit:?} {theirs:?}");
        assert!(fit.after <= theirs[1] + 1e-15, "{fit:?} {theirs:?}");
    }
}

const TORCHMETRICS: &str = r#"
import torch
from torchmetrics.functional.classification import (
    binary_calibration_error, multiclass_calibration_error)
answers = []
for case in problem:
    p, y = torch.tensor(case['probabilities'], dtype=torch.float64), torch.tensor(case['labels'])
    top, right = p.max(1).values, (p.argmax(1) == y).long()
    answers.append([
        multiclass_calibration_error(p, y, p.shape[1], case['bins'], norm).item()
        for norm in ('l1', 'max')] + [
        binary_calibration_error(p[:, 0].contiguous(), (y == 0).long(), case['bins'], norm).item()
        for norm in ('l1', 'max')])
print(json.dumps(answers))
"#;

#[test]
fn calibration_errors_equal_torchmetrics_parity() {
    let problems = problems();
    let modules = ["torch", "torchmetrics", "numpy"];
    let Some(theirs) = answer(&modules, TORCHMETRICS, &as_json(&problems)) else { return };
    for (problem, theirs) in problems.iter().zip(theirs.as_array().unwrap()) {
        let Problem { probabilities, labels, bins, .. } = problem;
        let bins = Bins::EqualWidth(*bins);
        let (top, right) = top_label(probabilities, labels).unwrap();
        let of_all = reliability(&top, &right, bins).unwrap();
        let first: Vec<f64> = probabilities.iter().map(|row| row[0]).collect();
        let is_first: Vec<bool> = labels.iter().map(|&label| label == 0).collect();
        let of_first = reliability(&first, &is_first, bins).unwrap();
        let ours = [&of_all, &of_first].map(|r| [r.expected_error(), r.maximum_error()]).concat();
        assert_close("calibration error", &ours, &numbers(theirs));
    }
}
