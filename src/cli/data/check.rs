//! `sonotune data check`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use indicatif::ProgressBar;
use sonotune_base::words::counted;

use sonotune_audit::check::{self, CheckOptions, DatasetCheck};
use sonotune_base::Error;
use sonotune_dataset::TargetNeeds;
use sonotune_run::config;

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Config file; only `[dataset]`, `[preprocess]` and what the task learns from are used.
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    /// Overrides, e.g. `dataset.root=data/other`.
    #[arg(value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Check files and annotations only; do not decode images.
    #[arg(long)]
    quick: bool,
    /// Exit with code 3 if there are doubts, even without faults.
    #[arg(long)]
    strict: bool,
    /// Number of bits (of 63) in which perceptual hashes of near duplicates may differ, 0 to 10.
    #[arg(long, value_name = "BITS", default_value_t = CheckOptions::new(None).distance)]
    distance: u32,
    /// How many times more frequent than another a class may be.
    #[arg(long, value_name = "TIMES", default_value_t = CheckOptions::new(None).max_ratio)]
    max_ratio: f64,
    /// Number of examples of each kind to print; JSON has all.
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    examples: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &CheckArgs) -> Result<()> {
    let config = config::load(&args.config, &args.overrides)?.config;
    let options = CheckOptions {
        decode: (!args.quick).then(|| config.preprocess.decode_options()),
        distance: args.distance,
        max_ratio: args.max_ratio,
        masks: config.task.learns_from() == Some(TargetNeeds::Masks)
            && !config.train.allow_boxes_as_masks,
    };
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    let found = check::check(config.dataset()?, options, &|| {
        bar.inc(1);
        bar.set_message(format!("{} images", bar.position()));
    });
    bar.finish_and_clear();
    let found = found?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&found)?);
    } else {
        print!("{}", found.text(args.examples));
        if found.num_faults + found.num_doubts == 0 {
            let looked = if args.quick { ", which were not decoded" } else { "" };
            println!("nothing found in {}{looked}", counted(found.num_images, "image"));
        }
    }
    verdict(&found, args.strict)
}

fn verdict(found: &DatasetCheck, strict: bool) -> Result<()> {
    let DatasetCheck { num_images, num_faults, num_doubts, .. } = found;
    let (faults, doubts) = (counted(*num_faults, "fault"), counted(*num_doubts, "doubt"));
    let counts = format!("{faults} and {doubts} in {}", counted(*num_images, "image"));
    if *num_faults > 0 {
        return Err(Error::data(format!("{counts}: fix these before training")).into());
    }
    if strict && *num_doubts > 0 {
        return Err(Error::data(format!("{counts}; with --strict, doubts are errors")).into());
    }
    Ok(())
}
