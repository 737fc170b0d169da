//! Builds the files that UltraSam is trained on from a folder of downloads.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use sonotune_base::{Error, stop::StopFlag};

use super::{Shipped, shipped};
use crate::{
    convert::{Options, Progress, convert},
    spec::{Access, Choice, Spec},
};
use sonotune_coco::{
    CocoFile,
    agnostic::make_agnostic,
    filter::{FilterOptions, filter},
    merge::{Categories, merge},
    split::{By, Official, SplitOptions, split_file},
};

/// How to build.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// Slugs of the datasets to include; all if empty.
    pub only: Vec<String>,
    /// Slugs of datasets to leave out.
    pub exclude: Vec<String>,
    /// Which of the reference's defects to reproduce, in every spec that has them.
    pub choice: Choice,
    /// Options of each conversion.
    pub convert: Options,
    /// Share of images in validation.
    pub val: f64,
    /// What to keep together in one split.
    pub by: By,
    /// Seed of the splits.
    pub seed: u64,
    /// Objects smaller than this share of the largest in their image are left out of the merged
    /// files.
    pub min_relative_area: f64,
}

/// The state of one dataset.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Name of its spec.
    pub slug: &'static str,
    /// Folder of its conversion.
    pub name: String,
    /// Organ or use.
    pub application: String,
    /// Where to download it.
    pub url: String,
    /// Terms of use.
    pub licence: String,
    /// What is required to download it.
    pub access: Access,
    /// File or folder names under which its download is looked up.
    pub expected: Vec<String>,
    /// The download, if found.
    pub source: Option<PathBuf>,
    /// Number of images after conversion.
    pub images: usize,
    /// Number of objects after conversion.
    pub masks: usize,
    /// Number of images and masks left out because of problems.
    pub problems: usize,
    /// A remark about its splits.
    pub note: Option<String>,
    /// Why its conversion failed.
    pub error: Option<String>,
}

/// A merged file.
#[derive(Debug, Clone, Serialize)]
pub struct MergedFile {
    pub file: PathBuf,
    pub images: usize,
    pub objects: usize,
    /// Number of objects left out as too small relative to the largest in their image.
    pub small: usize,
}

/// The result of [`build`].
#[derive(Debug, Clone, Serialize)]
pub struct Built {
    /// All requested datasets, including missing ones.
    pub datasets: Vec<Row>,
    /// The merged files.
    pub merged: Vec<MergedFile>,
    /// Pairs of converted datasets that show the same patients: an image of one may be in training
    /// while its duplicate in the other is in validation.
    pub overlaps: Vec<[String; 2]>,
}

/// Looks for the datasets that `options` request in the download folder `root`.
///
/// # Errors
/// If `root` is not a folder or a slug is unknown.
pub fn survey(root: &Path, options: &BuildOptions) -> Result<Vec<(Row, Spec)>> {
    ensure!(root.is_dir(), Error::config(format!("{}: not a folder of downloads", root.display())));
    chosen(options)?.into_iter().map(|shipped| survey_one(root, shipped, options)).collect()
}

fn survey_one(root: &Path, shipped: Shipped, options: &BuildOptions) -> Result<(Row, Spec)> {
    let spec = shipped.spec(&choice_of(shipped, &options.choice)?)?;
    let source = spec.source.iter().map(|name| root.join(name)).find(|path| path.exists());
    let row = Row {
        slug: shipped.slug,
        name: spec.name.clone(),
        application: spec.application.clone(),
        url: spec.url.clone(),
        licence: spec.licence.clone(),
        access: spec.access,
        expected: spec.source.clone(),
        source,
        images: 0,
        masks: 0,
        problems: 0,
        note: None,
        error: None,
    };
    Ok((row, spec))
}

/// The named defects that this spec has: no name applies to all 43.
fn choice_of(shipped: Shipped, choice: &Choice) -> Result<Choice> {
    let Choice::Only(names) = choice else { return Ok(choice.clone()) };
    let spec = shipped.spec(&Choice::AsIntended)?;
    let has = |name: &&String| {
        spec.defects.contains_key(*name) || *name == crate::spec::FULL_FRAME_DEFECT
    };
    Ok(Choice::Only(names.iter().filter(has).cloned().collect()))
}

fn chosen(options: &BuildOptions) -> Result<Vec<Shipped>> {
    for slug in options.only.iter().chain(&options.exclude) {
        if super::find(slug).is_none() {
            let near = super::nearest(slug);
            bail!(Error::config(format!(
                "no dataset is called `{slug}`{near}; run with --list to see all"
            )));
        }
    }
    let wanted = |slug: &str| {
        (options.only.is_empty() || options.only.iter().any(|only| only == slug))
            && !options.exclude.iter().any(|exclude| exclude == slug)
    };
    Ok(shipped().into_iter().filter(|shipped| wanted(shipped.slug)).collect())
}

/// Converts the datasets found, splits them, and merges the splits into
/// `<split>.agnostic.noSmall.coco.json` (`train`, `val`, `test`) in `out`, beside one folder per
/// dataset.
///
/// Only the datasets that the paper scores on keep their official test set; all other official
/// splits are only recorded, and their images train. A complete dataset is not converted again.
/// `told` is called with each dataset before its conversion.
///
/// # Errors
/// If no dataset is found, a dataset cannot be split, or files cannot be written. Failed conversions
/// are reported in the rows; in that case nothing is merged.
pub fn build(
    root: &Path,
    out: &Path,
    options: &BuildOptions,
    told: &dyn Fn(&Row),
    progress: &(dyn Fn(Progress) + Sync),
    stop: &StopFlag,
) -> Result<Built> {
    let mut built = Built { datasets: Vec::new(), merged: Vec::new(), overlaps: Vec::new() };
    let mut converted = Vec::new();
    let mut declared = Vec::new();
    for (mut row, spec) in survey(root, options)? {
        if let Some(source) = row.source.clone() {
            told(&row);
            let folder = out.join(&spec.name);
            std::fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
            match convert(&spec, &source, &folder, &options.convert, progress, stop) {
                Ok(done) => {
                    row.images = done.images;
                    row.masks = done.objects;
                    row.problems = done.left_out.problems.len();
                    row.note = split_one(&spec, &folder, options)?;
                    declared.extend(spec.overlaps.iter().map(|o| [spec.name.clone(), o.clone()]));
                    converted.push(folder);
                }
                // A stop is not an error of this dataset.
                Err(error) if stop.is_raised() => return Err(error),
                Err(error) => row.error = Some(format!("{error:#}")),
            }
        }
        built.datasets.push(row);
    }
    if built.datasets.iter().all(|row| row.source.is_none()) {
        bail!(Error::data(format!(
            "{}: none of the {} datasets was found; run with `--list` to see the expected names \
             and where to download them",
            root.display(),
            built.datasets.len()
        )));
    }
    let is_converted = |name: &str| built.datasets.iter().any(|r| r.name == name && r.images > 0);
    // Both datasets declare the overlap; list it once.
    declared.retain(|[name, other]| name < other && is_converted(name) && is_converted(other));
    built.overlaps = declared;
    if built.datasets.iter().all(|row| row.error.is_none()) {
        for split in ["train", "val", "test"] {
            built.merged.extend(merge_split(out, &converted, split, options)?);
        }
    }
    Ok(built)
}

/// Splits one dataset. Returns a note if the split is not as requested.
fn split_one(spec: &Spec, folder: &Path, options: &BuildOptions) -> Result<Option<String>> {
    let split = SplitOptions {
        val: options.val,
        test: 0.0,
        folds: None,
        by: options.by,
        seed: options.seed,
        official: if spec.benchmark { Official::Keep } else { Official::Ignore },
        ..SplitOptions::default()
    };
    let annotations = folder.join("annotations");
    let all = annotations.join("all.json");
    let mut note = None;
    if let Err(error) = split_file(&all, None, &split, true) {
        // The paper's test set is kept whoever is in it; only then may a patient be divided.
        if !spec.benchmark || split.by == By::Image {
            return Err(error);
        }
        let by_image = SplitOptions { by: By::Image, ..split };
        split_file(&all, None, &by_image, true)?;
        note = Some(format!("split by image: {error:#}"));
    }
    if let Some(share) = spec.test_min_relative_area {
        let test = annotations.join("test.json");
        let mut file = CocoFile::read(&test)?;
        let keep = FilterOptions { min_relative_area: Some(share), ..FilterOptions::default() };
        filter(&mut file, &keep)?;
        file.write(&test)?;
    }
    Ok(note)
}

/// `None` if no dataset has this split.
fn merge_split(
    out: &Path,
    folders: &[PathBuf],
    split: &str,
    options: &BuildOptions,
) -> Result<Option<MergedFile>> {
    let files: Vec<PathBuf> = folders
        .iter()
        .map(|folder| folder.join("annotations").join(format!("{split}.json")))
        .filter(|path| path.is_file())
        .collect();
    if files.is_empty() {
        return Ok(None);
    }
    let (mut file, _) = merge(&files, out, Categories::ByName)?;
    make_agnostic(&mut file);
    let keep = FilterOptions {
        min_relative_area: Some(options.min_relative_area),
        ..FilterOptions::default()
    };
    let report = filter(&mut file, &keep)?;
    let path = out.join(format!("{split}.agnostic.noSmall.coco.json"));
    file.write(&path)?;
    Ok(Some(MergedFile {
        file: path,
        images: file.images.len(),
        objects: file.annotations.len(),
        small: report.objects_by_relative_area,
    }))
}
