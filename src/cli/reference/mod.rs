//! `sonotune reference`: the pages of the book that say what this program takes, printed from the program itself.

mod commands;
mod exit_codes;
mod keys;
mod markdown;

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use serde_json::json;

use sonotune_base::fs::atomic_write;
use sonotune_run::config::RunConfig;
use sonotune_study::StudyConfig;

#[derive(Debug, Args)]
pub(super) struct ReferenceArgs {
    /// Folder to write the pages to.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Print the names of the files as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ReferenceArgs) -> Result<()> {
    let folder = &args.folder;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut files = Vec::new();
    for (name, text) in pages() {
        let path = folder.join(name);
        atomic_write(&path, text.as_bytes())?;
        files.push(path);
    }
    super::present(args.json, &json!({ "files": files }), |_| {
        files.iter().for_each(|file| println!("{}", file.display()));
    })
}

/// Each page with its file name.
fn pages() -> [(&'static str, String); 4] {
    [
        ("config-keys.md", keys::page::<RunConfig>(&keys::RUN)),
        ("study-keys.md", keys::page::<StudyConfig>(&keys::STUDY)),
        ("command-line.md", commands::page(super::Cli::command())),
        ("exit-codes.md", exit_codes::page()),
    ]
}
