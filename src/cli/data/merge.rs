//! `sonotune data merge`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use sonotune_coco::{
    merge::{self, Categories, MergeReport},
    output,
};

use sonotune_metrics::table::grid;

use crate::progress::Busy;

#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// COCO files, each `SET/annotations/x.json` with its images in `SET/images`.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// File to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Folder above all images; file names become relative to it [default: the output's folder]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// When to treat categories of two files as the same.
    #[arg(long, value_enum, default_value_t = Categories::Union)]
    categories: Categories,
    /// Replace the output if it exists.
    #[arg(long)]
    overwrite: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &MergeArgs) -> Result<()> {
    let inputs: Vec<&Path> = args.files.iter().map(PathBuf::as_path).collect();
    output::prepare(std::slice::from_ref(&args.out), &inputs, args.overwrite)?;
    let root = args.root.as_deref().unwrap_or_else(|| merge::default_root(&args.out));
    let busy = Busy::new("merging");
    let (file, report) = merge::merge(&args.files, root, args.categories)?;
    file.write(&args.out)?;
    drop(busy);
    let json = serde_json::json!({ "report": report, "out": args.out });
    crate::present(args.json, &json, |_| print(&report, &args.out))
}

fn print(report: &MergeReport, out: &Path) {
    let header = ["dataset", "images", "objects"].map(str::to_owned);
    let row = |dataset: &str, images: usize, objects: usize| {
        vec![dataset.to_owned(), images.to_string(), objects.to_string()]
    };
    let mut rows: Vec<_> =
        report.sources.iter().map(|s| row(&s.dataset, s.images, s.objects)).collect();
    rows.push(row("total", report.images, report.objects));
    print!("{}", grid(&header, rows));
    for note in &report.notes {
        println!("note: {note}; the merged file has the names of this disk");
    }
    for conflict in &report.conflicts {
        println!("kept the first: {conflict}");
    }
    for similar in &report.similar {
        println!(
            "kept as two categories: {similar}; if they are one, give them the same name first \
             (`sonotune data filter --rename`)"
        );
    }
    if !report.left_out.is_empty() {
        println!("left out because it is specific to each file: {}", report.left_out.join(", "));
    }
    println!("wrote {} with {} categories", out.display(), report.categories.len());
}
