//! `cargo xtask book`: docs/ as a book, with the reference that the program prints.
//!
//! The sources are put together in `target/book/src`: the pages of `docs/`, the README, and what `sonotune reference`
//! writes. mdBook makes the pages; then every link among them is followed.

mod links;
mod mdbook;
mod source;

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::{package, process, setup, workspace};

#[derive(Debug, clap::Args)]
pub(crate) struct BookArgs {
    /// A `sonotune` to print the reference with, instead of building one.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Folder of the book; what was there before is replaced.
    #[arg(long, value_name = "FOLDER", default_value = "target/book")]
    out: PathBuf,
}

pub(crate) fn run(args: &BookArgs) -> Result<()> {
    // Fails soon if it cannot be had.
    let mdbook = mdbook::find_or_install()?;
    let binary = match &args.binary {
        Some(binary) => std::path::absolute(binary).context("--binary")?,
        None => {
            setup::ensure_libtorch()?;
            package::build(&["build", "--bin", "sonotune"])?
        }
    };
    let out = workspace::root().join(&args.out);
    let (pages, html) = (out.join("src"), out.join("html"));
    for folder in [&pages, &html] {
        workspace::clear(folder)?;
    }
    source::collect(&workspace::root(), &pages)?;
    let mut reference = Command::new(binary);
    process::output(reference.arg("reference").arg(pages.join("reference")))?;
    for name in ["book.toml", "book.css"] {
        let from = workspace::root().join("docs/book").join(name);
        fs::copy(&from, out.join(name))
            .with_context(|| format!("cannot copy {}", from.display()))?;
    }
    process::run(Command::new(mdbook).arg("build").arg(&out))?;
    let number = links::check(&html)?;
    println!("{}: {number} links followed", workspace::shown(&html.join("index.html")));
    Ok(())
}
