//! DICOM files without the patient's identity.
//!
//! Attributes are treated by the Basic Application Level Confidentiality Profile ([`profile`]), pixels outside the
//! regions that hold ultrasound become black, and a page shows a person what is left to check. Originals are only
//! read. `docs/deidentify.md` says what this does and what it does not.
//!
//! Each file is read up to its pixels, which are then read, decoded, blacked out and written frame by frame: memory
//! holds the attributes and one frame, however long a clip is.

mod blackout;
mod dates;
mod file;
mod mapping;
mod marks;
mod page;
mod patient;
mod pictures;
mod pixels;
pub mod profile;
pub mod regions;
pub mod report;
pub mod salt;
mod scrub;
mod tree;
mod values;

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Serialize;
use sonotune_base::{Error, fs::atomic_write, stop::StopFlag};
use sonotune_formats::dicom::{Dicom, is_dicom};

pub use regions::Rect;
pub use report::Report;
pub use scrub::Change;

use file::Run;
use page::Pair;
use profile::Profile;
use report::{Beside, Left, Public, Summary, Written};
use salt::Salt;
use tree::{Entry, Places};

/// What happens to dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dates {
    /// All dates of a patient move back by the same number of days, 1 to 3653; times of day stay.
    #[default]
    Shifted,
    /// As the basic profile has it: removed, emptied, or replaced by a constant.
    Removed,
}

impl Dates {
    fn words(self) -> &'static str {
        match self {
            Self::Shifted => {
                "moved back by the same number of days for all files of a patient; times of day stay"
            }
            Self::Removed => "removed",
        }
    }
}

/// How files are de-identified.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file of an earlier run's salt. Without it, a new one is written beside the output.
    pub salt: Option<PathBuf>,
    pub dates: Dates,
    /// Keeps age (at most 90 years), sex, size, weight and a few others.
    pub keep_patient_characteristics: bool,
    /// The region that stays in every file, whatever the file says.
    pub keep_region: Option<Rect>,
    /// Files without regions keep all their pixels. Otherwise they are refused.
    pub allow_unblacked: bool,
    /// Where to write which original is which pseudonym.
    pub mapping: Option<PathBuf>,
    /// Files whose pictures are on the page, at most.
    pub pictures: usize,
    /// Writes to a folder that has files, and replaces those of the same name.
    pub overwrite: bool,
    /// Writes nothing.
    pub dry_run: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            salt: None,
            dates: Dates::Shifted,
            keep_patient_characteristics: false,
            keep_region: None,
            allow_unblacked: false,
            mapping: None,
            pictures: 200,
            overwrite: false,
            dry_run: false,
        }
    }
}

/// De-identifies every DICOM file of `input`, a file or a folder, into the folder `output`; `tell` hears how many
/// files of how many are done.
///
/// A file that cannot be done safely is refused and listed, and the others are written. Into `output` go the files,
/// named by pseudonyms and UIDs, and `report.json`. Beside it go `OUTPUT.salt`, if no salt was given, and
/// `OUTPUT.check.html`, which shows originals.
///
/// # Errors
/// Config errors for places that are within each other, an output that has files, a wrong salt; errors of writing;
/// an interruption. Files that were written until then are complete.
pub fn deidentify(
    input: &Path,
    output: &Path,
    options: &Options,
    tell: &dyn Fn(usize, usize),
    stop: &StopFlag,
) -> Result<Report> {
    let places = Places::check(input, output, options.overwrite)?;
    for (path, option) in [(&options.salt, "--salt"), (&options.mapping, "--mapping")] {
        if let Some(path) = path {
            places.outside(path, option)?;
        }
    }
    if let Some(mapping) = &options.mapping {
        mapping::check(mapping, options.overwrite)?;
    }
    let entries = places.files()?;
    if !options.dry_run {
        std::fs::create_dir_all(output).map_err(|e| sonotune_base::fs::explain(output, e))?;
    }
    let (salt, salt_file) = salt(&places, options)?;
    let profile = Profile::read()?;
    let run =
        Run { profile: &profile, salt: &salt, options, output, stop, written: HashMap::new() };
    let mut outcome = Outcome::default();
    outcome.all(run, &entries, tell)?;
    let mut report = outcome.report(options);
    report.beside.salt = salt_file;
    if !options.dry_run {
        write_reports(&mut report, &outcome.lines, &places, options)?;
    }
    Ok(report)
}

/// The salt, and where it is if it was written.
fn salt(places: &Places, options: &Options) -> Result<(Salt, Option<PathBuf>)> {
    if let Some(path) = &options.salt {
        return Ok((Salt::read(path)?, None));
    }
    let path = places.beside(".salt");
    if path.exists() {
        return Err(Error::config(format!(
            "{0} is the salt of an earlier run; use it again with --salt {0}, or move it away and a new one is written",
            path.display()
        ))
        .into());
    }
    if options.dry_run {
        return Ok((Salt::random()?, None));
    }
    Ok((Salt::create(&path)?, Some(path)))
}

/// What happened to each file.
#[derive(Default)]
struct Outcome {
    files: Vec<Written>,
    originals: Vec<PathBuf>,
    refused: Vec<Left>,
    not_copied: Vec<Left>,
    lines: Vec<mapping::Line>,
}

impl Outcome {
    fn all(
        &mut self,
        mut run: Run<'_>,
        entries: &[Entry],
        tell: &dyn Fn(usize, usize),
    ) -> Result<()> {
        for (index, entry) in entries.iter().enumerate() {
            check(run.stop)?;
            tell(index, entries.len());
            let path = &entry.path;
            if let Some(reason) = not_copied(entry)? {
                self.not_copied.push(Left { path: path.clone(), reason });
                continue;
            }
            match run.file(path) {
                Ok(done) => {
                    self.lines.push(mapping::Line {
                        original: path.clone(),
                        patient_id: done.patient_id,
                        pseudonym: done.written.patient.clone(),
                        file: done.written.file.clone(),
                        days_earlier: if run.options.dates == Dates::Shifted {
                            done.days
                        } else {
                            0
                        },
                    });
                    self.originals.push(path.clone());
                    self.files.push(done.written);
                }
                Err(error) if ends_all(&error) => {
                    return Err(error.context(path.display().to_string()));
                }
                Err(error) => {
                    let reason = format!("{error:#}");
                    // Readers name the file, which the list does as well.
                    let named = format!("{}: ", path.display());
                    let reason = reason.strip_prefix(&named).unwrap_or(&reason).to_owned();
                    self.refused.push(Left { path: path.clone(), reason });
                }
            }
        }
        tell(entries.len(), entries.len());
        Ok(())
    }

    fn report(&mut self, options: &Options) -> Report {
        let patients: HashSet<&String> = self.files.iter().map(|file| &file.patient).collect();
        let summary = Summary {
            generator: format!("sonotune {}", env!("CARGO_PKG_VERSION")),
            profile: "PS3.15 2024e, Basic Application Level Confidentiality Profile",
            dates: options.dates,
            patient_characteristics_kept: options.keep_patient_characteristics,
            written: self.files.len(),
            patients: patients.len(),
            refused: self.refused.len(),
            not_copied: self.not_copied.len(),
            not_looked_at: report::NOT_LOOKED_AT,
        };
        Report {
            summary,
            files: std::mem::take(&mut self.files),
            originals: std::mem::take(&mut self.originals),
            refused: std::mem::take(&mut self.refused),
            not_copied: std::mem::take(&mut self.not_copied),
            beside: Beside::default(),
        }
    }
}

/// Why a file is not one for this, if it is not.
fn not_copied(entry: &Entry) -> Result<Option<String>> {
    if !entry.is_file {
        return Ok(Some("not a regular file; links are not followed".into()));
    }
    let mut head = vec![];
    let read = File::open(&entry.path).and_then(|file| file.take(132).read_to_end(&mut head));
    read.with_context(|| format!("cannot read {}", entry.path.display()))?;
    Ok((!is_dicom(&head)).then(|| "not a DICOM file".into()))
}

/// Whether an error is about more than one file: a full disk, an interruption.
fn ends_all(error: &anyhow::Error) -> bool {
    use sonotune_base::error::{ErrorKind, kind};
    matches!(kind(error), Some(ErrorKind::Interrupted | ErrorKind::Storage | ErrorKind::Config))
}

/// # Errors
/// An interruption, if one was asked for.
fn check(stop: &StopFlag) -> Result<()> {
    if stop.is_raised() {
        return Err(Error::interrupted(
            "interrupted; files written so far are complete. Run the same command with --overwrite and the same --salt",
        )
        .into());
    }
    Ok(())
}

/// Writes what a person reads: in the output what can be passed on, beside it what cannot.
fn write_reports(
    report: &mut Report,
    lines: &[mapping::Line],
    places: &Places,
    options: &Options,
) -> Result<()> {
    let page = places.beside(".check.html");
    let public = Public { summary: &report.summary, files: &report.files };
    atomic_write(&places.output.join("report.json"), &serde_json::to_vec_pretty(&public)?)?;
    let pairs = pairs(report, &places.output, options.pictures);
    atomic_write(&page, page::page(report, &pairs, &places.input).as_bytes())?;
    mapping::private(&page)?;
    report.beside.page = Some(page);
    if let Some(path) = &options.mapping {
        mapping::write(path, lines)?;
        report.beside.mapping = Some(path.clone());
    }
    Ok(())
}

/// Pictures of at most `most` files, spread evenly.
fn pairs(report: &Report, output: &Path, most: usize) -> Vec<Pair> {
    let all = report.files.len();
    let shown = most.min(all);
    let chosen = (0..shown).map(|i| i * all / shown.max(1));
    chosen
        .filter_map(|index| pair(index, &report.files[index], &report.originals[index], output))
        .collect()
}

/// `None` if a file cannot be shown; the table has it in any case.
fn pair(index: usize, file: &Written, original: &Path, output: &Path) -> Option<Pair> {
    let first = |path: &Path| Dicom::open(path).and_then(|dicom| dicom.frame(0)).ok();
    let small = |path: &Path| pictures::small(&first(path)?, &file.kept_regions);
    Some(Pair { file: index, before: small(original)?, after: small(&output.join(&file.file))? })
}
