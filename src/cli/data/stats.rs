//! `sonotune data stats`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use indicatif::ProgressBar;

use sonotune_audit::statistics::{PictureOptions, survey};
use sonotune_base::Error;
use sonotune_run::config;

use crate::progress::Busy;

#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Config file; only `[dataset]` and `[preprocess]` are used.
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    /// Overrides, e.g. `dataset.root=data/other`.
    #[arg(value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Folder for pictures: class balance, sizes, where objects are, random images with their masks.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Number of random images on each sheet.
    #[arg(long, value_name = "COUNT", default_value_t = 12)]
    samples: usize,
    /// Random seed for choosing the images to draw.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Overwrite the pictures in a folder that is not empty.
    #[arg(long)]
    overwrite: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &StatsArgs) -> Result<()> {
    let config = config::load(&args.config, &args.overrides)?.config;
    if let Some(folder) = args.out.as_deref().filter(|_| !args.overwrite) {
        ensure_empty(folder)?;
    }
    let decode = config.preprocess.decode_options();
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    let survey = survey(config.dataset()?, decode, &|| {
        bar.inc(1);
        bar.set_message(format!("{} images", bar.position()));
    });
    bar.finish_and_clear();
    for split in &survey.splits {
        let findings = &split.details.audit.findings;
        if split.counts.num_images == 0 && findings.has_faults() {
            let reason = findings.first().map(ToString::to_string).unwrap_or_default();
            return Err(Error::data(format!("split {}: {reason}", split.split)).into());
        }
    }
    let options = PictureOptions { decode, seed: args.seed, samples: args.samples };
    let write = |folder: &PathBuf| survey.write_pictures(folder, options);
    let busy = args.out.as_ref().map(|_| Busy::new("drawing"));
    let pictures = args.out.as_ref().map(write).transpose()?.unwrap_or_default();
    drop(busy);
    if args.json {
        let report = serde_json::json!({ "splits": survey.splits, "pictures": pictures });
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    print!("{survey}");
    if let Some(folder) = &args.out {
        println!("\n{} pictures in {}", pictures.len(), folder.display());
    }
    Ok(())
}

fn ensure_empty(folder: &Path) -> Result<()> {
    let holds_something =
        std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if holds_something {
        let message = format!(
            "{} exists and is not empty: choose another folder, or pass --overwrite",
            folder.display()
        );
        return Err(Error::config(message).into());
    }
    Ok(())
}
