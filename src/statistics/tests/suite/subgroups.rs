//! Scores by group.

use serde_json::json;
use sonotune_base::seed::Rng;
use sonotune_statistics::{
    Clusters,
    bootstrap::Options as Resampling,
    paired::Permutations,
    subgroups::{NotCompared, Options, subgroups},
};

use crate::reference::{answer, assert_close, numbers};

fn options(min_patients: usize) -> Options {
    let bootstrap = Resampling { resamples: 500, ..Resampling::default() };
    Options { bootstrap, permutations: Permutations { seed: 0, count: 2_000 }, min_patients }
}

/// Scores of patients with two images; `shift` is what the group "b" adds.
fn study(patients: usize, shift: f64) -> (Vec<f64>, Vec<&'static str>, Clusters) {
    let mut rng = Rng::at(71, &[patients as u64]);
    let (mut values, mut groups, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for patient in 0..patients {
        let group = if patient % 3 == 0 { "b" } else { "a" };
        let of_patient = rng.normal() + if group == "b" { shift } else { 0.0 };
        for _ in 0..2 {
            values.push(of_patient + 0.3 * rng.normal());
            groups.push(group);
            names.push(patient.to_string());
        }
    }
    (values, groups, Clusters::new(&names))
}

fn some<'a>(groups: &[&'a str]) -> Vec<Option<&'a str>> {
    groups.iter().map(|group| Some(*group)).collect()
}

#[test]
fn a_gap_is_found_and_no_gap_is_not() {
    let (values, groups, clusters) = study(60, -2.0);
    let found = subgroups(&values, &some(&groups), &clusters, &options(10)).unwrap();
    let [a, b] = &found.groups[..] else { panic!("{found:?}") };
    assert_eq!((b.name.as_str(), b.rows, b.patients), ("b", 40, 20));
    let gap = b.gap.as_ref().unwrap();
    assert!(gap.adjusted_p.unwrap() < 0.01 && gap.difference.interval.unwrap().excludes_zero());
    assert!((gap.difference.value - (b.mean.value - a.mean.value)).abs() < 1e-12);
    assert!((gap.permutation.unwrap().difference - gap.difference.value).abs() < 1e-12);

    let (values, groups, clusters) = study(60, 0.0);
    let none = subgroups(&values, &some(&groups), &clusters, &options(10)).unwrap();
    assert!(none.groups[1].gap.as_ref().unwrap().adjusted_p.unwrap() > 0.05);
}

#[test]
fn small_groups_are_reported_but_not_compared() {
    let (values, groups, clusters) = study(12, 0.0);
    let found = subgroups(&values, &some(&groups), &clusters, &options(5)).unwrap();
    let reason = |group: usize| found.groups[group].gap.clone().unwrap_err();
    assert_eq!(reason(1), NotCompared::SmallGroup { patients: 4, min_patients: 5 });
    assert_eq!(reason(0), NotCompared::SmallRest { patients: 4, min_patients: 5 });
    assert!(found.groups[1].mean.value.is_finite());
    // A single group has no rest, however small it may be.
    let one = subgroups(&values, &vec![Some("a"); 24], &clusters, &options(0)).unwrap();
    assert!(matches!(one.groups[0].gap, Err(NotCompared::SmallRest { patients: 0, .. })));
}

#[test]
fn patients_in_both_groups_are_not_regrouped() {
    let (mut values, groups, clusters) = study(30, -1.0);
    let mut groups = some(&groups);
    groups[1] = Some("a");
    groups[5] = None;
    values[8] = f64::NAN;
    let found = subgroups(&values, &groups, &clusters, &options(5)).unwrap();
    assert_eq!((found.without_field, found.undefined), (1, 1));
    let gap = found.groups[1].gap.as_ref().unwrap();
    assert_eq!((gap.in_both, gap.permutation, gap.adjusted_p), (1, None, None));
    assert!(gap.difference.interval.is_ok());
}

#[test]
fn what_cannot_be_grouped_is_refused() {
    let clusters = Clusters::new(&["p", "q"]);
    let refused = |values: &[f64], groups: &[Option<&str>]| {
        subgroups(values, groups, &clusters, &options(1)).unwrap_err().to_string()
    };
    assert!(refused(&[1.0], &[None, None]).contains("values: expected 2"));
    assert!(refused(&[1.0, 2.0], &[None]).contains("groups: expected 2"));
    assert!(refused(&[1.0, f64::NAN], &[None, Some("a")]).contains("no rows with a group"));
    assert!(refused(&[1.0, f64::INFINITY], &[None, None]).contains("value 1 is inf"));
}

/// Two-sided by the distance from 0, as the distribution of groups of different sizes is skewed.
const SCIPY: &str = r#"
from scipy.stats import permutation_test
answers = []
for case in problem:
    inside = np.array(case['inside'])
    sums, counts = np.array(case['sums']), np.array(case['counts'])
    def gap(own, rest):
        own, rest = own.astype(int), rest.astype(int)
        return abs(sums[own].sum() / counts[own].sum() - sums[rest].sum() / counts[rest].sum())
    patients = np.arange(len(sums))
    got = permutation_test((patients[inside], patients[~inside]), gap, vectorized=False,
                           n_resamples=np.inf, alternative='greater')
    answers.append([got.statistic, got.pvalue])
print(json.dumps(answers))
"#;

#[test]
fn regrouping_equals_scipys_permutation_test_parity() {
    let (mut ours, mut problem) = (Vec::new(), Vec::new());
    for patients in [4, 7, 10, 12] {
        let (mut values, groups, clusters) = study(patients, 1.0);
        // Patients of different sizes.
        values[1] = f64::NAN;
        let found = subgroups(&values, &some(&groups), &clusters, &options(1)).unwrap();
        let gap = found.groups[1].gap.clone().unwrap();
        let test = gap.permutation.unwrap();
        assert!(test.exact);
        ours.push([test.difference.abs(), test.p_value]);
        let of_patient = |rows: &Vec<usize>| -> Vec<f64> {
            rows.iter().map(|&row| values[row]).filter(|value| !value.is_nan()).collect()
        };
        let of_patients: Vec<Vec<f64>> = clusters.rows().iter().map(of_patient).collect();
        let sums: Vec<f64> = of_patients.iter().map(|values| values.iter().sum()).collect();
        let counts: Vec<usize> = of_patients.iter().map(Vec::len).collect();
        let inside: Vec<bool> = (0..patients).map(|patient| patient % 3 == 0).collect();
        problem.push(json!({"inside": inside, "sums": sums, "counts": counts}));
    }
    let Some(theirs) = answer(&["scipy", "numpy"], SCIPY, &json!(problem)) else { return };
    for (ours, theirs) in ours.iter().zip(theirs.as_array().unwrap()) {
        assert_close("regrouping", ours, &numbers(theirs));
    }
}
