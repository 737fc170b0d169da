//! The command line: one file per verb; the only part of the engine that prints or ends the process.

// A reader that has gone (`sonotune list | head`) is not a reason to panic, unlike with std's macros.
macro_rules! print {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = write!(std::io::stdout(), $($part)*);
    }};
}
macro_rules! println {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($part)*);
    }};
}
macro_rules! eprintln {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($part)*);
    }};
}

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Result;
use clap::{Parser, Subcommand};
use serde::Serialize;

use sonotune_base::{
    Error,
    launch::{BY_SONOTUNE, Launch, PARENT, STARTED_BY},
    signals,
};
use sonotune_engine::parallel::Ranks;
use sonotune_run::{
    ModelSource,
    config::{self as run_config, Loaded, RunConfig},
};
use sonotune_run_folder::RunFiles;

/// Prints `report` as JSON if the user wants that, otherwise what `text` prints.
fn present<T: Serialize>(json: bool, report: &T, text: impl FnOnce(&T)) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
    } else {
        text(report);
    }
    Ok(())
}

mod annotate;
mod coco_eval;
mod compare;
mod completions;
mod config;
mod data;
mod demo;
mod doctor;
#[cfg(test)]
mod documented;
mod eval;
mod export;
mod init;
mod list;
mod live;
mod logged_child;
mod predict;
mod processes;
mod progress;
mod reference;
mod report;
mod serve;
mod study;
mod train;
mod waiting;
mod weights;

/// Turns a pretrained ultrasound foundation model into a working model for your own task.
#[derive(Debug, Parser)]
#[command(name = "sonotune", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Train, compare and predict on phantoms, in minutes, and show all of it on one page.
    Demo(demo::DemoArgs),
    /// Look at a folder of images and write a first config for it.
    Init(init::InitArgs),
    /// Train a model.
    Train(train::TrainArgs),
    /// Score a trained model on a split of its dataset.
    Eval(eval::EvalArgs),
    /// Run a grid of models, strategies, seeds and folds, and say which is best, with intervals and tests.
    Study(study::StudyArgs),
    /// Write the report of a run as one HTML page.
    Report(report::ReportArgs),
    /// Compare the scores of several runs in one table, averaged over seeds.
    Compare(compare::CompareArgs),
    /// Score a COCO result file against a ground truth, as pycocotools does.
    CocoEval(coco_eval::CocoEvalArgs),
    /// Predict on images without annotations.
    Predict(predict::PredictArgs),
    /// Annotate images in the browser, with a model that answers clicks and boxes.
    Annotate(annotate::AnnotateArgs),
    /// Answer questions about images over HTTP, for programs and annotation tools.
    Serve(serve::ServeArgs),
    /// Write a model as TorchScript and ONNX, checked, with a model card.
    Export(export::ExportArgs),
    /// Show or validate a config.
    #[command(subcommand)]
    Config(config::ConfigVerb),
    /// Create, convert and inspect datasets.
    #[command(subcommand)]
    Data(data::DataVerb),
    /// Inspect, convert and export weight files.
    #[command(subcommand)]
    Weights(weights::WeightsVerb),
    /// Check what this machine offers and whether it computes correctly.
    Doctor(doctor::DoctorArgs),
    /// List the backbones, tasks and datasets that are linked in.
    List(list::ListArgs),
    /// Print a script that completes commands, options and files in a shell.
    Completions(completions::CompletionsArgs),
    /// Write the man pages, one per command.
    Man(completions::ManArgs),
    /// Write the reference of this program as Markdown: keys of configs, commands, exit codes.
    #[command(hide = true)]
    Reference(reference::ReferenceArgs),
}

/// Parses the process's arguments, runs the command, and reports errors with their exit code.
#[must_use]
pub fn run() -> ExitCode {
    // First of all, while there are no other threads.
    sonotune_shim::number_cuda_devices_by_bus();
    let cli = Cli::parse();
    let ended = match cli.verb.processes() {
        Some(number) => processes::run(number),
        None => run_here(cli.verb).map(|()| 0),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            if processes::prints(&error) {
                eprintln!("error: {error:#}");
            }
            ExitCode::from(sonotune_base::error::exit_code(&error))
        }
    }
}

/// Runs a command in this process.
fn run_here(verb: Verb) -> Result<()> {
    if std::env::var(STARTED_BY).is_ok_and(|by| by == BY_SONOTUNE) {
        let parent = std::env::var(PARENT).ok().and_then(|number| number.parse().ok());
        if !signals::end_with_parent(parent) {
            return Err(Error::interrupted("the process that started this one has ended").into());
        }
    }
    // Those that compute for long.
    if matches!(verb, Verb::Train(_) | Verb::Eval(_) | Verb::Predict(_)) {
        waiting::watch();
    }
    // Training allocates the same large blocks at every step; scoring a file needs each only once,
    // and its peak is a tenth lower when they are given back.
    if !matches!(verb, Verb::CocoEval(_) | Verb::Report(_) | Verb::Compare(_)) {
        sonotune_shim::keep_freed_memory();
    }
    dispatch(verb)
}

impl Verb {
    /// The number of processes to share the work, if there are to be several.
    fn processes(&self) -> Option<usize> {
        match self {
            Self::Train(args) => args.processes.several(),
            Self::Eval(args) => args.processes.several(),
            Self::Predict(args) => args.processes.several(),
            _ => None,
        }
    }
}

fn dispatch(verb: Verb) -> Result<()> {
    match verb {
        Verb::Demo(args) => demo::run(&args),
        Verb::Init(args) => init::run(&args),
        Verb::Train(args) => train::run(&args),
        Verb::Eval(args) => eval::run(&args),
        Verb::Study(args) => study::run(&args),
        Verb::Report(args) => report::run(&args),
        Verb::Compare(args) => compare::run(&args),
        Verb::CocoEval(args) => coco_eval::run(&args),
        Verb::Predict(args) => predict::run(&args),
        Verb::Annotate(args) => annotate::run(&args),
        Verb::Serve(args) => serve::run(&args),
        Verb::Export(args) => export::run(&args),
        Verb::Config(verb) => config::run(verb),
        Verb::Data(verb) => data::run(verb),
        Verb::Weights(verb) => weights::run(verb),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::List(args) => list::run(&args),
        Verb::Completions(args) => {
            completions::run(&args);
            Ok(())
        }
        Verb::Man(args) => completions::man(&args),
        Verb::Reference(args) => reference::run(&args),
    }
}

/// The processes that this one works with, as its environment says.
fn join(config: &RunConfig) -> Result<Arc<Ranks>> {
    let ranks = match Launch::of_this_process()? {
        None => Ranks::alone(),
        Some(launch) => {
            Ranks::join(&launch, &config.parallel, |failure| eprintln!("error: {failure}"))?
        }
    };
    Ok(Arc::new(ranks))
}

/// The config of the run in `run_dir`, which may have been moved since.
fn load_run(run_dir: &Path, overrides: &[String]) -> Result<Loaded> {
    let config = RunFiles::open(run_dir)?.config();
    let place = toml::Value::String(run_dir.to_string_lossy().into_owned());
    let overrides: Vec<_> = overrides.iter().cloned().chain([format!("run_dir={place}")]).collect();
    run_config::load(&config, &overrides)
}

/// The model to use: that of a run, those of several, or the pretrained weights of a config.
#[derive(Debug, clap::Args)]
struct ModelArgs {
    /// Folder of the run whose model to use.
    #[arg(
        long,
        value_name = "RUN_DIR",
        required_unless_present_any = ["config", "ensemble"],
        conflicts_with = "config"
    )]
    run: Option<PathBuf>,
    /// Folders of several runs (folds, seeds): each predicts with its best checkpoint, or its last, and the
    /// predictions of an image are averaged.
    #[arg(
        long,
        value_name = "RUN_DIR",
        num_args = 1..,
        value_parser = run_folder,
        conflicts_with_all = ["run", "config", "checkpoint"]
    )]
    ensemble: Vec<PathBuf>,
    /// Config whose pretrained weights to use as they are, without training.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// `best`, `last`, a step whose checkpoint was kept, or a file. Default: the best if there is
    /// one, else the last.
    #[arg(long, value_name = "WHICH", conflicts_with = "config")]
    checkpoint: Option<String>,
}

impl ModelArgs {
    /// `read` reads the config file.
    fn load(
        &self,
        overrides: &[String],
        read: fn(&Path, &[String]) -> Result<Loaded>,
    ) -> Result<(Loaded, ModelSource)> {
        match (self.run.as_ref().or(self.ensemble.first()), &self.config) {
            (Some(run), _) => {
                Ok((load_run(run, overrides)?, model_source(self.checkpoint.as_deref())))
            }
            (None, Some(config)) => Ok((read(config, overrides)?, ModelSource::Pretrained)),
            (None, None) => Err(Error::config("give --run RUN_DIR or --config FILE").into()),
        }
    }

    /// The runs of an ensemble after the first, which [`load`](Self::load) reads.
    fn load_others(&self, overrides: &[String]) -> Result<Vec<Loaded>> {
        self.ensemble.iter().skip(1).map(|run| load_run(run, overrides)).collect()
    }
}

/// One model: that of a run, or the pretrained weights of a config.
#[derive(Debug, clap::Args)]
struct OneModelArgs {
    /// Folder of the run whose model to use.
    #[arg(long, value_name = "RUN_DIR", conflicts_with = "config")]
    run: Option<PathBuf>,
    /// Config whose pretrained weights to use as they are, without training.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// `best`, `last`, a step whose checkpoint was kept, or a file. Default: the best if there is
    /// one, else the last.
    #[arg(long, value_name = "WHICH", requires = "run", conflicts_with = "config")]
    checkpoint: Option<String>,
}

impl OneModelArgs {
    /// Whether a model is named.
    fn names_one(&self) -> bool {
        self.run.is_some() || self.config.is_some()
    }

    fn load(&self, overrides: &[String]) -> Result<(Loaded, ModelSource)> {
        let Self { run, config, checkpoint } = self;
        let model = ModelArgs {
            run: run.clone(),
            ensemble: Vec::new(),
            config: config.clone(),
            checkpoint: checkpoint.clone(),
        };
        model.load(overrides, run_config::load_for_prediction)
    }
}

/// A folder among the values of `--ensemble`, which would also take keys that follow it.
fn run_folder(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if text.contains('=') && !path.exists() {
        return Err(
            "not the folder of a run; if it is a KEY=VALUE, put it before --ensemble".to_owned()
        );
    }
    Ok(path)
}

/// What `--checkpoint` names.
fn model_source(which: Option<&str>) -> ModelSource {
    match which {
        None => ModelSource::BestOrLast,
        Some("best") => ModelSource::Best,
        Some("last") => ModelSource::Last,
        Some(text) => match text.parse() {
            Ok(step) => ModelSource::Step(step),
            Err(_) => ModelSource::File(text.into()),
        },
    }
}

/// The files that a model's weights come from, or those of an ensemble.
fn weights_words(first: &Path, beside: &[PathBuf], ensemble: &[PathBuf]) -> String {
    if !ensemble.is_empty() {
        let files: Vec<_> = ensemble.iter().map(|path| path.display().to_string()).collect();
        return format!("the average of {}", files.join(", "));
    }
    let files = std::iter::once(first).chain(beside.iter().map(PathBuf::as_path));
    files.map(|path| path.display().to_string()).collect::<Vec<_>>().join(" with ")
}
