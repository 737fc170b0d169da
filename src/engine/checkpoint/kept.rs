//! Checkpoints of single steps; a run keeps the newest few.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use sonotune_base::fs::{atomic_write_with, explain};
use sonotune_run_folder::checkpoint_of_step;
pub use sonotune_run_folder::step_of_checkpoint as step_of;

/// File of the checkpoint of a step within a run's `checkpoints` folder.
#[must_use]
pub fn path(folder: &Path, step: u64) -> PathBuf {
    folder.join(checkpoint_of_step(step))
}

/// The steps that `folder` has checkpoints of, in ascending order.
///
/// # Errors
/// Errors of the file system.
pub fn steps(folder: &Path) -> Result<Vec<u64>> {
    let list = || -> std::io::Result<Vec<u64>> {
        let mut steps = Vec::new();
        for entry in fs::read_dir(folder)? {
            steps.extend(step_of(&entry?.file_name().to_string_lossy()));
        }
        steps.sort_unstable();
        Ok(steps)
    };
    list().with_context(|| format!("cannot list {}", folder.display()))
}

/// Makes `to` another name of the file `from`, atomically; a copy if the file system does not
/// have hard links, or the two are on different ones.
///
/// # Errors
/// Errors of the file system; `to` is then unchanged.
pub fn link(from: &Path, to: &Path) -> Result<()> {
    if is_same_file(from, to) {
        // Renaming one hard link of a file to another does nothing, and would leave a third.
        return Ok(());
    }
    let folder = to.parent().unwrap_or(Path::new("."));
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let linked = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(".tmp")
        .make_in(folder, |temporary| fs::hard_link(from, temporary));
    let Ok(temporary) = linked else { return copy(from, to) };
    temporary.persist(to).map_err(|e| explain(to, e.error))?;
    sync(folder).map_err(|e| explain(to, e))
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    let id = |path: &Path| fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    id(a).is_some() && id(a) == id(b)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut source =
        fs::File::open(from).with_context(|| format!("cannot read {}", from.display()))?;
    atomic_write_with(to, |out| std::io::copy(&mut source, out).map(drop))
}

fn sync(folder: &Path) -> std::io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

/// Removes all but the newest `keep` checkpoints up to `step`, and those of later steps, from
/// which the run has gone back.
///
/// # Errors
/// Errors of the file system.
pub(crate) fn remove_old(folder: &Path, step: u64, keep: u64) -> Result<()> {
    let steps = steps(folder)?;
    let (past, future): (Vec<_>, Vec<_>) = steps.into_iter().partition(|&s| s <= step);
    let surplus = past.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
    for old in past[..surplus].iter().chain(&future) {
        let file = path(folder, *old);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", file.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_steps() {
        let folder = Path::new("checkpoints");
        assert_eq!(path(folder, 1000), folder.join("step-00001000.safetensors"));
        for step in [0, 7, 12_345_678, 123_456_789_012] {
            let name = path(folder, step).file_name().unwrap().to_string_lossy().into_owned();
            assert_eq!(step_of(&name), Some(step));
        }
        let others = ["last.safetensors", "step-1.safetensors", "step-+0000001.safetensors"];
        for other in others.into_iter().chain([".step-00000001.safetensors.x.tmp"]) {
            assert_eq!(step_of(other), None, "{other}");
        }
    }

    #[test]
    fn the_newest_are_kept_and_a_left_future_goes() {
        let folder = tempfile::tempdir().unwrap();
        for step in [1, 2, 3, 4, 9] {
            fs::write(path(folder.path(), step), b"x").unwrap();
        }
        fs::write(folder.path().join("last.safetensors"), b"x").unwrap();
        remove_old(folder.path(), 4, 2).unwrap();
        assert_eq!(steps(folder.path()).unwrap(), [3, 4]);
        assert!(folder.path().join("last.safetensors").exists());
    }

    #[test]
    fn a_link_replaces_what_was_there_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (path(folder.path(), 1), folder.path().join("last.safetensors"));
        fs::write(&from, b"new").unwrap();
        fs::write(&to, b"old").unwrap();
        for _ in 0..2 {
            link(&from, &to).unwrap();
            assert_eq!(fs::read(&to).unwrap(), b"new");
            assert!(is_same_file(&from, &to));
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        }
        // The file outlives its first name.
        fs::remove_file(&from).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"new");
        let error = link(&from, &to).unwrap_err();
        assert!(format!("{error:#}").contains("step-00000001"), "{error:#}");
        assert_eq!(fs::read(&to).unwrap(), b"new");
    }
}
