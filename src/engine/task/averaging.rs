//! Several predictions of one image become one: what an ensemble of models says, or a model about an image and
//! its mirror image.

use std::{collections::BTreeMap, fmt::Debug};

use anyhow::{Context, Result, ensure};

use super::{Answer, Instance, Prediction};
use sonotune_base::Rle;
use sonotune_metrics::overlap;

/// Masks that overlap by at least this much (IoU) are of the same object.
const SAME_OBJECT: f64 = 0.5;

/// How a task averages predictions.
pub trait Averaging: Debug + Send + Sync {
    /// What is averaged and how, in words, for reports. Models for which these words differ (another kind of
    /// score, other questions) do not form an ensemble.
    fn rule(&self) -> String;

    /// The average of predictions of one image; of one prediction, that prediction. There is at least one.
    ///
    /// # Errors
    /// If the predictions are not about the same categories or questions.
    fn average(&self, predictions: &[Prediction]) -> Result<Prediction>;
}

/// The mean score of each category.
///
/// # Errors
/// If the predictions have different numbers of scores, or there is none.
pub fn mean_scores(predictions: &[Prediction]) -> Result<Vec<f64>> {
    let first = predictions.first().context("there is nothing to average")?;
    let mut sums = vec![0.0; first.scores.len()];
    for prediction in predictions {
        ensure!(
            prediction.scores.len() == sums.len(),
            "scores of {} and of {} categories cannot be averaged",
            sums.len(),
            prediction.scores.len()
        );
        sums.iter_mut().zip(&prediction.scores).for_each(|(sum, score)| *sum += score);
    }
    Ok(sums.into_iter().map(|sum| sum / predictions.len() as f64).collect())
}

/// The average answer to each question: the mean score; a pixel is in the mask if it is in most of the masks, or,
/// with equal votes, if the scores on that side sum to at least as much; the box is that of the mask, or without
/// masks the mean of the boxes.
///
/// # Errors
/// If the predictions answer different questions, or some answers have masks and others do not.
pub fn answers(predictions: &[Prediction]) -> Result<Vec<Instance>> {
    let first = predictions.first().context("there is nothing to average")?;
    let mut asked: BTreeMap<Answer, Vec<&Instance>> = BTreeMap::new();
    for prediction in predictions {
        ensure!(
            prediction.instances.len() == first.instances.len(),
            "predictions with {} and with {} answers cannot be averaged: they are about different questions",
            first.instances.len(),
            prediction.instances.len()
        );
        for instance in &prediction.instances {
            let answer = instance.answers.context("an object that answers no question")?;
            asked.entry(answer).or_default().push(instance);
        }
    }
    let of_question = |instance: &Instance| {
        let voters = instance.answers.and_then(|answer| asked.get(&answer));
        let voters = voters.filter(|voters| voters.len() == predictions.len());
        average_answer(
            voters.context("predictions that answer different questions cannot be averaged")?,
        )
    };
    first.instances.iter().map(of_question).collect()
}

fn average_answer(voters: &[&Instance]) -> Result<Instance> {
    let first = *voters.first().context("there is nothing to average")?;
    let count = voters.len() as f64;
    let score = voters.iter().map(|voter| voter.score).sum::<f64>() / count;
    let masks: Vec<&Rle> = voters.iter().filter_map(|voter| voter.mask.as_ref()).collect();
    if masks.is_empty() {
        let corner = |i: usize| voters.iter().map(|voter| voter.bbox[i]).sum::<f64>() / count;
        return Ok(Instance { score, bbox: [0, 1, 2, 3].map(corner), ..first.clone() });
    }
    ensure!(masks.len() == voters.len(), "some answers have a mask and others do not");
    let mask = Rle::vote(&masks, |inside| {
        let sum = |side: bool| -> f64 {
            let voters = voters.iter().zip(inside).filter(|(_, is)| **is == side);
            voters.map(|(voter, _)| voter.score).sum()
        };
        match (2 * inside.iter().filter(|is| **is).count()).cmp(&inside.len()) {
            std::cmp::Ordering::Equal => sum(true) >= sum(false),
            more_or_fewer => more_or_fewer.is_gt(),
        }
    })?;
    Ok(Instance { score, bbox: tight_box(&mask), mask: Some(mask), ..first.clone() })
}

/// Objects that the same model has found only once, seen by several models or in several views.
struct Group<'a> {
    /// Index of the prediction, and the object; the most confident first.
    members: Vec<(usize, &'a Instance)>,
}

/// The objects of all predictions, at most `most`, by descending score. From the most confident object down, each
/// joins the group of its category whose most confident object it overlaps most, by at least half (IoU of masks, or
/// of boxes if one has no mask), unless the same prediction is already in it; else it starts a group. A group becomes an
/// object: pixels that hold at least half of the group's scores; the sum of the scores over the number of
/// predictions, so that an object which only some have found scores lower.
///
/// # Errors
/// If masks differ in size.
pub fn instances(predictions: &[Prediction], most: usize) -> Result<Vec<Instance>> {
    let all = predictions.iter().enumerate();
    let mut found: Vec<(usize, &Instance)> = all
        .flat_map(|(from, p)| p.instances.iter().map(move |instance| (from, instance)))
        .collect();
    found.sort_by(|a, b| b.1.score.total_cmp(&a.1.score));
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (from, instance) in found {
        let mut nearest: Option<(usize, f64)> = None;
        for (index, group) in groups.iter().enumerate() {
            let Some(&(_, other)) = group.members.first() else { continue };
            if other.category != instance.category || group.members.iter().any(|m| m.0 == from) {
                continue;
            }
            let iou = iou(other, instance)?;
            if iou >= SAME_OBJECT && nearest.is_none_or(|(_, best)| iou > best) {
                nearest = Some((index, iou));
            }
        }
        match nearest {
            Some((index, _)) => groups[index].members.push((from, instance)),
            None => groups.push(Group { members: vec![(from, instance)] }),
        }
    }
    let objects = groups.iter().map(|group| group.object(predictions.len()));
    let mut objects: Vec<Instance> = objects.collect::<Result<_>>()?;
    objects.sort_by(|a, b| b.score.total_cmp(&a.score));
    objects.truncate(most);
    Ok(objects)
}

impl Group<'_> {
    fn object(&self, num_predictions: usize) -> Result<Instance> {
        let (_, first) = *self.members.first().context("a group without an object")?;
        let scores: Vec<f64> = self.members.iter().map(|(_, member)| member.score).collect();
        let score = scores.iter().sum::<f64>() / num_predictions as f64;
        let masks: Vec<&Rle> = self.members.iter().filter_map(|m| m.1.mask.as_ref()).collect();
        if self.members.len() == 1 || masks.len() < self.members.len() {
            return Ok(Instance { score, ..first.clone() });
        }
        let weight = |score: &f64| score.max(0.0);
        let half = scores.iter().map(weight).sum::<f64>() / 2.0;
        let mask = Rle::vote(&masks, |inside| {
            let voters = scores.iter().zip(inside).filter(|(_, is)| **is);
            inside.contains(&true) && voters.map(|(score, _)| weight(score)).sum::<f64>() >= half
        })?;
        Ok(Instance { score, bbox: tight_box(&mask), mask: Some(mask), ..first.clone() })
    }
}

fn iou(a: &Instance, b: &Instance) -> Result<f64> {
    let boxes = box_iou(a.bbox, b.bbox);
    match (&a.mask, &b.mask) {
        // Most pairs are far apart: their masks need not be looked at.
        (Some(_), Some(_)) if boxes == 0.0 => Ok(0.0),
        (Some(a), Some(b)) => Ok(overlap::iou(a, b)?.unwrap_or(0.0)),
        _ => Ok(boxes),
    }
}

/// Intersection over union of two boxes, XYXY.
fn box_iou(a: [f64; 4], b: [f64; 4]) -> f64 {
    let area = |[x0, y0, x1, y1]: [f64; 4]| (x1 - x0).max(0.0) * (y1 - y0).max(0.0);
    let both = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    if both == 0.0 { 0.0 } else { both / (area(a) + area(b) - both) }
}

/// XYXY, far edges outside; zeros for an empty mask.
fn tight_box(mask: &Rle) -> [f64; 4] {
    let [x, y, width, height] = mask.bbox();
    [x, y, x + width, y + height]
}

#[cfg(test)]
#[path = "averaging_tests.rs"]
mod tests;
