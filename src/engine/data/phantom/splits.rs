//! Which patient belongs to which split.

use super::{
    config::PhantomConfig,
    draw::{Draw, Stream},
    patient::class_of,
    traits,
};
use crate::data::Split;

/// The split of every patient. Within each class the patients are shuffled and cut by the
/// fractions, so that every split has the classes in equal shares.
pub(super) fn assign(config: &PhantomConfig) -> Vec<Split> {
    let patients = config.num_patients();
    let mut splits = vec![Split::Train; patients];
    let mut by_class = vec![Vec::new(); traits::lesions(config.kind).len()];
    for patient in 0..patients {
        by_class[class_of(config, patient)].push(patient);
    }
    let share = |fraction: f64, n: usize| (fraction * n as f64).round() as usize;
    for (class, members) in by_class.iter_mut().enumerate() {
        Draw::at(config.seed, config.kind, Stream::Split, &[class as u64]).shuffle(members);
        let n = members.len();
        let train = share(config.train_fraction, n);
        let until_test = share(config.train_fraction + config.val_fraction, n).max(train);
        for (place, &patient) in members.iter().enumerate() {
            splits[patient] = match place {
                place if place < train => Split::Train,
                place if place < until_test => Split::Val,
                _ => Split::Test,
            };
        }
    }
    splits
}
