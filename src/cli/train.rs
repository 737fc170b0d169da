//! `sonotune train`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use clap::Args;

use sonotune_base::{Error, stop::StopFlag};
use sonotune_engine::parallel::Ranks;
use sonotune_run as run;
use sonotune_run::{
    Begun, DryRunOptions, ModelSource, TrainOptions, TrainOutcome,
    config::{self, Loaded},
};
use sonotune_run_folder::Existing;

#[derive(Debug, Args)]
pub(super) struct TrainArgs {
    /// Config file of a new run; not with --resume.
    #[arg(required_unless_present = "resume")]
    config: Option<PathBuf>,
    /// Changes to the config, e.g. `optimizer.lr=1e-4`.
    #[arg(value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Resume the run in this folder, with its own config.
    #[arg(long, value_name = "RUN_DIR", conflicts_with = "overwrite")]
    resume: Option<PathBuf>,
    /// Resume from this checkpoint instead of the last: a step that was kept, or a file. Everything
    /// the run did after it is discarded.
    #[arg(long, value_name = "STEP|FILE", requires = "resume")]
    checkpoint: Option<String>,
    /// With --resume: go on although annotations or images have changed since the run began.
    #[arg(long, requires = "resume")]
    changed_data: bool,
    /// Replace the run already in run_dir.
    #[arg(long)]
    overwrite: bool,
    /// Resume the run in run_dir if it has a checkpoint, else start it: for schedulers that run the same
    /// command line again after a failure. The config must be that of the run.
    #[arg(long, conflicts_with_all = ["resume", "overwrite"])]
    resume_or_start: bool,
    /// Build everything, run the largest batch a few times, report what the run would need, and write
    /// nothing.
    #[arg(long, conflicts_with_all = ["resume", "resume_or_start", "overwrite"])]
    dry_run: bool,
    /// With --dry-run: number of steps to time.
    #[arg(long, value_name = "N", default_value_t = 3, requires = "dry_run",
          value_parser = clap::value_parser!(u64).range(1..=1000))]
    dry_run_steps: u64,
    /// With --dry-run on the CPU: run the whole batch even if it may not fit into memory.
    #[arg(long, requires = "dry_run")]
    anyway: bool,
    #[command(flatten)]
    pub(super) processes: super::processes::ProcessArgs,
    /// Print the summary as JSON at the end.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &TrainArgs) -> Result<()> {
    let (loaded, existing) = load(args)?;
    if args.dry_run {
        return dry_run(args, &loaded);
    }
    let stop = StopFlag::from_signals()?;
    let ranks = super::join(&loaded.config)?;
    let outcome = train(args, loaded, existing, &ranks, stop)?;
    if args.json && ranks.is_first() {
        println!("{}", serde_json::to_string_pretty(&outcome)?);
    }
    Ok(())
}

/// Trains, unless nothing is left to do.
fn train(
    args: &TrainArgs,
    mut loaded: Loaded,
    mut existing: Existing,
    ranks: &Arc<Ranks>,
    stop: StopFlag,
) -> Result<TrainOutcome> {
    if args.resume_or_start {
        let found = begun(loaded, ranks);
        let (begun, config) = found.or_else(|error| ranks.close(Err(error)))?;
        let Some(found) = begun.existing() else {
            return ranks.close(finished(args, &config.config.run_dir, ranks));
        };
        (existing, loaded) = (found, config);
    }
    let resume_from = match args.checkpoint.as_deref() {
        None => ModelSource::Last,
        which => super::model_source(which),
    };
    let (changed_data, ranks) = (args.changed_data, ranks.clone());
    let options = TrainOptions { existing, resume_from, changed_data, stop, ranks };
    run::train(&loaded, &options)
}

/// What the run folder holds, and the config to run.
fn begun(loaded: Loaded, ranks: &Ranks) -> Result<(Begun, Loaded)> {
    // One process looks: a moment later, the folder may hold something else.
    let begun = ranks.decide(|| run::begun(&loaded))?;
    let loaded = match begun {
        // It has recorded what its weights had decided.
        Begun::Checkpoint => ranks.agree(super::load_run(&loaded.config.run_dir, &[]))?,
        Begun::Nothing | Begun::WithoutCheckpoint | Begun::Everything => loaded,
    };
    Ok((begun, loaded))
}

/// Says that a run is over.
fn finished(args: &TrainArgs, run_dir: &Path, ranks: &Ranks) -> Result<TrainOutcome> {
    let outcome = TrainOutcome { run_dir: run_dir.to_owned(), summary: run::summary(run_dir)? };
    if !args.json && ranks.is_first() {
        println!(
            "{} is finished: {} steps are done, nothing is left to do",
            run_dir.display(),
            outcome.summary.steps
        );
    }
    Ok(outcome)
}

fn dry_run(args: &TrainArgs, loaded: &Loaded) -> Result<()> {
    let options = DryRunOptions { steps: args.dry_run_steps, anyway: args.anyway };
    let ranks = super::join(&loaded.config)?;
    let report = run::dry_run(loaded, options, &ranks)?;
    if !ranks.is_first() {
        return Ok(());
    }
    crate::present(args.json, &report, |report| {
        for warning in &loaded.warnings {
            eprintln!("warning: {warning}");
        }
        for note in &report.notes {
            eprintln!("warning: {note}");
        }
        print!("{report}");
    })?;
    run::require_ready(&report, &loaded.config.run_dir)
}

fn load(args: &TrainArgs) -> Result<(Loaded, Existing)> {
    let Some(run_dir) = &args.resume else {
        let existing = if args.overwrite { Existing::Overwrite } else { Existing::Refuse };
        let path = args.config.as_deref().unwrap_or(Path::new(""));
        return Ok((config::load(path, &args.overrides)?, existing));
    };
    // With --resume there is no config argument: what is in its place is an override.
    let first = args.config.iter().map(|p| p.to_string_lossy().into_owned());
    let overrides: Vec<_> = first.chain(args.overrides.iter().cloned()).collect();
    if let Some(file) = overrides.iter().find(|o| !o.contains('=') && !o.starts_with('~')) {
        return Err(Error::config(format!(
            "`--resume {}` uses the run's own config; leave out `{file}`",
            run_dir.display()
        ))
        .into());
    }
    Ok((super::load_run(run_dir, &overrides)?, Existing::Resume))
}
