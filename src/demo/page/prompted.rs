//! Masks that answer prompts.

use std::collections::BTreeMap;

use anyhow::Result;
use maud::{Markup, html};

use super::{images, kept::Kept, triptych};
use crate::{
    answers::Object,
    folder::Predicted,
    pictures,
    results::Results,
    shown::{self, PromptedCase, ends},
    test_split::TestImage,
};

/// Lesions of each kind that are shown.
const EACH: usize = 3;

/// Large figures, and what they are.
pub(super) fn lead(results: &Results) -> Markup {
    let count = results.prompted.first().map_or(0, |figure| figure.num_images);
    html! {
        ul.cards {
            @for figure in results.prompted.iter().filter(|figure| figure.name == "Dice") {
                li {
                    b { (format!("{:.3}", figure.value)) }
                    span {
                        "Dice from a " (figure.prompt)
                        @if let Some([low, high]) = figure.interval { (format!(", 95 % interval {low:.3} to {high:.3}")) }
                    }
                }
            }
        }
        p.hint {
            "Means over " (images(count)) " of the test split, which took no part in training or in any choice. "
            "A click is at the middle of a lesion and a box is its own; a person would be less exact. "
            "A Dice of 1 is the true mask, 0 shares no pixel with it. Blue: the mask that the model gave; green: the true one."
        }
    }
}

/// The best, the middle and the worst answers to a kind of prompt.
pub(super) fn of(
    predicted: Predicted,
    images: &[TestImage],
    answers: &BTreeMap<String, Vec<Object>>,
    kept: &mut Kept<'_>,
) -> Result<Markup> {
    let cases = shown::prompted(images, answers)?;
    let ends = ends(cases.into_iter().map(|case| (case.iou, case)).collect(), EACH);
    let what = match predicted {
        Predicted::Boxes => "Boxes",
        _ => "Clicks",
    };
    let mut rows = Vec::new();
    for (name, cases) in [("best", &ends.best), ("typical", &ends.typical), ("worst", &ends.worst)]
    {
        let figures = cases.iter().enumerate().map(|(index, case)| {
            let panels = pictures::prompted(case, predicted)?;
            kept.keep(&format!("{}-{name}-{}", predicted.name(), index + 1), &panels.sheet())?;
            figure(case, &panels)
        });
        rows.push((name, figures.collect::<Result<Vec<_>>>()?));
    }
    Ok(html! {
        h3 { (what) ": best, typical and worst of " (ends.of) " lesions" }
        @for (name, figures) in rows {
            @if !figures.is_empty() {
                h4 { (name) }
                div.triptychs { @for figure in figures { (figure) } }
            }
        }
    })
}

fn figure(case: &PromptedCase<'_>, panels: &pictures::Panels) -> Result<Markup> {
    let embedded = panels.embedded(case.image)?;
    let caption = html! {
        b { (format!("IoU {:.2}", case.iou)) }
        span { (case.truth.category.replace('_', " ")) " in " (case.image.name) }
    };
    Ok(triptych(&embedded, &case.image.name, caption))
}
