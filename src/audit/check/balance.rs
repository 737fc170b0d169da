//! How often each class occurs.

use std::collections::HashSet;

use sonotune_base::words::counted;

use sonotune_dataset::findings::{Audit, Code, Findings, Place};
use sonotune_dataset::{CategoryStatistics, Split, Statistics};

/// A class that is missing from a split is reported if that would happen by chance less often than
/// this: in a validation split of two patients, most classes are missing.
const SURPRISING: f64 = 0.01;

/// Adds classes that are missing or rare to the findings of each split.
pub(super) fn check(
    audits: &[(Split, Audit)],
    statistics: &[Statistics],
    max_ratio: f64,
    findings: &mut [Findings],
) {
    let has_objects = statistics.iter().any(|s| s.num_objects > 0);
    for (k, (_, audit)) in audits.iter().enumerate() {
        if audit.images.is_empty() {
            continue;
        }
        let classes: Vec<(&str, usize)> = statistics[k]
            .categories
            .iter()
            .map(|c| (c.name.as_str(), count(c, has_objects)))
            .collect();
        if k == 0 && !has_objects && classes.iter().filter(|c| c.1 > 0).count() == 1 {
            let (name, count) = classes.iter().find(|c| c.1 > 0).copied().unwrap_or_default();
            let got = format!("all {} are \"{name}\"", counted(count, "image"));
            findings[k].add(Code::SingleCategory, Place::file(&audit.source), got);
        }
        missing(k, audits, &classes, has_objects, &mut findings[k]);
        imbalance(audit, &classes, has_objects, max_ratio, &mut findings[k]);
    }
}

fn count(category: &CategoryStatistics, has_objects: bool) -> usize {
    if has_objects { category.num_objects } else { category.num_images }
}

fn missing(
    k: usize,
    audits: &[(Split, Audit)],
    classes: &[(&str, usize)],
    has_objects: bool,
    findings: &mut Findings,
) {
    let audit = &audits[k].1;
    let noun = if has_objects { "object" } else { "image" };
    for &(name, count) in classes {
        let place = || Place { category: Some(name.to_owned()), ..Place::file(&audit.source) };
        if count > 0 {
            continue;
        }
        if k == 0 {
            findings.add(Code::CategoryWithoutObjects, place(), format!("no {noun} of \"{name}\""));
            continue;
        }
        let first = &audits[0].1;
        let (with, of) = (groups(first, Some(name)), groups(first, None));
        let here = groups(audit, None);
        let chance = (1.0 - with as f64 / of.max(1) as f64).powf(here as f64);
        if chance < SURPRISING {
            let got =
                format!("no {noun} of \"{name}\", which occurs {with} times in {}", audits[0].0);
            findings.add(Code::CategoryWithoutObjects, place(), got);
        }
    }
}

/// Number of patients, or of images whose patient is unknown, that show a class, or of all.
fn groups(audit: &Audit, class: Option<&str>) -> usize {
    let shows = |image: &&super::AuditedImage| {
        let Some(class) = class else { return true };
        let is = |index: u32| {
            audit.categories.get(index as usize).is_some_and(|category| category.name == class)
        };
        image.image_labels.iter().any(|&l| is(l))
            || image.objects.iter().any(|o| is(o.object.category))
    };
    let mut patients = HashSet::new();
    let of_image = |image: &super::AuditedImage| match &image.patient {
        Some(patient) => patients.insert(patient.clone()),
        None => true,
    };
    audit.images.iter().filter(shows).map(of_image).filter(|&is_new| is_new).count()
}

fn imbalance(
    audit: &Audit,
    classes: &[(&str, usize)],
    has_objects: bool,
    max_ratio: f64,
    findings: &mut Findings,
) {
    let present = || classes.iter().filter(|c| c.1 > 0);
    let (Some(rare), Some(frequent)) =
        (present().min_by_key(|c| c.1), present().max_by_key(|c| c.1))
    else {
        return;
    };
    let ratio = frequent.1 as f64 / rare.1 as f64;
    if ratio >= max_ratio {
        let noun = if has_objects { "object" } else { "image" };
        let got = format!(
            "\"{}\" has {}, \"{}\" {}: 1 to {ratio:.0}",
            rare.0,
            counted(rare.1, noun),
            frequent.0,
            frequent.1
        );
        let place = Place { category: Some(rare.0.to_owned()), ..Place::file(&audit.source) };
        findings.add(Code::ClassImbalance, place, got);
    }
}
