//! Figures of a classification against scikit-learn, where its rule for absent categories is the same.

use serde_json::json;
use sonotune_base::seed::Rng;
use sonotune_statistics::classification::{
    Counts, Weighting, cohens_kappa, expected_cost, matthews_correlation, one_vs_rest_auroc,
    one_vs_rest_average_precision,
};

use crate::reference::{answer, assert_close, numbers};

/// Means are over the categories that are present, which scikit-learn does if it is told so.
const SKLEARN: &str = r#"
from sklearn import metrics as m
answers = []
for case in problem:
    y, q, p, costs = (np.array(case[k]) for k in ('labels', 'predicted', 'scores', 'costs'))
    present = sorted(set(y))
    predicted = [k for k in present if k in q]
    counts = m.confusion_matrix(y, q, labels=range(len(costs)))
    cost = (counts * costs).sum() / len(y)
    naive = min((counts.sum(1) * costs[:, k]).sum() for k in range(len(costs))) / len(y)
    answers.append([
        m.accuracy_score(y, q), m.balanced_accuracy_score(y, q),
        m.precision_score(y, q, labels=predicted, average='macro'),
        m.f1_score(y, q, labels=present, average='macro'),
        m.matthews_corrcoef(y, q), m.cohen_kappa_score(y, q),
        m.cohen_kappa_score(y, q, weights='linear', labels=range(len(costs))),
        m.cohen_kappa_score(y, q, weights='quadratic', labels=range(len(costs))),
        np.mean([m.roc_auc_score(y == k, p[:, k]) for k in present]),
        np.mean([m.average_precision_score(y == k, p[:, k]) for k in present]),
        cost, cost / naive])
print(json.dumps(answers))
"#;

#[test]
fn figures_equal_scikit_learns_parity() {
    let mut ours = Vec::new();
    let mut problem = Vec::new();
    for number in 0..12 {
        let mut rng = Rng::at(61, &[number]);
        let (categories, rows) = (2 + number as usize % 5, 10 + rng.below(150) as usize);
        // With more than two categories the last is never present, and the one before never predicted.
        let present = categories - usize::from(categories > 2);
        let mut labels: Vec<usize> =
            (0..rows).map(|_| rng.below(present as u64) as usize).collect();
        (0..present).for_each(|category| labels[category] = category);
        let scores: Vec<Vec<f64>> = labels
            .iter()
            .map(|&label| {
                let gain = |category| if category == label { 1.0 } else { 0.0 };
                (0..categories)
                    .map(|category| ((gain(category) + rng.normal()) * 8.0).round() / 8.0)
                    .collect()
            })
            .collect();
        let predicted: Vec<usize> = labels
            .iter()
            .map(|&label| match rng.below(3) {
                0 => rng.below(categories as u64) as usize,
                _ => label,
            })
            .map(|category| if present > 2 && category + 1 == present { 0 } else { category })
            .collect();
        let costs: Vec<Vec<f64>> = (0..categories)
            .map(|a| (0..categories).map(|b| if a == b { 0.0 } else { rng.uniform() }).collect())
            .collect();
        let counts = Counts::new(&labels, &predicted, categories).unwrap();
        let cost = expected_cost(&counts, &costs).unwrap();
        ours.push([
            counts.accuracy(),
            counts.recall().value,
            counts.precision().value,
            counts.f1().value,
            matthews_correlation(&counts),
            cohens_kappa(&counts, Weighting::None),
            cohens_kappa(&counts, Weighting::Linear),
            cohens_kappa(&counts, Weighting::Quadratic),
            one_vs_rest_auroc(&scores, &labels).unwrap().value,
            one_vs_rest_average_precision(&scores, &labels).unwrap().value,
            cost.expected,
            cost.normalized,
        ]);
        problem.push(
            json!({"labels": labels, "predicted": predicted, "scores": scores, "costs": costs}),
        );
    }
    let Some(theirs) = answer(&["sklearn", "numpy"], SKLEARN, &json!(problem)) else { return };
    for (number, (ours, theirs)) in ours.iter().zip(theirs.as_array().unwrap()).enumerate() {
        assert_close(&format!("problem {number}, figure"), ours, &numbers(theirs));
    }
}
