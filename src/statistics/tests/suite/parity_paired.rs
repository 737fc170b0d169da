//! Paired tests against SciPy and statsmodels.

use serde_json::{Value, json};
use sonotune_base::seed::Rng;
use sonotune_statistics::paired::{
    Permutations, delong, delong_paired, holm, mcnemar, sign_flip, swaps_of, wilcoxon,
};

use crate::reference::{answer, assert_close, numbers};

const SCIPY: &str = r#"
from scipy.stats import permutation_test, wilcoxon
exact = []
for d in problem['differences']:
    got = permutation_test((np.array(d),), np.mean, permutation_type='samples', n_resamples=np.inf)
    exact.append([got.statistic, got.pvalue])
drawn = []
for case in problem['drawn']:
    d, flips = np.array(case['differences']), np.array(case['swaps'])
    means = (np.where(flips, -1, 1) * d).mean(axis=1)
    extreme = (np.abs(means) >= abs(d.mean()) * (1 - 1e-12)).sum()
    drawn.append((extreme + 1) / (len(means) + 1))
signed = [list(wilcoxon(d)) for d in problem['wilcoxon']]
print(json.dumps({'exact': exact, 'drawn': drawn, 'wilcoxon': signed}))
"#;

/// Differences of `count` patients; `coarse` ones have ties and zeros.
fn differences(rng: &mut Rng, count: usize, coarse: bool) -> Vec<f64> {
    let draw = |rng: &mut Rng| rng.normal() + 0.4;
    let shape = |value: f64| if coarse { (value * 3.0).round() / 4.0 } else { value };
    (0..count).map(|_| shape(draw(rng))).collect()
}

#[test]
fn permutation_and_wilcoxon_equal_scipys_parity() {
    let mut rng = Rng::at(42, &[]);
    let small: Vec<Vec<f64>> =
        (2..13).map(|n| differences(&mut rng, n, n.is_multiple_of(3))).collect();
    let large: Vec<Vec<f64>> = (0..4).map(|_| differences(&mut rng, 40, false)).collect();
    let signed: Vec<Vec<f64>> = [1, 2, 5, 9, 13, 14, 20, 50, 51, 80, 300]
        .into_iter()
        .flat_map(|n| [false, true].map(|coarse| (n, coarse)))
        .map(|(n, coarse)| differences(&mut rng, n, coarse))
        .collect();
    let options = Permutations { seed: 5, count: 500 };
    let drawn: Vec<Value> = large
        .iter()
        .map(|d| {
            let swaps: Vec<_> =
                (0..options.count).map(|i| swaps_of(&options, i, d.len())).collect();
            json!({"differences": d, "swaps": swaps})
        })
        .collect();
    let problem = json!({"differences": small, "drawn": drawn, "wilcoxon": signed});
    let Some(theirs) = answer(&["scipy", "numpy"], SCIPY, &problem) else { return };
    for (d, theirs) in small.iter().zip(theirs["exact"].as_array().unwrap()) {
        let ours = sign_flip(d, &options).unwrap();
        assert!(ours.exact);
        assert_close("exact permutation", &[ours.difference, ours.p_value], &numbers(theirs));
    }
    let ours: Vec<f64> = large.iter().map(|d| sign_flip(d, &options).unwrap().p_value).collect();
    assert_close("drawn permutation", &ours, &numbers(&theirs["drawn"]));
    for (d, theirs) in signed.iter().zip(theirs["wilcoxon"].as_array().unwrap()) {
        let ours = wilcoxon(d).unwrap();
        let what = format!("signed rank of {}, {ours:?}", d.len());
        assert_close(&what, &[ours.statistic, ours.p_value], &numbers(theirs));
    }
}

const STATSMODELS: &str = r#"
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
tables = [[mcnemar([[0, b], [c, 0]], exact=True).pvalue,
           mcnemar([[0, b], [c, 0]], exact=False, correction=True).pvalue]
          for b, c in problem['tables']]
adjusted = [list(multipletests(p, method='holm')[1]) for p in problem['p_values']]
print(json.dumps({'tables': tables, 'adjusted': adjusted}))
"#;

#[test]
fn mcnemar_and_holm_equal_statsmodels_parity() {
    let tables = [[1, 0], [0, 7], [3, 10], [12, 30], [200, 261], [5, 900]];
    let mut rng = Rng::at(43, &[]);
    let p_values: Vec<Vec<f64>> = (1..20)
        .map(|n| (0..n).map(|_| (rng.uniform().powi(3) * 50.0).round() / 50.0).collect())
        .collect();
    let problem = json!({"tables": tables, "p_values": p_values});
    let Some(theirs) = answer(&["statsmodels", "numpy"], STATSMODELS, &problem) else { return };
    for ([b, c], theirs) in tables.into_iter().zip(theirs["tables"].as_array().unwrap()) {
        let first: Vec<bool> = (0..b + c + 3).map(|row| row < b || row >= b + c).collect();
        let second: Vec<bool> = (0..b + c + 3).map(|row| row >= b).collect();
        let ours = mcnemar(&first, &second).unwrap();
        assert_eq!((ours.only_first, ours.only_second), (b, c));
        assert_close("McNemar", &[ours.exact_p, ours.corrected_p], &numbers(theirs));
    }
    for (p, theirs) in p_values.iter().zip(theirs["adjusted"].as_array().unwrap()) {
        assert_close("Holm", &holm(p), &numbers(theirs));
    }
}

/// The definition: every pair of a positive and a negative.
const DELONG: &str = r#"
from scipy.stats import norm
from sklearn.metrics import roc_auc_score
answers = []
for case in problem:
    y, level = np.array(case['positive']), case['level']
    parts = []
    for name in ('first', 'second'):
        s = np.array(case[name])
        pairs = np.sign(s[y][:, None] - s[~y][None, :]) / 2 + 0.5
        parts.append((pairs.mean(1), pairs.mean(0)))
    joint = sum(np.cov([p[side] for p in parts]) / len(parts[0][side]) for side in (0, 1))
    z = norm.ppf((1 + level) / 2)
    areas = [roc_auc_score(y, case[name]) for name in ('first', 'second')]
    reach = z * np.sqrt(joint[0, 0])
    variance = joint[0, 0] + joint[1, 1] - 2 * joint[0, 1]
    d = areas[0] - areas[1]
    answers.append({
        'single': [areas[0], joint[0, 0], max(areas[0] - reach, 0), min(areas[0] + reach, 1)],
        'paired': areas + [variance, 2 * norm.sf(abs(d) / np.sqrt(variance)),
                           d - z * np.sqrt(variance), d + z * np.sqrt(variance)]})
print(json.dumps(answers))
"#;

/// Scores of two models for the same rows, which rows are positive, and a level.
type Roc = (Vec<f64>, Vec<f64>, Vec<bool>, f64);

#[test]
fn delong_equals_its_definition_parity() {
    let mut rng = Rng::at(44, &[]);
    let cases: Vec<Roc> = (0..12)
        .map(|number| {
            let rows = 8 + rng.below(150) as usize;
            let mut positive: Vec<bool> = (0..rows).map(|_| rng.uniform() < 0.4).collect();
            positive[..4].copy_from_slice(&[true, true, false, false]);
            let mut scores = |gain: f64| -> Vec<f64> {
                let mut score = |p: &bool| gain * f64::from(u8::from(*p)) + rng.normal();
                // Every other problem has ties.
                let shape = |v: f64| if number % 2 == 0 { v } else { (2.0 * v).round() };
                positive.iter().map(|p| shape(score(p))).collect()
            };
            let (first, second) = (scores(1.0), scores(0.7));
            (first, second, positive, 0.8 + 0.01 * f64::from(number))
        })
        .collect();
    let problem: Vec<Value> = cases
        .iter()
        .map(|(first, second, positive, level)| {
            json!({"first": first, "second": second, "positive": positive, "level": level})
        })
        .collect();
    let Some(theirs) = answer(&["scipy", "sklearn", "numpy"], DELONG, &json!(problem)) else {
        return;
    };
    for ((first, second, positive, level), theirs) in cases.iter().zip(theirs.as_array().unwrap()) {
        let one = delong(first, positive, *level).unwrap();
        let ours = [one.auroc, one.variance, one.low, one.high];
        assert_close("DeLong of one", &ours, &numbers(&theirs["single"]));
        let two = delong_paired(first, second, positive, *level).unwrap();
        let ours = [two.first, two.second, two.variance, two.p_value, two.low, two.high];
        assert_close("DeLong of two", &ours, &numbers(&theirs["paired"]));
    }
}
