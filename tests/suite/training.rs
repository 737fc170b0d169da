//! Complete runs of the binary on tiny phantoms: what is written, resuming, stopping, refusing.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use sonotune_testing::Tiny;

use crate::support::{
    self, assert_fails, assert_success, eval, last, metrics, phantoms, read_json, resume, sonotune,
};

/// A config of a tiny classifier: 12 steps in epochs of several, shuffled and flipped.
fn write_config(folder: &Path) -> PathBuf {
    let tiny = Tiny::run(folder).data(&phantoms().join("phantoms")).steps(12);
    tiny.task("type = \"classification\"").with(CONFIG).write()
}

const CONFIG: &str = r#"
[dataset]
test = "annotations/test.json"
image_label = "from_objects"
[backbone]
mlp_dim = 64
[schedule]
type = "multistep"
milestones = [8]
[train]
clip_grad_norm = 1.0
[evaluation]
every_steps = 5
best_metric = "f1"
[logging]
num_images = 2
"#;

fn train(config: &Path, more: &[&str]) -> Output {
    let config = config.display().to_string();
    sonotune(&[&["train", &config], more].concat())
}

/// What was logged of each step.
fn losses(run: &Path) -> Vec<BTreeMap<String, Value>> {
    metrics(run).into_iter().filter(|line| line["split"] == "train").collect()
}

#[test]
fn a_run_leaves_its_folder_and_can_be_scored_and_predicted() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path());
    assert_success(&train(&config, &[]));
    let run = folder.path().join("run");
    for name in [
        "config.toml",
        "env.json",
        "train.log",
        "metrics.jsonl",
        "weights.json",
        "summary.json",
        "checkpoints/last.safetensors",
        "checkpoints/best.safetensors",
    ] {
        assert!(run.join(name).exists(), "{name}");
    }
    let events = fs::read_dir(&run)
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains("tfevents"));
    assert_eq!(events.count(), 1);
    assert_eq!(losses(&run).iter().filter(|line| line.contains_key("loss")).count(), 12);

    // A second run may not touch the first.
    assert_fails(&train(&config, &[]), 2, &["--resume", "--overwrite"]);

    let record = eval(&run, "test");
    assert_eq!(record["dataset_sha256"].as_str().unwrap().len(), 64);
    assert!(record["num_images"].as_u64().unwrap() > 0);

    let run = run.display().to_string();
    let images = phantoms().join("phantoms/images").display().to_string();
    let out = folder.path().join("predictions").display().to_string();
    assert_success(&sonotune(&["predict", &images, "--run", &run, "--out", &out]));
    let csv = fs::read_to_string(Path::new(&out).join("predictions.csv")).unwrap();
    assert_eq!(csv.lines().count(), 31);
    assert_eq!(fs::read_dir(Path::new(&out).join("pictures")).unwrap().count(), 30);
    let again = sonotune(&["predict", &images, "--run", &run, "--out", &out]);
    assert_fails(&again, 2, &["--overwrite"]);
}

#[test]
fn resumed_equals_uninterrupted_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path());
    let run = |name: &str| folder.path().join(name);
    let train = |name: &str, more: &[&str]| support::train(&config, &run(name), more);
    assert_success(&train("through", &[]));

    // Step 7 with batches of 4 is within an epoch of the training part of the 30 images.
    assert_success(&train("resumed", &["train.max_steps=7"]));
    assert_success(&resume(&run("resumed"), &["train.max_steps=12"]));
    assert!(last(&run("through")) == last(&run("resumed")));
    assert_eq!(losses(&run("through")), losses(&run("resumed")));

    // The comparison can fail: without the optimiser's state the result differs.
    let weights = run("resumed").join("checkpoints/last.safetensors");
    let weights = format!("weights={{path=\"{}\"}}", weights.display());
    assert_success(&train("cold", &[&weights, "train.max_steps=5"]));
    assert!(last(&run("through")) != last(&run("cold")));
}

#[test]
fn the_seed_decides_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path());
    let start = |name: &str, seed: u64| {
        let run = folder.path().join(name);
        let seed = format!("seed={seed}");
        assert_success(&support::train(&config, &run, &[&seed, "train.max_steps=1"]));
        let checkpoint = last(&run);
        // The header names the seed; only the values after it are compared.
        let header = u64::from_le_bytes(checkpoint[..8].try_into().unwrap()) as usize;
        checkpoint[8 + header..].to_vec()
    };
    let first = start("first", 1);
    assert!(first == start("again", 1));
    assert!(first != start("other", 2));
}

#[test]
fn a_terminated_run_is_saved_and_goes_on_to_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path());
    let run = |name: &str| folder.path().join(name);
    let steps = "train.max_steps=60";
    let start = |name: &str| {
        Command::new(env!("CARGO_BIN_EXE_sonotune"))
            .arg("train")
            .arg(&config)
            .args([&format!("run_dir={}", run(name).display()), steps])
            .args(["evaluation.every_steps=1000"])
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let through = start("through").wait_with_output().unwrap();
    assert_success(&through);

    let stopped = start("stopped");
    let metrics = run("stopped").join("metrics.jsonl");
    let begin = Instant::now();
    while fs::read_to_string(&metrics).map_or(0, |text| text.lines().count()) < 3 {
        assert!(begin.elapsed() < Duration::from_secs(120), "no step in two minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
    let kill = Command::new("kill").arg(stopped.id().to_string()).status().unwrap();
    assert!(kill.success());
    let output = stopped.wait_with_output().unwrap();
    if output.status.success() {
        eprintln!("skipped: the run ended before the signal came");
        return;
    }
    assert_fails(&output, 130, &["everything is saved", "--resume"]);

    assert_success(&resume(&run("stopped"), &[]));
    assert!(last(&run("through")) == last(&run("stopped")));
    assert_eq!(losses(&run("through")), losses(&run("stopped")));
}

#[test]
fn a_loss_that_is_not_finite_stops_before_the_update() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path());
    let output = train(&config, &["optimizer.lr=1e38", "train.clip_grad_norm=1e30"]);
    assert_fails(&output, 5, &["step ", "not", "optimizer.lr", ".png"]);
    assert_eq!(read_json(&folder.path().join("run/summary.json"))["status"], "failed");
}

#[test]
fn cuda_is_refused_where_there_is_none() {
    if Path::new("/dev/nvidiactl").exists() || Path::new("/dev/dxg").exists() {
        eprintln!("skipped: this machine has an NVIDIA driver");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path());
    assert_fails(&train(&config, &["device=cuda"]), 2, &["device = \"cuda\"", "no NVIDIA driver"]);
    assert!(!folder.path().join("run").exists());
}

/// Trains, scores and predicts the real images with labels by their shape: wide or not. What is
/// tested is that real files work, not that the labels mean anything.
#[test]
fn real_images_go_through_training_evaluation_and_prediction() {
    let Some(sample) = crate::support::shared("data/mmotu2d-sample/images") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut lines: Vec<_> = fs::read_dir(&sample)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let (width, height) = image::image_dimensions(&path).unwrap();
            format!("{} {}", path.display(), if width * 2 > height * 3 { "wide" } else { "other" })
        })
        .collect();
    lines.sort();
    assert_eq!(lines.len(), 10);
    fs::write(folder.path().join("all.txt"), lines.join("\n")).unwrap();
    let config = write_config(folder.path());
    let root = folder.path().display();
    let list = format!(
        r#"dataset={{type="list_file", root="{root}", train="all.txt", val="all.txt", test="all.txt"}}"#
    );
    assert_success(&train(&config, &[&list, "train.max_steps=4"]));
    let run = folder.path().join("run").display().to_string();
    assert_eq!(support::json(&sonotune(&["eval", "--run", &run, "--json"]))["num_images"], 10);

    // With one damaged file among them, only its own prediction is missing.
    let images = folder.path().join("images");
    fs::create_dir(&images).unwrap();
    for path in lines.iter().map(|line| Path::new(line.rsplit_once(' ').unwrap().0)) {
        fs::copy(path, images.join(path.file_name().unwrap())).unwrap();
    }
    let whole = fs::read(images.join("test.MMOTU_2d__00003.png")).unwrap();
    fs::write(images.join("cut.png"), &whole[..whole.len() / 2]).unwrap();
    let out = folder.path().join("predictions");
    let [images, shown] = [&images, &out].map(|path| path.display().to_string());
    let predict = sonotune(&["predict", &images, "--run", &run, "--out", &shown]);
    assert_fails(&predict, 3, &["cut.png", "1 image(s)"]);
    assert_eq!(fs::read_to_string(out.join("predictions.csv")).unwrap().lines().count(), 11);
    let pictures = fs::read_dir(out.join("pictures")).unwrap();
    assert_eq!(pictures.count(), 10);
}
