//! `sonotune report`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use sonotune_report as report;

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Folder of the run, which may still be in progress.
    #[arg(long, value_name = "RUN_DIR")]
    run: PathBuf,
    /// Print the path and size of the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ReportArgs) -> Result<()> {
    let path = report::write(&args.run)?;
    if args.json {
        let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        println!("{}", serde_json::json!({ "report": path, "bytes": bytes }));
    } else {
        println!("{}", path.display());
    }
    Ok(())
}
