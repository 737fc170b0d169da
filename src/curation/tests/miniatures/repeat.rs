//! Checks that the files do not depend on threads or interruptions.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use sonotune_base::{Error, ErrorKind, seed::Rng, stop::StopFlag};
use sonotune_curation::{
    convert::{Options, Progress, convert},
    spec::{Choice, FULL_FRAME_DEFECT, Spec},
};

use super::{Case, raw, run, scratch, threads};

/// Hash of each file below `folder`; folders have an empty one.
pub(crate) fn snapshot(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in walkdir::WalkDir::new(folder) {
        let entry = entry?;
        let hash = match entry.file_type().is_file() {
            true => Sha256::digest(std::fs::read(entry.path())?).to_vec(),
            false => Vec::new(),
        };
        files.insert(entry.path().strip_prefix(folder)?.display().to_string(), hash);
    }
    Ok(files)
}

fn differing(a: &BTreeMap<String, Vec<u8>>, b: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let names = a.keys().chain(b.keys());
    let mut names: Vec<String> =
        names.filter(|name| a.get(*name) != b.get(*name)).cloned().collect();
    names.dedup();
    names
}

pub(crate) fn check(case: &Case) -> Result<()> {
    let folder = scratch()?;
    let source = raw::write(&case.miniature, folder.path())?;
    let spec = Spec::read(&case.spec, &Choice::AsIntended)?;
    let once = folder.path().join("one");
    run(&spec, &source, &once, &threads(1))?;
    let once = snapshot(&once)?;

    let two = folder.path().join("two");
    run(&spec, &source, &two, &threads(2))?;
    let differ = differing(&once, &snapshot(&two)?);
    ensure!(differ.is_empty(), "two threads change {differ:?}");

    // The order of files in archives and folders must not matter.
    let mut reversed = case.miniature.clone();
    reversed.files.reverse();
    let other = scratch()?;
    let backwards = other.path().join("out");
    run(&spec, &raw::write(&reversed, other.path())?, &backwards, &threads(2))?;
    let mut differ = differing(&once, &snapshot(&backwards)?);
    // The report contains the source's fingerprint.
    differ.retain(|name| name != "conversion.json");
    ensure!(differ.is_empty(), "another order of files changes {differ:?}");

    let mut rng = Rng::at(case.slug.bytes().map(u64::from).sum(), &[]);
    for attempt in 1..=2 {
        let out = folder.path().join(format!("interrupted-{attempt}"));
        interrupt(&spec, &source, &out, &threads(attempt), &mut rng)?;
        let differ = differing(&once, &snapshot(&out)?);
        ensure!(differ.is_empty(), "interruptions change {differ:?}");
    }
    Ok(())
}

/// Converts with random stops, until the conversion is complete.
fn interrupt(
    spec: &Spec,
    source: &Path,
    out: &Path,
    options: &Options,
    rng: &mut Rng,
) -> Result<()> {
    let mut stops = 0;
    loop {
        let stop = StopFlag::default();
        // Every third time, stop while unpacking, if anything is unpacked.
        let while_unpacking = stops == 0 && rng.below(3) == 0;
        let after = rng.below(2) as usize;
        let units = AtomicUsize::new(0);
        let progress = |progress: Progress| match progress {
            Progress::Planned { finished, .. } => {
                if after == 0 && finished == 0 {
                    stop.raise();
                }
            }
            Progress::Unit => {
                if units.fetch_add(1, Ordering::SeqCst) >= after {
                    stop.raise();
                }
            }
            Progress::Unpacked(_) => {
                if while_unpacking {
                    stop.raise();
                }
            }
        };
        match convert(spec, source, out, options, &progress, &stop) {
            Ok(_) => break,
            Err(error) => {
                let kind = error.downcast_ref::<Error>().map(|e| e.kind);
                ensure!(kind == Some(ErrorKind::Interrupted), "stopped with {error:#}");
                ensure!(!out.join("annotations/all.json").exists(), "annotations before the end");
                stops += 1;
                ensure!(stops < 100, "no end: {error:#}");
            }
        }
    }
    Ok(())
}

pub(crate) fn check_again(case: &Case) -> Result<()> {
    let folder = scratch()?;
    let source = raw::write(&case.miniature, folder.path())?;
    let spec = Spec::read(&case.spec, &Choice::AsIntended)?;
    let out = folder.path().join("out");
    let first = run(&spec, &source, &out, &threads(1))?;
    ensure!(!first.already_complete, "complete before it began");
    let before = times(&out)?;
    let again = run(&spec, &source, &out, &threads(2))?;
    ensure!(again.already_complete, "converted again");
    ensure!(before == times(&out)?, "files were touched");

    let other = Spec::read(&case.spec, &Choice::Only(vec![FULL_FRAME_DEFECT.to_owned()]))?;
    let error = run(&other, &source, &out, &threads(1)).err().context("another choice passed")?;
    let kind = error.downcast_ref::<Error>().map(|e| e.kind);
    ensure!(kind == Some(ErrorKind::Config), "{error:#}");
    ensure!(format!("{error:#}").contains("--overwrite"), "{error:#}");
    ensure!(before == times(&out)?, "a refused conversion touched files");

    let options = Options { overwrite: true, ..threads(1) };
    ensure!(!run(&other, &source, &out, &options)?.already_complete, "not converted again");
    Ok(())
}

fn times(folder: &Path) -> Result<BTreeMap<String, std::time::SystemTime>> {
    let mut times = BTreeMap::new();
    for entry in walkdir::WalkDir::new(folder) {
        let entry = entry?;
        times.insert(entry.path().display().to_string(), entry.metadata()?.modified()?);
    }
    Ok(times)
}
