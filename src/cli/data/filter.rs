//! `sonotune data filter`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use sonotune_coco::{
    CocoFile,
    filter::{self, FilterOptions, FilterReport, Rename},
    output,
};

#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// COCO file.
    file: PathBuf,
    /// File to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Leave out objects with fewer pixels.
    #[arg(long, value_name = "PIXELS")]
    min_area: Option<f64>,
    /// Leave out objects smaller than this share of the largest in their image. 0.95 reproduces
    /// US-43d's test file of MMOTU-2D; 0.05 is what was intended there.
    #[arg(long, value_name = "SHARE")]
    min_relative_area: Option<f64>,
    /// Leave out images whose dataset, application or file name matches; `*` matches anything.
    #[arg(long, value_name = "PATTERN", num_args = 1..)]
    exclude: Vec<String>,
    /// Keep only images whose dataset, application or file name matches.
    #[arg(long, value_name = "PATTERN", num_args = 1..)]
    only: Vec<String>,
    /// Give a category another name; categories that then have the same name become one.
    #[arg(long, value_name = "OLD=NEW", num_args = 1..)]
    rename: Vec<Rename>,
    /// Keep only objects of categories that match.
    #[arg(long, value_name = "PATTERN", num_args = 1..)]
    category: Vec<String>,
    /// Leave out images without objects.
    #[arg(long)]
    drop_empty: bool,
    /// Replace the output if it exists.
    #[arg(long)]
    overwrite: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &FilterArgs) -> Result<()> {
    output::prepare(std::slice::from_ref(&args.out), &[&args.file], args.overwrite)?;
    let options = FilterOptions {
        min_area: args.min_area,
        min_relative_area: args.min_relative_area,
        exclude: args.exclude.clone(),
        only: args.only.clone(),
        rename: args.rename.clone(),
        category: args.category.clone(),
        drop_empty: args.drop_empty,
    };
    let mut file = CocoFile::read(&args.file)?;
    let filtered = filter::filter(&mut file, &options);
    let report = filtered.with_context(|| args.file.display().to_string())?;
    file.write(&args.out)?;
    let json = serde_json::json!({ "report": report, "options": options, "out": args.out });
    crate::present(args.json, &json, |_| {
        print(&report);
        println!("wrote {}", args.out.display());
    })
}

fn print(report: &FilterReport) {
    println!("kept {} images, {} objects", report.images, report.objects);
    let left_out = [
        (report.images_by_name, "images by dataset, application or file name"),
        (report.objects_by_name, "objects of those images"),
        (report.objects_by_category, "objects by category"),
        (report.objects_by_relative_area, "objects small compared with the largest in their image"),
        (report.objects_by_area, "objects with too few pixels"),
        (report.images_empty, "images without objects"),
    ];
    for (count, what) in left_out.iter().filter(|l| l.0 > 0) {
        println!("left out {count} {what}");
    }
}
