//! A study whose runs were made by nobody: their files are written here.

use std::{fmt::Write as _, fs, path::Path};

use sonotune_base::seed::Rng;
use sonotune_study::{Answer, Cell, Failure, Groups, Study};
use tempfile::TempDir;

/// A study in a temporary folder.
pub(crate) struct Written {
    pub(crate) folder: TempDir,
    pub(crate) study: Study,
}

impl Written {
    /// Two seeds of these models; `more` is appended to the study's file.
    pub(crate) fn new(models: &[&str], more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("base.toml"), "").unwrap();
        let place = folder.path().join("out").display().to_string();
        let mut text = format!("study_dir = {place:?}\nbase = \"base.toml\"\nseeds = [0, 1]\n");
        for model in models {
            let _ = write!(text, "[[models]]\nname = {model:?}\n");
        }
        text += more;
        let path = folder.path().join("study.toml");
        fs::write(&path, text).unwrap();
        let study = Study::load(&path, &[]).unwrap();
        Self { folder, study }
    }

    pub(crate) fn cells(&self) -> Vec<Cell> {
        self.study.cells(None).unwrap()
    }

    /// Writes a finished and scored run with this table of test images.
    pub(crate) fn score(&self, cell: &Cell, csv: &str) {
        let run = self.study.files.run(&cell.name);
        fs::create_dir_all(&run).unwrap();
        let record = r#"{"checkpoint": "c", "step": 4, "split": "test", "dataset": "t.json", "dataset_sha256": null,
            "num_images": 1, "num_objects": 1, "dataset_notes": [], "report": {"metrics": [], "notes": [], "tables": []}}"#;
        fs::write(run.join("eval-test.json"), record).unwrap();
        fs::write(run.join("images-test.csv"), csv).unwrap();
        let metrics: String = (1..=4)
            .map(|step| {
                format!("{{\"step\":{step},\"split\":\"val\",\"dice\":0.{step},\"f1\":0.{step}}}\n")
            })
            .collect();
        fs::write(run.join("metrics.jsonl"), metrics).unwrap();
        fs::write(run.join("summary.json"), SUMMARY).unwrap();
    }

    /// Records that a cell failed.
    pub(crate) fn fail(&self, cell: &Cell, message: &str) {
        let failure =
            Failure { verb: "train".to_owned(), exit_code: 1, message: message.to_owned() };
        failure.write(cell, &self.study.files).unwrap();
    }

    /// The answer, and its page once written.
    pub(crate) fn answer(&self) -> (Answer, String) {
        let notes = vec!["a note of the <study>".to_owned()];
        let answer = Answer::of(&self.study, &self.cells(), &Groups::new(), notes).unwrap();
        answer.write(&self.study).unwrap();
        (answer, fs::read_to_string(self.study.files.page()).unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        Path::new(self.folder.path()).join("out").join(name)
    }
}

const SUMMARY: &str = r#"{"status": "finished", "steps": 4, "wall_seconds": 90.0, "peak_memory_bytes": 1073741824,
    "best": {"metric": "f1", "value": 0.4, "step": 4, "checkpoint": "best"}, "metrics": [], "next_commands": []}"#;

/// Dice of two images of each patient around `mean`, by the same patients for every seed.
pub(crate) fn dice(patients: usize, mean: f64, seed: u64) -> String {
    let mut csv = "image_id,file_name,patient,field:device,dice\n".to_owned();
    for image in 0..2 * patients {
        let patient = image / 2;
        let hard = Rng::at(7, &[patient as u64]).uniform() * 0.2;
        let noise = Rng::at(seed, &[image as u64]).uniform() * 0.05;
        let device = if patient % 2 == 0 { "A" } else { "B & C" };
        let _ = writeln!(csv, "{image},{image}.png,p{patient},{device},{}", mean + noise - hard);
    }
    csv
}

/// Two categories of one image per patient; a share of `right` is predicted correctly.
pub(crate) fn classes(patients: usize, right: f64, seed: u64) -> String {
    let mut csv =
        "image_id,file_name,patient,label,predicted,correct,p:benign,p:malignant\n".to_owned();
    for image in 0..patients {
        let mut rng = Rng::at(seed, &[image as u64]);
        let label = image % 2;
        let is_right = rng.uniform() < right;
        let predicted = if is_right { label } else { 1 - label };
        let p = 0.5 + 0.49 * rng.uniform();
        let (benign, malignant) = if predicted == 0 { (p, 1.0 - p) } else { (1.0 - p, p) };
        let names = ["benign", "malignant"];
        let _ = writeln!(
            csv,
            "{image},{image}.png,p{image},{},{},{},{benign},{malignant}",
            names[label],
            names[predicted],
            u8::from(is_right)
        );
    }
    csv
}
