//! `sonotune compare`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use sonotune_base::fs::atomic_write;
use sonotune_dataset::Split;
use sonotune_report::compare::{self, CompareOptions, Format};

use crate::progress::Busy;

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// Run folders; runs that differ only in their seed share one row.
    #[arg(required = true, value_name = "RUN_DIR")]
    runs: Vec<PathBuf>,
    /// Split to compare; each run needs its eval-SPLIT.json, which `sonotune eval` writes.
    #[arg(long, value_enum, default_value_t = Split::Test)]
    split: Split,
    /// Metric to show (`*` matches any characters); may be repeated. Default: the headline metric.
    #[arg(long = "metric", value_name = "NAME")]
    metrics: Vec<String>,
    /// Format of the table.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Also show a row for each run; with csv, only these.
    #[arg(long = "runs")]
    per_run: bool,
    /// Print everything as JSON, at full precision.
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Write to this file instead of printing.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &CompareArgs) -> Result<()> {
    let busy = Busy::new("comparing");
    let comparison = compare::compare(&CompareOptions {
        runs: args.runs.clone(),
        split: args.split,
        metrics: args.metrics.clone(),
    })?;
    drop(busy);
    let text = if args.json {
        serde_json::to_string_pretty(&comparison)? + "\n"
    } else {
        compare::render(&comparison, args.format, args.per_run)?
    };
    match &args.out {
        Some(path) => atomic_write(path, text.as_bytes())?,
        None => print!("{text}"),
    }
    if args.out.is_some() || args.format == Format::Csv {
        // A CSV does not contain them, and nobody has seen them if the output went to a file.
        comparison.notes.iter().for_each(|note| eprintln!("note: {note}"));
    }
    Ok(())
}
