//! Disk space: how much is free, and the error that says how much is missing.

use std::{fs, io, path::Path};

use crate::error::Error;

/// Number of bytes that can still be written to the file system of `path`. `path` need not exist yet;
/// its nearest existing folder counts. `None` if the system does not report it, as with some network
/// file systems. A quota may allow less.
#[must_use]
pub fn free_space(path: &Path) -> Option<u64> {
    let disk = disk_of(path)?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn disk_of(path: &Path) -> Option<rustix::fs::StatVfs> {
    let path = if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) };
    let disk = path.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok())?;
    // A file system that does not know its size reports 0 for everything.
    (disk.f_blocks > 0).then_some(disk)
}

/// Checks that `bytes` bytes fit before writing them to `path`. An existing file does not count as
/// free space: it is replaced only once the new one is complete.
///
/// # Errors
/// Kind storage: names the path and the bytes needed, free and missing. Never fails if the system does
/// not report how much is free.
pub fn require_space(path: &Path, bytes: u64) -> Result<(), Error> {
    match free_space(path) {
        Some(free) if free < bytes => {
            let sizes = Sizes { needed: bytes, exact: true, accepted: None };
            Err(full(path, "there is too little space", Some(sizes), Some(free)))
        }
        _ => Ok(()),
    }
}

/// The sizes involved in a failed write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Bytes of the whole file or record.
    pub(crate) needed: u64,
    /// Whether `needed` is the full size, or only how far the writing got.
    pub(crate) exact: bool,
    /// Number of bytes that the system accepted before it refused, if known.
    pub(crate) accepted: Option<u64>,
}

/// A write error that names the file and, if possible, the remedy: kind storage if the disk is full.
pub fn explain(path: &Path, error: io::Error) -> anyhow::Error {
    explain_sized(path, error, None)
}

/// Like [`explain`], for a failed write of a file of `bytes` bytes.
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
            "cannot write {}: the disk cannot hold more files (all its inodes are used); remove files \
             there, then run the same command again",
            path.display()
        )),
        // The free space says nothing about the quota.
        io::ErrorKind::QuotaExceeded => full(path, why, sizes, None),
        _ => full(path, why, sizes, free_space(path)),
    };
    anyhow::Error::new(error).context(explained)
}

/// Why there was no space, if that is the error's cause.
pub(crate) fn no_room(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::StorageFull => Some("the disk is full"),
        io::ErrorKind::QuotaExceeded => Some("your disk quota is used up"),
        io::ErrorKind::FileTooLarge => Some("its file system does not support files this large"),
        _ => None,
    }
}

fn full(path: &Path, why: &str, sizes: Option<Sizes>, free: Option<u64>) -> Error {
    let place = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let place = place.unwrap_or(Path::new("."));
    let mut says = vec![];
    if let Some(sizes) = sizes {
        let least = if sizes.exact { "" } else { "at least " };
        says.push(format!("{least}{} to be written", bytes(sizes.needed)));
        says.extend(free.map(|free| format!("{} free", bytes(free))));
        let missing = missing(sizes, free);
        says.push(format!("{least}{} missing", bytes(missing)));
    } else {
        says.extend(free.map(|free| format!("{} free", bytes(free))));
    }
    let figures = if says.is_empty() { String::new() } else { format!(" ({})", says.join(", ")) };
    Error::storage(format!(
        "cannot write {}: {why}{figures}; free some space in {} or choose another folder, then run \
         the same command again",
        path.display(),
        fs::canonicalize(place).unwrap_or_else(|_| place.to_owned()).display(),
    ))
}

/// A file system may report more free space than it grants, so the accepted bytes also count.
fn missing(sizes: Sizes, free: Option<u64>) -> u64 {
    let after = |had: Option<u64>| had.map(|had| sizes.needed.saturating_sub(had));
    after(free).max(after(sizes.accepted)).unwrap_or(sizes.needed).max(1)
}

/// `1 byte`, `12345678 bytes (11.8 MiB)`: exact and readable.
fn bytes(count: u64) -> String {
    let exact = if count == 1 { "1 byte".to_owned() } else { format!("{count} bytes") };
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let power = (count.max(1).ilog2() / 10).min(UNITS.len() as u32);
    match power.checked_sub(1).and_then(|unit| UNITS.get(unit as usize)) {
        None => exact,
        Some(unit) => {
            format!("{exact} ({:.1} {unit})", count as f64 / f64::powi(1024.0, power as i32))
        }
    }
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
        // The disk reports free space, but did not accept the data.
        assert_eq!(missing(Sizes { accepted: Some(7), ..sizes }, Some(1 << 30)), (3 << 20) - 7);
        assert_eq!(missing(sizes, None), 2 << 20);
        assert_eq!(missing(Sizes { accepted: None, ..sizes }, None), 3 << 20);
    }

    #[test]
    fn quotas_and_file_systems_that_are_too_small_are_storage_too() {
        for (kind, why) in [
            (io::ErrorKind::QuotaExceeded, "your disk quota is used up"),
            (io::ErrorKind::FileTooLarge, "does not support files this large"),
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
