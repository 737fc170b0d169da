//! Half-written files of killed processes.

use std::{fs, io, path::Path};

use anyhow::{Context, Result};

use super::files::{
    BEST, CHECKPOINTS, CONFIG, ENVIRONMENT, EVENTS_PREFIX, LAST, METRICS, REPORT_DATA, SKIPPED,
    SUMMARY, WEIGHTS, step_of_checkpoint,
};

/// Removes the half-written files of a killed training run. Only the holder of the run's lock
/// may do this: no other process is writing then.
pub(super) fn remove(run: &Path) -> Result<()> {
    let folders = [run.to_owned(), run.join(CHECKPOINTS), run.join(REPORT_DATA)];
    for folder in folders.iter().filter(|folder| folder.exists()) {
        remove_from(folder)
            .with_context(|| format!("cannot clear {} of temporary files", folder.display()))?;
    }
    Ok(())
}

fn remove_from(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if is_leftover(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// `.NAME.XXXXXX.tmp`, as [`sonotune_base::fs::atomic_write`] names the file that becomes NAME, for the files
/// that training alone writes: another process may be writing scores and reports.
pub(super) fn is_leftover(file: &str) -> bool {
    let name = file.strip_prefix('.').and_then(|file| file.strip_suffix(".tmp"));
    let Some((name, random)) = name.and_then(|name| name.rsplit_once('.')) else { return false };
    let is_random = !random.is_empty() && random.bytes().all(|b| b.is_ascii_alphanumeric());
    // `.summary.XXXXXX.tmp` reserves space for the summary.
    let is_ours = [CONFIG, ENVIRONMENT, WEIGHTS, METRICS, SUMMARY, SKIPPED, LAST, BEST, "summary"]
        .contains(&name)
        || step_of_checkpoint(name).is_some()
        || ["data.json", "training-", EVENTS_PREFIX].iter().any(|start| name.starts_with(start));
    is_random && is_ours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_on_their_way_from_training_are_left_over() {
        for ours in [
            ".last.safetensors.aB3xYz.tmp",
            ".step-00000006.safetensors.aB3xYz.tmp",
            ".metrics.jsonl.aB3xYz.tmp",
            ".training-val.json.aB3xYz.tmp",
            ".summary.aB3xYz.tmp",
        ] {
            assert!(is_leftover(ours), "{ours}");
        }
        for other in [
            "last.safetensors",
            ".last.safetensors.tmp",
            ".last.safetensors.a-b.tmp",
            ".model.safetensors.aB3xYz.tmp",
            ".eval-test.json.aB3xYz.tmp",
            ".report.html.aB3xYz.tmp",
            "notes.tmp",
        ] {
            assert!(!is_leftover(other), "{other}");
        }
    }
}
