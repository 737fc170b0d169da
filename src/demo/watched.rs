//! How far a command is, by the files that it writes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sonotune_base::fs::read_if_exists;
use sonotune_run_folder::RunFiles;
use sonotune_study::StudyFiles;

/// What shows how far a command is.
#[derive(Debug, Clone, PartialEq)]
pub enum Watched {
    /// Nothing does.
    Nothing,
    /// The number of images below a folder of datasets, less those of datasets that were there before.
    Images { data: PathBuf, before: u32, wanted: u32 },
    /// The steps of these runs.
    Runs(Vec<PathBuf>),
    /// The steps of these runs of a study, whose configs are known before they start.
    Cells { files: StudyFiles, runs: Vec<PathBuf> },
}

impl Watched {
    /// The share that is done, in [0, 1]; `None` if it cannot be told yet.
    #[must_use]
    pub fn done(&self) -> Option<f64> {
        let (done, all) = match self {
            Self::Nothing => return None,
            Self::Images { data, before, wanted } => {
                (images_below(data).saturating_sub(u64::from(*before)), u64::from(*wanted))
            }
            Self::Runs(runs) => {
                let all: Option<u64> =
                    runs.iter().map(|run| max_steps(&RunFiles::of(run).config())).sum();
                (runs.iter().map(|run| steps_done(run)).sum(), all?)
            }
            Self::Cells { files, runs } => {
                let name = |run: &PathBuf| run.file_name()?.to_str().map(str::to_owned);
                let steps = |run: &PathBuf| max_steps(&files.cell(&name(run)?));
                let all: Option<u64> = runs.iter().map(steps).sum();
                (runs.iter().map(|run| steps_done(run)).sum(), all?)
            }
        };
        (all > 0).then(|| (done as f64 / all as f64).min(1.0))
    }
}

/// Images of all datasets in a folder, those that are being written in a hidden one included.
fn images_below(data: &Path) -> u64 {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    entries(data).map(|set| entries(&set.path().join("images")).count() as u64).sum()
}

fn max_steps(config: &Path) -> Option<u64> {
    let config: toml::Table = read_if_exists(config).ok()??.parse().ok()?;
    config.get("train")?.get("max_steps")?.as_integer()?.try_into().ok()
}

/// The last step that a run has logged.
fn steps_done(run: &Path) -> u64 {
    let text = read_if_exists(&RunFiles::of(run).metrics()).ok().flatten().unwrap_or_default();
    let step = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?["step"].as_u64();
    text.lines().rev().find_map(step).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted_over_runs_and_unknown_before_they_begin() {
        let home = tempfile::tempdir().unwrap();
        let run = |name: &str| home.path().join(name);
        let watched = Watched::Runs(vec![run("a"), run("b")]);
        assert_eq!(watched.done(), None);
        for name in ["a", "b"] {
            fs::create_dir(run(name)).unwrap();
            fs::write(run(name).join("config.toml"), "[train]\nmax_steps = 10\n").unwrap();
        }
        assert_eq!(watched.done(), Some(0.0));
        // The last line is being written.
        let lines = "{\"step\": 1}\n{\"step\": 5}\n{\"st";
        fs::write(run("a").join("metrics.jsonl"), lines).unwrap();
        assert_eq!(watched.done(), Some(0.25));
    }

    #[test]
    fn images_of_earlier_datasets_do_not_count() {
        let data = tempfile::tempdir().unwrap();
        for (set, count) in [("first", 4), (".phantom-x", 2)] {
            let images = data.path().join(set).join("images");
            fs::create_dir_all(&images).unwrap();
            (0..count).for_each(|i| fs::write(images.join(format!("{i}.png")), "").unwrap());
        }
        let watched = Watched::Images { data: data.path().to_owned(), before: 4, wanted: 8 };
        assert_eq!(watched.done(), Some(0.25));
        assert_eq!(Watched::Nothing.done(), None);
    }
}
