//! Averages answers of promptable models.

use sonotune_engine::{
    prelude::*,
    task::averaging::{answers, instances},
};

use crate::{Protocol, config::EvaluationConfig};

/// The majority of the masks of each question; what several find without being asked is matched.
#[derive(Debug)]
pub(crate) struct Majority {
    /// How objects are prompted for.
    questions: String,
}

impl Majority {
    pub(crate) fn new(evaluation: &EvaluationConfig) -> Self {
        let question = |protocol: &Protocol| {
            let EvaluationConfig { num_clicks, box_noise, seed, .. } = evaluation;
            let how = match protocol {
                Protocol::CenterPoint | Protocol::Box => String::new(),
                Protocol::RandomPoint => format!(" (seed {seed})"),
                Protocol::NoisyBox => format!(" (box_noise {box_noise}, seed {seed})"),
                Protocol::Clicks => format!(" (num_clicks {num_clicks})"),
            };
            format!("{}{how}", protocol.name())
        };
        let questions: Vec<String> = evaluation.protocols.iter().map(question).collect();
        Self { questions: questions.join(", ") }
    }
}

impl Averaging for Majority {
    fn rule(&self) -> String {
        format!("majority of the masks and mean of the scores of each prompt: {}", self.questions)
    }

    fn average(&self, predictions: &[Prediction]) -> Result<Prediction> {
        let first = predictions.first().context("there is nothing to average")?;
        let asked = predictions.iter().flat_map(|p| &p.instances).any(|i| i.answers.is_some());
        let instances =
            if asked { answers(predictions)? } else { instances(predictions, usize::MAX)? };
        Ok(Prediction { instances, ..first.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction(score: f64, pixels: [u8; 4], answers: Option<Answer>) -> Prediction {
        let mask = Rle::from_mask(&pixels, (1, 4)).unwrap();
        let [x, y, width, height] = mask.bbox();
        let bbox = [x, y, x + width, y + height];
        let instance = Instance { category: 0, score, bbox, mask: Some(mask), answers };
        Prediction {
            image_id: ImageId::Unsigned(1),
            original_size: (1, 4),
            scores: Vec::new(),
            labels: Vec::new(),
            instances: vec![instance],
            values: Default::default(),
        }
    }

    #[test]
    fn answers_are_averaged_by_question_and_objects_found_unasked_are_matched() {
        let rule = Majority::new(&EvaluationConfig::default());
        let both = |answers| {
            let (first, second) = ([1, 1, 0, 0], [0, 0, 1, 1]);
            [prediction(0.9, first, answers), prediction(0.5, second, answers)]
        };
        let asked = rule.average(&both(Some(Answer { object: 0, pass: 0 }))).unwrap();
        assert_eq!(asked.instances.len(), 1);
        assert!((asked.instances[0].score - 0.7).abs() < 1e-12);
        assert_eq!(asked.instances[0].bbox, [0.0, 0.0, 2.0, 1.0]);
        let unasked = rule.average(&both(None)).unwrap();
        assert_eq!(unasked.instances.iter().map(|i| i.score).collect::<Vec<_>>(), [0.45, 0.25]);
    }

    #[test]
    fn models_that_are_asked_differently_have_different_rules() {
        let rule = |protocols: &[Protocol], seed| {
            let protocols = protocols.to_vec();
            Majority::new(&EvaluationConfig { protocols, seed, ..Default::default() }).rule()
        };
        let all = [Protocol::Box, Protocol::NoisyBox, Protocol::RandomPoint, Protocol::Clicks];
        assert!(rule(&all, 3).ends_with(
            "box, noisy_box (box_noise 0.1, seed 3), random_point (seed 3), clicks (num_clicks 5)"
        ));
        assert_eq!(rule(&all[..1], 3), rule(&all[..1], 4));
        assert_ne!(rule(&all, 3), rule(&all, 4));
    }
}
