//! What it took, what it means, and how to go on.

use maud::{Markup, html};
use sonotune_base::words::duration;

use crate::{folder::DemoFolder, plan::Budget, results::Results};

/// A bar for each step.
pub(super) fn time(results: &Results) -> Markup {
    let longest = results.steps.iter().map(|step| step.seconds).fold(0.0, f64::max).max(1e-9);
    let cpu: Option<f64> = results.steps.iter().map(|step| step.cpu_seconds).sum();
    html! {
        ul.times {
            @for step in &results.steps {
                li {
                    span { (step.title) }
                    b { (duration(step.seconds)) }
                    span.bar aria-hidden="true" { span style=(format!("width:{:.1}%", 100.0 * step.seconds / longest)) {} }
                }
            }
        }
        p.hint {
            "In all " (duration(results.seconds()))
            @if let Some(cpu) = cpu { ", with " (duration(cpu)) " of processor time" }
            " on " (cores()) "; no GPU is needed."
        }
    }
}

fn cores() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    sonotune_base::words::counted(cores, "core")
}

pub(super) fn meaning(results: &Results) -> Markup {
    html! {
        ul.items {
            li {
                b { "Phantoms, not patients. " }
                "The images follow a scanner's physics (speckle, shadows, attenuation), but lesions of one class differ from those of "
                "another by a table. Scores on them say nothing about real ultrasound; docs/results.md has figures on real images."
            }
            li {
                b { "Miniatures. " }
                "A vision transformer of four blocks and 96 channels on images of "
                (if results.plan.budget == Budget::Short { "96" } else { "128" })
                " pixels takes the place of the foundation models that the program is made for, and minutes take the place of days."
            }
            li {
                b { "The test split chose nothing. " }
                "Learning rates and steps were not chosen on it, and the checkpoint of each run is the best on the validation split."
            }
            li {
                b { "Intervals are about patients. " }
                "They say how far a figure would move with other test images of the same kind"
                @if results.plan.seeds == 1 { ", not how far it would move with another seed" }
                "."
            }
            li {
                b { "Nothing was picked by hand. " }
                "Best, typical and worst pictures follow from scores; the first images of a split are as they come."
            }
        }
    }
}

/// Commands that continue from here.
pub(super) fn next(folder: &DemoFolder) -> Markup {
    let path = |path: &std::path::Path| sonotune_base::words::shell_word(&path.to_string_lossy());
    let pretrained = path(&folder.pretrained(0));
    let images = path(&folder.images(crate::folder::Predicted::Clicks));
    let out = path(&folder.config("tried"));
    let lines = [
        (
            "click on images in the browser",
            format!("sonotune annotate {images} --run {pretrained}"),
        ),
        (
            "segment everything in them",
            format!(
                "sonotune predict {images} --run {pretrained} --everything --out {out}/everything"
            ),
        ),
        ("look at a run", format!("sonotune report --run {pretrained}")),
        ("repeat with three seeds", "sonotune demo --full".to_owned()),
        ("get all shipped configs", "sonotune config copy".to_owned()),
        ("begin with your own images", "sonotune init YOUR_FOLDER".to_owned()),
    ];
    html! { dl { @for (what, line) in &lines { dt { (what) } dd { code.command { (line) } } } } }
}
