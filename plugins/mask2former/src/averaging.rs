//! Averages predictions of instance segmenters.

use sonotune_engine::{prelude::*, task::averaging::instances};

/// Instances of several predictions that are of the same object become one.
#[derive(Debug)]
pub(crate) struct Matching {
    /// Instances kept of an image.
    pub(crate) max_per_image: usize,
}

impl Averaging for Matching {
    fn rule(&self) -> String {
        format!(
            "instances of a category with a mask IoU of at least 0.5 are one: pixels with half of their scores, sum of \
             the scores over the number of predictions; the best {} of an image",
            self.max_per_image
        )
    }

    fn average(&self, predictions: &[Prediction]) -> Result<Prediction> {
        let first = predictions.first().context("there is nothing to average")?;
        let mut instances = instances(predictions, self.max_per_image)?;
        // As of one model, those without a pixel are left out.
        instances.retain(|instance| instance.mask.as_ref().is_none_or(|mask| mask.area() > 0));
        Ok(Prediction { instances, ..first.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_all_predictions_are_kept() {
        let found = |scores: &[(f64, u32)]| Prediction {
            image_id: ImageId::Unsigned(1),
            original_size: (1, 6),
            scores: Vec::new(),
            labels: Vec::new(),
            instances: scores
                .iter()
                .map(|&(score, x)| Instance {
                    category: 0,
                    score,
                    bbox: [f64::from(x), 0.0, f64::from(x) + 1.0, 1.0],
                    mask: Some(Rle::new(1, 6, vec![x, 1, 5 - x]).unwrap()),
                    answers: None,
                })
                .collect(),
            values: Default::default(),
        };
        let both = [found(&[(0.9, 0), (0.4, 1)]), found(&[(0.8, 2), (0.6, 1)])];
        let best = Matching { max_per_image: 2 }.average(&both).unwrap();
        let shown: Vec<_> = best.instances.iter().map(|i| (i.score, i.bbox[0])).collect();
        // The one at 1, which both have found, comes first: (0.4 + 0.6) / 2.
        assert_eq!(shown, [(0.5, 1.0), (0.45, 0.0)]);
        assert_eq!(Matching { max_per_image: 9 }.average(&both[..1]).unwrap(), both[0]);
    }
}
