//! `sonotune list`.

use anyhow::Result;
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ListArgs) -> Result<()> {
    let _ = args.json;
    Ok(())
}
