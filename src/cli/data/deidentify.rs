//! `sonotune data deidentify`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use sonotune_base::{Error, stop::StopFlag};
use sonotune_deidentify::{Dates, Options, Rect, Report, deidentify};

#[derive(Debug, Args)]
pub(crate) struct DeidentifyArgs {
    /// A DICOM file, or a folder of them. It is only read.
    input: PathBuf,
    /// Folder to write to.
    out: PathBuf,
    /// Salt of an earlier run, for the same pseudonyms. Without it, a new one is written to OUT.salt.
    #[arg(long, value_name = "FILE")]
    salt: Option<PathBuf>,
    /// What to do with dates.
    #[arg(long, value_enum, default_value_t = DatesChoice::Shift)]
    dates: DatesChoice,
    /// Keep age (at most 90 years), sex, size, weight, ethnic group, smoking status and pregnancy status.
    #[arg(long)]
    keep_patient_characteristics: bool,
    /// In every file, keep this region of the picture, in pixels from the upper left corner, whatever the file says.
    #[arg(long, value_name = "X,Y,WIDTH,HEIGHT", value_parser = Rect::parse)]
    keep_region: Option<Rect>,
    /// Keep all pixels of files that do not say where the ultrasound is. Otherwise they are refused.
    #[arg(long, conflicts_with = "keep_region")]
    allow_unblacked: bool,
    /// Also write which original is which pseudonym, as CSV. The file must be outside OUT.
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// Show at most this many files on the page for checking.
    #[arg(long, value_name = "N", default_value_t = Options::default().pictures)]
    pictures: usize,
    /// Write to a folder that has files, and replace those of the same name.
    #[arg(long)]
    overwrite: bool,
    /// Write nothing; say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON. It names the originals.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DatesChoice {
    /// Move all dates of a patient back by the same number of days; times of day stay.
    Shift,
    /// Remove, empty or replace them, as the basic profile has it.
    Remove,
}

pub(super) fn run(args: &DeidentifyArgs) -> Result<()> {
    let options = Options {
        salt: args.salt.clone(),
        dates: match args.dates {
            DatesChoice::Shift => Dates::Shifted,
            DatesChoice::Remove => Dates::Removed,
        },
        keep_patient_characteristics: args.keep_patient_characteristics,
        keep_region: args.keep_region,
        allow_unblacked: args.allow_unblacked,
        mapping: args.mapping.clone(),
        pictures: args.pictures,
        overwrite: args.overwrite,
        dry_run: args.dry_run,
    };
    let stop = StopFlag::from_signals()?;
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} files, {eta}") {
        bar.set_style(style);
    }
    let tell = |done: usize, all: usize| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    };
    let report = deidentify(&args.input, &args.out, &options, &tell, &stop);
    bar.finish_and_clear();
    let report = report?;
    crate::present(args.json, &report, |report| print(report, args))?;
    if report.refused.is_empty() {
        return Ok(());
    }
    let first = &report.refused[0];
    Err(Error::data(format!(
        "{} of {} DICOM files were refused and not written, the first one {}: {}",
        report.refused.len(),
        report.refused.len() + report.files.len(),
        first.path.display(),
        first.reason
    ))
    .into())
}

fn print(report: &Report, args: &DeidentifyArgs) {
    let summary = &report.summary;
    let (verb, place) = if args.dry_run { ("would be written", "") } else { ("written", " in ") };
    let out = if args.dry_run { String::new() } else { args.out.display().to_string() };
    println!("{} files of {} patients {verb}{place}{out}", summary.written, summary.patients);
    for file in &report.files {
        let regions: Vec<String> = file.kept_regions.iter().map(ToString::to_string).collect();
        let picture = match regions.is_empty() {
            true => "no pixel made black".to_owned(),
            false => format!(
                "{:.1} % of the picture black, {} kept",
                100.0 * file.blacked_out,
                regions.join(" and ")
            ),
        };
        println!("  {}: {} attributes changed, {picture}", file.file, file.changes.len());
    }
    for left in &report.refused {
        println!("  refused: {}: {}", left.path.display(), left.reason);
    }
    for left in &report.not_copied {
        println!("  not copied: {}: {}", left.path.display(), left.reason);
    }
    println!("not looked at:");
    for what in summary.not_looked_at {
        println!("  {what}");
    }
    let beside = &report.beside;
    if let Some(page) = &beside.page {
        println!(
            "check {} before you pass files on; it shows originals, so keep it with them",
            page.display()
        );
    }
    if let Some(salt) = &beside.salt {
        println!(
            "keep {} secret and apart from the files: pseudonyms can be computed with it",
            salt.display()
        );
    }
    if let Some(mapping) = &beside.mapping {
        println!(
            "keep {} secret and apart from the files: it names the patients",
            mapping.display()
        );
    }
}
