//! The commands of the demo, in order.

use std::{ffi::OsString, path::Path};

use anyhow::Result;
use sonotune_study::Study;

use crate::{
    comparison,
    folder::{DemoFolder, Predicted},
    plan::{PRETRAINED, Phantoms, Plan, Task},
    watched::Watched,
};

/// A command of the program.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What it does, for people.
    pub title: String,
    /// Name of its log.
    pub log: String,
    /// Its arguments, the verb first.
    pub arguments: Vec<OsString>,
    /// How far it is.
    pub watched: Watched,
}

impl Step {
    fn new(title: impl Into<String>, log: impl Into<String>, watched: Watched) -> Self {
        Self { title: title.into(), log: log.into(), arguments: Vec::new(), watched }
    }

    fn with<T: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }
}

/// Both sets of phantoms.
#[must_use]
pub fn data_steps(plan: Plan, folder: &DemoFolder) -> Vec<Step> {
    let pretraining = plan.pretraining();
    let fine_tuning = plan.fine_tuning();
    let step = |phantoms: &Phantoms, what: &str, log: &str, out: &Path, before: u32| {
        let title =
            format!("{} phantoms of the {} to {what} on", phantoms.num_images, phantoms.kind);
        let watched = Watched::Images { data: folder.data(), before, wanted: phantoms.num_images };
        phantom(Step::new(title, log, watched), phantoms, out)
    };
    vec![
        step(&pretraining, "pretrain", "phantoms-pretraining", &folder.pretraining_data(), 0),
        step(
            &fine_tuning,
            "fine-tune",
            "phantoms-fine-tuning",
            &folder.fine_tuning_data(),
            pretraining.num_images,
        ),
    ]
}

fn phantom(step: Step, phantoms: &Phantoms, out: &Path) -> Step {
    let (train, val) = phantoms.fractions;
    step.with(["data", "phantom"]).with([out]).with([
        format!("--kind={}", phantoms.kind),
        format!("--num-images={}", phantoms.num_images),
        format!("--image-size={}", phantoms.image_size),
        format!("--train-fraction={train}"),
        format!("--val-fraction={val}"),
        // Several lesions of one class per image, and no two images alike: both shorten the time that a
        // transformer takes to find them.
        "--max-lesions=3".to_owned(),
        "--images-per-patient=1".to_owned(),
        format!("--seed={}", phantoms.seed),
    ])
}

/// A promptable model for each seed, and its scores.
#[must_use]
pub fn pretraining_steps(plan: Plan, folder: &DemoFolder) -> Vec<Step> {
    let mut steps = Vec::new();
    for seed in 0..plan.seeds {
        let run = folder.pretrained(seed);
        let of_seed = of_seed(plan, seed);
        let watched = Watched::Runs(vec![run.clone()]);
        let mut train = Step::new(
            format!("pretrain on clicks and boxes{of_seed}"),
            format!("pretrain-seed{seed}"),
            watched,
        )
        .with(["train"])
        .with([folder.config(&format!("{}/prompt.toml", plan.configs()))])
        .with([
            set("run_dir", &run),
            set("dataset.root", &folder.pretraining_data()),
            format!("seed={seed}"),
        ]);
        if let Some(steps) = plan.steps() {
            train = train.with([format!("train.max_steps={steps}")]);
        }
        let score = Step::new(
            format!("score its masks on test images{of_seed}"),
            format!("score-seed{seed}"),
            Watched::Nothing,
        )
        .with(["eval", "--split", "test", "--run"])
        .with([run]);
        steps.extend([train, score]);
    }
    steps
}

/// ` (seed 1)` if there are several.
fn of_seed(plan: Plan, seed: u64) -> String {
    if plan.seeds > 1 { format!(" (seed {seed})") } else { String::new() }
}

/// Writes the files of the study that compares both starts, and gives its commands. A model starts from the
/// backbone that was pretrained with its own seed, so that each seed is a study of its own in one folder.
///
/// # Errors
/// If the files cannot be written, or are refused.
pub fn comparison_steps(plan: Plan, folder: &DemoFolder) -> Result<Vec<Step>> {
    comparison::write_files(plan, folder)?;
    let step = |seed: u64| -> Result<Step> {
        let file = folder.study_of(seed);
        let cells = Study::load(&file, &[])?.cells(None)?;
        let runs = cells.iter().map(|cell| folder.comparison().run(&cell.name));
        let step = Step::new(
            format!("fine-tune both starts, and compare{}", of_seed(plan, seed)),
            format!("compare-seed{seed}"),
            Watched::Cells { files: folder.comparison(), runs: runs.collect() },
        );
        Ok(step.with(["study"]).with([file]))
    };
    (0..plan.seeds).map(step).collect()
}

/// Predictions of the test images with the models of seed 0.
///
/// # Errors
/// If the comparison's file cannot be read.
pub fn prediction_steps(plan: Plan, folder: &DemoFolder) -> Result<Vec<Step>> {
    let mut runs =
        vec![(Predicted::Clicks, folder.pretrained(0)), (Predicted::Boxes, folder.pretrained(0))];
    for &task in plan.tasks() {
        let predicted = match task {
            Task::Classification => Predicted::Classes,
            Task::Instances => Predicted::Instances,
        };
        runs.push((predicted, comparison::run(folder, task, PRETRAINED)?));
    }
    let step = |(predicted, run): (Predicted, std::path::PathBuf)| {
        let title = match predicted {
            Predicted::Clicks => "predict masks from clicks",
            Predicted::Boxes => "predict masks from boxes",
            Predicted::Classes => "predict classes",
            Predicted::Instances => "predict all lesions with their classes",
        };
        let mut step = Step::new(title, format!("predict-{}", predicted.name()), Watched::Nothing)
            .with(["predict"])
            .with([folder.images(predicted)])
            .with(["--run".into(), run.into_os_string(), "--out".into()])
            .with([folder.predictions(predicted)])
            .with(["--no-pictures"]);
        if predicted.is_prompted() {
            step = step.with(["--prompts"]).with([folder.prompts(predicted)]);
        }
        step
    };
    Ok(runs.into_iter().map(step).collect())
}

/// `key="path"`, quoted as TOML.
fn set(key: &str, path: &Path) -> String {
    format!("{key}={}", toml::Value::String(path.to_string_lossy().into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Budget;

    #[test]
    fn every_seed_is_pretrained_and_scored() {
        let folder = DemoFolder::new(Path::new("a \"b\""));
        let steps = pretraining_steps(Plan::new(Budget::Full, Some(2)), &folder);
        let logs: Vec<_> = steps.iter().map(|step| step.log.as_str()).collect();
        assert_eq!(logs, ["pretrain-seed0", "score-seed0", "pretrain-seed1", "score-seed1"]);
        let words: Vec<_> = steps[2].arguments.iter().map(|a| a.to_str().unwrap()).collect();
        assert_eq!(words[..2], ["train", "a \"b\"/configs/demo/prompt.toml"]);
        assert!(words.contains(&"seed=1"), "{words:?}");
        assert!(words.contains(&"run_dir='a \"b\"/pretrained/seed1'"), "{words:?}");
        assert!(!words.iter().any(|word| word.starts_with("train.max_steps")), "{words:?}");
        let quick = pretraining_steps(Plan::new(Budget::Quick, None), &folder);
        assert!(quick[0].arguments.contains(&"train.max_steps=2".into()));
        assert!(!quick[0].title.contains("seed"), "{}", quick[0].title);
    }
}
