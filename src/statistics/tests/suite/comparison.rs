//! Models compared on the same patients: who is better, and when nobody can say.

use sonotune_base::seed::Rng;
use sonotune_metrics::{Direction, ranking::auroc};
use sonotune_statistics::{
    Clusters,
    bootstrap::{self, NoInterval, Options as Resampling},
    comparison::{Options, Verdict, compare_means, compare_statistics},
    paired::{sign_flip, wilcoxon},
};

/// Scores of models on patients with three images each: `gains` are what each model adds.
fn study(patients: usize, gains: &[f64], noise: f64) -> (Vec<Vec<f64>>, Clusters) {
    let mut models = vec![Vec::new(); gains.len()];
    let mut names = Vec::new();
    for patient in 0..patients {
        let mut rng = Rng::at(9, &[patient as u64]);
        let of_patient = 0.7 + 0.1 * rng.normal();
        for _ in 0..3 {
            names.push(patient.to_string());
            for (model, gain) in models.iter_mut().zip(gains) {
                model.push(of_patient + gain + noise * rng.normal());
            }
        }
    }
    (models, Clusters::new(&names))
}

fn slices(models: &[Vec<f64>]) -> Vec<&[f64]> {
    models.iter().map(Vec::as_slice).collect()
}

#[test]
fn a_clear_winner_is_named_and_a_close_race_is_not() {
    let (models, clusters) = study(30, &[0.0, 0.1, 0.101], 0.05);
    let two = compare_means(&slices(&models[..2]), &clusters, &Options::new(Direction::Highest));
    let two = two.unwrap();
    assert_eq!(two.verdict, Verdict::Best { model: 1 });
    assert_eq!(two.pairs[0].better, Some(1));
    let lowest = Options::new(Direction::Lowest);
    let lowest = compare_means(&slices(&models[..2]), &clusters, &lowest).unwrap();
    assert_eq!(lowest.verdict.best(), Some(0));

    let all =
        compare_means(&slices(&models), &clusters, &Options::new(Direction::Highest)).unwrap();
    let Verdict::BetterThan { model, others, undecided } = &all.verdict else {
        panic!("{:?}", all.verdict)
    };
    assert_eq!((others.as_slice(), undecided.len()), (&[0][..], 1));
    assert_eq!(all.verdict.best(), None);
    assert!(all.ranks.first(*model) > 0.5 && all.ranks.first(0) < 1e-3);
    let sentence = all.sentence(&["a", "b", "c"], "mean Dice");
    assert!(sentence.contains("significantly better than a"), "{sentence}");
    assert!(sentence.contains("cannot be told from"), "{sentence}");
}

#[test]
fn too_few_patients_are_said_to_be_too_few() {
    let (models, clusters) = study(4, &[0.0, 0.1], 0.02);
    let few =
        compare_means(&slices(&models), &clusters, &Options::new(Direction::Highest)).unwrap();
    let Verdict::Undecided { model: 1, next: 0, hopeless: true, .. } = few.verdict else {
        panic!("{:?}", few.verdict)
    };
    // All four patients agree: 2 of 16 swaps are as extreme.
    assert_eq!(few.pairs[0].permutation.p_value, 0.125);
    let sentence = few.sentence(&["a", "b"], "mean Dice");
    assert!(sentence.contains("4 patients: too few to decide"), "{sentence}");
    assert!(sentence.contains("no result could be significant"), "{sentence}");

    let (models, clusters) = study(20, &[0.0, 0.004], 0.05);
    let close = compare_means(&slices(&models), &clusters, &Options::new(Direction::Highest));
    let close = close.unwrap();
    let Verdict::Undecided { difference, detectable, patients_needed, hopeless: false, .. } =
        close.verdict
    else {
        panic!("{:?}", close.verdict)
    };
    assert!(detectable > difference && patients_needed.unwrap() > 20, "{:?}", close.verdict);

    let (models, _) = study(3, &[0.0, 0.1], 0.02);
    let one = Clusters::new(&["p"; 9]);
    let one = compare_means(&slices(&models), &one, &Options::new(Direction::Highest)).unwrap();
    assert_eq!(one.estimates[0].interval, Err(NoInterval::OnePatient));
    assert!(matches!(one.verdict, Verdict::Undecided { hopeless: true, .. }));
}

#[test]
fn tests_are_over_means_of_patients_and_rows_without_a_value_are_left_out() {
    let (mut models, clusters) = study(12, &[0.0, 0.02], 0.05);
    models[0][4] = f64::NAN;
    models[1][30] = f64::NAN;
    let got =
        compare_means(&slices(&models), &clusters, &Options::new(Direction::Highest)).unwrap();
    assert_eq!((got.rows, got.left_out, got.patients), (34, 2, 12));
    let differences: Vec<f64> = models[0].iter().zip(&models[1]).map(|(a, b)| a - b).collect();
    let of_patients = clusters.means(&differences);
    let pair = &got.pairs[0];
    let permutation = sign_flip(&of_patients, &Default::default()).unwrap();
    assert!((pair.permutation.p_value - permutation.p_value).abs() < 1e-12);
    assert_eq!(pair.wilcoxon.unwrap().p_value, wilcoxon(&of_patients).unwrap().p_value);
    let by_figures = got.estimates[0].value - got.estimates[1].value;
    assert!((pair.difference.value - by_figures).abs() < 1e-12);

    // A patient without any value is not a patient of the comparison.
    models[0][..3].fill(f64::NAN);
    let fewer = compare_means(&slices(&models), &clusters, &Options::new(Direction::Highest));
    assert_eq!(fewer.unwrap().patients, 11);
}

#[test]
fn any_figure_of_rows_can_be_compared() {
    let mut rng = Rng::at(10, &[]);
    let positive: Vec<bool> = (0..120).map(|row| row % 3 == 0).collect();
    let mut scores = |gain: f64| -> Vec<f64> {
        positive.iter().map(|p| gain * f64::from(u8::from(*p)) + rng.normal()).collect()
    };
    let models = [scores(2.5), scores(0.2)];
    let patients: Vec<String> = (0..120).map(|row| (row / 2).to_string()).collect();
    let clusters = Clusters::new(&patients);
    let options = Options {
        bootstrap: Resampling { resamples: 500, ..Resampling::default() },
        ..Options::new(Direction::Highest)
    };
    let figure = |picks: &[bootstrap::Pick]| {
        let scores: Vec<f64> = picks.iter().map(|pick| models[pick.model][pick.row]).collect();
        let positive: Vec<bool> = picks.iter().map(|pick| positive[pick.row]).collect();
        auroc(&scores, &positive)
    };
    let got = compare_statistics(2, &clusters, &options, figure).unwrap();
    assert_eq!(got.verdict, Verdict::Best { model: 0 });
    assert!(got.pairs[0].wilcoxon.is_none() && got.estimates[0].value > 0.9);

    // The mean as a figure of rows is tested as the mean of rows.
    let mean = |picks: &[bootstrap::Pick]| {
        picks.iter().map(|pick| models[pick.model][pick.row]).sum::<f64>() / picks.len() as f64
    };
    let any = compare_statistics(2, &clusters, &options, mean).unwrap();
    let means = compare_means(&slices(&models), &clusters, &options).unwrap();
    assert!((any.estimates[1].value - means.estimates[1].value).abs() < 1e-12);
    assert!((any.ranks.mean[0] - means.ranks.mean[0]).abs() < 1e-12);
    // Patients have two rows each, so both weigh them alike.
    assert!((any.pairs[0].permutation.p_value - means.pairs[0].permutation.p_value).abs() < 1e-9);
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let (models, clusters) = study(5, &[0.0, 0.1], 0.02);
    let options = Options::new(Direction::Highest);
    let error = |result: Result<_, sonotune_statistics::Error>| result.unwrap_err().to_string();
    let short = compare_means(&[&models[0], &models[1][1..]], &clusters, &options).map(drop);
    assert_eq!(error(short), "values of a model: expected 15 values, got 14");
    assert!(error(compare_means(&[], &clusters, &options).map(drop)).contains("no rows"));
    let none = vec![f64::NAN; 15];
    assert!(error(compare_means(&[&none], &clusters, &options).map(drop)).contains("no rows"));
    let infinite = vec![f64::INFINITY; 15];
    let got = error(compare_means(&[&infinite], &clusters, &options).map(drop));
    assert!(got.contains("value 0 is inf"), "{got}");
    for wrong in [0.0, 1.0, f64::NAN] {
        let options = Options { power: wrong, ..options };
        let got = error(compare_means(&slices(&models), &clusters, &options).map(drop));
        assert!(got.contains("power = "), "{got}");
        let bootstrap = Resampling { level: wrong, ..Resampling::default() };
        let options = Options { bootstrap, ..Options::new(Direction::Highest) };
        let got = error(compare_means(&slices(&models), &clusters, &options).map(drop));
        assert!(got.contains("level = "), "{got}");
    }
    let bootstrap = Resampling { resamples: 10, ..Resampling::default() };
    let few = Options { bootstrap, ..options };
    let got = error(compare_means(&slices(&models), &clusters, &few).map(drop));
    assert!(got.contains("resamples = 10"), "{got}");
    let single = compare_means(&slices(&models[..1]), &clusters, &options).unwrap();
    assert_eq!(single.verdict, Verdict::NothingToCompare);
}
