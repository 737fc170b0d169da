//! `sonotune data agnostic`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use sonotune_coco::{CocoFile, agnostic::make_agnostic, output};

#[derive(Debug, Args)]
pub(crate) struct AgnosticArgs {
    /// COCO file.
    file: PathBuf,
    /// File to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace the output if it exists.
    #[arg(long)]
    overwrite: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &AgnosticArgs) -> Result<()> {
    output::prepare(std::slice::from_ref(&args.out), &[&args.file], args.overwrite)?;
    let mut file = CocoFile::read(&args.file)?;
    let before: Vec<String> = file.categories.iter().map(|c| c.name.clone()).collect();
    make_agnostic(&mut file);
    file.write(&args.out)?;
    let (images, objects) = (file.images.len(), file.annotations.len());
    let report = serde_json::json!({ "out": args.out, "images": images, "objects": objects,
                                     "categories_before": before });
    crate::present(args.json, &report, |_| {
        println!(
            "wrote {}: {images} images, {objects} objects of the category object instead of {}",
            args.out.display(),
            before.join(", ")
        );
    })
}
