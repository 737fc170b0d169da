//! `sonotune init`: a first config for a folder of images.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use sonotune_base::{Error, stop::StopFlag};
use sonotune_engine::device::{self, DeviceChoice, Local};
use sonotune_init::{Machine, Progress, Report, Request, Task, WeightsAtHand, init};
use sonotune_run::{config, doctor::probe};
use sonotune_weights::{self as weights, Inspection};
use tch::Device;

/// Files of weights that are looked into at most.
const MAX_WEIGHTS: usize = 50;

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Folder with images: classes as folders, images with masks, or a COCO export; or a COCO file.
    data: PathBuf,
    /// Folder for the config and the lists or COCO files that it names [default: NAME-sonotune].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Folder of the run [default: runs/NAME].
    #[arg(long, value_name = "FOLDER")]
    run_dir: Option<PathBuf>,
    /// The task, in place of the one that seems likeliest.
    #[arg(long, value_enum)]
    task: Option<TaskName>,
    /// Name of the objects that masks show, if folders do not name them.
    #[arg(long, value_name = "NAME")]
    category: Option<String>,
    /// File of pretrained weights, or a folder of some; may be repeated [default: weights, if it is there].
    #[arg(long, value_name = "FILE|FOLDER")]
    weights: Vec<PathBuf>,
    /// How long training should take, minutes.
    #[arg(long, default_value_t = 10.0, value_parser = minutes)]
    minutes: f64,
    /// Device that the config is for.
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// Random seed of the splits and of the run.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: u64,
    /// Replace a config that is there already, with its files.
    #[arg(long)]
    overwrite: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The tasks, under their names in a config.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum TaskName {
    /// The class of an image.
    Classification,
    /// The mask of what a box or a click shows.
    SamPrompt,
    /// Boxes, masks and classes of all objects.
    Mask2former,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| "expected a number of minutes".to_owned())?;
    let is_possible = minutes.is_finite() && (0.1..=100_000.0).contains(&minutes);
    is_possible.then_some(minutes).ok_or_else(|| "expected 0.1 to 100000 minutes".to_owned())
}

pub(super) fn run(args: &InitArgs) -> Result<()> {
    let name = name_of(&args.data)?;
    let stop = StopFlag::from_signals()?;
    let request = Request {
        data: args.data.clone(),
        out: args.out.clone().unwrap_or_else(|| format!("{name}-sonotune").into()),
        run_dir: args.run_dir.clone().unwrap_or_else(|| Path::new("runs").join(&name)),
        task: args.task.map(|task| match task {
            TaskName::Classification => Task::Classification,
            TaskName::SamPrompt => Task::Prompt,
            TaskName::Mask2former => Task::Instances,
        }),
        category: args.category.clone(),
        seed: args.seed,
        minutes: args.minutes,
        overwrite: args.overwrite,
        machine: machine(args.device)?,
        weights: weights_at_hand(&args.weights)?,
    };
    let bar = ProgressBar::new(0);
    let report = init(&request, &|progress| tell(&bar, progress), &stop);
    bar.finish_and_clear();
    let report = report?;
    check(&report.config)?;
    super::present(args.json, &report, print)
}

/// What the data are called: their folder as it is named, or the file without its ending.
fn name_of(data: &Path) -> Result<String> {
    let real = data.canonicalize().map_err(|error| {
        let what =
            if data.exists() { error.to_string() } else { "no such file or folder".to_owned() };
        Error::data(format!("{}: {what}", data.display()))
    })?;
    // `.` and `..` have no name of their own.
    let named = if data.file_name().is_some() { data } else { &real };
    let name = if real.is_dir() { named.file_name() } else { named.file_stem() };
    Ok(name.map_or_else(|| "data".to_owned(), |name| name.to_string_lossy().into_owned()))
}

fn machine(choice: DeviceChoice) -> Result<Machine> {
    let chosen = device::choose(choice, Local::default())?;
    let gpu_memory_bytes = match chosen.device {
        Device::Cuda(index) => {
            let memory = sonotune_shim::cuda_memory(index)?;
            u64::try_from(memory.free).ok()
        }
        _ => None,
    };
    let memory = probe::memory();
    let left = memory.cgroup_limit.zip(memory.cgroup_used);
    let left = left.map_or(u64::MAX, |(limit, used)| limit.saturating_sub(used));
    Ok(Machine {
        cores: usize::try_from(tch::get_num_threads()).unwrap_or(1),
        // Where it is not known, small networks fit in any case.
        memory_bytes: memory.available.unwrap_or(4 << 30).min(left),
        gpu_memory_bytes,
    })
}

/// The files that the user names, or those in `weights`.
fn weights_at_hand(named: &[PathBuf]) -> Result<Vec<WeightsAtHand>> {
    let usual = [PathBuf::from("weights")];
    let places: &[PathBuf] = match named {
        [] if usual[0].is_dir() => &usual,
        named => named,
    };
    let mut files = Vec::new();
    for place in places {
        if place.is_file() {
            // A file that the user names must be one.
            files.push(at_hand(place)?);
            continue;
        }
        let entries = std::fs::read_dir(place)
            .map_err(|error| Error::weights(format!("--weights {}: {error}", place.display())))?;
        let mut found: Vec<PathBuf> = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .with_context(|| format!("reading {}", place.display()))?;
        found.retain(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            path.is_file() && name.is_some_and(weights::may_hold_weights)
        });
        found.sort();
        let unknown = |path: &PathBuf| WeightsAtHand {
            path: path.clone(),
            convention: None,
            shapes: std::collections::BTreeMap::new(),
        };
        files.extend(
            found
                .iter()
                .take(MAX_WEIGHTS)
                .map(|path| at_hand(path).unwrap_or_else(|_| unknown(path))),
        );
    }
    Ok(files)
}

fn at_hand(path: &Path) -> Result<WeightsAtHand> {
    let inspection = Inspection::of(&weights::open(path)?);
    Ok(WeightsAtHand {
        path: path.to_owned(),
        convention: inspection.convention.map(|found| found.convention.name.to_owned()),
        shapes: inspection.tensors.into_iter().map(|tensor| (tensor.name, tensor.shape)).collect(),
    })
}

/// A line on standard error, and only when that is a terminal.
fn tell(bar: &ProgressBar, progress: Progress) {
    match progress {
        Progress::Begin { what, images } => {
            let style = format!("{{bar:40}} {{pos}}/{{len}} {what}, {{per_sec}}, {{eta}}");
            if let Ok(style) = ProgressStyle::with_template(&style) {
                bar.set_style(style);
            }
            bar.reset();
            bar.set_length(images as u64);
        }
        Progress::Image => bar.inc(1),
    }
}

/// Reads the config as a run would, and opens its splits.
fn check(path: &Path) -> Result<()> {
    let loaded = config::load(path, &[])?;
    let Some(dataset) = &loaded.config.dataset else { return Ok(()) };
    for split in dataset.splits() {
        dataset.open(split).with_context(|| format!("{}: opening {split}", path.display()))?;
    }
    Ok(())
}

fn print(report: &Report) {
    println!("found     {}", report.layout);
    println!("data      {}", report.fingerprint.words());
    println!("machine   {}", report.machine.words());
    let line =
        |key: &str| report.lines.iter().find(|line| format!("{}.{}", line.table, line.key) == key);
    let value =
        |key: &str| line(key).map(|line| line.value.to_string().trim_matches('"').to_owned());
    let shown = |key: &str| value(key).unwrap_or_else(|| "default".to_owned());
    println!(
        "config    {}: {}, {} at {} pixels, batches of {}, {} steps",
        report.config.display(),
        report.task.name(),
        value("weights.path").map_or_else(
            || format!("a small {} from a random start", shown("backbone.type")),
            |path| format!("{} from {path}", shown("backbone.type"))
        ),
        shown("preprocess.image_size"),
        shown("loader.batch_size"),
        shown("train.max_steps"),
    );
    for decision in &report.decisions {
        let mark = if decision.guess { "guess     " } else { "          " };
        println!("{mark}{}", decision.what);
    }
    let guesses: Vec<String> = report
        .lines
        .iter()
        .filter(|line| line.guess)
        .map(|line| format!("{}.{} = {}", line.table, line.key, line.value))
        .collect();
    if !guesses.is_empty() {
        println!("guess     {}", guesses.join(", "));
    }
    for task in &report.other_tasks {
        println!("also      --task {}: {}", task.name(), task.answers());
    }
    for note in &report.notes {
        println!("note      {note}");
    }
    println!("next:");
    for command in &report.commands {
        println!("  {command}");
    }
}
