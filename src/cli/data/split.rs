//! `sonotune data split`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use sonotune_coco::split::{self, SplitOptions, SplitReport};

use sonotune_base::words::{counted, listed};
use sonotune_metrics::table::grid;

use crate::progress::Busy;

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
    /// Keep images with equal values of this key of their entries together, e.g. `case_id`.
    #[arg(long, value_name = "KEY", conflicts_with = "by")]
    group_by: Option<String>,
    /// What to do about images that are there twice under different names.
    #[arg(long, value_enum, default_value_t = Copies::Report)]
    duplicates: Copies,
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
    /// Images of a patient (`patient`, `patient_id`, `subject`, …); else of a clip; else frames of a file; else single images.
    Auto,
    /// Images of a patient; every image must name its patient.
    Patient,
    /// Images of a clip; every image must name its clip.
    Clip,
    /// Every image on its own, as US-43d was split: neighbouring frames may be separated.
    Image,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Copies {
    /// Say which identical files are in different splits.
    Report,
    /// Keep images with the same pixels together; decodes every image.
    Identical,
    /// Also keep images together that are nearly the same, as `data duplicates` finds them.
    Near,
    /// Do not look at the images.
    Ignore,
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
            group_by: self.group_by.clone(),
            copies: match self.duplicates {
                Copies::Report => split::Copies::Report,
                Copies::Identical => split::Copies::Identical,
                Copies::Near => split::Copies::Near,
                Copies::Ignore => split::Copies::Ignore,
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
    let busy = Busy::new("splitting");
    let report = split::split_file(&args.file, args.out.as_deref(), &options, args.overwrite)?;
    drop(busy);
    if args.json {
        let report = serde_json::json!({ "report": report, "options": options });
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report, &options);
    }
    Ok(())
}

fn print(report: &SplitReport, options: &SplitOptions) {
    let mut header: Vec<String> = ["split", "images", "groups"].map(str::to_owned).into();
    header.extend(report.categories.iter().cloned());
    let row = |part: &split::PartSummary| {
        let mut row = vec![part.name.clone(), part.images.to_string(), part.groups.to_string()];
        row.extend(part.objects.iter().map(ToString::to_string));
        row
    };
    print!("{}", grid(&header, report.parts.iter().map(row).collect()));
    println!("kept together: {}", kept_together(report, options));
    print_keys(report);
    print_copies(report, options);
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

fn kept_together(report: &SplitReport, options: &SplitOptions) -> String {
    let units = &report.units;
    let by =
        |keys: &[String]| format!(" (by {})", listed(keys.iter().map(|k| format!("`{k}`")), 5));
    let patients = match &report.patient_keys[..] {
        [] => "patients".to_owned(),
        keys => format!("patients{}", by(keys)),
    };
    let values = options.group_by.as_ref().map(|key| format!("values of `{key}`"));
    let counts = [
        (units.keys, values.unwrap_or_default()),
        (units.patients, patients),
        (units.clips, "clips".to_owned()),
        (units.files, "files of frames".to_owned()),
        (units.images, "single images".to_owned()),
    ];
    let counts = counts.iter().filter(|c| c.0 > 0).map(|(n, what)| format!("{n} {what}"));
    counts.collect::<Vec<_>>().join(", ")
}

fn print_keys(report: &SplitReport) {
    if report.without_patient > 0 {
        let images = counted(report.without_patient, "image");
        println!("patient unknown: {images}, kept together only by clip or file, if at all");
    }
    for key in &report.candidate_keys {
        println!("not used: images share values of `{key}`; --group-by {key} keeps them together");
    }
}

fn print_copies(report: &SplitReport, options: &SplitOptions) {
    let like = match options.copies {
        split::Copies::Identical => "with the same pixels",
        split::Copies::Near => "that look alike",
        split::Copies::Report | split::Copies::Ignore => "",
    };
    if !like.is_empty() && report.copies > 0 {
        println!("also kept together: {} of images {like}", counted(report.copies, "set"));
    }
    if let Some(first) = report.parted.first() {
        println!(
            "in different splits: {} of identical images, such as {}; --duplicates identical keeps \
             them together",
            counted(report.parted.len(), "set"),
            listed(first, 3)
        );
    }
    if let Some(first) = report.unreadable.first() {
        let images = counted(report.unreadable.len(), "image");
        println!("not compared: {images} that cannot be read; {first}");
    }
}
