//! `sonotune eval`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::{
    data::Split,
    fs::atomic_write,
    logging::table,
    run::{self, EvalOptions},
};

#[derive(Debug, Args)]
pub(super) struct EvalArgs {
    /// Folder of the run whose model is scored.
    #[arg(long, value_name = "RUN_DIR")]
    run: PathBuf,
    /// Part of the dataset.
    #[arg(long, value_enum, default_value_t = Split::Test)]
    split: Split,
    /// `best`, `last` or a file; the best if there is one, else the last.
    #[arg(long, value_name = "WHICH")]
    checkpoint: Option<String>,
    /// Changes to the run's config, e.g. `dataset.root=data/other`.
    #[arg(value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Print the record as JSON.
    #[arg(long)]
    json: bool,
    /// Where to write the record; RUN_DIR/eval-SPLIT.json when absent.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &EvalArgs) -> Result<()> {
    let loaded = super::load_run(&args.run, &args.overrides)?;
    let source = super::model_source(args.checkpoint.as_deref());
    let record = run::evaluate(&loaded, &EvalOptions { split: args.split, source })?;
    let json = serde_json::to_string_pretty(&record)?;
    let name = format!("eval-{}.json", serde_json::to_value(args.split)?.as_str().unwrap_or("?"));
    let path = args.out.clone().unwrap_or_else(|| args.run.join(name));
    atomic_write(&path, json.as_bytes())?;
    if args.json {
        println!("{json}");
    } else {
        println!("{}", table::report(&record.report).trim_end());
        println!(
            "{} images of {}, checkpoint {} (step {}); written to {}",
            record.num_images,
            record.dataset.display(),
            record.checkpoint.display(),
            record.step,
            path.display()
        );
    }
    Ok(())
}
