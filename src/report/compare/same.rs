//! Whether scores were measured in the same way.

use std::fmt::Write;

use anyhow::Result;

use super::Run;
use sonotune_base::Error;

/// One thing that a score depends on, as text for each run.
struct Aspect<'a> {
    name: String,
    values: Vec<Option<String>>,
    remedy: &'a str,
}

const SAME_DATA: &str = "score all runs on the same data: `sonotune eval --run RUN --split SPLIT`, \
                         followed by `dataset.…=…` if a run's config names different data";
const SAME_PROTOCOL: &str = "score all runs in the same way: `sonotune eval --run RUN --split SPLIT`, \
                             followed by the config key that decides it, e.g. `task.evaluation.…=…`";
const SAME_CATEGORIES: &str = "models with different categories answer different questions; records of \
                               earlier versions do not name theirs: score those runs again";

/// # Errors
/// A data error that names everything in which the runs differ, and which runs have which value.
pub(super) fn ensure_comparable(runs: &[Run]) -> Result<()> {
    let differing: Vec<_> =
        aspects(runs).into_iter().filter(|a| a.values.iter().any(|v| *v != a.values[0])).collect();
    if differing.is_empty() {
        return Ok(());
    }
    let mut text = String::from("these scores cannot be compared:");
    let mut remedies: Vec<&str> = Vec::new();
    for aspect in &differing {
        let _ = write!(text, "\n  {} differ:", aspect.name);
        for (value, paths) in aspect.sides(runs) {
            let _ =
                write!(text, "\n    {}: {}", value.as_deref().unwrap_or("none"), paths.join(", "));
        }
        if !remedies.contains(&aspect.remedy) {
            remedies.push(aspect.remedy);
        }
    }
    for remedy in remedies {
        let _ = write!(text, "\n  {remedy}");
    }
    Err(Error::data(text).into())
}

impl Aspect<'_> {
    /// Each value with the runs that have it.
    fn sides(&self, runs: &[Run]) -> Vec<(&Option<String>, Vec<String>)> {
        let mut sides: Vec<(&Option<String>, Vec<String>)> = Vec::new();
        for (value, run) in self.values.iter().zip(runs) {
            let path = run.path.display().to_string();
            match sides.iter_mut().find(|(known, _)| *known == value) {
                Some((_, paths)) => paths.push(path),
                None => sides.push((value, vec![path])),
            }
        }
        sides
    }
}

fn aspects(runs: &[Run]) -> Vec<Aspect<'static>> {
    let of = |name: &str, remedy: &'static str, value: &dyn Fn(&Run) -> Option<String>| Aspect {
        name: name.to_owned(),
        values: runs.iter().map(value).collect(),
        remedy,
    };
    let mut aspects = vec![
        of("annotations (SHA-256)", SAME_DATA, &|run| run.record.dataset_sha256.clone()),
        of("numbers of images", SAME_DATA, &|run| Some(run.record.num_images.to_string())),
        of("numbers of objects", SAME_DATA, &|run| Some(run.record.num_objects.to_string())),
        of("what the dataset left out or changed", SAME_DATA, &|run| {
            let notes = &run.record.dataset_notes;
            (!notes.is_empty()).then(|| notes.join("; "))
        }),
        of("images that could not be used", SAME_DATA, &|run| {
            let ids: Vec<&str> = run.record.skipped.iter().map(|s| s.image_id.as_str()).collect();
            (!ids.is_empty()).then(|| ids.join(", "))
        }),
        of("categories", SAME_CATEGORIES, &|run| {
            let names = &run.record.categories;
            (!names.is_empty()).then(|| names.join(", "))
        }),
    ];
    if runs.iter().any(|run| run.record.dataset_sha256.is_none()) {
        let source = |run: &Run| Some(run.record.dataset.display().to_string());
        aspects.push(of("datasets", SAME_DATA, &source));
    }
    for key in condition_keys(runs) {
        let name = format!("conditions `{key}`");
        aspects.push(of(&name, SAME_PROTOCOL, &|run| condition(run, &key)));
    }
    aspects
}

/// The notes of the dataset are also among the conditions, and are already compared.
fn condition_keys(runs: &[Run]) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for (key, _) in runs.iter().flat_map(|run| &run.record.report.conditions) {
        if key != "dataset" && !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    keys
}

/// All values of a condition: a key may appear several times.
fn condition(run: &Run, key: &str) -> Option<String> {
    let conditions = run.record.report.conditions.iter().filter(|(k, _)| k == key);
    let values: Vec<&str> = conditions.map(|(_, value)| value.as_str()).collect();
    (!values.is_empty()).then(|| values.join("; "))
}
