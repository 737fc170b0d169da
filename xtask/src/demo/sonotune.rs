//! The demo's calls of `sonotune`, printed as a user would type them.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::folder::DemoFolder;
use crate::{process, workspace};

/// Metrics of a record that go into a table.
type Metrics = Vec<(String, f64)>;

/// Tasks learnt on the second kind of phantoms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    Classification,
    Mask2Former,
}

impl Task {
    pub(super) const ALL: [Self; 2] = [Self::Classification, Self::Mask2Former];

    /// Whether a test metric goes into the table.
    fn wanted(self) -> fn(&str) -> bool {
        match self {
            // Those that are not for a single class.
            Self::Classification => |name| !name.contains('/'),
            Self::Mask2Former => {
                |name| ["segm_mAP", "segm_mAP_50", "bbox_mAP", "bbox_mAP_50"].contains(&name)
            }
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classification => "classification",
            Self::Mask2Former => "mask2former",
        })
    }
}

/// How the backbone of a fine-tuned model starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Random,
    Pretrained,
}

impl Start {
    pub(super) const ALL: [Self; 2] = [Self::Random, Self::Pretrained];
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Random => "random",
            Self::Pretrained => "pretrained",
        })
    }
}

/// Side of the phantoms, pixels.
const IMAGE_SIZE: u32 = 128;

/// A set of phantoms: the configs' comments repeat these figures.
#[derive(Debug)]
struct Phantoms {
    kind: &'static str,
    num_images: u32,
    /// Shares of the training and the validation split; the rest is the test split.
    fractions: (f64, f64),
    seed: u64,
}

const PRETRAINING: Phantoms =
    Phantoms { kind: "ovary", num_images: 3000, fractions: (0.85, 0.05), seed: 3 };

/// Few images for training, many for testing: noise must not hide the differences between starts.
const FINE_TUNING: Phantoms =
    Phantoms { kind: "breast", num_images: 800, fractions: (0.4, 0.1), seed: 4 };

/// Images of each set with `--quick`.
const QUICK_IMAGES: u32 = 120;

/// The binary and the sizes of all runs.
#[derive(Debug)]
pub(super) struct Sonotune {
    pub(super) binary: PathBuf,
    pub(super) quick: bool,
}

impl Sonotune {
    /// Both sets of phantoms.
    pub(super) fn phantoms(&self, folder: &DemoFolder) -> Result<()> {
        self.phantom(&PRETRAINING, &folder.pretraining_data())?;
        self.phantom(&FINE_TUNING, &folder.data())
    }

    fn phantom(&self, phantoms: &Phantoms, out: &Path) -> Result<()> {
        let num_images = if self.quick { QUICK_IMAGES } else { phantoms.num_images };
        let (train, val) = phantoms.fractions;
        self.call(&[
            "data".into(),
            "phantom".into(),
            shown(out),
            format!("--kind={}", phantoms.kind),
            format!("--num-images={num_images}"),
            format!("--image-size={IMAGE_SIZE}"),
            format!("--train-fraction={train}"),
            format!("--val-fraction={val}"),
            // Several lesions of one class per image, and no two images alike: both shorten the
            // time that a transformer takes to find them.
            "--max-lesions=3".into(),
            "--images-per-patient=1".into(),
            format!("--seed={}", phantoms.seed),
        ])
    }

    /// Trains a promptable model.
    pub(super) fn prompt_train(&self, folder: &DemoFolder, seed: u64) -> Result<()> {
        let data = folder.pretraining_data();
        self.train("configs/demo/prompt.toml", &folder.prompted(seed), seed, &data, &[])
    }

    pub(super) fn fine_tune(
        &self,
        folder: &DemoFolder,
        task: Task,
        start: Start,
        seed: u64,
    ) -> Result<Metrics> {
        let weights = match start {
            Start::Random => vec![],
            Start::Pretrained => {
                let checkpoint = folder.prompted(seed).join("checkpoints/last.safetensors");
                vec![format!("weights.path={}", shown(&checkpoint))]
            }
        };
        let config = format!("configs/demo/{task}-{start}.toml");
        let run_dir = folder.fine_tuned(task, start, seed);
        self.train(&config, &run_dir, seed, &folder.data(), &weights)?;
        self.evaluate(&run_dir, task.wanted())
    }

    fn train(
        &self,
        config: &str,
        run_dir: &Path,
        seed: u64,
        data: &Path,
        more: &[String],
    ) -> Result<()> {
        let mut args = vec![
            "train".to_owned(),
            config.to_owned(),
            format!("run_dir={}", shown(run_dir)),
            format!("dataset.root={}", shown(data)),
            format!("seed={seed}"),
        ];
        args.extend_from_slice(more);
        if self.quick {
            args.push("train.max_steps=4".to_owned());
        }
        self.call(&args)
    }

    /// Metrics of the test split whose names `wanted` accepts.
    pub(super) fn evaluate(&self, run_dir: &Path, wanted: fn(&str) -> bool) -> Result<Metrics> {
        let args = ["eval", "--run", &shown(run_dir), "--split", "test", "--json"];
        let mut command = self.command(&args.map(str::to_owned));
        let said = process::output(&mut command)?;
        metrics(&said, wanted)
            .with_context(|| format!("the output of `{}`", process::line(&command)))
    }

    /// Predicts the demo's images with the first runs: classes, objects, and masks of what is in the
    /// boxes.
    pub(super) fn predict(&self, folder: &DemoFolder) -> Result<()> {
        let predict = |images: PathBuf, run: PathBuf, out: PathBuf, more: &[&str]| {
            let mut args = vec!["predict".to_owned(), shown(&images)];
            args.extend(["--run".to_owned(), shown(&run), "--out".to_owned(), shown(&out)]);
            args.extend(more.iter().map(|&arg| arg.to_owned()));
            self.call(&args)
        };
        for task in Task::ALL {
            let run = folder.fine_tuned(task, Start::Pretrained, 0);
            predict(folder.images(), run, folder.predictions(task), &[])?;
        }
        let prompts = shown(&folder.prompts());
        let masks = folder.mask_predictions();
        predict(folder.prompted_images(), folder.prompted(0), masks, &["--prompts", &prompts])
    }

    fn call(&self, args: &[String]) -> Result<()> {
        process::run(&mut self.command(args))
    }

    fn command(&self, args: &[String]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args).current_dir(workspace::root());
        process::without_cargo_run(&mut command);
        eprintln!("$ {}", process::line(&command));
        command
    }
}

/// The path as the child sees it, relative to the repository's root.
fn shown(path: &Path) -> String {
    path.strip_prefix(workspace::root()).unwrap_or(path).display().to_string()
}

/// `report.metrics` of an evaluation record, name and value, those that `wanted` accepts; an undefined
/// metric is NaN.
fn metrics(record: &str, wanted: fn(&str) -> bool) -> Result<Metrics> {
    let record: serde_json::Value = serde_json::from_str(record).context("it is not JSON")?;
    let metrics = record["report"]["metrics"].as_array().context("it has no report.metrics")?;
    metrics
        .iter()
        .map(|metric| {
            let name = metric["name"].as_str().context("a metric without a name")?;
            Ok((name.to_owned(), metric["value"].as_f64().unwrap_or(f64::NAN)))
        })
        .filter(|metric| metric.as_ref().map_or(true, |(name, _)| wanted(name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_of_single_classes_stay_out_and_null_is_undefined() {
        let record = r#"{"report":{"metrics":[{"name":"f1","value":0.5},
            {"name":"per_class/cyst/recall","value":1.0},{"name":"auroc","value":null}]}}"#;
        let found = metrics(record, Task::Classification.wanted()).unwrap();
        assert_eq!(found[0], ("f1".to_owned(), 0.5));
        assert!(found.len() == 2 && found[1].1.is_nan());
    }
}
