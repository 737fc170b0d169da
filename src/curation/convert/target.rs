//! The output folder: which conversion owns it, what it holds, how it is completed.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use sonotune_base::Error;

use super::{
    Converted,
    fingerprint::Fingerprint,
    journal::{self, JOURNAL},
};
use sonotune_archive as archive;
use sonotune_archive::Listing;
use sonotune_coco::CocoFile;

/// Folder for unpacked archives.
pub(super) const SOURCE: &str = ".source";
const REPORT: &str = "conversion.json";

/// Creates the folder `out` if it does not exist, and keeps other processes from converting into it
/// while the returned handle is open.
pub(super) fn lock(out: &Path) -> Result<fs::File> {
    let shown = out.display();
    fs::create_dir_all(out).map_err(|error| {
        Error::config(format!("output folder {shown}: {error}; choose another"))
    })?;
    let folder = fs::File::open(out).with_context(|| format!("opening {shown}"))?;
    match folder.try_lock() {
        Ok(()) => Ok(folder),
        Err(fs::TryLockError::WouldBlock) => bail!(Error::config(format!(
            "another process is converting into {shown}; wait for it, or choose another folder"
        ))),
        Err(fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("locking {shown}"))
        }
    }
}

fn report(out: &Path) -> Result<Option<Converted>> {
    let text = sonotune_base::fs::read_if_exists(&out.join(REPORT))?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// The fingerprint of the complete conversion in `out`.
pub(super) fn earlier(out: &Path) -> Result<Option<Fingerprint>> {
    let report = report(out)?;
    Ok(report.map(|report| Fingerprint { whole: report.fingerprint, times: report.source_times }))
}

/// Prepares `out`. Returns the existing report if `out` is already complete for this fingerprint.
pub(super) fn prepare(
    out: &Path,
    fingerprint: &Fingerprint,
    overwrite: bool,
) -> Result<Option<Converted>> {
    let shown = out.display();
    let entries = match fs::read_dir(out) {
        Ok(entries) => entries.count(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => {
            bail!(Error::config(format!("output folder {shown}: {error}; choose another")))
        }
    };
    let report = report(out)?;
    let journal = sonotune_base::fs::read_if_exists(&out.join(JOURNAL))?;
    let same_journal = journal.as_ref().is_some_and(|text| text.contains(&fingerprint.whole));
    match report {
        Some(report) if report.fingerprint == fingerprint.whole && is_complete(out) => {
            journal::remove(out)?;
            remove_folder(&out.join(SOURCE))?;
            return Ok(Some(Converted { already_complete: true, ..report }));
        }
        _ if same_journal || entries == 0 || is_only_begun(out, journal.as_deref())? => {}
        Some(_) | None if overwrite && (report.is_some() || journal.is_some()) => clear(out)?,
        Some(_) => bail!(Error::config(format!(
            "{shown} holds a conversion with a different spec, choices or source (files with other \
             names or contents); choose another folder, or pass --overwrite to replace it"
        ))),
        None if journal.is_some() => bail!(Error::config(format!(
            "{shown} holds an unfinished conversion with a different spec, choices or source (files \
             with other names or contents); choose another folder, or pass --overwrite to replace it"
        ))),
        None => bail!(Error::config(format!(
            "{shown} exists, is not empty and does not hold a conversion (no {REPORT}), so nothing is \
             written there; choose another folder"
        ))),
    }
    for folder in [out.join("images"), out.join("annotations")] {
        if folder.is_symlink() {
            bail!(Error::config(format!(
                "{} is a link, but nothing is written outside {shown}; link the whole output folder",
                folder.display()
            )));
        }
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    if !same_journal {
        // Claims the folder for this conversion before anything is unpacked into it.
        journal::start(out, fingerprint)?;
    }
    Ok(None)
}

/// Whether `out` holds only what a conversion creates before its first image: it was stopped
/// while unpacking, failed at pairing, or was a dry run. Any conversion may continue from there:
/// the unpacked files record which archive they come from.
fn is_only_begun(out: &Path, journal: Option<&str>) -> Result<bool> {
    let shown = || format!("reading {}", out.display());
    for entry in fs::read_dir(out).with_context(shown)? {
        let entry = entry.with_context(shown)?;
        let path = entry.path();
        let is_ours = match entry.file_name().to_str() {
            Some("images" | "annotations") => {
                fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none())
                    && !path.is_symlink()
            }
            Some(SOURCE) => archive::is_work_folder(&path),
            Some(JOURNAL) => journal.is_none_or(|text| text.lines().count() <= 1),
            _ => false,
        };
        if !is_ours {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Refuses an output folder inside the source, where it would be read as part of the dataset, and a
/// source inside the output folder, where it might be replaced. Where links lead is part of the source.
pub(super) fn keep_apart(source: &Path, out: &Path) -> Result<()> {
    let source = fs::canonicalize(source)
        .map_err(|error| Error::data(format!("source {}: {error}", source.display())))?;
    let absolute = std::path::absolute(out)
        .map_err(|error| Error::config(format!("output folder {}: {error}", out.display())))?;
    // The part that exists may contain links; the rest does not exist yet.
    let resolved = absolute.ancestors().find_map(|folder| {
        let rest = absolute.strip_prefix(folder).ok()?;
        Some(fs::canonicalize(folder).ok()?.join(rest))
    });
    let out = resolved.unwrap_or(absolute);
    let linked = if source.is_dir() { Listing::of(&source, None)?.linked } else { Vec::new() };
    for place in linked.iter().chain([&source]) {
        let what = if *place == source { "the source" } else { "a linked folder of the source," };
        let (place_shown, out_shown) = (place.display(), out.display());
        if out.starts_with(place) {
            bail!(Error::config(format!(
                "the output folder {out_shown} is inside {what} {place_shown}, so its files would \
                 be read as part of the source; choose a folder outside it"
            )));
        }
        if place.starts_with(&out) {
            bail!(Error::config(format!(
                "{what} {place_shown} is inside the output folder {out_shown}; choose another output \
                 folder"
            )));
        }
    }
    Ok(())
}

/// Whether the annotations and every image they list exist.
fn is_complete(out: &Path) -> bool {
    let annotations = out.join("annotations").join("all.json");
    CocoFile::read(&annotations).is_ok_and(|file| {
        file.images.iter().all(|i| out.join("images").join(&i.file_name).is_file())
    })
}

/// Removes what a conversion writes, and nothing else.
fn clear(out: &Path) -> Result<()> {
    for folder in ["images", "annotations", SOURCE] {
        remove_folder(&out.join(folder))?;
    }
    for file in [REPORT, JOURNAL] {
        let path = out.join(file);
        if path.exists() {
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Writes the annotations and the report, once all images are on disk.
pub(super) fn commit(out: &Path, file: &CocoFile, converted: &Converted) -> Result<()> {
    sync_all(out)?;
    file.write(&out.join("annotations").join("all.json"))?;
    let mut report = serde_json::to_vec_pretty(converted).context("encoding the report")?;
    report.push(b'\n');
    sonotune_base::fs::atomic_write(&out.join(REPORT), &report)
}

/// Waits until the file system of `out` has everything on disk: one wait instead of one per file.
#[cfg(target_os = "linux")]
fn sync_all(out: &Path) -> Result<()> {
    let folder = fs::File::open(out).with_context(|| format!("opening {}", out.display()))?;
    rustix::fs::syncfs(&folder).with_context(|| format!("syncing {}", out.display()))
}

/// Waits until every image is on disk.
#[cfg(not(target_os = "linux"))]
fn sync_all(out: &Path) -> Result<()> {
    let images = out.join("images");
    for entry in fs::read_dir(&images).with_context(|| format!("reading {}", images.display()))? {
        let path = entry?.path();
        let synced = fs::File::open(&path).and_then(|file| file.sync_all());
        synced.with_context(|| format!("syncing {}", path.display()))?;
    }
    Ok(())
}

/// Removes files that are no longer needed.
pub(super) fn finish(out: &Path) -> Result<()> {
    journal::remove(out)?;
    remove_folder(&out.join(SOURCE))
}
