//! `sonotune config copy`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use sonotune_base::words::counted;
use sonotune_shipped::{Existing, copy};

#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// Folder in which the folder `configs` is created or completed.
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Replace files of the same name with another text.
    #[arg(long)]
    overwrite: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CopyArgs) -> Result<()> {
    let existing = if args.overwrite { Existing::Overwrite } else { Existing::Refuse };
    let copied = copy(&args.folder, existing)?;
    crate::present(args.json, &copied, |copied| {
        let unchanged = match copied.unchanged {
            0 => String::new(),
            number => format!(", {number} of them there already"),
        };
        println!(
            "{}: {}{unchanged}",
            copied.folder.display(),
            counted(copied.files.len(), "config")
        );
    })
}
