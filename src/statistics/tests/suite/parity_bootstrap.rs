//! Intervals over patients against SciPy, on the same resamples.

use serde_json::json;
use sonotune_base::seed::Rng;
use sonotune_statistics::{
    Clusters,
    bootstrap::{Distribution, Method, Options, means, patients_of, statistics},
};

use crate::reference::{answer, assert_close, numbers};

/// SciPy takes the resamples that are given as an earlier result, and adds none. Its statistic gets
/// patients, which become rows here.
const SCIPY: &str = r#"
from types import SimpleNamespace
from scipy.stats import bootstrap, norm, t
answers = []
for case in problem:
    values = np.array([np.nan if v is None else v for v in case['values']])
    rows = [np.array(r) for r in case['rows']]
    n = len(rows)
    pick = lambda patients: values[np.concatenate([rows[int(p)] for p in patients])]
    answer = {}
    for name, figure in {'mean': np.nanmean, 'median': np.nanmedian}.items():
        statistic = lambda patients: figure(pick(patients))
        resampled = np.array([statistic(draw) for draw in case['draws']])
        earlier = SimpleNamespace(bootstrap_distribution=resampled)
        result = {'resampled': list(resampled), 'observed': statistic(range(n))}
        level = case['level']
        wide = 1 - 2 * norm.cdf(np.sqrt(n / (n - 1)) * t.ppf((1 - level) / 2, n - 1))
        for method, at in {'percentile': level, 'BCa': level, 'expanded percentile': wide,
                           'expanded BCa': wide}.items():
            got = bootstrap((np.arange(n),), statistic, vectorized=False, n_resamples=0,
                            bootstrap_result=earlier, confidence_level=at,
                            method='BCa' if 'BCa' in method else 'percentile')
            result[method] = list(got.confidence_interval)
            result['standard error'] = got.standard_error
        if name == 'mean':
            def error(patients):
                sums = np.array([np.nansum(values[rows[p]]) for p in patients])
                counts = np.array([np.sum(~np.isnan(values[rows[p]])) for p in patients])
                rest = sums - sums.sum() / counts.sum() * counts
                return np.sqrt(n * rest.var(ddof=1)) / counts.sum()
            ratios = (resampled - result['observed']) / [error(d) for d in case['draws']]
            upper, lower = np.quantile(ratios, [(1 + level) / 2, (1 - level) / 2])
            result['studentised'] = [result['observed'] - x * error(range(n)) for x in (upper, lower)]
        answer[name] = result
    answers.append(answer)
print(json.dumps(answers))
"#;

struct Case {
    values: Vec<f64>,
    clusters: Clusters,
    options: Options,
}

/// Skewed scores of patients with one to six images, some undefined.
fn case(number: u64) -> Case {
    let mut rng = Rng::at(41, &[number]);
    let (mut values, mut patients) = (Vec::new(), Vec::new());
    for patient in 0..5 + rng.below(40) {
        let of_patient = rng.normal();
        for _ in 0..=rng.below(6) {
            let value = 1.0 / (1.0 + (-of_patient - 0.5 * rng.normal() - 1.0).exp());
            values.push(if rng.below(12) == 0 { f64::NAN } else { value });
            patients.push(patient.to_string());
        }
        // No patient is without a defined value: SciPy's jackknife would differ from no other.
        *values.last_mut().unwrap() = 0.1 * rng.uniform();
    }
    let options = Options { seed: number, resamples: 200, level: 0.9, ..Options::default() };
    Case { values, clusters: Clusters::new(&patients), options }
}

impl Case {
    fn mean(&self) -> Distribution {
        means(&[&self.values], &self.clusters, &self.options).unwrap().remove(0)
    }

    fn statistic(&self, figure: impl Fn(Vec<f64>) -> f64 + Sync) -> Distribution {
        let of_rows = |picks: &[sonotune_statistics::bootstrap::Pick]| {
            let values = picks.iter().map(|pick| self.values[pick.row]);
            figure(values.filter(|value| !value.is_nan()).collect())
        };
        statistics(1, &self.clusters, &self.options, of_rows).unwrap().remove(0)
    }
}

fn mean(values: Vec<f64>) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[half - 1], values[half])
    } else {
        values[half]
    }
}

#[test]
fn intervals_equal_scipys_on_the_same_resamples_parity() {
    let cases: Vec<Case> = (0..3).map(case).collect();
    let problem: Vec<_> = cases
        .iter()
        .map(|case| {
            let patients = case.clusters.len();
            let draws: Vec<_> = (0..case.options.resamples)
                .map(|index| patients_of(&case.options, index, patients))
                .collect();
            let (rows, level) = (case.clusters.rows(), case.options.level);
            json!({"values": case.values, "rows": rows, "draws": draws, "level": level})
        })
        .collect();
    let Some(theirs) = answer(&["scipy", "numpy"], SCIPY, &json!(problem)) else { return };
    for (case, theirs) in cases.iter().zip(theirs.as_array().unwrap()) {
        let figures = [
            ("mean", case.mean()),
            ("mean", case.statistic(mean)),
            ("median", case.statistic(median)),
        ];
        for (name, ours) in figures {
            let theirs = &theirs[name];
            assert_close("resample", &ours.resampled, &numbers(&theirs["resampled"]));
            assert_close("figure", &[ours.observed], &[theirs["observed"].as_f64().unwrap()]);
            for method in [
                Method::Percentile,
                Method::Bca,
                Method::ExpandedPercentile,
                Method::ExpandedBca,
                Method::Studentized,
            ] {
                let estimate = ours.estimate(&Options { method, ..case.options }).unwrap();
                let error = theirs["standard error"].as_f64().unwrap();
                assert_close("standard error", &[estimate.standard_error], &[error]);
                let interval = estimate.interval.unwrap();
                // A statistic without a formula for its standard error has another method.
                let has_formula = ours.standard_errors.is_some();
                assert_eq!(interval.method == method, method != Method::Studentized || has_formula);
                let limits = numbers(&theirs[interval.method.name()]);
                assert_close(interval.method.name(), &[interval.low, interval.high], &limits);
            }
        }
    }
}
