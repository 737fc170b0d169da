//! Whether a conversion in the output folder is the one that is asked for.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use anyhow::{Context, Result};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use sonotune_archive::Listing;
use sonotune_base::{Error, stop::StopFlag};

use super::{Options, journal, target};
use crate::spec::Spec;

/// Incremented whenever the same spec and source would give different files.
const VERSION: u32 = 3;

/// Hashes of everything that determines the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fingerprint {
    /// Hash of the spec with its choices, the policy, and the names and contents of the source's files.
    pub(super) whole: String,
    /// The same with sizes and times in place of contents: if it is unchanged, so are the contents, and
    /// they need not be read.
    pub(super) times: String,
}

impl Fingerprint {
    /// The fingerprint of this conversion, taken from an earlier one in `out` if no file
    /// has been touched since.
    pub(super) fn of(
        spec: &Spec,
        source: &Path,
        options: &Options,
        out: &Path,
        stop: &StopFlag,
    ) -> Result<Self> {
        let choices = format!("{VERSION}\n{spec:?}\n{:?}\n", options.on_problem);
        let files = files(source)?;
        let mut hash = Sha256::new();
        hash.update(&choices);
        for (name, path) in &files {
            hash.update(format!("{name}\0{}\n", state(path)?));
        }
        let times = hex(hash);
        let earlier = [target::earlier(out)?, journal::earlier(out)?].into_iter().flatten();
        if let Some(earlier) = earlier.into_iter().find(|earlier| earlier.times == times) {
            return Ok(earlier);
        }
        let contents: Vec<String> = files
            .par_iter()
            .map(|(name, path)| Ok(format!("{name}\0{}\n", content(path, stop)?)))
            .collect::<Result<_>>()?;
        let mut hash = Sha256::new();
        hash.update(&choices);
        contents.iter().for_each(|file| hash.update(file));
        Ok(Self { whole: hex(hash), times })
    }
}

/// Names and paths of the source's files, in order; an archive has no name, since it may be renamed.
fn files(source: &Path) -> Result<Vec<(String, PathBuf)>> {
    let metadata = fs::metadata(source)
        .map_err(|error| Error::data(format!("source {}: {error}", source.display())))?;
    if !metadata.is_dir() {
        return Ok(vec![(String::new(), source.to_owned())]);
    }
    let listed = Listing::of(source, None)?.files.into_iter();
    let files = listed.map(|(name, _)| (name.display().to_string(), source.join(name)));
    // A link that leads nowhere does not hold anything.
    Ok(files.filter(|(_, path)| path.exists()).collect())
}

/// Size and times of a file. Any change sets the second time, and no program can reset it.
fn state(path: &Path) -> Result<String> {
    let unread = || Error::data(format!("source: {} cannot be read", path.display()));
    let metadata = fs::metadata(path).with_context(unread)?;
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified = modified.unwrap_or_default().as_nanos();
    #[cfg(unix)]
    let changed = {
        use std::os::unix::fs::MetadataExt;
        (metadata.ctime(), metadata.ctime_nsec())
    };
    #[cfg(not(unix))]
    let changed = (0, 0);
    Ok(format!("{} {modified} {changed:?}", metadata.len()))
}

/// Size and checksum of a file's content.
fn content(path: &Path, stop: &StopFlag) -> Result<String> {
    let unread = || Error::data(format!("source: {} cannot be read", path.display()));
    let mut file = fs::File::open(path).with_context(unread)?;
    let mut hash = crc32fast::Hasher::new();
    let (mut piece, mut length) = (vec![0; 1 << 20], 0);
    loop {
        if stop.is_raised() {
            return Err(Error::interrupted("stopped before anything was converted").into());
        }
        match file.read(&mut piece).with_context(unread)? {
            0 => return Ok(format!("{length} {:08x}", hash.finalize())),
            read => {
                hash.update(&piece[..read]);
                length += read;
            }
        }
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
