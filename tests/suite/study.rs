//! A study: its grid, what it refuses, and that a kill at any moment changes nothing of its answer.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::Instant,
};

use serde_json::Value;
use sonotune_base::seed::Rng;
use sonotune_testing::Tiny;

use crate::support::{
    CLASSIFICATION, assert_contains, assert_fails, assert_success, phantoms, read_json, sonotune,
};

const CONFIG: i32 = 2;
const DATA: i32 = 3;

/// A study of two models in three folds on the phantoms.
struct Tested {
    folder: tempfile::TempDir,
}

impl Tested {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data");
        crate::support::copy_phantoms(&phantoms().join("phantoms"), &root);
        let files = ["train", "val", "test"].map(|s| root.join(format!("annotations/{s}.json")));
        let files = files.map(|file| file.display().to_string());
        let (all, root_text) = (root.join("all.json"), root.display().to_string());
        let out = all.display().to_string();
        let merge = ["data", "merge", "--out", &out, "--root", &root_text];
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        assert_success(&sonotune(&[&merge[..], &files].concat()));
        let _ = Tiny::run(folder.path())
            .data(&root)
            .task(CLASSIFICATION)
            .steps(2)
            .set("evaluation.best_metric=\"accuracy\"")
            .write();
        Self { folder }
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("study")
    }

    /// Writes the study's file, whose folder is `dir`, with more lines.
    fn write(&self, dir: &Path, more: &str) -> String {
        let text = format!(
            "study_dir = {:?}\nbase = \"config.toml\"\n{more}\n\
             [[models]]\nname = \"Two blocks\"\n\
             [[models]]\nname = \"One block\"\nset = {{ backbone.depth = 1, backbone.global_attn_indexes = [0] }}\n\
             [statistics]\nresamples = 200\n\
             [folds]\nannotations = {:?}\ncount = 3\nduplicates = \"ignore\"\n",
            dir.display().to_string(),
            self.folder.path().join("data/all.json").display().to_string()
        );
        let file = self.folder.path().join("study.toml");
        fs::write(&file, text).unwrap();
        file.display().to_string()
    }
}

fn study(file: &str, more: &[&str]) -> Output {
    sonotune(&[&["study", file], more].concat())
}

/// The answer without what differs from machine to machine.
fn answer(dir: &Path) -> Value {
    let mut answer = read_json(&dir.join("study.json"));
    answer["study_dir"].take();
    for task in answer["tasks"].as_array_mut().unwrap() {
        for entry in task["entries"].as_array_mut().unwrap() {
            entry["cost"].take();
        }
    }
    answer
}

#[test]
fn a_study_killed_at_any_moment_gives_the_answer_of_one_that_was_not() {
    let tested = Tested::new();
    let whole = tested.dir();
    let begin = Instant::now();
    let output = study(&tested.write(&whole, ""), &[]);
    let lasts = begin.elapsed();
    assert_success(&output);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_contains(&text, &["Two blocks", "One block", "p (Holm)", "study"]);
    let expected = answer(&whole);
    let task = &expected["tasks"][0];
    assert_eq!((task["num_images"].as_u64(), task["num_folds"].as_u64()), (Some(30), Some(3)));
    let names: Vec<_> = task["entries"][0]["figures"].as_array().unwrap().iter().collect();
    assert!(names.iter().any(|figure| figure["name"] == "accuracy" && figure["value"].is_number()));
    for table in ["ranking.md", "ranking.tex", "pairs.md", "figures.csv"] {
        assert!(whole.join("tables").join(table).is_file(), "{table}");
    }

    let kills = if std::env::var_os("SONOTUNE_LONG_TESTS").is_some() { 20 } else { 3 };
    let dir = tested.folder.path().join("killed");
    let file = tested.write(&dir, "");
    let mut rng = Rng::at(18, &[]);
    for _ in 0..kills {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sonotune"))
            .args(["study", &file])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Anywhere from the checks before the first run to some runs further.
        thread::sleep(lasts.mul_f64(0.4 * rng.uniform()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let last = study(&file, &[]);
    assert_success(&last);
    assert_eq!(answer(&dir), expected);

    // Nothing is repeated: the same command only writes the answer.
    let again = study(&file, &[]);
    assert_success(&again);
    assert!(!String::from_utf8_lossy(&again.stderr).contains("runs to do"));
    // A run that has begun keeps its config.
    let changed = study(&file, &["budget.steps=3"]);
    assert_fails(
        &changed,
        CONFIG,
        &["is finished with another config", "choose another study_dir"],
    );
}

#[test]
fn a_run_that_fails_is_reported_and_does_not_stop_the_others() {
    let tested = Tested::new();
    let dir = tested.dir();
    // A learning rate that no loss survives.
    let broken =
        "[[models]]\nname = \"Broken\"\nset = { optimizer.lr = 1e30, train.max_steps = 4 }\n";
    let file = tested.write(&dir, &format!("skip = [{{ model = \"One block\" }}]\n{broken}"));
    let output = study(&file, &[]);
    let code = output.status.code().unwrap();
    assert_eq!(code, 5, "{}", String::from_utf8_lossy(&output.stderr));
    let words = ["3 of 6 runs failed", "Broken", "--retry-failed"];
    assert_contains(&String::from_utf8_lossy(&output.stderr), &words);
    let answer = answer(&dir);
    assert_eq!(answer["failures"].as_array().unwrap().len(), 3);
    assert_eq!(answer["tasks"][0]["entries"].as_array().unwrap().len(), 1);
}

#[test]
fn what_cannot_be_compared_is_refused_before_any_run() {
    let tested = Tested::new();
    let dir = tested.dir();
    for (more, code, words) in [
        ("seeds = [1, 1]", CONFIG, &["`seeds` has 1 twice"][..]),
        ("skip = [{ model = \"Three blocks\" }]", CONFIG, &["Three blocks", "Two blocks"]),
        ("budgett = 1", CONFIG, &["budgett", "budget"]),
        (
            "[[models]]\nname = \"SAM\"\nset = { weights.path = \"absent.pth\" }\n",
            CONFIG,
            &["absent.pth is not there", "docs/weights.md"],
        ),
        (
            "[[models]]\nname = \"Typo\"\nset = { backbone.dept = 3 }\n",
            CONFIG,
            &["Typo", "backbone.dept", "depth"],
        ),
        ("[[models]]\nname = \"two  BLOCKS\"\n", CONFIG, &["would both be called \"two-blocks\""]),
    ] {
        let output = study(&tested.write(&dir, more), &[]);
        assert_fails(&output, code, words);
        assert!(!dir.join("runs").exists(), "{more}");
    }
    let file = tested.write(&dir, "");
    let output = study(&file, &["folds.count=40"]);
    assert_fails(&output, DATA, &["10 groups", "40 folds"]);
    let output = study(&file, &["folds.count=2"]);
    assert_fails(&output, CONFIG, &["folds.count", "at least 3"]);
}

#[test]
fn a_dry_run_prints_the_plan_and_writes_nothing() {
    let tested = Tested::new();
    let dir = tested.dir();
    let output = study(&tested.write(&dir, "seeds = [0, 1]"), &["--dry-run"]);
    assert_success(&output);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_contains(&text, &["One block", "12 runs", "one after the other", "checkpoints take"]);
    assert!(!dir.exists());
}

#[test]
fn every_shipped_study_describes_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (file, runs) in [("studies/table2", 36), ("studies/table3", 36), ("demo/study", 6)] {
        let path = root.join("configs").join(format!("{file}.toml"));
        let study = sonotune_study::Study::load(&path, &[]).unwrap();
        let cells = study.cells(None).unwrap();
        assert_eq!(cells.len(), runs, "{file}");
        for cell in cells {
            let loaded = sonotune_run::config::load_layers(&cell.layers, &cell.overrides);
            let loaded = loaded.unwrap_or_else(|error| panic!("{}: {error:#}", cell.title()));
            assert_eq!(loaded.config.seed, cell.seed);
        }
    }
}
