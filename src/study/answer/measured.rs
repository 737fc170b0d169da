//! What figures are computed from.

use anyhow::Result;
use sonotune_metrics::{classification::mean_defined, ranking::auroc};
use sonotune_statistics::{
    Clusters,
    bootstrap::{self, Distribution, Options, Pick},
    scores::{Classified, Scores},
};

use super::{
    explained,
    figures::{Definition, Kind},
    pool::{Arm, Pooled},
};

/// What a figure is computed from, for every arm.
#[derive(Debug)]
pub(super) enum Measured {
    /// `[arms][seeds][images]`.
    Means(Vec<Vec<Vec<f64>>>),
    /// Classifications, `[arms][seeds]`, and the fold of each image.
    Classes { kind: Kind, values: Vec<Vec<Classified>>, folds: Vec<usize> },
}

impl Measured {
    pub(super) fn of(pooled: &Pooled, kind: Kind) -> Result<Self> {
        let arms = &pooled.arms;
        if let Kind::Mean(place) = kind {
            let values = |table: &Scores| table.rows.iter().map(|row| row.values[place]).collect();
            return Ok(Self::Means(
                arms.iter().map(|arm| arm.tables.iter().map(values).collect()).collect(),
            ));
        }
        let classified = |arm: &Arm| arm.tables.iter().map(Scores::classified).collect();
        let values = arms.iter().map(classified).collect::<Result<_>>()?;
        Ok(Self::Classes { kind, values, folds: pooled.folds.clone() })
    }

    fn num_seeds(&self, arm: usize) -> usize {
        match self {
            Self::Means(values) => values[arm].len(),
            Self::Classes { values, .. } => values[arm].len(),
        }
    }

    pub(super) fn distributions(
        &self,
        clusters: &Clusters,
        options: &Options,
    ) -> Result<Vec<Distribution>> {
        match self {
            Self::Means(values) => {
                let means: Vec<Vec<f64>> = values.iter().map(|seeds| over_seeds(seeds)).collect();
                let means: Vec<&[f64]> = means.iter().map(Vec::as_slice).collect();
                explained(bootstrap::means(&means, clusters, options))
            }
            Self::Classes { values, .. } => {
                let statistic = |picks: &[Pick]| {
                    let rows: Vec<(usize, usize)> =
                        picks.iter().map(|pick| (pick.model, pick.row)).collect();
                    self.value(&rows)
                };
                explained(bootstrap::statistics(values.len(), clusters, options, statistic))
            }
        }
    }

    /// The figure of images, each as an arm predicted it: the mean over seeds. Where images of several arms meet, as in a
    /// permutation, every seed of an arm counts as often as its others, however many the arms have.
    pub(super) fn value(&self, images: &[(usize, usize)]) -> f64 {
        let mut arms: Vec<usize> = images.iter().map(|&(arm, _)| arm).collect();
        arms.sort_unstable();
        arms.dedup();
        let rounds =
            arms.iter().fold(1, |rounds, &arm| common_multiple(rounds, self.num_seeds(arm)));
        (0..rounds).map(|round| self.of_round(images, round)).sum::<f64>() / rounds as f64
    }

    /// With seed `round` of each arm, from the first again after its last.
    fn of_round(&self, images: &[(usize, usize)], round: usize) -> f64 {
        match self {
            Self::Means(values) => mean_defined(images.iter().map(|&(arm, row)| {
                let seeds = &values[arm];
                seeds[round % seeds.len()][row]
            })),
            Self::Classes { kind, values, folds } => {
                let of = |arm: usize| &values[arm][round % values[arm].len()];
                let categories = values[0][0].categories.len();
                if *kind == Kind::F1 {
                    let pairs = images
                        .iter()
                        .map(|&(arm, row)| (of(arm).labels[row], of(arm).predicted[row]));
                    return f1(pairs, categories);
                }
                mean_defined((0..categories).map(|category| {
                    let scored = images.iter().map(|&(arm, row)| Scored {
                        fold: folds[row],
                        score: of(arm).probabilities[row][category],
                        is_positive: of(arm).labels[row] == category,
                    });
                    auroc_within_folds(scored.collect())
                }))
            }
        }
    }

    pub(super) fn by_seed(&self, arm: usize) -> Vec<f64> {
        let rows = match self {
            Self::Means(values) => values[arm].first().map_or(0, Vec::len),
            Self::Classes { values, .. } => values[arm].first().map_or(0, |of| of.labels.len()),
        };
        let images: Vec<(usize, usize)> = (0..rows).map(|row| (arm, row)).collect();
        (0..self.num_seeds(arm)).map(|seed| self.of_round(&images, seed)).collect()
    }

    /// A value that is undefined for some images is a mean over the others.
    pub(super) fn undefined_note(
        &self,
        definition: &Definition,
        pooled: &Pooled,
    ) -> Option<String> {
        let Self::Means(values) = self else { return None };
        let counts = values
            .iter()
            .map(|seeds| over_seeds(seeds).iter().filter(|value| value.is_nan()).count());
        let counts: Vec<usize> = counts.collect();
        if counts.iter().all(|&count| count == 0) {
            return None;
        }
        let each = pooled.arms.iter().zip(&counts).map(|(arm, n)| format!("{} {n}", arm.name()));
        Some(format!(
            "{} is undefined for some of {} images, which do not count: {}",
            definition.name,
            pooled.num_images(),
            each.collect::<Vec<_>>().join(", ")
        ))
    }
}

/// The least number that both divide.
fn common_multiple(a: usize, b: usize) -> usize {
    (1..=b.max(1)).map(|factor| a * factor).find(|product| product % b.max(1) == 0).unwrap_or(a)
}

/// For each image, the mean of its defined values over seeds.
pub(super) fn over_seeds(seeds: &[Vec<f64>]) -> Vec<f64> {
    let images = seeds.first().map_or(0, Vec::len);
    (0..images).map(|image| mean_defined(seeds.iter().map(|seed| seed[image]))).collect()
}

/// What a model said of an image, for one category.
struct Scored {
    fold: usize,
    score: f64,
    is_positive: bool,
}

/// The share of pairs of a positive and a negative image of the same fold that are in the right order. Each fold has
/// a model of its own, whose scores may lie higher or lower than another's: pairs across folds would compare models,
/// not images.
fn auroc_within_folds(mut scored: Vec<Scored>) -> f64 {
    scored.sort_by_key(|scored| scored.fold);
    let (mut right, mut pairs) = (0.0, 0.0);
    for fold in scored.chunk_by(|a, b| a.fold == b.fold) {
        let scores: Vec<f64> = fold.iter().map(|scored| scored.score).collect();
        let positive: Vec<bool> = fold.iter().map(|scored| scored.is_positive).collect();
        let positives = positive.iter().filter(|&&is_positive| is_positive).count();
        let of_fold = (positives * (fold.len() - positives)) as f64;
        if of_fold > 0.0 {
            right += of_fold * auroc(&scores, &positive);
            pairs += of_fold;
        }
    }
    right / pairs
}

/// Mean over the categories that occur of 2 TP / (2 TP + FP + FN). A category without images has nothing to
/// find: it does not count.
fn f1(pairs: impl Iterator<Item = (usize, usize)>, categories: usize) -> f64 {
    let (mut right, mut of_label, mut of_predicted) =
        (vec![0.0; categories], vec![0.0; categories], vec![0.0; categories]);
    for (label, predicted) in pairs {
        of_label[label] += 1.0;
        of_predicted[predicted] += 1.0;
        if label == predicted {
            right[label] += 1.0;
        }
    }
    let occurring = (0..categories).filter(|&category| of_label[category] > 0.0);
    mean_defined(occurring.map(|c| 2.0 * right[c] / (of_label[c] + of_predicted[c])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auroc_compares_images_of_the_same_model() {
        let scored = |scores: &[(usize, f64, bool)]| {
            let scored = scores.iter().map(|&(fold, score, is_positive)| Scored {
                fold,
                score,
                is_positive,
            });
            auroc_within_folds(scored.collect())
        };
        // Both models order their images rightly; the second one scores lower throughout.
        let right = [(0, 0.8, false), (1, 0.1, false), (0, 0.9, true), (1, 0.2, true)];
        assert_eq!(scored(&right), 1.0);
        // Among 2 + 1 pairs within folds, one is in the right order and one is a tie.
        let mixed =
            [(0, 0.5, true), (0, 0.4, false), (0, 0.6, false), (1, 0.3, true), (1, 0.3, false)];
        assert!((scored(&mixed) - 1.5 / 3.0).abs() < 1e-12);
        // A fold without positives has no pair; without any pair there is no figure.
        assert_eq!(scored(&[(0, 0.5, true), (0, 0.4, false), (1, 0.1, false)]), 1.0);
        assert!(scored(&[(0, 0.5, true), (1, 0.4, false)]).is_nan());
    }
}
