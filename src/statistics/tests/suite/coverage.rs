//! Whether 95 % intervals contain the true mean in 95 of 100 studies.

use sonotune_base::seed::Rng;
use sonotune_statistics::{
    Clusters,
    bootstrap::{Method, Options, means},
};

/// A population of patients with one to eight images each.
struct Population {
    name: &'static str,
    /// Score of an image, from standard normal deviates of its patient and its own.
    score: fn(f64, f64, &mut Rng) -> f64,
    mean: f64,
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Mean of a function of a standard normal deviate, by the trapezoidal rule.
fn expected(of: impl Fn(f64) -> f64) -> f64 {
    let step = 1e-3;
    let density = |z: f64| (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt();
    (-9_000..=9_000).map(|i| f64::from(i) * step).map(|z| of(z) * density(z) * step).sum()
}

fn populations() -> [Population; 3] {
    [
        Population { name: "normal", score: |patient, image, _| patient + image, mean: 0.0 },
        // As Dice is: most near 0.9, a tail of failures.
        Population {
            name: "skewed",
            score: |patient, image, _| logistic(1.8 + 0.9 * patient + 0.6 * image),
            mean: expected(|z| logistic(1.8 + 0.9_f64.hypot(0.6) * z)),
        },
        Population {
            name: "right or wrong",
            score: |patient, _, rng| f64::from(u8::from(rng.uniform() < logistic(1.5 + patient))),
            mean: expected(|z| logistic(1.5 + z)),
        },
    ]
}

/// Share of studies whose interval contains the mean, for each method.
fn coverage(population: &Population, patients: u64, methods: &[Method], studies: u64) -> Vec<f64> {
    let mut hits = vec![0_u64; methods.len()];
    for study in 0..studies {
        let mut rng = Rng::at(77, &[patients, study]);
        let (mut values, mut names) = (Vec::new(), Vec::new());
        for patient in 0..patients {
            let of_patient = rng.normal();
            for _ in 0..=rng.below(8) {
                let of_image = rng.normal();
                values.push((population.score)(of_patient, of_image, &mut rng));
                names.push(patient.to_string());
            }
        }
        let options = Options { seed: study, resamples: 400, ..Options::default() };
        let of_study = means(&[&values], &Clusters::new(&names), &options).unwrap().remove(0);
        for (hits, &method) in hits.iter_mut().zip(methods) {
            let interval =
                of_study.estimate(&Options { method, ..options }).unwrap().interval.unwrap();
            *hits += u64::from((interval.low..=interval.high).contains(&population.mean));
        }
    }
    hits.into_iter().map(|hits| hits as f64 / studies as f64).collect()
}

#[test]
fn the_default_interval_covers_as_it_says_at_30_and_100_patients() {
    // The others for docs/statistics.md.
    let long = std::env::var_os("SONOTUNE_LONG_TESTS").is_some();
    let others = [Method::ExpandedBca, Method::ExpandedPercentile, Method::Bca];
    let mut methods = vec![Method::default(), Method::Percentile];
    methods.extend(others.into_iter().filter(|_| long));
    let studies = if long { 10_000 } else { 1_000 };
    for population in populations() {
        for patients in [30, 100] {
            let got = coverage(&population, patients, &methods, studies);
            let names = methods.iter().map(|method| method.name());
            let words: Vec<String> = names
                .zip(&got)
                .map(|(name, share)| format!("{name} {:.1} %", 100.0 * share))
                .collect();
            println!("{}, {patients} patients: {}", population.name, words.join(", "));
            // The share of 1,000 studies has a standard deviation of 0.7 %.
            assert!((0.93..=0.97).contains(&got[0]), "{} {patients}: {got:?}", population.name);
            // The reason for the default: plain percentiles are too short with few patients.
            assert!(patients > 30 || got[1] < got[0], "{got:?}");
        }
    }
}
