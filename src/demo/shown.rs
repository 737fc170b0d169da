//! Which predictions the page shows: the best, the worst and those in the middle, so that none is there because it
//! looks well.

use std::collections::BTreeMap;

use anyhow::Result;
use sonotune_metrics::overlap::iou;

use crate::{
    answers::{Classified, Object},
    test_split::{TestImage, Truth},
};

/// Both ends and the middle of a ranking, from the best down; nothing is in two of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ends<T> {
    pub(crate) best: Vec<T>,
    pub(crate) typical: Vec<T>,
    pub(crate) worst: Vec<T>,
    /// How many were ranked.
    pub(crate) of: usize,
}

/// Ranks by the score, higher first, and takes `each` of both ends and of the middle; less, if there are too few.
pub(crate) fn ends<T>(mut scored: Vec<(f64, T)>, each: usize) -> Ends<T> {
    scored.retain(|(score, _)| score.is_finite());
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let of = scored.len();
    let each = each.min(of.div_ceil(3));
    let mut rest: Vec<T> = scored.into_iter().map(|(_, item)| item).collect();
    let worst = rest.split_off(rest.len() - each.min(rest.len()));
    let mut middle = rest.split_off(each.min(rest.len()));
    let best = rest;
    let before = (middle.len() - each.min(middle.len())) / 2;
    let mut typical = middle.split_off(before);
    typical.truncate(each);
    Ends { best, typical, worst, of }
}

/// A lesion, and the mask that the model gave for a prompt.
#[derive(Debug, Clone)]
pub(crate) struct PromptedCase<'a> {
    pub(crate) image: &'a TestImage,
    pub(crate) truth: &'a Truth,
    pub(crate) answer: &'a Object,
    pub(crate) iou: f64,
}

/// Every answer beside its lesion.
pub(crate) fn prompted<'a>(
    images: &'a [TestImage],
    answers: &'a BTreeMap<String, Vec<Object>>,
) -> Result<Vec<PromptedCase<'a>>> {
    let mut cases = Vec::new();
    for image in images {
        for answer in answers.get(&image.name).into_iter().flatten() {
            let truth = answer.answers.and_then(|index| image.objects.get(index));
            let Some(truth) = truth else { continue };
            let iou = iou(&answer.mask, &truth.mask)?.unwrap_or(0.0);
            cases.push(PromptedCase { image, truth, answer, iou });
        }
    }
    Ok(cases)
}

/// An image with a single class of lesions, and what the classifier said.
#[derive(Debug, Clone)]
pub(crate) struct ClassCase<'a> {
    pub(crate) image: &'a TestImage,
    pub(crate) truth: &'a str,
    pub(crate) predicted: &'a str,
    /// Score of the predicted class, in [0, 1].
    pub(crate) score: f64,
}

impl ClassCase<'_> {
    pub(crate) fn is_right(&self) -> bool {
        self.truth == self.predicted
    }
}

/// Every classified image, in the order of the test split.
pub(crate) fn classified<'a>(
    images: &'a [TestImage],
    answers: &'a [Classified],
) -> Vec<ClassCase<'a>> {
    let case = |image: &'a TestImage| {
        let (predicted, score) = answers.iter().find(|a| a.image == image.name)?.best()?;
        let truth = &image.objects.first()?.category;
        Some(ClassCase { image, truth, predicted, score })
    };
    images.iter().filter_map(case).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(count: usize, each: usize) -> Ends<usize> {
        // The score falls with the number.
        ends((0..count).map(|i| (-(i as f64), i)).collect(), each)
    }

    #[test]
    fn both_ends_and_the_middle_are_taken() {
        let ends = taken(11, 2);
        assert_eq!((ends.best, ends.typical, ends.worst), (vec![0, 1], vec![4, 5], vec![9, 10]));
        assert_eq!(ends.of, 11);
    }

    #[test]
    fn of_few_each_is_in_one_place() {
        for count in 0..8 {
            let ends = taken(count, 3);
            let mut all = [ends.best, ends.typical, ends.worst].concat();
            all.sort_unstable();
            let before = all.len();
            all.dedup();
            assert_eq!((all.len(), before <= count), (before, true), "{count}");
        }
        assert_eq!(taken(1, 3).worst, [0]);
    }

    #[test]
    fn what_has_no_score_is_not_ranked() {
        assert_eq!(ends(vec![(f64::NAN, 0), (1.0, 1)], 1).of, 1);
    }
}
