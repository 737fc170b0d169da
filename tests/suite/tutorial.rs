//! docs/add-a-*.md: the crate in them is extracted, built outside the workspace, trained, and its
//! author's mistakes give the messages that the pages show. The README's task likewise.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    assert_contains, assert_fails, assert_success, json, read_json, sonotune, stdout,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const TASK: &str = include_str!("../../docs/add-a-task.md");
const DATASET: &str = include_str!("../../docs/add-a-dataset.md");
const BACKBONE: &str = include_str!("../../docs/add-a-backbone.md");
const README: &str = include_str!("../../README.md");

/// Files in a document: a line `` **`path`** `` names the file of the next code block, and
/// "continued" after it appends to that file.
fn files(document: &str) -> BTreeMap<String, String> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some((path, rest)) = line.strip_prefix("**`").and_then(|l| l.split_once("`**")) else {
            continue;
        };
        let fence = lines.find(|line| !line.trim().is_empty()).unwrap_or_default();
        assert!(fence.starts_with("```"), "{path}: expected a code block, got {fence}");
        let text: String = lines
            .by_ref()
            .take_while(|line| *line != "```")
            .map(|line| format!("{line}\n"))
            .collect();
        let file = files.entry(path.to_owned()).or_default();
        assert!(rest == ", continued" || file.is_empty(), "{path} is there twice");
        file.push_str(&text);
    }
    files
}

/// Messages that a document shows: its blocks of plain text.
fn messages(document: &str) -> Vec<String> {
    let blocks = document.split("\n```text\n").skip(1);
    blocks.map(|rest| rest.split("\n```").next().unwrap_or_default().to_owned()).collect()
}

/// The crate, built, with its phantoms.
struct Crate {
    folder: TempDir,
    /// Cargo's output folder, shared with the workspace so that third-party crates are built once.
    binaries: PathBuf,
}

impl Crate {
    fn get() -> &'static Self {
        static CRATE: OnceLock<Crate> = OnceLock::new();
        CRATE.get_or_init(Self::make)
    }

    fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let mut all = files(TASK);
        for document in [DATASET, BACKBONE] {
            for (path, text) in files(document) {
                // Their lines for main.rs come before its end.
                all.entry(path).or_default().push_str(&text);
            }
        }
        all.extend(files(README));
        for name in ["mistakes", "readme", "twice"] {
            let source = Path::new(ROOT).join(format!("tests/fixtures/plugins/{name}.rs"));
            all.insert(format!("src/bin/{name}.rs"), fs::read_to_string(source).unwrap());
        }
        for (path, text) in &all {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text.replace("../sonotune", ROOT)).unwrap();
        }
        share_builds(&root.join(".cargo/config.toml"));
        fs::copy(Path::new(ROOT).join("Cargo.lock"), root.join("Cargo.lock")).unwrap();
        let target = Path::new(env!("CARGO_BIN_EXE_sonotune")).ancestors().nth(2).unwrap();
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--offline", "--bins", "--target-dir"])
            .arg(target)
            .current_dir(root)
            .output()
            .unwrap();
        assert_success(&built);
        let own = Self { folder, binaries: target.join("debug") };
        // With the workspace's program: the crate's own is optimised for build time.
        let phantoms = own.path("phantoms").display().to_string();
        let options = ["--num-images", "160", "--image-size", "64"];
        assert_success(&sonotune(&[&["data", "phantom", &phantoms], &options[..]].concat()));
        own.write_tables();
        own
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    fn run(&self, args: &[&str]) -> Output {
        self.run_as("regression", args)
    }

    fn run_as(&self, name: &str, args: &[&str]) -> Output {
        Command::new(self.binaries.join(name))
            .args(args)
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        json(&self.run(&[args, &["--json"]].concat()))
    }

    /// The phantoms as the table of docs/add-a-dataset.md.
    fn write_tables(&self) {
        for split in ["train", "val"] {
            let file = read_json(&self.path(&format!("phantoms/annotations/{split}.json")));
            let row = |image: &Value| {
                format!("{}\t{}\n", image["file_name"].as_str().unwrap(), image["lesion_percent"])
            };
            let rows: String = file["images"].as_array().unwrap().iter().map(row).collect();
            let table = format!("image\tlesion_percent\n{rows}");
            fs::write(self.path(&format!("phantoms/{split}.tsv")), table).unwrap();
        }
    }

    /// Trains a config; returns the summary and the logged losses.
    fn train(&self, config: &str, more: &[&str]) -> (Value, Vec<f64>) {
        let outcome = self.json(&[&["train", config], more].concat());
        let folder = self.path(outcome["run_dir"].as_str().unwrap());
        let log = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
        let losses = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter_map(|line| line["loss_smooth_l1"].as_f64())
            .collect();
        (outcome["summary"].clone(), losses)
    }
}

/// Our crates but those that the workspace's profile names itself.
const OURS: [&str; 15] = [
    "sonotune-archive",
    "sonotune-audit",
    "sonotune-cli",
    "sonotune-config",
    "sonotune-curation",
    "sonotune-dataset",
    "sonotune-engine",
    "sonotune-formats",
    "sonotune-metrics",
    "sonotune-phantom",
    "sonotune-report",
    "sonotune-run",
    "sonotune-run-folder",
    "sonotune-shim",
    "sonotune-weights",
];

/// Adds profiles and flags to a Cargo config, so that compiled crates can be shared with the
/// workspace. Our own crates cannot be shared, since here they are not in a workspace; without this
/// they would be optimised like third-party crates. A reader of the tutorial does not need this.
fn share_builds(config: &Path) {
    let read = |path: &str| fs::read_to_string(Path::new(ROOT).join(path)).unwrap();
    let (manifest, flags) = (read("Cargo.toml"), read(".cargo/config.toml"));
    let profiles = &manifest[manifest.find("[profile.dev]").unwrap()..];
    let flags = &flags[flags.find("[target.").unwrap()..];
    let table = |name: &&str| format!("[profile.dev.package.{name}]\n");
    let others = OURS.iter().map(table).filter(|table| !profiles.contains(table));
    let ours: String = others.map(|table| table + "opt-level = 0\n").collect();
    let own = fs::read_to_string(config).unwrap();
    fs::write(config, format!("{own}\n{flags}\n{profiles}\n{ours}")).unwrap();
}

fn metric(summary: &Value, name: &str) -> f64 {
    let metrics = summary["metrics"].as_array().unwrap();
    metrics.iter().find(|m| m["name"] == name).unwrap()["value"].as_f64().unwrap()
}

#[test]
fn the_task_is_short_and_trains_scores_and_predicts() {
    let files = files(TASK);
    let lines: usize =
        files.iter().filter(|(p, _)| p.starts_with("src/")).map(|(_, t)| t.lines().count()).sum();
    assert!(lines <= 150, "{lines} lines of Rust");

    let own = Crate::get();
    let (_, losses) = own.train("regression.toml", &["logging.every_steps=1"]);
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (first, last) = (mean(&losses[..20]), mean(&losses[losses.len() - 20..]));
    assert!(last < 0.8 * first, "{first} {last}");
    // A hundred images are too few to generalise; the training images themselves are learnt.
    let last = ["eval", "--run", "runs/regression", "--checkpoint", "last", "--split"];
    let learnt = own.json(&[&last[..], &["train"]].concat());
    let metric_of = |name: &str| metric(&learnt["report"], name);
    let (mae, of_mean) = (metric_of("mae"), metric_of("mae_of_mean"));
    assert!(mae < of_mean, "{mae} {of_mean}");
    let eval = own.json(&[&last[..], &["test"]].concat());
    assert_eq!(eval["report"]["metrics"].as_array().unwrap().len(), 4, "{eval}");

    let args = ["predict", "--run", "runs/regression", "phantoms/images", "--out", "predicted"];
    assert_success(&own.run(&args));
    let csv = fs::read_to_string(own.path("predicted/predictions.csv")).unwrap();
    assert!(csv.starts_with("image,lesion_percent\n"), "{csv}");
    let json = read_json(&own.path("predicted/predictions.json"));
    let images = json["images"].as_array().unwrap();
    assert_eq!((images.len(), csv.lines().count()), (160, 161));
    for (image, row) in images.iter().zip(csv.lines().skip(1)) {
        let (name, value) = row.split_once(',').unwrap();
        assert_eq!(image["image"], name);
        assert_eq!(image["values"]["lesion_percent"].as_f64(), value.parse().ok());
    }
    assert_eq!(fs::read_dir(own.path("predicted/pictures")).unwrap().count(), 160);

    // A product of fp64 and fp32 would be refused.
    let in_fp64 = ["run_dir=runs/fp64", "precision=fp64", "train.max_steps=2"];
    let (report, _) = own.train("regression.toml", &in_fp64);
    assert!(metric(&report, "mae").is_finite());
}

#[test]
fn the_task_of_the_readme_trains_scores_and_predicts() {
    let files = files(README);
    let lines = files["src/measure.rs"].lines().filter(|line| !line.is_empty()).count();
    assert!(lines <= 40, "{lines} lines of Rust");

    let own = Crate::get();
    let task = ["task.type=measure", "task.value=lesion_percent", "run_dir=runs/readme"];
    let steps = ["train.max_steps=30", "evaluation.every_steps=30"];
    let args = [&["train", "regression.toml"], &task[..], &steps].concat();
    let trained = json(&own.run_as("readme", &[&args[..], &["--json"]].concat()));
    let (mae, of_mean) =
        (metric(&trained["summary"], "mae"), metric(&trained["summary"], "mae_of_mean"));
    // Without a standardised target, 30 steps are enough to leave zero and find the mean, not more.
    assert!(mae < 2.0 * of_mean, "{mae} {of_mean}");
    let out = ["predict", "--run", "runs/readme", "phantoms/images", "--out", "measured"];
    assert_success(&own.run_as("readme", &out));
    let csv = fs::read_to_string(own.path("measured/predictions.csv")).unwrap();
    assert!(csv.starts_with("image,lesion_percent\n") && csv.lines().count() == 161, "{csv}");
}

#[test]
fn the_task_computes_the_same_losses_on_two_processes() {
    let own = Crate::get();
    let losses = |run: &str, more: &[&str]| {
        let run_dir = format!("run_dir=runs/{run}");
        // Two processes cannot divide five images evenly.
        let all = ["precision=fp64", "loader.batch_size=5", "train.max_steps=6"];
        let log = ["logging.every_steps=1", &run_dir];
        own.train("regression.toml", &[&all[..], &log, more].concat()).1
    };
    let (one, two) = (losses("one", &[]), losses("two", &["--processes", "2"]));
    assert_eq!(one.len(), 6);
    assert!(own.path("runs/two/ranks/rank-1.log").exists());
    for (one, two) in one.iter().zip(two) {
        assert!((one - two).abs() <= 1e-10 * one, "{one} {two}");
    }
}

#[test]
fn the_dataset_and_the_backbone_train() {
    let own = Crate::get();
    let (table, losses) = own.train("table.toml", &["train.max_steps=30", "logging.every_steps=1"]);
    assert!(metric(&table, "mae").is_finite());
    assert_eq!(losses.len(), 30);

    let (tiny, losses) = own.train("tiny.toml", &["train.max_steps=50", "logging.every_steps=1"]);
    assert!(metric(&tiny, "mae").is_finite());
    assert!(losses.iter().all(|loss| loss.is_finite()) && losses[0] != losses[49], "{losses:?}");

    let listed = own.json(&["list"]);
    let names: Vec<_> =
        listed.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    for name in ["regression", "table", "tiny_conv", "coco", "resnet"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let bad = "image\tlesion_percent\nimages/000000.png\t12,5\n";
    fs::write(own.path("phantoms/bad.tsv"), bad).unwrap();
    let output = own.run(&["train", "table.toml", "run_dir=runs/bad", "dataset.train=bad.tsv"]);
    let said = "phantoms/bad.tsv, line 2: lesion_percent is \"12,5\": expected a number";
    assert_fails(&output, 3, &[said]);
}

#[test]
fn weights_of_another_project_load_by_the_tables_of_a_backbone() {
    let own = Crate::get();
    let run = own.path("runs/source");
    let out = run.display().to_string();
    let run_dir = format!("run_dir={out}");
    let overrides = [run_dir.as_str(), "train.max_steps=1"];
    assert_success(&own.run(&[&["train", "tiny.toml", "--overwrite"], &overrides[..]].concat()));
    let theirs = own.path("theirs.safetensors").display().to_string();
    let export = ["weights", "export", &out, &theirs, "--merge", "--to", "tiny_conv_torch"];
    assert_success(&own.run(&[&export[..], &["--drop", "head.*", "--overwrite"]].concat()));
    let inspected = own.run(&["weights", "inspect", &theirs]);
    assert_contains(&stdout(&inspected), &["tiny_conv_torch", "features.0.weight"]);
    let weights = [
        format!("weights.path={theirs:?}"),
        "weights.allow_missing=[\"head.*\"]".to_owned(),
        "run_dir=runs/pretrained".to_owned(),
        "train.max_steps=1".to_owned(),
    ];
    let weights: Vec<&str> = weights.iter().map(String::as_str).collect();
    assert_success(&own.run(&[&["train", "tiny.toml", "--overwrite"], &weights[..]].concat()));
}

/// The final error message after each of an author's mistakes.
fn slips(own: &Crate) -> Vec<String> {
    let said = |output: Output| {
        assert!(!output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let start = text.rfind("error: ").unwrap_or_else(|| panic!("no error in {text}"));
        text[start..].trim_end().to_owned()
    };
    let config = fs::read_to_string(own.path("regression.toml")).unwrap();
    let with = |from: &str, to: &str| {
        assert!(config.contains(from), "{from}");
        fs::write(own.path("mine.toml"), config.replace(from, to)).unwrap();
    };
    let mut all = Vec::new();
    for (from, to) in [
        ("type = \"regression\"", "type = \"gestational_age\""),
        ("std = 3.6", "std = 3.6\nbetta = 0.5"),
        ("std = 3.6\n", ""),
        ("mean = 6.6", "mean = \"5 %\""),
    ] {
        with(from, to);
        all.push(said(own.run(&["config", "show", "mine.toml"])));
    }
    all.push(said(own.run_as("twice", &["list"])));
    for (from, to) in [
        ("values = [\"lesion_percent\"]", "values = [\"lesion_area\"]"),
        ("value = \"lesion_percent\"", "value = \"lesion_share\""),
        ("best_metric = \"mae\"", "best_metric = \"mean_error\""),
    ] {
        with(from, to);
        all.push(said(own.run(&["train", "mine.toml", "--dry-run"])));
    }
    let slipping = "extends = \"tiny.toml\"\nrun_dir = \"runs/slipping\"\n\
                    unset = \"evaluation.best_metric\"\n[task]\ntype = \"slipping\"\nslip = \"none\"\n";
    fs::write(own.path("slipping.toml"), format!("{slipping}slipp = 1\n")).unwrap();
    all.push(said(own.run_as("mistakes", &["config", "show", "slipping.toml"])));
    fs::write(own.path("slipping.toml"), slipping).unwrap();
    let dry = ["train", "slipping.toml", "--dry-run", "loader.batch_size=4"];
    for slip in [
        "task.slip=no_loss",
        "task.slip=loss_of_each_image",
        "task.slip=detached_loss",
        "task.slip=predictions_missing",
        "task.slip=predictions_in_another_order",
    ] {
        all.push(said(own.run_as("mistakes", &[&dry[..], &[slip]].concat())));
    }
    let backbone = ["~backbone.channels", "backbone.type=promising"];
    all.push(said(own.run_as("mistakes", &[&dry[..], &backbone].concat())));
    all
}

/// The system loader's message for a program without a run path, as built without its build.rs.
fn without_run_path(own: &Crate) -> String {
    let mut program = fs::read(own.binaries.join("regression")).unwrap();
    let run_path = std::env::var("LIBTORCH").unwrap();
    let mut at = 0;
    while let Some(found) =
        program[at..].windows(run_path.len()).position(|bytes| bytes == run_path.as_bytes())
    {
        at += found;
        program[at..at + run_path.len()].fill(b'x');
    }
    let path = own.path("without");
    fs::write(&path, program).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output = Command::new(&path).env_remove("LD_LIBRARY_PATH").arg("list").output().unwrap();
    assert_eq!(output.status.code(), Some(127), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    text.trim().replace(&path.display().to_string(), "target/debug/regression")
}

#[test]
fn mistakes_give_the_messages_that_the_tutorial_shows() {
    let own = Crate::get();
    let mut expected: Vec<String> = messages(TASK);
    let mut missing = Vec::new();
    for message in slips(own).into_iter().chain([without_run_path(own)]) {
        match expected.iter().position(|shown| *shown == message) {
            Some(i) => drop(expected.remove(i)),
            None => missing.push(message),
        }
    }
    assert!(
        missing.is_empty() && expected.is_empty(),
        "not in docs/add-a-task.md:\n{}\nshown there, but never said:\n{}",
        missing.join("\n---\n"),
        expected.join("\n---\n")
    );
}
