//! A run that is resumed from the checkpoint of any of its steps ends as if it had never stopped: the
//! same bytes in every later checkpoint, the same losses. One that starts from the same weights
//! alone does not.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use classification as _;
use mask2former as _;
use sam_prompt as _;
use sonotune_base::stop::StopFlag;
use sonotune_engine::checkpoint::{self, kept};
use sonotune_run::{ModelSource, TrainOptions, config};
use sonotune_run_folder::Existing;
use sonotune_testing::Tiny;
use sonotune_weights as weights;
use tch::Tensor;

use crate::{
    bad_images::harmed,
    support::{MASK2FORMER, metrics, phantoms},
};

/// Everything that has a state or is drawn at random: shuffled, jittered, flipped, accumulated, clipped,
/// averaged, on a schedule, in bf16, scored for the best and for early stopping. `channels` are the
/// backbone's.
pub(crate) fn everything_on(folder: &Path, channels: u32, task: &str, metric: &str) -> Tiny {
    let text = format!("[task]\n{task}\n[evaluation]\nbest_metric = \"{metric}\"\n");
    let tiny = Tiny::run(folder).data(&phantoms().join("phantoms")).with(EVERYTHING).with(&text);
    let tiny = tiny.set(&format!("backbone.out_channels={channels}"));
    if channels == 0 { tiny.set("dataset.image_label=\"from_objects\"") } else { tiny }
}

const EVERYTHING: &str = r#"
seed = 5
precision = "bf16"
[augment]
scale_range = [0.5, 1.5]
[loader]
batch_size = 2
[schedule]
type = "cosine"
warmup = { steps = 3, start_factor = 0.1 }
[train]
accumulate_batches = 2
clip_grad_norm = 0.5
checkpoint_every_steps = 1
keep_checkpoints = 1000
[train.ema]
decay = 0.9
warmup = { power = 0.75 }
[train.early_stopping]
patience = 100
[evaluation]
every_steps = 3
[logging]
num_images = 1
"#;

/// The promptable task with dropout, for which the decoder draws random numbers.
pub(crate) const DROPOUT: &str = "type = \"sam_prompt\"\nconvention = \"ultrasam\"\n\
                       decoder = { num_heads = 2, mlp_dim = 32, dropout = 0.1 }";

fn options(existing: Existing, resume_from: ModelSource) -> TrainOptions {
    let (stop, ranks) = (StopFlag::default(), Arc::default());
    TrainOptions { existing, resume_from, changed_data: false, stop, ranks }
}

fn set(key: &str, value: &Path) -> String {
    format!("{key}={:?}", value.display().to_string())
}

fn train(config: &Path, run: &Path, more: &[String], options: &TrainOptions) {
    let overrides = [&[set("run_dir", run)], more].concat();
    sonotune_run::train(&config::load(config, &overrides).unwrap(), options).unwrap();
}

pub(crate) fn checkpoints(run: &Path) -> PathBuf {
    run.join("checkpoints")
}

/// The run folder as it was after `step`, except for the log of later steps.
fn as_after(step: u64, through: &Path, run: &Path) {
    fs::create_dir_all(checkpoints(run)).unwrap();
    for name in ["config.toml", "env.json", "metrics.jsonl"] {
        fs::copy(through.join(name), run.join(name)).unwrap();
    }
    if through.join("skipped.json").exists() {
        fs::copy(through.join("skipped.json"), run.join("skipped.json")).unwrap();
    }
    let copy = |path: PathBuf| {
        fs::copy(&path, checkpoints(run).join(path.file_name().unwrap())).unwrap();
    };
    copy(kept::path(&checkpoints(through), step));
    let best = checkpoints(through).join(checkpoint::BEST);
    if checkpoint::read_progress(&best).unwrap().step <= step {
        copy(best);
    }
}

fn assert_same_file(a: &Path, b: &Path) {
    assert!(fs::read(a).unwrap() == fs::read(b).unwrap(), "{} and {}", a.display(), b.display());
}

fn model(checkpoint: &Path) -> Vec<Tensor> {
    let file = weights::open(checkpoint).unwrap();
    let names = file.entries().iter().map(|entry| entry.name.clone());
    let own = |name: &String| !name.starts_with("optimizer.") && !name.starts_with("ema.");
    let mut names: Vec<_> = names.filter(own).collect();
    names.sort();
    names.iter().map(|name| file.read(name).unwrap()).collect()
}

/// Trains to the end, then resumes from every step, and starts from the weights of every step.
fn every_step(channels: u32, task: &str, metric: &str, max_steps: u64) {
    let folder = tempfile::tempdir().unwrap();
    let config = everything_on(folder.path(), channels, task, metric).steps(max_steps).write();
    // Three images of each split are damaged or missing, and are skipped.
    let root = format!("dataset.root={:?}", harmed(folder.path()).display().to_string());
    let skip = ["loader.bad_images=skip", "dataset.check_files=none"].map(str::to_owned);
    let always: &[String] = &[&[root], &skip[..]].concat();
    let through = folder.path().join("through");
    train(&config, &through, always, &options(Existing::Refuse, ModelSource::Last));
    assert_eq!(kept::steps(&checkpoints(&through)).unwrap(), Vec::from_iter(1..=max_steps));
    assert!(through.join("skipped.json").exists());
    let state = weights::open(&checkpoints(&through).join(checkpoint::LAST)).unwrap();
    for prefix in ["optimizer.exp_avg.", "ema."] {
        assert!(state.entries().iter().any(|e| e.name.starts_with(prefix)), "{prefix}");
    }
    for step in 1..max_steps {
        let resumed = folder.path().join(format!("resumed{step}"));
        as_after(step, &through, &resumed);
        let from = options(Existing::Resume, ModelSource::Step(step));
        train(&resumed.join("config.toml"), &resumed, &[], &from);
        for later in step + 1..=max_steps {
            let file = |run: &Path| kept::path(&checkpoints(run), later);
            assert_same_file(&file(&through), &file(&resumed));
        }
        for name in [checkpoint::LAST, checkpoint::BEST] {
            assert_same_file(&checkpoints(&through).join(name), &checkpoints(&resumed).join(name));
        }
        assert_eq!(metrics(&through), metrics(&resumed), "resumed after step {step}");

        let weights = set("weights.path", &kept::path(&checkpoints(&through), step));
        let left = format!("train.max_steps={}", max_steps - step);
        let cold = folder.path().join(format!("cold{step}"));
        let more = [always, &[weights, left]].concat();
        train(&config, &cold, &more, &options(Existing::Refuse, ModelSource::Last));
        let last = |run: &Path| model(&checkpoints(run).join(checkpoint::LAST));
        assert_ne!(last(&through), last(&cold), "cold start from step {step}");
    }
}

/// Runs an ignored test in its own process: dropout and sampled points are drawn from the
/// process's generator, which other tests at the same time would disturb.
pub(crate) fn alone(test: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        // With tensors this small, threads would only wait for each other.
        .env("OMP_NUM_THREADS", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_promptable_run_goes_on_from_every_step() {
    alone("resume_oracle::sam_prompt_every_step");
}

#[test]
#[ignore = "run by a_promptable_run_goes_on_from_every_step"]
fn sam_prompt_every_step() {
    every_step(32, DROPOUT, "box/segm_mAP", 8);
}

#[test]
fn a_classifier_goes_on_from_every_step() {
    alone("resume_oracle::classification_every_step");
}

#[test]
#[ignore = "run by a_classifier_goes_on_from_every_step"]
fn classification_every_step() {
    every_step(0, "type = \"classification\"", "f1", 4);
}

#[test]
fn a_run_stopped_before_an_evaluation_makes_up_for_it() {
    alone("resume_oracle::classification_stopped_before_an_evaluation");
}

#[test]
#[ignore = "run by a_run_stopped_before_an_evaluation_makes_up_for_it"]
fn classification_stopped_before_an_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = everything_on(folder.path(), 0, "type = \"classification\"", "f1");
    let config = tiny.steps(3).write();
    let always = ["evaluation.every_steps=1".to_owned()];
    let (through, resumed) = (folder.path().join("through"), folder.path().join("resumed"));
    train(&config, &through, &always, &options(Existing::Refuse, ModelSource::Last));

    // A stop requested before the first step: the run stops after it, and does not evaluate.
    let stopping = options(Existing::Refuse, ModelSource::Last);
    stopping.stop.raise();
    let overrides = [&[set("run_dir", &resumed)], &always[..]].concat();
    let loaded = config::load(&config, &overrides).unwrap();
    let stopped = sonotune_run::train(&loaded, &stopping).unwrap_err();
    assert_eq!(sonotune_base::error::exit_code(&stopped), 130, "{stopped:#}");
    assert!(metrics(&resumed).iter().all(|line| line["split"] != "val"));

    let from = options(Existing::Resume, ModelSource::Last);
    train(&resumed.join("config.toml"), &resumed, &[], &from);
    assert_eq!(metrics(&through), metrics(&resumed));
    for name in [checkpoint::LAST, checkpoint::BEST] {
        assert_same_file(&checkpoints(&through).join(name), &checkpoints(&resumed).join(name));
    }
}

#[test]
fn an_instance_segmenter_goes_on_from_every_step() {
    alone("resume_oracle::mask2former_every_step");
}

#[test]
#[ignore = "run by an_instance_segmenter_goes_on_from_every_step"]
fn mask2former_every_step() {
    every_step(32, MASK2FORMER, "segm_mAP", 4);
}
