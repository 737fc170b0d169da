//! Room on the disk: how much there is, and the error that says how much is missing.

use std::{fs, io, path::Path};

use crate::{error::Error, words::exact_bytes};

/// Bytes that may still be written into the file system of `path`, which need not exist yet (its
/// nearest folder that does counts). `None` where the system does not tell: some network file
/// systems do not. A quota may allow less.
#[must_use]
pub fn free_space(path: &Path) -> Option<u64> {
    let disk = disk_of(path)?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn disk_of(path: &Path) -> Option<rustix::fs::StatVfs> {
    let path = if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) };
    let disk = path.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok())?;
    // A file system that knows nothing of its size says 0 of everything.
    (disk.f_blocks > 0).then_some(disk)
}

/// Refuses to begin writing `bytes` to `path` where they cannot fit. What is there already is not
/// counted as free: a file is replaced only once the new one is whole.
///
/// # Errors
/// Of kind storage: names path, bytes needed, free and missing. Never where the system does not
/// tell how much is free.
pub fn require_space(path: &Path, bytes: u64) -> Result<(), Error> {
    match free_space(path) {
        Some(free) if free < bytes => {
            let sizes = Sizes { needed: bytes, exact: true, accepted: None };
            Err(full(path, "there is too little space", Some(sizes), Some(free)))
        }
        _ => Ok(()),
    }
}

/// What a write that failed was about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Bytes of the whole file or record.
    pub(crate) needed: u64,
    /// Whether `needed` is known, or only how far the writing came.
    pub(crate) exact: bool,
    /// Bytes that the system took before it refused, where that is known.
    pub(crate) accepted: Option<u64>,
}

/// An error of writing that names the file and, where it can, the remedy: of kind storage where
/// there was no room.
pub fn explain(path: &Path, error: io::Error) -> anyhow::Error {
    explain_sized(path, error, None)
}

/// As [`explain`], of writing a file of `bytes` bytes.
pub fn explain_write(path: &Path, error: io::Error, bytes: u64) -> anyhow::Error {
    explain_sized(path, error, Some(Sizes { needed: bytes, exact: true, accepted: None }))
}

pub(crate) fn explain_sized(path: &Path, error: io::Error, sizes: Option<Sizes>) -> anyhow::Error {
    let Some(why) = no_room(&error) else {
        return anyhow::Error::new(error).context(format!("cannot write {}", path.display()));
    };
    let no_inodes = disk_of(path).is_some_and(|disk| disk.f_files > 0 && disk.f_favail == 0);
    let explained = match error.kind() {
        io::ErrorKind::StorageFull if no_inodes => Error::storage(format!(
            "cannot write {}: the disk takes no more files (all its inodes are used); remove files \
             there, then run the same command again",
            path.display()
        )),
        // What is free says nothing about the quota.
        io::ErrorKind::QuotaExceeded => full(path, why, sizes, None),
        _ => full(path, why, sizes, free_space(path)),
    };
    anyhow::Error::new(error).context(explained)
}

/// Why there was no room, if that is what the error says.
pub(crate) fn no_room(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::StorageFull => Some("the disk is full"),
        io::ErrorKind::QuotaExceeded => Some("your disk quota is used up"),
        io::ErrorKind::FileTooLarge => Some("its file system takes no file as large"),
        _ => None,
    }
}

fn full(path: &Path, why: &str, sizes: Option<Sizes>, free: Option<u64>) -> Error {
    let place = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let place = place.unwrap_or(Path::new("."));
    let mut says = vec![];
    if let Some(sizes) = sizes {
        let least = if sizes.exact { "" } else { "at least " };
        says.push(format!("{least}{} to be written", exact_bytes(sizes.needed)));
        says.extend(free.map(|free| format!("{} free", exact_bytes(free))));
        let missing = missing(sizes, free);
        says.push(format!("{least}{} missing", exact_bytes(missing)));
    } else {
        says.extend(free.map(|free| format!("{} free", exact_bytes(free))));
    }
    let figures = if says.is_empty() { String::new() } else { format!(" ({})", says.join(", ")) };
    Error::storage(format!(
        "cannot write {}: {why}{figures}; free some space in {} or choose another folder, then run \
         the same command again",
        path.display(),
        fs::canonicalize(place).unwrap_or_else(|_| place.to_owned()).display(),
    ))
}

/// A file system may have more free than it gives out, so what it took counts too.
fn missing(sizes: Sizes, free: Option<u64>) -> u64 {
    let after = |had: Option<u64>| had.map(|had| sizes.needed.saturating_sub(had));
    after(free).max(after(sizes.accepted)).unwrap_or(sizes.needed).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_code;

    #[test]
    fn too_little_space_is_said_in_bytes_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not/yet/there/last.safetensors");
        let free = free_space(&path).unwrap();
        require_space(&path, 1).unwrap();
        let error = anyhow::Error::new(require_space(&path, u64::MAX).unwrap_err());
        assert_eq!(exit_code(&error), 6);
        let text = error.to_string();
        assert!(text.contains("last.safetensors: there is too little space"), "{text}");
        assert!(text.contains(&format!("{} bytes", u64::MAX)), "{text}");
        assert!(text.contains("missing") && free > 0, "{text}");
    }

    #[test]
    fn bytes_missing_are_what_the_disk_did_not_take() {
        let sizes = Sizes { needed: 3 << 20, exact: true, accepted: Some(1 << 20) };
        let error = full(Path::new("/a/b.json"), "the disk is full", Some(sizes), Some(1 << 10));
        assert_eq!(
            error.to_string(),
            "cannot write /a/b.json: the disk is full (3145728 bytes (3.0 MiB) to be written, 1024 \
             bytes (1.0 KiB) free, 3144704 bytes (3.0 MiB) missing); free some space in /a or \
             choose another folder, then run the same command again"
        );
        // The disk says it has room, and took none of it.
        assert_eq!(missing(Sizes { accepted: Some(7), ..sizes }, Some(1 << 30)), (3 << 20) - 7);
        assert_eq!(missing(sizes, None), 2 << 20);
        assert_eq!(missing(Sizes { accepted: None, ..sizes }, None), 3 << 20);
    }

    #[test]
    fn quotas_and_file_systems_that_are_too_small_are_storage_too() {
        for (kind, why) in [
            (io::ErrorKind::QuotaExceeded, "your disk quota is used up"),
            (io::ErrorKind::FileTooLarge, "takes no file as large"),
        ] {
            let error = explain(Path::new("/a/b.json"), io::Error::from(kind)).context("saving");
            assert_eq!(exit_code(&error), 6);
            assert!(format!("{error:#}").contains(why), "{error:#}");
        }
        let quota = io::Error::from_raw_os_error(rustix::io::Errno::DQUOT.raw_os_error());
        assert_eq!(exit_code(&explain(Path::new("/a/b.json"), quota)), 6);
        let other = explain(Path::new("/a/b.json"), io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(exit_code(&other), 1);
    }
}
