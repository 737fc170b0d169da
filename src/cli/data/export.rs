//! `sonotune data export`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use sonotune_coco::{
    CocoFile,
    export::{self, ExportOptions, ExportReport, Mixed},
    output,
};

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// COCO file.
    file: PathBuf,
    /// What to write.
    #[arg(long, value_enum, default_value_t = Format::List)]
    format: Format,
    /// File to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Label for an image whose objects differ in class.
    #[arg(long, value_enum, default_value_t = Mixed::Fail)]
    mixed: Mixed,
    /// Use class names as labels instead of indices from 0.
    #[arg(long)]
    names: bool,
    /// Text to put before each file name, e.g. `images/`.
    #[arg(long, default_value = "")]
    prefix: String,
    /// Replace the output if it exists.
    #[arg(long)]
    overwrite: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// One line `path label` per image, as `type = "list_file"` reads it.
    List,
}

pub(super) fn run(args: &ExportArgs) -> Result<()> {
    let Format::List = args.format;
    output::prepare(std::slice::from_ref(&args.out), &[&args.file], args.overwrite)?;
    let (names, prefix) = (args.names, args.prefix.clone());
    let options = ExportOptions { mixed: args.mixed, names, prefix };
    let file = CocoFile::read(&args.file)?;
    let written = export::write_list(&file, &args.out, &options);
    let report = written.with_context(|| args.file.display().to_string())?;
    let json = serde_json::json!({ "report": report, "out": args.out });
    crate::present(args.json, &json, |_| {
        print(&report);
        println!("wrote {}", args.out.display());
    })
}

fn print(report: &ExportReport) {
    println!("{} images", report.images);
    for (label, (name, images)) in report.classes.iter().enumerate() {
        println!("  {label} {name}: {images}");
    }
    if report.mixed > 0 {
        println!("{} images with objects of several classes", report.mixed);
    }
    if report.without_objects > 0 {
        println!("left out {} images without objects", report.without_objects);
    }
}
