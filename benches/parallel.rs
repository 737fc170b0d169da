//! What a training step takes on two processes with half of the threads each, next to one process with all of
//! them: the same images a step, the same losses. And how long the two wait for each other: next to two
//! processes that train each on its own, on half of the images. Protocol: `benches/peers/README.md`.
//!
//! With `--buckets` it prints, as JSON, the gradients of the paper's models as they are sent, for
//! `cargo xtask bench scaling`.

#[path = "support/buckets.rs"]
mod buckets;
#[path = "support/measure.rs"]
mod measure;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// At least this much of the throughput of one process.
const THROUGHPUT: f64 = 0.95;

/// A training run; its first step, which also sets up, is not counted.
struct Training {
    name: &'static str,
    config: &'static str,
    /// Side of the images, pixels.
    side: u32,
    /// Images of a step, in all.
    batch: usize,
    steps: usize,
    overrides: &'static [&'static str],
}

const RESNET: Training = Training {
    name: "resnet50_classification_256",
    config: "configs/bus-bra/classification-resnet50.toml",
    side: 256,
    batch: 8,
    steps: 9,
    overrides: &[
        "dataset.images=",
        "dataset.categories=[\"cyst\",\"benign\",\"malignant\"]",
        "~weights",
    ],
};

const PROMPTS: Training = Training {
    name: "vit_prompts_128",
    config: "configs/demo/prompt.toml",
    side: 128,
    batch: 16,
    steps: 41,
    overrides: &[],
};

const RESNET_APART: Training = Training { name: "resnet50_classification_256_waiting", ..RESNET };
const PROMPTS_APART: Training = Training { name: "vit_prompts_128_waiting", ..PROMPTS };

fn main() -> Result<()> {
    if std::env::args().any(|argument| argument == "--buckets") {
        println!("{}", serde_json::to_string(&buckets::of_the_papers_models()?)?);
        return Ok(());
    }
    measure::run(&[
        (RESNET.name, || next_to_one_process(&RESNET)),
        (PROMPTS.name, || next_to_one_process(&PROMPTS)),
        (RESNET_APART.name, || next_to_no_exchange(&RESNET_APART)),
        (PROMPTS_APART.name, || next_to_no_exchange(&PROMPTS_APART)),
    ])
}

fn next_to_one_process(training: &Training) -> Result<Value> {
    let (home, threads) = (Home::new(training)?, threads()?);
    let mut one = home.measure(vec![home.train("one", threads)])?;
    one["peer"] = json!("one_process");
    one["name"] = json!(training.name);
    println!("{one}");
    let mut two = home.measure(vec![home.two(threads)])?;
    two["aim"] = json!({ "time_ratio": 1.0 / THROUGHPUT });
    Ok(two)
}

/// From the ratio r of the times follows the share of a step that waits: 1 − 1/r.
fn next_to_no_exchange(training: &Training) -> Result<Value> {
    let (home, threads) = (Home::new(training)?, threads()?);
    let half = format!("loader.batch_size={}", training.batch / 2);
    let alone = |run| home.train(run, threads / 2).with(&[&half]);
    let mut apart = home.measure(vec![alone("first"), alone("second")])?;
    apart["peer"] = json!("without_exchange");
    apart["name"] = json!(training.name);
    println!("{apart}");
    home.measure(vec![home.two(threads)])
}

/// Threads of all processes together.
fn threads() -> Result<usize> {
    let threads = match measure::threads()? {
        Some(threads) => usize::try_from(threads)?,
        None => thread::available_parallelism()?.get(),
    };
    ensure!(threads >= 2, "two processes need two threads at least");
    Ok(threads)
}

/// A command that trains, and its run folder.
struct Started {
    command: Command,
    run: PathBuf,
}

impl Started {
    fn with(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }
}

/// A folder with phantoms, in which trainings run.
struct Home<'a> {
    training: &'a Training,
    folder: tempfile::TempDir,
}

impl<'a> Home<'a> {
    fn new(training: &'a Training) -> Result<Self> {
        let folder = tempfile::tempdir().context("a temporary folder")?;
        phantoms(&folder.path().join("phantoms"), training.side)?;
        Ok(Self { training, folder })
    }

    /// A process with `threads` threads for operators, and as many that load.
    fn train(&self, run: &str, threads: usize) -> Started {
        let Training { config, side, batch, steps, overrides, .. } = self.training;
        let run = self.folder.path().join(run);
        let path = |key: &str, path: &Path| format!("{key}={:?}", path.display().to_string());
        let mut command = Command::new(env!("CARGO_BIN_EXE_sonotune"));
        for name in ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "MKL_NUM_THREADS"] {
            command.env_remove(name);
        }
        command.env("OMP_NUM_THREADS", threads.to_string());
        command.args(["train", config, "--overwrite", "device=cpu", "precision=fp32"]);
        command.arg(path("run_dir", &run));
        command.arg(path("dataset.root", &self.folder.path().join("phantoms")));
        command.arg(format!("preprocess.image_size={side}"));
        command.arg(format!("loader.batch_size={batch}"));
        command.arg(format!("loader.num_workers={threads}"));
        command.arg(format!("train.max_steps={steps}"));
        command.args(["logging.every_steps=1", "logging.num_images=0"]);
        command.args(["~dataset.val", "~evaluation"]).args(*overrides);
        command.current_dir(env!("CARGO_MANIFEST_DIR")).stdout(Stdio::null());
        Started { command, run }
    }

    /// The same training on two processes.
    fn two(&self, threads: usize) -> Started {
        self.train("two", threads / 2).with(&["--processes", "2"])
    }

    /// Runs trainings side by side: seconds of a step, images a second of all together, and the peak memory of
    /// the largest process.
    fn measure(&self, trainings: Vec<Started>) -> Result<Value> {
        let mut running = Vec::new();
        let mut runs = Vec::new();
        for Started { mut command, run } in trainings {
            let said = run.with_extension("txt");
            command.stderr(File::create(&said)?);
            running.push(Running { child: command.spawn().context("starting sonotune")?, said });
            runs.push(run);
        }
        let peak_mib = wait(running)?;
        let mut seconds = Vec::new();
        for run in runs {
            seconds.extend(step_seconds(&run, self.training.steps)?);
        }
        let mut figures = measure::figures(seconds);
        let least = figures["seconds_min"].as_f64().context("no seconds")?;
        figures["images_per_second"] = json!(self.training.batch as f64 / least);
        figures["peak_mib"] = json!(peak_mib);
        Ok(figures)
    }
}

/// Images with objects.
fn phantoms(folder: &Path, side: u32) -> Result<()> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sonotune"));
    command.args(["data", "phantom"]).arg(folder).arg("--num-images=96");
    command.arg(format!("--image-size={side}")).arg("--images-per-patient=1");
    let made = command.output().context("starting sonotune")?;
    ensure!(made.status.success(), "`sonotune data phantom` failed");
    Ok(())
}

/// A training that runs, and the file of what it says.
struct Running {
    child: Child,
    said: PathBuf,
}

/// Waits for trainings; the peak memory of the largest of their processes, MiB.
fn wait(mut running: Vec<Running>) -> Result<f64> {
    let mut peak: f64 = 0.0;
    while !running.is_empty() {
        let mut left = Vec::new();
        for mut one in running {
            let own = PathBuf::from(format!("/proc/{}", one.child.id()));
            for process in children(&own).into_iter().chain([own]) {
                // One that has just ended has no memory any more.
                peak = peak.max(measure::memory_mib(&process, "VmHWM").unwrap_or(0.0));
            }
            match one.child.try_wait().context("waiting for sonotune")? {
                None => left.push(one),
                Some(status) => {
                    let said = || fs::read_to_string(&one.said).unwrap_or_default();
                    ensure!(status.success(), "a training ended with {status}: {}", said());
                }
            }
        }
        running = left;
        thread::sleep(Duration::from_millis(20));
    }
    Ok(peak)
}

/// The processes that a process has started; none if it has ended.
fn children(process: &Path) -> Vec<PathBuf> {
    let tasks = fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let ids: String = lists.map(|list| list + " ").collect();
    ids.split_whitespace().map(|id| Path::new("/proc").join(id)).collect()
}

/// The time of each step but the first.
fn step_seconds(run: &Path, steps: usize) -> Result<Vec<f64>> {
    let log = fs::read_to_string(run.join("metrics.jsonl")).context("the log of the run")?;
    let lines = log.lines().map(|line| Ok(serde_json::from_str::<Value>(line)?));
    let lines = lines.collect::<Result<Vec<_>>>()?;
    let seconds: Vec<f64> = lines.iter().filter_map(|line| line["time/step"].as_f64()).collect();
    ensure!(seconds.len() == steps, "{} times of {steps} steps", seconds.len());
    Ok(seconds[1..].to_vec())
}
