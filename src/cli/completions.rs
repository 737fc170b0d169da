//! `sonotune completions` and `sonotune man`: what shells and `man` read about the command line.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::{Arg, Args, Command, CommandFactory, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;
use serde::Serialize;

use sonotune_base::{Error, fs::atomic_write, words::counted};

/// Name of the program, as users type it.
const PROGRAM: &str = "sonotune";

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell that will read the script.
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Folder for the pages, such as ~/.local/share/man/man1; created if absent.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Replace pages that are there already.
    #[arg(long)]
    overwrite: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The pages that were written.
#[derive(Debug, Serialize)]
struct Pages {
    folder: PathBuf,
    pages: Vec<String>,
}

/// Prints the script.
pub(super) fn run(args: &CompletionsArgs) {
    // Written to memory first: clap_complete panics if the reader of a pipe has gone.
    let mut script = Vec::new();
    let mut program = hinted(crate::Cli::command());
    clap_complete::generate(args.shell, &mut program, PROGRAM, &mut script);
    print!("{}", String::from_utf8_lossy(&script));
}

/// The command, its arguments marked as files or folders by what `--help` calls them.
fn hinted(command: Command) -> Command {
    command.mut_args(with_hint).mut_subcommands(hinted)
}

fn with_hint(arg: Arg) -> Arg {
    // A switch takes no value, but has its own name as one: `--study`.
    if !arg.get_action().takes_values() {
        return arg;
    }
    let called = |names: &[&str]| {
        let mut values = arg.get_value_names().into_iter().flatten();
        values.any(|value| names.contains(&value.as_str()))
    };
    if called(&["FILE", "CONFIG", "STUDY", "GT", "DT", "COCO.json"]) {
        arg.value_hint(ValueHint::FilePath)
    } else if called(&["RUN_DIR", "DIR", "FOLDER"]) {
        arg.value_hint(ValueHint::DirPath)
    } else {
        // Paths of either kind are known as such by their type.
        arg
    }
}

/// Writes a page for each verb and sub-verb.
pub(super) fn man(args: &ManArgs) -> Result<()> {
    let mut all = Vec::new();
    let mut program = crate::Cli::command().disable_help_subcommand(true);
    program.build();
    render(&program, &mut all)?;
    if !args.overwrite {
        refuse_existing(&args.folder, &all)?;
    }
    fs::create_dir_all(&args.folder)
        .with_context(|| format!("cannot create the folder {}", args.folder.display()))?;
    for (name, page) in &all {
        atomic_write(&args.folder.join(name), page)?;
    }
    let pages = all.into_iter().map(|(name, _)| name).collect();
    let written = Pages { folder: args.folder.clone(), pages };
    crate::present(args.json, &written, |Pages { folder, pages }| {
        println!("{} in {}", counted(pages.len(), "page"), folder.display());
    })
}

/// The page of a command, then those of the commands below it, each with its file's name.
fn render(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let man = Man::new(command.clone())
        .source(concat!("Sonotune ", env!("CARGO_PKG_VERSION")))
        .manual("Sonotune");
    let mut page = Vec::new();
    man.render(&mut page)?;
    pages.push((man.get_filename(), page));
    command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
        .try_for_each(|below| render(below, pages))
}

fn refuse_existing(folder: &Path, pages: &[(String, Vec<u8>)]) -> Result<()> {
    let existing = pages.iter().map(|(name, _)| folder.join(name)).find(|page| page.exists());
    match existing {
        None => Ok(()),
        Some(page) => Err(Error::config(format!(
            "{} already exists: choose another folder, or pass --overwrite to replace the pages",
            page.display()
        ))
        .into()),
    }
}
