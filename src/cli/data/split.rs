//! `sonotune data split`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use sonotune_curation::split::{self, SplitOptions, SplitReport};

use sonotune_metrics::table::grid;

#[derive(Debug, Args)]
pub(crate) struct SplitArgs {
    /// COCO file to split, e.g. `SET/annotations/all.json`.
    file: PathBuf,
    /// Folder for train.json, val.json and test.json, or fold0, fold1, … [default: the folder of FILE].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Share of images for validation.
    #[arg(long, default_value_t = SplitOptions::default().val, conflicts_with = "folds")]
    val: f64,
    /// Share of images for test, in addition to an official test set.
    #[arg(long, default_value_t = SplitOptions::default().test)]
    test: f64,
    /// Make this many folds instead of one validation split.
    #[arg(long, value_name = "K")]
    folds: Option<usize>,
    /// What stays together in one split.
    #[arg(long, value_enum, default_value_t = By::Auto)]
    by: By,
    /// Random seed: the same seed and options give the same split.
    #[arg(long, default_value_t = SplitOptions::default().seed)]
    seed: u64,
    /// What to do with the split that the dataset's authors published.
    #[arg(long, value_enum, default_value_t = Official::Keep)]
    official: Official,
    /// Give each category the same share of its objects in every split.
    #[arg(long)]
    stratify: bool,
    /// Replace split files that exist.
    #[arg(long)]
    overwrite: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum By {
    /// Images of a patient; else of a clip; else frames of a file; else single images.
    Auto,
    /// Images of a patient; every image must name its patient.
    Patient,
    /// Images of a clip; every image must name its clip.
    Clip,
    /// Every image on its own, as US-43d was split: neighbouring frames may be separated.
    Image,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Official {
    /// Official test and validation images stay in their splits.
    Keep,
    /// All images are split again.
    Ignore,
}

impl SplitArgs {
    fn options(&self) -> SplitOptions {
        SplitOptions {
            val: self.val,
            test: self.test,
            folds: self.folds,
            by: match self.by {
                By::Auto => split::By::Auto,
                By::Patient => split::By::Patient,
                By::Clip => split::By::Clip,
                By::Image => split::By::Image,
            },
            seed: self.seed,
            official: match self.official {
                Official::Keep => split::Official::Keep,
                Official::Ignore => split::Official::Ignore,
            },
            stratify: self.stratify,
        }
    }
}

pub(super) fn run(args: &SplitArgs) -> Result<()> {
    let options = args.options();
    let report = split::split_file(&args.file, args.out.as_deref(), &options, args.overwrite)?;
    if args.json {
        let report = serde_json::json!({ "report": report, "options": options });
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

fn print(report: &SplitReport) {
    let mut header: Vec<String> = ["split", "images", "groups"].map(str::to_owned).into();
    header.extend(report.categories.iter().cloned());
    let row = |part: &split::PartSummary| {
        let mut row = vec![part.name.clone(), part.images.to_string(), part.groups.to_string()];
        row.extend(part.objects.iter().map(ToString::to_string));
        row
    };
    print!("{}", grid(&header, report.parts.iter().map(row).collect()));
    let units = &report.units;
    let counts = [
        (units.patients, "patients"),
        (units.clips, "clips"),
        (units.files, "files of frames"),
        (units.images, "single images"),
    ];
    let counts: Vec<_> =
        counts.iter().filter(|c| c.0 > 0).map(|(n, what)| format!("{n} {what}")).collect();
    println!("kept together: {}", counts.join(", "));
    for absence in &report.absences {
        let from = absence.missing_from.join(", ");
        println!("not in {from}: {} ({})", absence.category, absence.reason);
    }
    for file in &report.stale {
        println!("belongs to another split, left as it is: {}", file.display());
    }
    for file in &report.files {
        println!("wrote {}", file.display());
    }
}
