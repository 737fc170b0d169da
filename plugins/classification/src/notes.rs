//! What a reader must know about the figures of a classifier.

use sonotune_engine::{
    metrics::classification::{ClassMetrics, Classifications, mean_defined},
    prelude::*,
};

/// Categories that were not tried, and predictions that tell nothing: all the same, or no better than
/// an answer that ignores the image.
pub(crate) fn notes(
    images: &Classifications,
    names: &[String],
    classes: &[ClassMetrics],
    multi_label: bool,
) -> Vec<String> {
    let all = images.len() as u64;
    let mut notes = Vec::new();
    notes.extend(absent(names, classes));
    let predicted = |c: &ClassMetrics| c.true_positives + c.false_positives;
    let present = classes.iter().filter(|c| c.support() > 0).count();
    if classes.iter().all(|c| predicted(c) == 0) {
        notes.push(format!("no category is predicted for any of the {all} images"));
    } else if all > 1 && classes.iter().all(|c| [0, all].contains(&predicted(c))) {
        let always = names.iter().zip(classes).filter(|(_, c)| predicted(c) == all);
        let always: Vec<_> = always.map(|(name, _)| format!("\"{name}\"")).collect();
        notes.push(format!(
            "every one of the {all} images is predicted as {}",
            always.join(" and ")
        ));
    }
    let frequent = names.iter().zip(classes).max_by_key(|(_, c)| c.support());
    if let Some((name, class)) = frequent.filter(|_| !multi_label && present > 1) {
        let (accuracy, share) = (images.accuracy(), class.support() as f64 / all as f64);
        if accuracy <= share {
            notes.push(format!(
                "accuracy {} is no higher than that of answering \"{name}\" for every image, {}",
                words::score(accuracy),
                words::score(share)
            ));
        }
    }
    let auroc = mean_defined(classes.iter().map(|c| c.auroc));
    if auroc <= 0.5 {
        notes.push(format!(
            "AUROC {} is no better than chance: the scores do not tell the categories apart",
            words::score(auroc)
        ));
    }
    notes
}

/// Which categories no image shows, and how the means treat them.
fn absent(names: &[String], classes: &[ClassMetrics]) -> Option<String> {
    let absent = names.iter().zip(classes).filter(|(_, c)| c.support() == 0);
    let absent: Vec<_> = absent.map(|(name, _)| format!("\"{name}\"")).collect();
    (!absent.is_empty()).then(|| {
        format!(
            "no image of {}: the means of precision, recall and F1 go over all {} categories and count \
             {} as 0; that of AUROC leaves {} out",
            absent.join(", "),
            names.len(),
            if absent.len() == 1 { "it" } else { "them" },
            if absent.len() == 1 { "it" } else { "them" },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes for images given as truth and scores.
    fn of(images: &[(usize, [f64; 3])]) -> Vec<String> {
        let mut all = Classifications::new(3);
        for (truth, scores) in images {
            let best = scores.iter().copied().fold(f64::MIN, f64::max);
            let predicted = scores.iter().position(|s| *s == best).unwrap();
            all.add(&[*truth], &[predicted], scores).unwrap();
        }
        notes(&all, &["a", "b", "c"].map(str::to_owned), &all.per_class(), false)
    }

    #[test]
    fn a_good_classifier_gets_none_and_a_useless_one_is_told_so() {
        let good = [(0, [0.9, 0.1, 0.0]), (1, [0.2, 0.8, 0.1]), (2, [0.1, 0.1, 0.7])];
        assert_eq!(of(&good), [] as [&str; 0]);
        let constant = [(0, [0.5, 0.4, 0.1]), (1, [0.5, 0.4, 0.1]), (2, [0.5, 0.4, 0.1])];
        assert_eq!(
            of(&constant),
            [
                "every one of the 3 images is predicted as \"a\"",
                "accuracy 0.3333 is no higher than that of answering \"c\" for every image, 0.3333",
                "AUROC 0.5000 is no better than chance: the scores do not tell the categories apart",
            ]
        );
        let swapped = [(0, [0.1, 0.9, 0.0]), (1, [0.9, 0.1, 0.0]), (2, [0.4, 0.5, 0.1])];
        assert_eq!(of(&swapped).len(), 2);
    }

    #[test]
    fn absent_categories_are_named() {
        let without = [(0, [0.9, 0.1, 0.0]), (2, [0.1, 0.1, 0.7])];
        let notes = of(&without);
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].starts_with("no image of \"b\": the means of precision"), "{notes:?}");
        // With one category alone, every answer is as good as chance.
        let only = of(&[(0, [0.9, 0.1, 0.0])]);
        assert!(only[0].starts_with("no image of \"b\", \"c\"") && only.len() == 1, "{only:?}");
    }
}
