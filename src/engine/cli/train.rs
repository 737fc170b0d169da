//! `sonotune train`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use crate::{
    Error,
    config::{self, Loaded},
    logging::Existing,
    run::{self, ModelSource, TrainOptions},
    stop::StopFlag,
};

#[derive(Debug, Args)]
pub(super) struct TrainArgs {
    /// Config file of a new run; not with --resume.
    #[arg(required_unless_present = "resume")]
    config: Option<PathBuf>,
    /// Changes to the config, e.g. `optimizer.lr=1e-4`.
    #[arg(value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Go on with the run in this folder, by its own config.
    #[arg(long, value_name = "RUN_DIR", conflicts_with = "overwrite")]
    resume: Option<PathBuf>,
    /// Go on from this checkpoint instead of the last: a step that was kept, or a file. What the
    /// run did after it is dropped.
    #[arg(long, value_name = "STEP|FILE", requires = "resume")]
    checkpoint: Option<String>,
    /// Replace the run that run_dir holds.
    #[arg(long)]
    overwrite: bool,
    /// Print the summary as JSON at the end.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &TrainArgs) -> Result<()> {
    let (loaded, existing) = load(args)?;
    let resume_from = match args.checkpoint.as_deref() {
        None => ModelSource::Last,
        which => super::model_source(which),
    };
    let stop = StopFlag::from_signals()?;
    let outcome = run::train(&loaded, &TrainOptions { existing, resume_from, stop })?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&outcome)?);
    }
    Ok(())
}

fn load(args: &TrainArgs) -> Result<(Loaded, Existing)> {
    let Some(run_dir) = &args.resume else {
        let existing = if args.overwrite { Existing::Overwrite } else { Existing::Refuse };
        let path = args.config.as_deref().unwrap_or(Path::new(""));
        return Ok((config::load(path, &args.overrides)?, existing));
    };
    // With --resume there is no config argument: what stands in its place is an override.
    let first = args.config.iter().map(|p| p.to_string_lossy().into_owned());
    let overrides: Vec<_> = first.chain(args.overrides.iter().cloned()).collect();
    if let Some(file) = overrides.iter().find(|o| !o.contains('=') && !o.starts_with('~')) {
        return Err(Error::config(format!(
            "`--resume {}` takes the run's own config; leave out `{file}`",
            run_dir.display()
        ))
        .into());
    }
    Ok((super::load_run(run_dir, &overrides)?, Existing::Resume))
}
