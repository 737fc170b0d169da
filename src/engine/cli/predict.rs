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
    #[command(flatten)]
    model: super::ModelArgs,
    /// Folder for predictions.csv, predictions.json and pictures/.
    #[arg(long)]
    out: PathBuf,
    /// Changes to the config, e.g. `device=cpu`.
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
    let (loaded, source) = args.model.load(&args.overrides)?;
    let record = run::predict(
        &loaded,
        &PredictOptions {
            images: args.images.clone(),
            out: args.out.clone(),
            source,
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
