//! Classes whose names are nearly equal.

use sonotune_base::{Category, words::likeness};
use sonotune_dataset::findings::{Audit, Code, Findings, Place};
use sonotune_dataset::{Split, Statistics};

/// Reports pairs of classes of any splits whose names are probably meant as one.
pub(super) fn check(audits: &[(Split, Audit)], statistics: &[Statistics], across: &mut Findings) {
    // Each name with the audit that has it first.
    let mut names: Vec<(&Category, &Audit)> = Vec::new();
    for (_, audit) in audits {
        for category in &audit.categories {
            if !names.iter().any(|(known, _)| known.name == category.name) {
                names.push((category, audit));
            }
        }
    }
    for (i, (category, audit)) in names.iter().enumerate() {
        for (earlier, _) in &names[..i] {
            let Some(how) = likeness(&earlier.name, &category.name) else { continue };
            let [first, second] = [earlier, category].map(|c| counted(&c.name, statistics));
            let place =
                Place { category: Some(category.name.clone()), ..Place::file(&audit.source) };
            across.add(Code::SimilarCategories, place, format!("{first} and {second} {how}"));
        }
    }
}

/// `"benign" (12)`: with the number of images, and of objects on top of them, in all splits.
fn counted(name: &str, statistics: &[Statistics]) -> String {
    let all = statistics.iter().flat_map(|s| &s.categories).filter(|c| c.name == name);
    let images: usize = all.map(|c| c.num_images).sum();
    format!("\"{name}\" ({})", sonotune_base::words::counted(images, "image"))
}
