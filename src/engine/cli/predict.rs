//! `sonotune predict`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::{
    Error,
    run::{self, PredictOptions},
};

#[derive(Debug, Args)]
pub(super) struct PredictArgs {
    /// An image, or a folder searched for images.
    images: PathBuf,
    /// Folder of the run whose model predicts.
    #[arg(long, value_name = "RUN_DIR")]
    run: PathBuf,
    /// Folder for predictions.csv, predictions.json and pictures/.
    #[arg(long)]
    out: PathBuf,
    /// `best`, `last` or a file; the best if there is one, else the last.
    #[arg(long, value_name = "WHICH")]
    checkpoint: Option<String>,
    /// Changes to the run's config, e.g. `device=cpu`.
    #[arg(value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Draw no pictures.
    #[arg(long)]
    no_pictures: bool,
    /// Replace the predictions that --out holds.
    #[arg(long)]
    overwrite: bool,
    /// Print what was written as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &PredictArgs) -> Result<()> {
    let loaded = super::load_run(&args.run, &args.overrides)?;
    let record = run::predict(
        &loaded,
        &PredictOptions {
            images: args.images.clone(),
            out: args.out.clone(),
            source: super::model_source(args.checkpoint.as_deref()),
            pictures: !args.no_pictures,
            overwrite: args.overwrite,
        },
    )?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&record)?);
    } else {
        println!("{} images predicted with {}", record.num_images, record.checkpoint.display());
        println!("  {}\n  {}", record.csv.display(), record.json.display());
        if let Some(pictures) = &record.pictures {
            println!("  {}", pictures.display());
        }
    }
    if record.failures.is_empty() {
        return Ok(());
    }
    Err(Error::data(format!(
        "{} image(s) could not be read and have no prediction:\n  {}",
        record.failures.len(),
        record.failures.join("\n  ")
    ))
    .into())
}
