//! `demo.html`: what the models did, on one page that needs nothing else.

mod compared;
mod kept;
mod last;
mod prompted;
mod unseen;

use anyhow::Result;
use maud::{Markup, html};
use sonotune_base::{
    fs::atomic_write,
    words::{counted, duration},
};
use sonotune_report::{
    Picture,
    document::{Document, scrolled, section},
    pictures::image,
};
use sonotune_study::Decision;

use crate::{
    answers,
    folder::{DemoFolder, Predicted},
    plan::{Budget, Task},
    results::Results,
    test_split,
};
use kept::Kept;

/// Writes the page, and some of its pictures as files.
///
/// # Errors
/// If predictions or images cannot be read, or a file cannot be written.
pub fn write(results: &Results, folder: &DemoFolder) -> Result<()> {
    let mut kept = Kept::new(folder);
    let prompted_images = test_split::read(&folder.pretraining_data())?;
    let unseen_images = test_split::read(&folder.fine_tuning_data())?;
    let asked = |predicted| answers::objects(&folder.predictions(predicted));
    let (clicks, boxes) = (asked(Predicted::Clicks)?, asked(Predicted::Boxes)?);
    let prompted = html! {
        (prompted::lead(results))
        (prompted::of(Predicted::Clicks, &prompted_images, &clicks, &mut kept)?)
        (prompted::of(Predicted::Boxes, &prompted_images, &boxes, &mut kept)?)
        (compared::table(&results.tables[0], results))
    };
    let classes = answers::classes(&folder.predictions(Predicted::Classes))?;
    let instances = match results.plan.has(Task::Instances) {
        true => {
            let found = asked(Predicted::Instances)?;
            let pictures = unseen::instances(folder, &unseen_images, &found, &mut kept)?;
            section("instances", "Every lesion with its class", pictures)
        }
        false => html! {},
    };
    let sections = html! {
        (section("prompted", "A click, a box, a mask", prompted))
        (section("compared", "Does pretraining help?", compared::compared(results, folder)?))
        (section("classes", "Predicted classes", unseen::classes(&unseen_images, &classes, &mut kept)?))
        (instances)
        (section("curves", "How it learnt", compared::curves(results, folder)?))
        (section("time", "How long it took", last::time(results)))
        (section("meaning", "What this means, and what not", last::meaning(results)))
        (section("next", "What to type next", last::next(folder)))
    };
    let document =
        Document { name: "The Sonotune demo", kind: "Sonotune demo", folder: folder.path() };
    let page = document.page(lead(results), sections).into_string();
    atomic_write(&folder.page(), page.as_bytes())
}

/// What was done, and the answers.
fn lead(results: &Results) -> Markup {
    let (pretraining, fine_tuning) = (results.plan.pretraining(), results.plan.fine_tuning());
    html! {
        @if results.plan.budget == Budget::Quick {
            p.status { b.bad { "--quick: two steps each. This checks that everything runs; no figure here means anything." } }
        }
        p {
            "A small model learnt to outline lesions of the " (pretraining.kind) " from a click or a box. Its backbone then learnt to classify "
            @if results.plan.has(Task::Instances) { "and to segment " }
            "lesions of the " (fine_tuning.kind) ", and so did a random one, with the same budget. All of it was computed on "
            "this machine in " b { (duration(results.seconds())) } "."
        }
        p.hint {
            "The images are phantoms, computed ultrasound, not patients, and the models are miniatures that minutes can train. "
            "The page shows how the program works, not what a model is worth in a clinic."
        }
        @for task in &results.comparison.tasks {
            @let class = match task.verdict.decision {
                Decision::Best => "good",
                Decision::BetterThanSome | Decision::Undecided => "warn",
                Decision::NothingToCompare => "",
            };
            p class={ "verdict " (class) } { b { (task.task) } ": " (task.verdict.text) }
        }
    }
}

/// Pictures side by side with a line below, e.g. click, mask and truth.
fn triptych(panels: &[(&'static str, Picture)], about: &str, caption: Markup) -> Markup {
    html! {
        figure.triptych {
            div.panels {
                @for (name, picture) in panels {
                    div { (image(picture, &format!("{about}: {name}"))) small { (name) } }
                }
            }
            figcaption { (caption) }
        }
    }
}

/// A table whose first column has words and the others figures.
fn table(header: &[String], rows: &[Vec<String>]) -> Markup {
    scrolled(html! {
        table {
            thead { tr { @for (column, cell) in header.iter().enumerate() { th.n[column > 0] { (cell) } } } }
            tbody {
                @for row in rows {
                    tr {
                        @for (column, cell) in row.iter().enumerate() {
                            @if column == 0 { th scope="row" { (cell) } } @else { td.n { (cell) } }
                        }
                    }
                }
            }
        }
    })
}

/// `100 images`.
fn images(count: usize) -> String {
    counted(count, "image")
}
