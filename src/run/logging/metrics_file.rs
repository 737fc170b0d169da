//! `metrics.jsonl`: one JSON object per line, for programs.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize, Serializer};

use sonotune_base::fs::{AppendFile, atomic_write, read_if_exists};
use sonotune_dataset::Split;

/// One line, in the order to write. A name that repeats keeps its first value; a value that is not
/// finite becomes `null`.
#[derive(Debug)]
pub(super) struct MetricsLine<'a> {
    pub(super) step: u64,
    pub(super) split: &'a str,
    pub(super) values: Vec<(&'a str, f64)>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Cell<'a> {
    Step(u64),
    Split(&'a str),
    Value(f64),
}

impl Serialize for MetricsLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut cells = vec![("step", Cell::Step(self.step)), ("split", Cell::Split(self.split))];
        for &(name, value) in &self.values {
            if cells.iter().all(|(known, _)| *known != name) {
                cells.push((name, Cell::Value(value)));
            }
        }
        serializer.collect_map(cells)
    }
}

#[derive(Debug)]
pub(super) struct MetricsFile(AppendFile);

impl MetricsFile {
    /// Opens the file. With `resume_step` it first drops the lines of later steps, which the resumed
    /// run writes again, and a line that a crash cut off: the file then reads like that of one
    /// uninterrupted run.
    ///
    /// An evaluation that is pending at that step is made again, so its line goes as well.
    pub(super) fn open(
        path: &Path,
        resume_step: Option<u64>,
        evaluation_pending: bool,
    ) -> Result<Self> {
        if let Some(step) = resume_step
            && let Some(text) = read_if_exists(path)?
        {
            let kept: String = text
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n') && stays(line, step, evaluation_pending))
                .collect();
            if kept.len() != text.len() {
                atomic_write(path, kept.as_bytes())?;
            }
        }
        AppendFile::open(path).map(Self)
    }

    pub(super) fn append(&mut self, line: &MetricsLine) -> Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        self.0.append(text.as_bytes())
    }
}

/// Whether a line is kept by a run that continues after `step`.
fn stays(line: &str, step: u64, evaluation_pending: bool) -> bool {
    #[derive(Deserialize)]
    struct Line {
        step: u64,
        split: String,
    }
    serde_json::from_str::<Line>(line).is_ok_and(|line| {
        line.step < step
            || line.step == step && (!evaluation_pending || line.split == Split::Train.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: u64, loss: f64) -> MetricsLine<'static> {
        MetricsLine { step, split: "train", values: vec![("loss", loss), ("loss", 9.0)] }
    }

    #[test]
    fn resuming_drops_later_lines_and_the_one_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut file = MetricsFile::open(&path, None, false).unwrap();
        for step in [10, 20, 30] {
            file.append(&line(step, f64::from(step as u32) / 8.0)).unwrap();
        }
        file.0.append(b"{\"step\":40,\"spl").unwrap();

        let mut file = MetricsFile::open(&path, Some(20), false).unwrap();
        file.append(&line(30, f64::NAN)).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\"step\":10,\"split\":\"train\",\"loss\":1.25}\n\
             {\"step\":20,\"split\":\"train\",\"loss\":2.5}\n\
             {\"step\":30,\"split\":\"train\",\"loss\":null}\n"
        );
    }

    #[test]
    fn a_pending_evaluation_is_logged_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let scores = |step| MetricsLine { step, split: "val", values: vec![("f1", 0.5)] };
        let mut file = MetricsFile::open(&path, None, false).unwrap();
        for line in [line(1, 1.0), scores(1), line(2, 1.0), scores(2)] {
            file.append(&line).unwrap();
        }
        drop(MetricsFile::open(&path, Some(2), false).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 4);
        drop(MetricsFile::open(&path, Some(2), true).unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("{\"step\":1,\"split\":\"val\"") && !text.contains("2,\"split\":\"val\"")
        );
        assert_eq!(text.lines().count(), 3);
    }
}
