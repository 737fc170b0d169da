//! Checks a dataset before anything is trained on it, and reports everything it finds.
//!
//! [`Audit`] is what the annotation files say, read despite their faults; each image file is then
//! decoded once, for its fingerprint, its statistics and the checks of its masks.

mod balance;
mod classes;
mod images;
mod leaks;
mod look;
mod masks;
mod objects;
mod text;
mod unlisted;

use std::collections::HashMap;

use crate::print::MAX_DISTANCE;
use anyhow::Result;
use rayon::prelude::*;
use serde::Serialize;

pub use crate::check::{
    look::{Look, PixelSums, Seen, look_at},
    text::CheckText,
};
use sonotune_base::Error;
use sonotune_base::image_io::DecodeOptions;
pub use sonotune_dataset::findings::{
    Audit, AuditedImage, AuditedObject, Code, Example, Finding, Findings, Place, Severity,
};
use sonotune_dataset::{
    DatasetConfig, Split, Statistics,
    pixels::{ImageFile, Reader},
};

/// What to look for, and how.
#[derive(Debug, Clone, Copy)]
pub struct CheckOptions {
    /// `None`: images are not decoded, only files and annotations are looked at.
    pub decode: Option<DecodeOptions>,
    /// Bits in which the perceptual hashes of near duplicates may differ, 0 to 10 of 63.
    pub distance: u32,
    /// How many times more frequent one class may be than another.
    pub max_ratio: f64,
    /// Whether the task learns masks.
    pub masks: bool,
}

impl CheckOptions {
    /// The usual limits.
    #[must_use]
    pub fn new(decode: Option<DecodeOptions>) -> Self {
        Self { decode, distance: 4, max_ratio: 100.0, masks: false }
    }
}

/// What was found in all splits of a config.
#[derive(Debug, Clone, Serialize)]
pub struct DatasetCheck {
    pub splits: Vec<SplitCheck>,
    /// What concerns several splits, or none.
    pub across: Vec<Finding>,
    /// Number of images listed in all splits together.
    pub num_images: usize,
    pub num_faults: usize,
    pub num_doubts: usize,
}

/// What was found in one split.
#[derive(Debug, Clone, Serialize)]
pub struct SplitCheck {
    pub split: Split,
    /// Counts of what could be read.
    pub statistics: Statistics,
    /// By kind, faults first.
    pub findings: Vec<Finding>,
}

impl DatasetCheck {
    /// All findings, each with its split.
    pub fn findings(&self) -> impl Iterator<Item = (Option<Split>, &Finding)> {
        let of_splits =
            self.splits.iter().flat_map(|s| s.findings.iter().map(move |f| (Some(s.split), f)));
        of_splits.chain(self.across.iter().map(|f| (None, f)))
    }
}

/// The image files of all splits, each once.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    pub(crate) looks: Vec<Look>,
    index: HashMap<ImageFile, usize>,
}

impl Looked {
    fn index(&self, image: &AuditedImage) -> Option<usize> {
        self.index.get(&image.image_file()).copied()
    }

    /// What the file of an image turned out to be.
    pub(crate) fn look(&self, image: &AuditedImage) -> Option<&Look> {
        self.index(image).map(|i| &self.looks[i])
    }
}

/// Checks every split of `config`; `progress` is called for each image file.
///
/// # Errors
/// If an option is out of range. Faults of the data are findings, not errors.
pub fn check(
    config: &dyn DatasetConfig,
    options: CheckOptions,
    progress: &(dyn Fn() + Sync),
) -> Result<DatasetCheck> {
    if options.distance > MAX_DISTANCE {
        let message = format!("--distance {}: expected 0 to {MAX_DISTANCE}", options.distance);
        return Err(Error::config(message).into());
    }
    let mut audits = audits(config);
    let mut findings: Vec<Findings> =
        audits.iter_mut().map(|(_, audit)| std::mem::take(&mut audit.findings)).collect();
    let (looked, found) = look_over(&audits, options.decode, progress);
    for (split, found) in found {
        found.into_iter().for_each(|(code, example)| findings[split].push(code, example));
    }
    for ((_, audit), findings) in audits.iter().zip(&mut findings) {
        for image in audit.images.iter().filter(|image| image.without_objects) {
            findings.add(Code::ImageWithoutObjects, audit.place(image), "it has no annotations");
        }
    }
    for ((_, audit), findings) in audits.iter().zip(&mut findings).filter(|_| options.masks) {
        masks::check(audit, findings);
    }
    let statistics: Vec<Statistics> =
        audits.iter().map(|(_, audit)| Statistics::of(&audit.dataset())).collect();
    let mut across = Findings::default();
    images::check_bits(&audits, &looked, &mut findings);
    leaks::check(&audits, &looked, options.distance, &mut findings, &mut across);
    balance::check(&audits, &statistics, options.max_ratio, &mut findings);
    classes::check(&audits, &statistics, &mut across);
    unlisted::check(&audits, &mut across);
    open_all(config, &audits, &mut findings);
    Ok(report(audits, statistics, findings, across))
}

/// Every split as far as it can be read.
pub(crate) fn audits(config: &dyn DatasetConfig) -> Vec<(Split, Audit)> {
    config.splits().into_par_iter().map(|split| (split, config.audit(split))).collect()
}

/// Findings of one file, by the index of the split that lists it.
type Found = Vec<(usize, Vec<(Code, Example)>)>;

/// Looks at each file once, and at the objects on it, in parallel.
fn look_over(
    audits: &[(Split, Audit)],
    decode: Option<DecodeOptions>,
    progress: &(dyn Fn() + Sync),
) -> (Looked, Found) {
    let (files, index) = files(audits);
    let reader = Reader::default();
    let one = |(file, users): &(ImageFile, Vec<(usize, usize)>)| {
        let look = look_at(file, &reader, decode);
        let found: Found = users
            .iter()
            .map(|&(split, image)| (split, of_image(&audits[split].1, image, &look)))
            .collect();
        progress();
        (look, found)
    };
    // One thread for all frames of a clip, which are decoded in their order.
    let (looks, found): (Vec<Look>, Vec<Found>) =
        files.par_chunk_by(same_file).flat_map_iter(|frames| frames.iter().map(one)).unzip();
    (Looked { looks, index }, found.into_iter().flatten().collect())
}

/// Whether two images are of one file.
fn same_file<T>((a, _): &(ImageFile, T), (b, _): &(ImageFile, T)) -> bool {
    a.path == b.path
}

/// Each file or frame with the images (split, position) that refer to it.
type Files = Vec<(ImageFile, Vec<(usize, usize)>)>;

fn files(audits: &[(Split, Audit)]) -> (Files, HashMap<ImageFile, usize>) {
    let mut files: Files = Vec::new();
    let mut index = HashMap::new();
    for (split, (_, audit)) in audits.iter().enumerate() {
        for (i, image) in audit.images.iter().enumerate() {
            let file = image.image_file();
            let at = *index.entry(file.clone()).or_insert_with(|| {
                files.push((file, Vec::new()));
                files.len() - 1
            });
            files[at].1.push((split, i));
        }
    }
    (files, index)
}

/// Decodes the files of all splits, without any check.
pub(crate) fn look_at_all(
    audits: &[(Split, Audit)],
    decode: DecodeOptions,
    progress: &(dyn Fn() + Sync),
) -> Looked {
    let (files, index) = files(audits);
    let reader = Reader::default();
    let look = |(file, _): &(ImageFile, Vec<(usize, usize)>)| {
        let look = look_at(file, &reader, Some(decode));
        progress();
        look
    };
    let looks = files.par_chunk_by(same_file).flat_map_iter(|frames| frames.iter().map(look));
    Looked { looks: looks.collect(), index }
}

fn of_image(audit: &Audit, position: usize, look: &Look) -> Vec<(Code, Example)> {
    let image = &audit.images[position];
    let mut found = images::check(audit, image, look);
    found.extend(images::check_spacing(audit, image));
    let decoded = match look {
        Look::Decoded(seen) => Some((seen.height, seen.width)),
        _ => None,
    };
    if let Some(size) = image.size.or(decoded) {
        found.extend(objects::check(image, size, &|object| audit.object_place(image, object)));
    }
    found
}

/// Whatever would stop a run must be a finding.
fn open_all(config: &dyn DatasetConfig, audits: &[(Split, Audit)], findings: &mut [Findings]) {
    // Other splits are opened with the training split's categories.
    let first_is_faulty = findings.first().is_some_and(Findings::has_faults);
    for ((split, audit), findings) in audits.iter().zip(findings) {
        if first_is_faulty || findings.has_faults() {
            continue;
        }
        if let Err(error) = config.open(*split) {
            let place = Place::file(&audit.source);
            findings.add(Code::CannotOpen, place, format!("{error:#}"));
        }
    }
}

fn report(
    audits: Vec<(Split, Audit)>,
    statistics: Vec<Statistics>,
    findings: Vec<Findings>,
    across: Findings,
) -> DatasetCheck {
    let num_images = audits.iter().map(|(_, audit)| audit.images.len()).sum();
    let splits = audits
        .into_iter()
        .zip(statistics)
        .zip(findings)
        .map(|(((split, _), statistics), f)| SplitCheck { split, statistics, findings: f.sorted() })
        .collect();
    let mut report =
        DatasetCheck { splits, across: across.sorted(), num_images, num_faults: 0, num_doubts: 0 };
    let sum = |severity| {
        report
            .findings()
            .filter(|(_, f)| f.severity == severity)
            .map(|(_, f)| f.count)
            .sum::<usize>()
    };
    (report.num_faults, report.num_doubts) = (sum(Severity::Fault), sum(Severity::Doubt));
    report
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Instant;

    use super::*;
    use sonotune_base::image_io::decode_file;
    use sonotune_phantom::{Kind, PhantomConfig, generate};

    fn phantoms(folder: &Path, config: &PhantomConfig) -> Box<dyn DatasetConfig> {
        let out = folder.join("set");
        generate(config, &out, true, &|_| ()).unwrap();
        let table = serde_json::json!({ "type": "coco", "root": out,
            "train": "annotations/train.json", "val": "annotations/val.json",
            "test": "annotations/test.json" });
        serde_json::from_value(table).unwrap()
    }

    const DECODE: DecodeOptions = DecodeOptions { exif: true, max_pixels: 1 << 24 };

    #[test]
    fn phantoms_of_every_kind_give_nothing() {
        for (seed, kind) in Kind::ALL.into_iter().enumerate() {
            let folder = tempfile::tempdir().unwrap();
            let config = PhantomConfig {
                num_images: 45,
                image_size: 64,
                seed: seed as u64,
                kind,
                max_lesions: 1 + seed,
                mixed_classes: seed == 2,
                ..PhantomConfig::default()
            };
            let config = phantoms(folder.path(), &config);
            let report = check(&*config, CheckOptions::new(Some(DECODE)), &|| ()).unwrap();
            assert_eq!(report.num_images, 45);
            let found: Vec<_> = report.findings().collect();
            assert!(found.is_empty(), "{kind:?}: {found:#?}");
        }
    }

    /// `cargo test -p engine --lib -- --ignored --nocapture checking_beside_decoding`.
    #[test]
    #[ignore = "a measurement"]
    fn checking_beside_decoding() {
        let folder = tempfile::tempdir().unwrap();
        let config = PhantomConfig { num_images: 600, ..PhantomConfig::default() };
        let config = phantoms(folder.path(), &config);
        let audits = audits(&*config);
        let (files, _) = files(&audits);
        let decode_all =
            || files.par_iter().map(|(file, _)| decode_file(&file.path, DECODE).is_ok());
        for round in 0..4 {
            let start = Instant::now();
            let decoded = decode_all().filter(|&ok| ok).count();
            let decoding = start.elapsed().as_secs_f64();
            let start = Instant::now();
            let report = check(&*config, CheckOptions::new(Some(DECODE)), &|| ()).unwrap();
            let checking = start.elapsed().as_secs_f64();
            let n = decoded as f64;
            println!(
                "round {round}: decoding {:.0} images/s, checking {:.0} images/s, ratio {:.2}, {} found",
                n / decoding,
                n / checking,
                checking / decoding,
                report.findings().count()
            );
        }
    }
}
