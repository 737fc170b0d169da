//! Averages predictions of classifiers.

use sonotune_engine::{prelude::*, task::averaging::mean_scores};

/// The mean of the scores, and the categories that follow from it.
#[derive(Debug)]
pub(crate) struct MeanScores {
    /// Whether scores sum to 1.
    pub(crate) softmax: bool,
    /// Same as [`predicted`]'s.
    pub(crate) threshold: Option<f64>,
}

impl Averaging for MeanScores {
    fn rule(&self) -> String {
        let kind = if self.softmax { "softmax" } else { "sigmoid" };
        let chosen = match self.threshold {
            Some(threshold) => format!("every category of at least {threshold}"),
            None => "the category of the highest".to_owned(),
        };
        format!("mean of the {kind} scores, then {chosen}")
    }

    fn average(&self, predictions: &[Prediction]) -> Result<Prediction> {
        let first = predictions.first().context("there is nothing to average")?;
        let scores = mean_scores(predictions)?;
        let labels = predicted(&scores, self.threshold);
        Ok(Prediction { scores, labels, ..first.clone() })
    }
}

/// Category indices: those with a score of at least `threshold`; without one, the first of the highest.
pub(crate) fn predicted(scores: &[f64], threshold: Option<f64>) -> Vec<usize> {
    match threshold {
        Some(threshold) => {
            let chosen = scores.iter().enumerate().filter(|&(_, &score)| score >= threshold);
            chosen.map(|(label, _)| label).collect()
        }
        // The first of equal scores, like argmax.
        None => {
            let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            scores.iter().position(|&score| score == best).into_iter().collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction(scores: [f64; 3], labels: &[usize]) -> Prediction {
        Prediction {
            image_id: ImageId::Unsigned(4),
            original_size: (2, 3),
            scores: scores.into(),
            labels: labels.into(),
            instances: Vec::new(),
            values: Default::default(),
        }
    }

    #[test]
    fn the_mean_of_the_scores_decides_not_the_labels() {
        // Two of three say category 0, the mean says 2.
        let three = [
            prediction([0.5, 0.1, 0.4], &[0]),
            prediction([0.5, 0.0, 0.5], &[0]),
            prediction([0.0, 0.1, 0.9], &[2]),
        ];
        let single = MeanScores { softmax: true, threshold: None }.average(&three).unwrap();
        for (got, expected) in single.scores.iter().zip([1.0 / 3.0, 0.2 / 3.0, 0.6]) {
            assert!((got - expected).abs() < 1e-12);
        }
        assert_eq!((single.labels, &single.image_id), (vec![2], &ImageId::Unsigned(4)));
        let multi = MeanScores { softmax: false, threshold: Some(0.3) }.average(&three).unwrap();
        assert_eq!(multi.labels, [0, 2]);
        let one = MeanScores { softmax: true, threshold: None }.average(&three[..1]).unwrap();
        assert_eq!(one, three[0]);
    }
}
