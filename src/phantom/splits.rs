//! Which patient belongs to which split.

use super::{
    config::PhantomConfig,
    draw::{Draw, Stream},
    patient::class_of,
    traits,
};
use sonotune_dataset::Split;

/// The split of every patient: the patients of each class are shuffled, dealt out class by class
/// in turn, and that row is cut by the fractions. So every split has equal shares of the classes,
/// give or take one patient, and even a tiny set has every requested split.
pub(super) fn assign(config: &PhantomConfig) -> Vec<Split> {
    let row = deal(config);
    let (train, until_test) = cuts(config, row.len());
    let mut splits = vec![Split::Test; row.len()];
    for &patient in &row[..train] {
        splits[patient] = Split::Train;
    }
    for &patient in &row[train..until_test] {
        splits[patient] = Split::Val;
    }
    splits
}

/// Patients in random order, with the classes in turn.
fn deal(config: &PhantomConfig) -> Vec<usize> {
    let mut by_class = vec![Vec::new(); traits::lesions(config.kind).len()];
    for patient in 0..config.num_patients() {
        by_class[class_of(config, patient)].push(patient);
    }
    for (class, members) in by_class.iter_mut().enumerate() {
        Draw::at(config.seed, config.kind, Stream::Split, &[class as u64]).shuffle(members);
    }
    let longest = by_class.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|i| by_class.iter().filter_map(move |m| m.get(i).copied())).collect()
}

/// Where the validation and the test split begin in a row of `patients`.
fn cuts(config: &PhantomConfig, patients: usize) -> (usize, usize) {
    let share = |fraction: f64| ((fraction * patients as f64).round() as usize).min(patients);
    let test_fraction = 1.0 - config.train_fraction - config.val_fraction;
    let wanted = |fraction: f64| usize::from(fraction > 1e-9);
    let (val, test) = (wanted(config.val_fraction), wanted(test_fraction));
    if patients < wanted(config.train_fraction) + val + test {
        return (share(config.train_fraction), share(config.train_fraction + config.val_fraction));
    }
    let least = wanted(config.train_fraction);
    let train = share(config.train_fraction).clamp(least, patients - val - test);
    let until_test = share(config.train_fraction + config.val_fraction);
    (train, until_test.clamp(train + val, patients - test))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiny_sets_have_every_split_that_is_asked_for() {
        let cuts = |train_fraction, val_fraction, patients| {
            cuts(
                &PhantomConfig { train_fraction, val_fraction, ..PhantomConfig::default() },
                patients,
            )
        };
        assert_eq!(cuts(0.7, 0.15, 100), (70, 85));
        assert_eq!(cuts(0.7, 0.15, 4), (2, 3));
        assert_eq!(cuts(0.7, 0.15, 3), (1, 2));
        assert_eq!(cuts(0.7, 0.15, 1), (1, 1));
        assert_eq!(cuts(1.0, 0.0, 3), (3, 3));
        assert_eq!(cuts(0.7, 0.3, 3), (2, 3));
        assert_eq!(cuts(0.0, 0.0, 3), (0, 0));
    }
}
