//! `sonotune eval`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use sonotune_base::{Error, fs::atomic_write};
use sonotune_dataset::Split;
use sonotune_metrics::table;
use sonotune_report as report;
use sonotune_report::{By, Kept};
use sonotune_run as run;
use sonotune_run::{EvalOptions, config};
use sonotune_run_folder::RunFiles;
use sonotune_study::image_table;

#[derive(Debug, Args)]
pub(super) struct EvalArgs {
    #[command(flatten)]
    model: super::ModelArgs,
    /// Split of the dataset to score.
    #[arg(long, value_enum, default_value_t = Split::Test)]
    split: Split,
    /// Changes to the config, e.g. `dataset.root=data/other`.
    #[arg(value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    #[command(flatten)]
    pub(super) processes: super::processes::ProcessArgs,
    /// Print the record as JSON.
    #[arg(long)]
    json: bool,
    /// Where to write the record. Default: eval-SPLIT.json in the run folder.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Where to write the scores of each image as CSV. Default: images-SPLIT.csv in the run folder, unless --out
    /// is given.
    #[arg(long, value_name = "FILE")]
    images: Option<PathBuf>,
}

pub(super) fn run(args: &EvalArgs) -> Result<()> {
    let (loaded, source) = args.model.load(&args.overrides, config::load)?;
    let others = args.model.load_others(&args.overrides)?;
    if !args.model.ensemble.is_empty() && args.out.is_none() {
        return Err(Error::config(
            "--ensemble: the scores belong to several runs; say where to write them by --out FILE",
        )
        .into());
    }
    let ranks = super::join(&loaded.config)?;
    let options = EvalOptions { split: args.split, source, ranks };
    let evaluated = run::evaluate_ensemble(&loaded, &others, &options)?;
    let Some(run::Evaluated { record, shown, images }) = evaluated else {
        return Ok(());
    };
    let images =
        image_table(images.into_iter().map(|i| (i.image_id, i.path, i.scores)), &record.dataset)?;
    let json = serde_json::to_string_pretty(&record)?;
    let files = RunFiles::of(&loaded.config.run_dir);
    let path = args.out.clone().unwrap_or_else(|| files.scores(args.split));
    let of_images = match (&args.images, &args.out) {
        (Some(path), _) => Some(path.clone()),
        // Beside the record of a run.
        (None, None) => Some(files.image_scores(args.split)),
        (None, Some(_)) => None,
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    // The record last: where it is, both are.
    if let Some(path) = of_images.filter(|_| !images.columns.is_empty()) {
        images.write(&path)?;
    }
    atomic_write(&path, json.as_bytes())?;
    if args.model.run.is_some() && args.out.is_none() {
        // The scores are written, so a missing report is not worth an error.
        let kept = Kept::of(&loaded.config.run_dir).write_shown(By::Eval, &shown);
        if let Err(error) = kept.and_then(|()| report::write(&loaded.config.run_dir)) {
            eprintln!("warning: {error:#}; the scores are written, the report is not");
        }
    }
    if args.json {
        println!("{json}");
    } else {
        println!("{}", table::report(&record.report).trim_end());
        for note in &record.dataset_notes {
            println!("{note}");
        }
        println!(
            "{} images of {}, checkpoint {} (step {}{}), computed in {} on {}; written to {}",
            record.num_images,
            record.dataset.display(),
            super::weights_words(&record.checkpoint, &record.beside, &record.ensemble),
            record.step,
            if record.averaged { ", moving average" } else { "" },
            record.precision,
            record.device,
            path.display()
        );
    }
    Ok(())
}
