//! `sonotune data`.

use anyhow::Result;
use clap::Subcommand;

mod agnostic;
mod check;
mod convert;
mod deidentify;
mod duplicates;
mod export;
mod filter;
mod merge;
mod phantom;
mod split;
mod stats;
mod us43d;

#[derive(Debug, Subcommand)]
pub(super) enum DataVerb {
    /// Copy a COCO file with all categories replaced by one, `object`.
    Agnostic(agnostic::AgnosticArgs),
    /// Find everything that is wrong with a dataset: files, annotations, masks, duplicates, leaks
    /// between splits.
    Check(check::CheckArgs),
    /// Convert a raw dataset to COCO, as its spec describes it.
    Convert(convert::ConvertArgs),
    /// Copy DICOM files without the patient's identity: attributes, and text around the ultrasound.
    Deidentify(deidentify::DeidentifyArgs),
    /// Find duplicate and near-duplicate images, including mirrored or rotated ones, across splits
    /// and datasets.
    Duplicates(duplicates::DuplicatesArgs),
    /// Write a classification list from a COCO file: one line `path label` per image.
    Export(export::ExportArgs),
    /// Copy a COCO file without small objects, or without some datasets, organs or categories.
    Filter(filter::FilterArgs),
    /// Merge several COCO files into one, with file names relative to a common parent folder.
    Merge(merge::MergeArgs),
    /// Generate synthetic ultrasound images with lesions, as COCO and as list files.
    Phantom(phantom::PhantomArgs),
    /// Split a COCO file into training, validation and test, or into folds, by patient or clip.
    Split(split::SplitArgs),
    /// Describe a dataset: sizes, classes, pixel values, areas, with pictures.
    Stats(stats::StatsArgs),
    /// Convert the US-43d datasets that are downloaded, and merge them into training,
    /// validation and test files.
    #[command(name = "us43d")]
    Us43d(us43d::Us43dArgs),
}

pub(super) fn run(verb: DataVerb) -> Result<()> {
    match verb {
        DataVerb::Agnostic(args) => agnostic::run(&args),
        DataVerb::Check(args) => check::run(&args),
        DataVerb::Convert(args) => convert::run(&args),
        DataVerb::Deidentify(args) => deidentify::run(&args),
        DataVerb::Duplicates(args) => duplicates::run(&args),
        DataVerb::Export(args) => export::run(&args),
        DataVerb::Filter(args) => filter::run(&args),
        DataVerb::Merge(args) => merge::run(&args),
        DataVerb::Phantom(args) => phantom::run(&args),
        DataVerb::Split(args) => split::run(&args),
        DataVerb::Stats(args) => stats::run(&args),
        DataVerb::Us43d(args) => us43d::run(&args),
    }
}
