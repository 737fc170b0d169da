//! `sonotune data check`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use indicatif::ProgressBar;

use crate::{
    Error, config,
    data::check::{self, DatasetCheck, Finding},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct CheckArgs {
    /// Config file; of it, `[dataset]` and `[preprocess]` matter.
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    /// Overrides, e.g. `dataset.root=data/other`.
    #[arg(value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Only look whether images exist, do not decode them.
    #[arg(long)]
    quick: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &CheckArgs) -> Result<()> {
    let config = config::load(&args.config, &args.overrides)?.config;
    let decode = (!args.quick).then(|| config.preprocess.decode_options());
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    let found = check::check(&*config.dataset, decode, &|| {
        bar.inc(1);
        bar.set_message(format!("{} images", bar.position()));
    });
    bar.finish_and_clear();
    let found = found?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&found)?);
    } else {
        print_text(&found, args.quick);
    }
    match found.num_faults() {
        0 => Ok(()),
        count => Err(Error::data(format!("{count} of the images cannot be used")).into()),
    }
}

fn print_text(found: &DatasetCheck, quick: bool) {
    for split in &found.splits {
        print!("{}: {}", split.split, split.statistics);
        print_findings("FAULT", &split.faults);
        print_findings("doubt", &split.doubts);
    }
    print_findings("doubt", &found.shared_images);
    if found.num_faults() == 0 {
        println!("every image {}", if quick { "exists" } else { "can be used" });
    }
}

fn print_findings(kind: &str, findings: &[Finding]) {
    for Finding { count, what, first } in findings {
        println!("  {kind}: {count} × {what}; the first: {first}");
    }
}
