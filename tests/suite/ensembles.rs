//! Several runs that predict together, and a model that also looks at the mirror image.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use image::{GrayImage, Luma, imageops::flip_horizontal};
use serde_json::{Value, json};
use sonotune_base::Rle;
use sonotune_testing::Tiny;
use tempfile::TempDir;

use crate::support::{
    CLASSIFICATION, MASK2FORMER, assert_fails, assert_success, json as printed, phantoms,
    read_json, sonotune,
};

/// What a tiny promptable model learns in a hundred steps: masks with pixels.
const PROMPTS: &str = "type = \"sam_prompt\"\ndecoder = { num_heads = 2, mlp_dim = 32 }\n\
                       evaluation = { protocols = [\"box\"], multimask = \"ambiguous\" }";

/// Two runs of each task, which differ in seed and in how they prepare images; and images.
struct Lab(TempDir);

impl Lab {
    fn get() -> &'static Self {
        static LAB: OnceLock<Lab> = OnceLock::new();
        LAB.get_or_init(|| {
            let lab = Self(tempfile::tempdir().unwrap());
            lab.train("classes-a", CLASSIFICATION, &["seed=1"]);
            lab.train("classes-b", CLASSIFICATION, &["seed=2", "preprocess.resample=antialias"]);
            let longer = ["train.max_steps=100", "optimizer.lr=5e-3", "logging.num_images=0"];
            lab.train("prompts-a", PROMPTS, &[&longer[..], &["seed=1"]].concat());
            let other = ["seed=2", "preprocess.resample=antialias"];
            lab.train("prompts-b", PROMPTS, &[&longer[..], &other].concat());
            lab.draw();
            lab
        })
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn train(&self, name: &str, task: &str, more: &[&str]) {
        let tiny = Tiny::run(self.0.path()).data(&phantoms().join("phantoms")).task(task);
        let tiny = tiny.with("logging.every_steps = 100\nloader.num_workers = 1");
        let test = tiny.with("dataset.test = \"annotations/test.json\"");
        let config = test.write_to(&self.0.path().join(format!("{name}.toml")));
        let (config, run) = (config.display().to_string(), self.path(name));
        let run = format!("run_dir={run}");
        assert_success(&sonotune(&[&["train", &config, &run], more].concat()));
    }

    /// `plain.png`, which a model shrinks and pads, `mirrored.png`, and `symmetric.png`.
    fn draw(&self) {
        fs::create_dir(self.0.path().join("images")).unwrap();
        let plain = GrayImage::from_fn(128, 90, |x, y| {
            let blob = (f64::from(x) - 40.0).hypot(f64::from(y) - 50.0) < 18.0;
            Luma([if blob { 30 } else { (100 + (x * 5 + y * 3) % 90) as u8 }])
        });
        let symmetric = GrayImage::from_fn(128, 90, |x, y| *plain.get_pixel(x.min(127 - x), y));
        let images =
            [("mirrored", flip_horizontal(&plain)), ("symmetric", symmetric), ("plain", plain)];
        for (name, image) in images {
            image.save(self.path(&format!("images/{name}.png"))).unwrap();
        }
        let objects =
            |x: [i32; 2]| json!([{"box": [x[0], 30, x[1], 70]}, {"points": [[x[0], 40]]}]);
        let images: Vec<Value> =
            [("plain", [20, 60]), ("mirrored", [68, 108]), ("symmetric", [44, 84])]
                .into_iter()
                .map(|(name, x)| json!({"file_name": format!("{name}.png"), "objects": objects(x)}))
                .collect();
        let mut prompts = json!({ "images": images });
        // The mirror image of column 20 is column 107.
        prompts["images"][1]["objects"][1]["points"][0][0] = json!(107);
        fs::write(self.path("prompts.json"), prompts.to_string()).unwrap();
    }

    /// Predicts the images with `runs`: the folder of one, or `--ensemble` and several.
    fn predict(&self, runs: &[&str], out: &Path, more: &[&str]) -> Output {
        let runs: Vec<String> = runs
            .iter()
            .map(|run| if run.starts_with("--") { (*run).to_owned() } else { self.path(run) })
            .collect();
        let (images, out, prompts) =
            (self.path("images"), out.display().to_string(), self.path("prompts.json"));
        let mut args = vec!["predict", &images, "--out", &out];
        if runs.iter().any(|run| run.contains("prompts")) {
            args.extend(["--prompts", &prompts]);
        }
        args.extend(more);
        if runs.len() == 1 {
            args.push("--run");
        }
        args.extend(runs.iter().map(String::as_str));
        // Sums depend on the number of threads, which several processes share.
        let mut command = Command::new(env!("CARGO_BIN_EXE_sonotune"));
        command.args(&args).env("OMP_NUM_THREADS", "1").output().unwrap()
    }

    #[track_caller]
    fn predicted(&self, runs: &[&str], more: &[&str]) -> Value {
        let out = tempfile::tempdir().unwrap();
        assert_success(&self.predict(runs, out.path(), &[&["--no-pictures"], more].concat()));
        read_json(&out.path().join("predictions.json"))
    }
}

/// Scores of each image by name.
fn scores(document: &Value) -> BTreeMap<String, Vec<f64>> {
    let of_image = |image: &Value| {
        let scores = image["scores"].as_object().unwrap().values();
        let name = image["image"].as_str().unwrap().to_owned();
        (name, scores.map(|score| score.as_f64().unwrap()).collect())
    };
    document["images"].as_array().unwrap().iter().map(of_image).collect()
}

/// Score and mask of each answer; images in the order of their names, two answers each.
fn answers(document: &Value) -> Vec<(f64, Rle)> {
    let answer = |annotation: &Value| {
        let segmentation = &annotation["segmentation"];
        let counts = segmentation["counts"].as_str().unwrap();
        (annotation["score"].as_f64().unwrap(), Rle::from_compressed(90, 128, counts).unwrap())
    };
    document["annotations"].as_array().unwrap().iter().map(answer).collect()
}

fn assert_means(mean: &[f64], a: &[f64], b: &[f64]) {
    assert!(!mean.is_empty() && mean.len() == a.len() && a.len() == b.len());
    for ((mean, a), b) in mean.iter().zip(a).zip(b) {
        assert!((mean - (a + b) / 2.0).abs() < 1e-12, "{mean} is not the mean of {a} and {b}");
    }
}

#[test]
fn an_ensemble_of_one_run_predicts_as_the_run() {
    let lab = Lab::get();
    for run in ["classes-a", "prompts-a"] {
        let out = tempfile::tempdir().unwrap();
        let [alone, ensemble] = ["alone", "ensemble"].map(|name| out.path().join(name));
        assert_success(&lab.predict(&[run], &alone, &[]));
        assert_success(&lab.predict(&["--ensemble", run], &ensemble, &[]));
        assert_same_files(&files(&alone), &files(&ensemble));
    }
}

fn assert_same_files(a: &BTreeMap<PathBuf, Vec<u8>>, b: &BTreeMap<PathBuf, Vec<u8>>) {
    assert!(a.len() >= 5 && a.keys().eq(b.keys()), "{:?} {:?}", a.keys(), b.keys());
    for (name, content) in a {
        assert!(*content == b[name], "{} differs", name.display());
    }
}

/// All files below a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = walkdir(folder);
    let read = |path: PathBuf| {
        let content = fs::read(&path).unwrap();
        (path.strip_prefix(folder).unwrap().to_owned(), content)
    };
    entries.into_iter().map(read).collect()
}

fn walkdir(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walkdir(&path) } else { vec![path] }).collect()
}

#[test]
fn two_classifiers_give_the_mean_of_their_scores() {
    let lab = Lab::get();
    let [a, b] = ["classes-a", "classes-b"].map(|run| scores(&lab.predicted(&[run], &[])));
    let document = lab.predicted(&["--ensemble", "classes-a", "classes-b"], &[]);
    let both = scores(&document);
    assert_eq!(both.len(), 3);
    for (name, mean) in &both {
        assert_means(mean, &a[name], &b[name]);
        assert_ne!(a[name], b[name]);
    }
    assert_eq!(document["ensemble"].as_array().unwrap().len(), 2);
    assert!(document["conditions"]["ensemble"].as_str().unwrap().starts_with("2 models: mean of"));
    let single = lab.predicted(&["classes-a"], &[]);
    assert!(single.get("ensemble").is_none() && single.get("conditions").is_none());
}

#[test]
fn of_two_promptable_models_the_more_confident_decides_where_they_differ() {
    let lab = Lab::get();
    let [a, b] = ["prompts-a", "prompts-b"].map(|run| answers(&lab.predicted(&[run], &[])));
    let both = answers(&lab.predicted(&["--ensemble", "prompts-a", "prompts-b"], &[]));
    assert_eq!(both.len(), 6);
    let of = |answers: &[(f64, Rle)]| answers.iter().map(|a| a.0).collect::<Vec<_>>();
    assert_means(&of(&both), &of(&a), &of(&b));
    assert!(a.iter().zip(&b).any(|(a, b)| a.1 != b.1 && a.1.area() > 0 && b.1.area() > 0));
    for ((both, a), b) in both.iter().zip(&a).zip(&b) {
        let confident = if a.0 >= b.0 { a } else { b };
        assert_eq!(both.1, confident.1);
    }
}

#[test]
fn with_flip_a_classifier_gives_the_mean_of_an_image_and_its_mirror_image() {
    let lab = Lab::get();
    let plain = scores(&lab.predicted(&["classes-a"], &[]));
    let flipped = lab.predicted(&["classes-a"], &["evaluation.flip=true"]);
    assert!(flipped["conditions"]["flip"].as_str().unwrap().contains("mirror image"));
    let flipped = scores(&flipped);
    let [one, other] = ["plain.png", "mirrored.png"];
    assert!(plain[one].iter().zip(&plain[other]).any(|(a, b)| (a - b).abs() > 1e-6));
    for name in [one, other] {
        for ((got, a), b) in flipped[name].iter().zip(&plain[one]).zip(&plain[other]) {
            // The position in a batch may change the rounding.
            assert!((got - (a + b) / 2.0).abs() < 1e-6, "{got} instead of the mean of {a} and {b}");
        }
    }
    for (a, b) in plain["symmetric.png"].iter().zip(&flipped["symmetric.png"]) {
        assert!((a - b).abs() < 1e-6);
    }
}

#[test]
fn with_flip_the_answers_about_a_mirror_image_are_mirrored() {
    let lab = Lab::get();
    let one_at_a_time = "evaluation.batch_size=1";
    let plain = answers(&lab.predicted(&["prompts-a"], &[one_at_a_time]));
    let flipped = answers(&lab.predicted(&["prompts-a"], &["evaluation.flip=true", one_at_a_time]));
    let [mirrored, image, symmetric] = [0, 2, 4];
    for prompt in 0..2 {
        let (a, b) = (&flipped[image + prompt], &flipped[mirrored + prompt]);
        assert!((a.0 - b.0).abs() < 1e-6 && a.1 == b.1.mirrored(), "{} {}", a.0, b.0);
        let single = &plain[image + prompt];
        let other = &plain[mirrored + prompt];
        assert!((a.0 - (single.0 + other.0) / 2.0).abs() < 1e-6);
        // A model alone is not symmetric.
        assert_ne!(single.1, other.1.mirrored());
    }
    // A symmetric box in a symmetric image.
    let (of_box, without) = (&flipped[symmetric].1, &plain[symmetric].1);
    assert!(of_box.area() > 0 && *of_box == of_box.mirrored());
    assert_ne!(*without, without.mirrored());
}

#[test]
fn an_ensemble_is_scored_and_the_conditions_are_with_the_score() {
    let lab = Lab::get();
    let out = tempfile::tempdir().unwrap();
    let [a, b] = ["classes-a", "classes-b"].map(|run| lab.path(run));
    let eval = |name: &str, models: &[&str]| {
        let [json, csv] = ["json", "csv"].map(|ext| out.path().join(format!("{name}.{ext}")));
        let (json, csv) = (json.display().to_string(), csv.display().to_string());
        let args = ["eval", "--json", "--out", &json, "--images", &csv, "evaluation.flip=true"];
        let record = printed(&sonotune(&[&args, models].concat()));
        let table = fs::read_to_string(csv).unwrap();
        let mut rows = table.lines().map(|line| line.split(',').map(str::to_owned).collect());
        let head: Vec<String> = rows.next().unwrap();
        let columns: Vec<usize> = (0..head.len()).filter(|&i| head[i].starts_with("p:")).collect();
        let numbers = |row: Vec<String>| -> Vec<f64> {
            columns.iter().map(|&column| row[column].parse().unwrap()).collect()
        };
        (record, rows.flat_map(numbers).collect::<Vec<f64>>())
    };
    let (record, of_both) = eval("both", &["--ensemble", &a, &b]);
    let (single, of_a) = eval("a", &["--run", &a]);
    let (_, of_b) = eval("b", &["--run", &b]);
    assert_means(&of_both, &of_a, &of_b);
    assert_eq!(record["ensemble"].as_array().unwrap().len(), 2);
    let conditions = record["report"]["conditions"].to_string();
    assert!(conditions.contains("2 models: mean of the sigmoid scores"), "{conditions}");
    assert!(conditions.contains("each image and its mirror image"), "{conditions}");
    let conditions = single["report"]["conditions"].to_string();
    assert!(!conditions.contains("models") && conditions.contains("mirror"), "{conditions}");
    let nowhere = sonotune(&["eval", "--ensemble", &a, &b]);
    assert_fails(&nowhere, 2, &["--out FILE", "--ensemble"]);
    // The same run with another test split.
    let copy = out.path().join("copy").display().to_string();
    assert_success(&Command::new("cp").args(["-r", &b, &copy]).output().unwrap());
    let config = Path::new(&copy).join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("annotations/test.json", "annotations/val.json")).unwrap();
    let file = out.path().join("x.json").display().to_string();
    let output = sonotune(&["eval", "--out", &file, "--ensemble", &a, &copy]);
    assert_fails(&output, 2, &["test split", "val.json", "other images", "dataset.test=FILE"]);
}

#[test]
fn an_ensemble_predicts_the_same_with_several_processes() {
    let lab = Lab::get();
    for (name, seed) in [("a", "seed=1"), ("b", "seed=2")] {
        lab.train(&format!("instances-{name}"), MASK2FORMER, &["train.max_steps=2", seed]);
    }
    for task in ["classes", "prompts", "instances"] {
        let runs = ["a", "b"].map(|run| format!("{task}-{run}"));
        let out = tempfile::tempdir().unwrap();
        let outputs = ["1", "2"].map(|processes| {
            let out = out.path().join(processes);
            let keys = ["evaluation.flip=true", "evaluation.batch_size=1"];
            let more = [&keys[..], &["--min-score", "0", "--processes", processes]].concat();
            assert_success(&lab.predict(&["--ensemble", &runs[0], &runs[1]], &out, &more));
            files(&out)
        });
        assert_same_files(&outputs[0], &outputs[1]);
    }
}

#[test]
fn runs_that_predict_different_things_are_refused() {
    let lab = Lab::get();
    let out = tempfile::tempdir().unwrap();
    let refused = |runs: &[&str], more: &[&str], parts: &[&str]| {
        let all = [&["--ensemble"][..], runs].concat();
        assert_fails(&lab.predict(&all, &out.path().join("x"), more), 2, parts);
        assert!(!out.path().join("x").exists());
    };
    let tasks = ["different tasks", "\"sam_prompt\" and \"classification\""];
    refused(&["prompts-a", "classes-a"], &[], &tasks);
    refused(&["classes-a", "classes-a"], &[], &["listed twice"]);
    refused(&["classes-a", "seed=3"], &[], &["seed=3", "put it before --ensemble"]);
    let run = lab.path("classes-a");
    refused(&["classes-b"], &["--run", &run], &["cannot be used with"]);
    // The remedy works: see below.
    lab.train("threshold", "type = \"classification\"\nmulti_label = true", &["train.max_steps=1"]);
    refused(&["classes-a", "threshold"], &[], &["[task]", "the highest", "at least 0.5"]);
    let same = ["task.multi_label=true", "--no-pictures"];
    assert_success(&lab.predict(&["--ensemble", "classes-a", "threshold"], out.path(), &same));
    lab.train("agnostic", PROMPTS, &["train.max_steps=1", "dataset.agnostic=true"]);
    refused(&["prompts-a", "agnostic"], &[], &["different categories", "\"object\""]);
}

#[test]
fn a_cache_of_embeddings_has_none_of_mirror_images_and_training_says_so() {
    let lab = Lab::get();
    let folder = tempfile::tempdir().unwrap();
    let tiny = Tiny::run(folder.path()).data(&phantoms().join("phantoms")).task(CLASSIFICATION);
    let cache = format!("embedding_cache.dir = {:?}", folder.path().join("cache").display());
    let tiny = tiny.with("backbone.freeze = \"all\"").with(&cache);
    let config = tiny.write().display().to_string();
    let train = |more: &[&str]| sonotune(&[&["train", &config], more].concat());
    let refused = train(&["evaluation.flip=true"]);
    assert_fails(&refused, 2, &["evaluation.flip", "[embedding_cache]", "sonotune eval"]);
    // What the message advises works.
    assert_success(&train(&["--overwrite"]));
    let (run, out) = (folder.path().join("run").display().to_string(), lab.path("cached.json"));
    let eval = ["eval", "--run", &run, "--split", "val", "evaluation.flip=true", "--out", &out];
    assert_success(&sonotune(&eval));
    // Without a cache, training evaluates mirror images as well.
    assert_success(&train(&["--overwrite", "~embedding_cache", "evaluation.flip=true"]));
    let report = fs::read_to_string(folder.path().join("run/report.html")).unwrap();
    assert!(report.contains("each image and its mirror image"));
}
