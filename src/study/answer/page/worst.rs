//! What models get wrong: the worst predicted images with their predictions.

use maud::{Markup, html};
use sonotune_dataset::Split;
use sonotune_report::{By, Kept, Picture, pictures};

use super::super::{Entry, TaskAnswer};
use crate::folder::StudyFiles;

/// Entries that are shown, best first: pictures make the page large.
const ENTRIES: usize = 3;
/// Pictures of each.
const PICTURES: usize = 6;

/// The images that the best entries predicted worst in any seed; nothing if their tasks draw no pictures.
pub(super) fn worst(task: &TaskAnswer, files: &StudyFiles) -> Markup {
    let entries = task.entries.iter().take(ENTRIES);
    let found: Vec<(&Entry, Worst)> = entries
        .map(|entry| (entry, of_entry(entry, files)))
        .filter(|(_, worst)| !worst.pictures.is_empty())
        .collect();
    html! {
        @if found.is_empty() { p.none { "The runs kept no pictures of their test images." } }
        @for (entry, worst) in &found {
            h3 { (entry.name()) }
            (pictures::row(&worst.pictures, &worst.score))
        }
    }
}

#[derive(Default)]
struct Worst {
    /// What the pictures are ranked by.
    score: String,
    pictures: Vec<Picture>,
}

fn of_entry(entry: &Entry, files: &StudyFiles) -> Worst {
    let mut worst = Worst::default();
    for cell in &entry.cells {
        // The page of a run names a record that cannot be read; here its pictures are missing.
        let shown = Kept::of(&files.run(cell)).shown(By::Eval, Split::Test).ok().flatten();
        if let Some(ranked) = shown.and_then(|shown| shown.ranked) {
            worst.score = ranked.score;
            worst.pictures.extend(ranked.worst);
        }
    }
    worst.pictures.sort_by(|a, b| a.score.total_cmp(&b.score));
    // Each image is tested once per seed: its worst prediction is shown.
    let mut seen = std::collections::BTreeSet::new();
    worst.pictures.retain(|picture| seen.insert(picture.path.clone()));
    worst.pictures.truncate(PICTURES);
    worst
}
