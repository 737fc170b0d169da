//! `sonotune compare`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::{
    compare::{self, CompareOptions, Format},
    data::Split,
    fs::atomic_write,
};

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// Run folders; those that differ only in their seed become one row.
    #[arg(required = true, value_name = "RUN_DIR")]
    runs: Vec<PathBuf>,
    /// Whose scores: each run needs its eval-SPLIT.json, which `sonotune eval` writes.
    #[arg(long, value_enum, default_value_t = Split::Test)]
    split: Split,
    /// A metric to show, `*` for any characters; may be given several times. The headline when absent.
    #[arg(long = "metric", value_name = "NAME")]
    metrics: Vec<String>,
    /// How to write the table.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Also a row for each run; with csv only those.
    #[arg(long = "runs")]
    per_run: bool,
    /// Everything as JSON, in full precision.
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Where to write it, instead of printing.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &CompareArgs) -> Result<()> {
    let comparison = compare::compare(&CompareOptions {
        runs: args.runs.clone(),
        split: args.split,
        metrics: args.metrics.clone(),
    })?;
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
        // They stand in no CSV, and nobody has seen them in a file.
        comparison.notes.iter().for_each(|note| eprintln!("note: {note}"));
    }
    Ok(())
}
