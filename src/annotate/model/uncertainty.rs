//! How uncertain a model is about an image: what it would gain most from.
//!
//! | model | uncertainty |
//! |---|---|
//! | promptable | 1 − the mean IoU that it predicts for its own drafts; 1 without any |
//! | objects | mean over objects of 1 − \|2s − 1\|; without any, that of the best candidate below the threshold |
//! | image, scores that add up to 1 | 1 − the highest score: least confidence (Lewis and Gale 1994) |
//! | image, independent scores | mean over categories of 1 − \|2s − 1\| |
//!
//! 1 − |2s − 1| is the margin between an object's being there and not: margin sampling (Scheffer et al. 2001) for two
//! classes; Brust et al. (2019) average such margins over the detections of an image.

use std::{collections::HashSet, sync::Weak, thread, time::Duration};

use sonotune_serve::{About, Answer, Question};

use crate::{app::App, document::Status, images::Index, options::Order};

/// How often the background looks whether it may go on.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How far from 1 the sum of the scores of exclusive categories may be.
const SUM_TOLERANCE: f64 = 1e-3;

/// In [0, 1]; `None` if the model gives no scores.
pub(crate) fn of_answer(about: &About, answer: &Answer) -> Option<f64> {
    if about.is_of_image {
        return of_scores(&answer.scores);
    }
    let scores = answer.objects.iter().map(|found| found.score.clamp(0.0, 1.0));
    let shown = mean(scores.clone().filter(|&score| score >= about.min_score), about.takes_prompts);
    match (shown, about.takes_prompts) {
        (Some(value), _) => Some(value),
        (None, true) => Some(1.0),
        (None, false) => Some(margin(scores.fold(0.0, f64::max))),
    }
}

fn mean(scores: impl Iterator<Item = f64>, are_ious: bool) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0.0);
    for score in scores {
        sum += if are_ious { 1.0 - score } else { margin(score) };
        count += 1.0;
    }
    (count > 0.0).then(|| sum / count)
}

fn margin(score: f64) -> f64 {
    1.0 - (2.0 * score - 1.0).abs()
}

fn of_scores(scores: &[f64]) -> Option<f64> {
    let sum: f64 = scores.iter().sum();
    if scores.is_empty() || !sum.is_finite() {
        return None;
    }
    if (sum - 1.0).abs() <= SUM_TOLERANCE && scores.len() > 1 {
        return Some(1.0 - scores.iter().copied().fold(0.0, f64::max));
    }
    mean(scores.iter().map(|score| score.clamp(0.0, 1.0)), false)
}

/// Computes the uncertainty of all images in the background, while the order is by uncertainty and nobody waits for
/// the model; images that still wait for a person come first.
pub(crate) fn compute_all(app: &Weak<App>) {
    let mut failed = HashSet::new();
    loop {
        thread::sleep(LOOK_EVERY);
        // Held for one image at a time: the session's lock goes with it.
        let Some(app) = app.upgrade().filter(|app| !app.is_stopping()) else { return };
        if app.order() == Order::Uncertainty && app.activity.is_quiet() {
            compute_next(&app, &mut failed);
        }
    }
}

fn compute_next(app: &App, failed: &mut HashSet<Index>) {
    let Some(model) = &app.model else { return };
    let known = app.uncertainty();
    let next = {
        let store = app.store();
        let waits = (0..app.images.len())
            .filter(|index| !failed.contains(index) && !known.contains_key(index));
        let is_open =
            |index: &Index| matches!(store.status(*index), Status::Untouched | Status::Draft);
        waits.min_by_key(|index| !is_open(index))
    };
    let Some(index) = next else { return };
    let answer =
        app.images.for_model(index).and_then(|image| model.answer(&image, &Question::Unasked));
    match answer.ok().and_then(|answer| of_answer(model.about(), &answer)) {
        Some(value) => app.set_uncertainty(index, value),
        // It stays without one, and at the end of the order.
        None => drop(failed.insert(index)),
    }
}
