//! A config means the same for any number of processes: the same training up to rounding, bit for bit with
//! the same number, and the same scores.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use sonotune_testing::Tiny;
use tch::Tensor;

use crate::support::{Copied, MASK2FORMER, assert_success, json, last, metrics};

/// The learning rate of the tests' runs.
const LR: f64 = 1e-3;

/// Everything that depends on the batch as a whole: shuffled, jittered, flipped, accumulated, clipped,
/// averaged. Neither two nor three nor four processes divide the batch.
const EVERYTHING: &str = r#"
precision = "fp64"
[augment]
scale_range = [0.4, 1.6]
[loader]
batch_size = 5
num_workers = 1
[train]
max_steps = 20
accumulate_batches = 2
clip_grad_norm = 0.5
checkpoint_every_steps = 10
keep_checkpoints = 10
[train.ema]
decay = 0.9
[logging]
num_images = 0
every_steps = 5
"#;

/// Two passes, dropout, and more objects than a step may have.
const PROMPTS: &str = "type = \"sam_prompt\"\nconvention = \"ultrasam\"\n\
                       decoder = { num_heads = 2, mlp_dim = 32, dropout = 0.1 }\n\
                       training = { max_objects = 6 }";

/// Clicks that depend on the masks before them.
const CLICKS: &str = "type = \"sam_prompt\"\nconvention = \"segment_anything\"\n\
                      decoder = { num_heads = 2, mlp_dim = 32 }\n\
                      training = { interactive_rounds = 2 }";

const CLASSES: &str = "type = \"classification\"\nclass_weights = { benign = 3.0, cyst = 0.5 }\n\
                       loss = { type = \"cross_entropy\", label_smoothing = 0.1 }";

/// The folder of a test: a dataset with some images without objects, a config and its runs.
struct Lab {
    folder: tempfile::TempDir,
    config: PathBuf,
}

impl Lab {
    fn new(task: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let copied = Copied::to(&folder.path().join("data"));
        // An image has exactly one class.
        let splits: &[&str] = if task == CLASSES { &[] } else { &["train", "val"] };
        for split in splits {
            copied.edit(split, |file| {
                let image = |i: usize| file["images"][i]["id"].clone();
                let without: Vec<Value> = (0..4).map(image).collect();
                let objects = file["annotations"].as_array_mut().unwrap();
                objects.retain(|object| !without.contains(&object["image_id"]));
            });
        }
        let tiny = Tiny::run(folder.path()).data(&folder.path().join("data"));
        let tiny = tiny.task(task).with(EVERYTHING).with(more);
        let config = tiny.write();
        Self { folder, config }
    }

    fn run_dir(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Trains into the folder `name` by `processes`.
    fn train(&self, name: &str, processes: usize, more: &[&str]) -> PathBuf {
        let run = self.run_dir(name);
        let run_dir = format!("run_dir={}", run.display());
        let config = self.config.display().to_string();
        let args = [&["train", &config, &run_dir], more].concat();
        assert_success(&sonotune(processes, &args));
        run
    }
}

/// The program with one thread for each process.
fn sonotune(processes: usize, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sonotune"));
    command.args(args).env("OMP_NUM_THREADS", "1");
    if processes > 1 {
        command.args(["--processes", &processes.to_string()]);
    }
    command.output().unwrap()
}

/// Weights and moving averages of the last checkpoint.
fn weights(run: &Path) -> BTreeMap<String, Tensor> {
    let tensors = Tensor::read_safetensors(run.join("checkpoints/last.safetensors")).unwrap();
    tensors.into_iter().filter(|(name, _)| !name.starts_with("optimizer.")).collect()
}

/// The largest difference of a value, relative to the largest of its tensor, or to an update where that is
/// larger: a bias before a normalisation has no gradient but rounding.
fn difference(a: &Path, b: &Path) -> (f64, String) {
    let (a, b) = (weights(a), weights(b));
    assert!(a.keys().eq(b.keys()) && !a.is_empty());
    let relative = |(name, x): (&String, &Tensor)| {
        let largest = |x: Tensor| x.to_kind(tch::Kind::Double).abs().max().double_value(&[]);
        let difference = largest(x - &b[name]);
        (difference / largest(x.shallow_clone()).max(LR), name.clone())
    };
    a.iter().map(relative).max_by(|x, y| x.0.total_cmp(&y.0)).unwrap()
}

/// The norm of all differences, relative to that of all weights: a value near zero may be rounding alone.
fn distance(a: &Path, b: &Path) -> f64 {
    let (a, b) = (weights(a), weights(b));
    let square = |x: Tensor| x.to_kind(tch::Kind::Double).square().sum(None).double_value(&[]);
    let (differences, all): (Vec<f64>, Vec<f64>) =
        a.iter().map(|(name, x)| (square(x - &b[name]), square(x.shallow_clone()))).unzip();
    (differences.iter().sum::<f64>() / all.iter().sum::<f64>()).sqrt()
}

fn assert_close(a: &Path, b: &Path, most: f64) {
    let (difference, name) = difference(a, b);
    assert!(difference < most, "{} and {}: {name} {difference}", a.display(), b.display());
    // They have learnt at all: the averages lag behind.
    let moved = weights(a)
        .iter()
        .any(|(name, x)| name.strip_prefix("ema.").is_some_and(|name| !weights(a)[name].equal(x)));
    assert!(moved);
}

/// One process and several give the same weights, and log the same values.
fn assert_same_training(task: &str, more: &str, numbers: &[usize]) {
    let lab = Lab::new(task, more);
    let alone = lab.train("1", 1, &[]);
    for &processes in numbers {
        let together = lab.train(&processes.to_string(), processes, &[]);
        assert_close(&alone, &together, 1e-10);
        for (a, b) in metrics(&alone).iter().zip(metrics(&together)) {
            assert!(a.keys().eq(b.keys()), "{a:?} {b:?}");
            for (name, value) in a {
                let (Some(x), Some(y)) = (value.as_f64(), b[name].as_f64()) else { continue };
                // Some scalars are computed in fp32 from what is fp64.
                assert!((x - y).abs() <= 1e-6 * x.abs().max(1e-6), "{name} {x} {y}");
            }
        }
    }
}

/// Four processes take long on two cores: classification always tries them, the others with `SONOTUNE_LONG_TESTS`.
fn numbers() -> &'static [usize] {
    if std::env::var_os("SONOTUNE_LONG_TESTS").is_some() { &[2, 3, 4] } else { &[2, 3] }
}

#[test]
fn prompted_segmentation_is_the_same_training_for_any_number_of_processes() {
    assert_same_training(PROMPTS, "[backbone]\nactivation_checkpointing = true", numbers());
}

#[test]
fn clicks_are_the_same_training_for_any_number_of_processes() {
    assert_same_training(CLICKS, "backbone.freeze = \"all\"\nbackbone.lora = { rank = 2 }", &[3]);
}

#[test]
fn classification_is_the_same_training_for_any_number_of_processes() {
    assert_same_training(CLASSES, "", &[2, 3, 4]);
}

#[test]
fn instance_segmentation_is_the_same_training_for_any_number_of_processes() {
    // With AdamW, rounding would move the many biases before a normalisation.
    let more = "optimizer = { type = \"sgd\", momentum = 0.9, lr = 1e-2 }";
    let more = format!("preprocess.pad_to = \"multiple\"\n{more}");
    assert_same_training(MASK2FORMER, &more, numbers());
}

#[test]
fn in_fp32_the_weights_differ_by_rounding() {
    for task in [PROMPTS, MASK2FORMER] {
        let lab = Lab::new(task, "precision = \"fp32\"\noptimizer.lr = 1e-5");
        let [alone, together] = [1, 2].map(|n| lab.train(&n.to_string(), n, &[]));
        let distance = distance(&alone, &together);
        assert!(distance < 1e-5 && distance > 0.0, "{task}: {distance}");
    }
}

#[test]
fn a_run_repeats_bit_for_bit_and_resumes_on_another_number_of_processes() {
    for (processes, others) in [(2, [2, 1, 3].as_slice()), (3, &[3])] {
        let lab = Lab::new(PROMPTS, "");
        let run = lab.train("run", processes, &[]);
        assert_eq!(last(&run), last(&lab.train("again", processes, &[])));
        for &resumed in others {
            let copy = lab.run_dir("copy");
            assert_success(&Command::new("cp").arg("-r").args([&run, &copy]).output().unwrap());
            let shown = copy.display().to_string();
            let args = ["train", "--resume", &shown, "--checkpoint", "10"];
            assert_success(&sonotune(resumed, &args));
            if resumed == processes {
                assert_eq!(last(&run), last(&copy));
            } else {
                assert_close(&run, &copy, 1e-10);
            }
            fs::remove_dir_all(&copy).unwrap();
        }
    }
}

#[test]
fn scores_and_predictions_are_the_same_for_any_number_of_processes() {
    for (task, more) in [
        (PROMPTS, ""),
        (MASK2FORMER, "preprocess.pad_to = \"multiple\"\npreprocess.eval_pad_to = \"multiple\""),
    ] {
        let test = "dataset.test = \"annotations/test.json\"";
        let more = format!("precision = \"fp32\"\nloader.batch_size = 2\n{test}\n{more}");
        let lab = Lab::new(task, &more);
        let run = lab.train("run", 1, &["train.max_steps=2", "loader.bad_images=skip"]);
        // Seven images, one of which cannot be read.
        let data = Copied(lab.folder.path().join("data"));
        let mut seven = data.annotations("train");
        seven["images"].as_array_mut().unwrap().truncate(7);
        let ids: Vec<Value> =
            seven["images"].as_array().unwrap().iter().map(|image| image["id"].clone()).collect();
        let objects = seven["annotations"].as_array_mut().unwrap();
        objects.retain(|object| ids.contains(&object["image_id"]));
        fs::write(data.file("test"), seven.to_string()).unwrap();
        fs::write(data.image("test", 5), "no image").unwrap();

        let shown = run.display().to_string();
        let scores = [1, 2, 3].map(|processes| {
            let output =
                sonotune(processes, &["eval", "--run", &shown, "--split", "test", "--json"]);
            assert_success(&output);
            json(&output)
        });
        assert_eq!(scores[0]["skipped"].as_array().unwrap().len(), 1);
        assert!(scores[0] == scores[1] && scores[0] == scores[2], "{scores:#?}");

        let images = lab.folder.path().join("data").display().to_string();
        let prompts = data.file("test").display().to_string();
        let outputs = [1, 3].map(|processes| {
            let out = lab.run_dir(&format!("out-{processes}"));
            let shown_out = out.display().to_string();
            let mut args = vec!["predict", "--run", &shown, &images, "--out", &shown_out];
            if task == PROMPTS {
                args.extend(["--annotations", &prompts]);
            }
            // One image has no prediction.
            assert_eq!(sonotune(processes, &args).status.code(), Some(3));
            files(&out)
        });
        assert!(outputs[0].len() > 7);
        for (name, content) in &outputs[0] {
            assert_eq!(Some(content), outputs[1].get(name), "{}", name.display());
        }
        assert_eq!(outputs[0].len(), outputs[1].len());
    }
}

/// All files below a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = PathBuf::from(entry.file_name().unwrap());
        if entry.is_dir() {
            all.extend(files(&entry).into_iter().map(|(below, text)| (name.join(below), text)));
        } else {
            all.insert(name, fs::read(&entry).unwrap());
        }
    }
    all
}

#[test]
fn the_embedding_cache_is_filled_by_all_processes() {
    let more = "backbone.freeze = \"all\"\naugment.scale_range = [1.0, 1.0]";
    let lab = Lab::new(PROMPTS, more.split('\n').next().unwrap());
    let train = |name: &str, processes| {
        let cache = lab.run_dir(&format!("cache-{name}"));
        let dir = format!("embedding_cache.dir={}", cache.display());
        let run = lab.train(name, processes, &["~augment.scale_range", &dir]);
        (run, files(&cache))
    };
    let ((alone, cached_alone), (together, cached_together)) = (train("1", 1), train("3", 3));
    assert!(cached_alone.len() > 20 && cached_alone.keys().eq(cached_together.keys()));
    for (name, file) in &cached_alone {
        // The entries of the header come in any order.
        let header = 8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        assert_eq!(file[header..], cached_together[name][header..], "{}", name.display());
    }
    assert_close(&alone, &together, 1e-10);
}

#[test]
fn more_processes_than_images_of_a_batch_are_refused() {
    let lab = Lab::new(PROMPTS, "loader.batch_size = 2");
    let config = lab.config.display().to_string();
    let output = sonotune(3, &["train", &config]);
    let expected = ["loader.batch_size = 2", "too few for 3 processes", "start at most 2"];
    sonotune_testing::assert_fails(&output, 2, &expected);
}
