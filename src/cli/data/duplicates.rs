//! `sonotune data duplicates`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sonotune_audit::print::{MAX_DISTANCE, Turn};
use sonotune_coco::duplicates::{DuplicateOptions, DuplicateReport, Group, Sources, find};

#[derive(Debug, Args)]
pub(crate) struct DuplicatesArgs {
    /// COCO files (their images are compared), or folders with images.
    #[arg(required = true, value_name = "FILE|FOLDER")]
    inputs: Vec<PathBuf>,
    /// Number of bits in which the perceptual hashes of near duplicates may differ.
    #[arg(long, default_value_t = DuplicateOptions::default().distance,
          value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_DISTANCE)))]
    distance: u32,
    /// Only groups that span several splits or datasets.
    #[arg(long)]
    across: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DuplicatesArgs) -> Result<()> {
    let sources = Sources::collect(&args.inputs)?;
    let options = DuplicateOptions {
        distance: args.distance,
        across: args.across,
        ..DuplicateOptions::default()
    };
    // Draws on standard error, and only when that is a terminal.
    let bar = ProgressBar::new(sources.files.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} images, {per_sec}, {eta}")
    {
        bar.set_style(style);
    }
    let report = find(&sources, &options, &|| bar.inc(1));
    bar.finish_and_clear();
    let report = report?;
    let json = serde_json::json!({ "report": report, "options": options });
    crate::present(args.json, &json, |_| print(&report))
}

fn print(report: &DuplicateReport) {
    for group in &report.groups {
        print_group(group);
    }
    for note in &report.notes {
        println!("note: {note}");
    }
    for reason in &report.unreadable {
        println!("not compared: {reason}");
    }
    println!(
        "{} images: {} groups of duplicates, {} of them across splits, {} across datasets",
        report.images, report.num_groups, report.num_across_splits, report.num_across_datasets
    );
}

fn print_group(group: &Group) {
    let kind = if group.exact { "exact" } else { "near" };
    let mut spans = String::new();
    for (what, names) in [("datasets", &group.datasets), ("splits", &group.splits)] {
        if names.len() > 1 {
            spans += &format!(", across the {what} {}", names.join(" and "));
        }
    }
    println!("{kind}, {} images{spans}:", group.members.len());
    for member in &group.members {
        let split = member.split.as_ref().map(|name| format!(" in {name}")).unwrap_or_default();
        let how = match (member.pixels, member.turn) {
            (0, _) => String::new(),
            (_, Turn::None) => format!(", {} bits", member.distance),
            (_, turn) => format!(", {}, {} bits", turn.name(), member.distance),
        };
        println!("  {}{split}{how}", member.path.display());
    }
}
