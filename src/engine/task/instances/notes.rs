//! What a reader must know about the scores of objects.

use super::{Counts, InstanceScores};
use crate::task::Instance;
use sonotune_base::words::counted;
use sonotune_metrics::coco::IouType;

/// What predictions have in common, whatever they are compared with.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    count: u64,
    shown: u64,
    with_pixels: u64,
    scores: Option<(f64, f64)>,
}

impl Answers {
    /// Adds those of an image; `min_score` is the score from which on one is worth showing.
    pub fn add<'a>(&mut self, instances: impl IntoIterator<Item = &'a Instance>, min_score: f64) {
        for Instance { score, mask, .. } in instances {
            self.count += 1;
            self.shown += u64::from(*score >= min_score);
            self.with_pixels += u64::from(mask.as_ref().is_none_or(|mask| mask.area() > 0));
            let (low, high) = self.scores.unwrap_or((*score, *score));
            self.scores = Some((low.min(*score), high.max(*score)));
        }
    }

    /// Predictions that tell nothing: none, all empty, or none ahead of another.
    #[must_use]
    pub fn notes(&self, min_score: f64) -> Vec<String> {
        let Some((low, high)) = self.scores else {
            return vec!["nothing is predicted on any image".to_owned()];
        };
        let mut notes = Vec::new();
        if self.shown == 0 {
            notes.push(format!(
                "no object is found with a score of at least {min_score}; the highest score is {high:.4}"
            ));
        }
        if self.with_pixels == 0 {
            notes.push("every predicted mask is empty".to_owned());
        }
        if self.count > 1 && low == high {
            notes.push(format!(
                "all {} predictions have the same score, {high:.4}: they are ranked by chance",
                self.count
            ));
        }
        notes
    }
}

/// What was not scored: categories without objects, objects without masks.
#[must_use]
pub fn not_scored<S: AsRef<str>>(
    counts: &Counts,
    scores: &InstanceScores,
    names: &[S],
) -> Vec<String> {
    let mut notes = Vec::new();
    let agnostic = scores.bbox.params().class_agnostic;
    let absent: Vec<_> = names
        .iter()
        .zip(&scores.num_objects)
        .filter(|&(_, &count)| !agnostic && count == 0)
        .map(|(name, _)| format!("\"{}\"", name.as_ref()))
        .collect();
    if !absent.is_empty() {
        let rest = names.len() - absent.len();
        let over =
            if rest == 1 { "the other category".to_owned() } else { format!("the other {rest}") };
        notes.push(format!("no object of {}: the means go over {over}", absent.join(", ")));
    }
    let (boxes, objects) = (counts.boxes_only, counted(counts.objects as usize, "object"));
    if !counts.has_masks() {
        notes.push(format!("no mask for any of the {objects}, only boxes: masks are not scored"));
    } else if boxes > 0 {
        notes.push(format!("{boxes} of the {objects} have no mask: the box counts as one"));
    }
    notes
}

/// That distances in millimetres are those of some images only.
#[must_use]
pub fn not_in_millimetres(counts: &Counts) -> Option<String> {
    let (known, all) = (counts.images_with_spacing, counts.images);
    (known > 0 && known < all).then(|| {
        format!(
            "the size of a pixel is known for {known} of {all} images: distances in millimetres are means over these, \
             those in pixels over all"
        )
    })
}

/// That not one object was found.
#[must_use]
pub fn nothing_found(counts: &Counts, scores: &InstanceScores) -> Option<String> {
    let is_zero = |&kind: &IouType| scores.figures(kind)[1].1 == 0.0;
    super::scored_kinds(counts.has_masks()).iter().all(is_zero).then(|| {
        let objects = counted(counts.objects as usize, "object");
        format!("none of the {objects} is found: no prediction overlaps one by half")
    })
}
