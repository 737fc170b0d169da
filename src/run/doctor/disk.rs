//! Folders that runs write to, files, clock.

use sonotune_base::words::bytes;

use super::{Check, Facts, FolderFacts};

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let mut checks: Vec<_> = facts.folders.iter().map(folder).collect();
    checks.extend(open_files(facts.open_files));
    checks.push(clock(facts));
    checks
}

/// A checkpoint of a ViT-B with its optimiser state has 1 GiB, and there are two while one is
/// replaced.
const LITTLE_SPACE: u64 = 4 << 30;

fn folder(folder: &FolderFacts) -> Check {
    let name = folder.role;
    let path = folder.path.display();
    if let Some(message) = &folder.write {
        return Check::fail(
            name,
            format!("{path} is not writable: {message}"),
            if name == "temporary files" {
                "set TMPDIR to a writable folder"
            } else {
                "choose another run_dir, or fix the permissions"
            },
        );
    }
    let faults = [
        ("renaming a file over another", &folder.rename),
        ("syncing a file", &folder.sync),
        ("locking a file", &folder.lock),
    ];
    for (what, fault) in faults {
        if let Some(message) = fault {
            return Check::fail(
                name,
                format!("{path}: {what} fails: {message}"),
                "checkpoints would not be safe there; choose a folder on another file system",
            );
        }
    }
    let Some(free) = folder.free_bytes else {
        return Check::ok(name, format!("{path} (free space unknown)"));
    };
    let found = format!("{path}, {} free", bytes(free));
    if free < LITTLE_SPACE {
        return Check::warn(
            name,
            found,
            "a large model's checkpoints need more: `sonotune train CONFIG --dry-run` reports how much",
        );
    }
    Check::ok(name, found)
}

/// Enough for worker threads, logs and libraries.
const LEAST_OPEN_FILES: u64 = 256;

fn open_files(limit: Option<u64>) -> Option<Check> {
    let limit = limit?;
    Some(if limit < LEAST_OPEN_FILES {
        Check::warn("open files", format!("{limit} at most"), "raise it: `ulimit -n 4096`")
    } else {
        Check::ok("open files", format!("{limit} at most"))
    })
}

/// 2025-01-01: older than any build of this program.
const PAST: u64 = 1_735_689_600;
const LARGEST_SKEW_SECONDS: i64 = 120;

fn clock(facts: &Facts) -> Check {
    const NAME: &str = "clock";
    const REMEDY: &str = "set the clock (NTP): logs and runs are sorted by time";
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(facts.clock_seconds);
    let now = humantime::format_rfc3339_seconds(time).to_string();
    if facts.clock_seconds < PAST {
        return Check::warn(NAME, format!("{now}, which is in the past"), REMEDY);
    }
    let skewed = |f: &&FolderFacts| {
        f.clock_skew_seconds.is_some_and(|skew| skew.abs() > LARGEST_SKEW_SECONDS)
    };
    if let Some(folder) = facts.folders.iter().find(skewed) {
        let skew = folder.clock_skew_seconds.unwrap_or_default();
        let found = format!("{now}; files in {} are {skew} s off", folder.path.display());
        return Check::warn(NAME, found, REMEDY);
    }
    Check::ok(NAME, now)
}
