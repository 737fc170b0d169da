//! Records what has been done so far, one line per unit, so that an interrupted conversion can resume.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sonotune_base::{Rle, fs::AppendFile};

use super::fingerprint::Fingerprint;
use crate::{problem::Problem, readers::Unit};

pub(super) const JOURNAL: &str = ".conversion.jsonl";

/// A finished unit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Finished {
    /// Index in the plan.
    pub(super) unit: usize,
    pub(super) key: String,
    pub(super) images: Vec<WrittenImage>,
    /// Number of images left out because they have no object.
    pub(super) empty: usize,
    pub(super) problem: Option<Problem>,
}

/// An image file that has been written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct WrittenImage {
    pub(super) file_name: String,
    pub(super) height: u32,
    pub(super) width: u32,
    pub(super) frame: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) spacing: Option<[f64; 2]>,
    /// Length of the file: a crash may have lost data that the system had not yet written.
    pub(super) bytes: u64,
    pub(super) crc32: u32,
    /// Largest value of a pixel.
    pub(super) brightest: u8,
    pub(super) objects: Vec<WrittenObject>,
}

/// An object, its mask in COCO's compressed form.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct WrittenObject {
    pub(super) category: u8,
    pub(super) counts: String,
    pub(super) is_crowd: bool,
}

impl WrittenObject {
    pub(super) fn new(category: u8, mask: &Rle) -> Self {
        Self { category, counts: mask.to_compressed(), is_crowd: false }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    fingerprint: String,
    #[serde(default)]
    times: String,
}

/// The journal of a running conversion.
pub(super) struct Journal {
    path: PathBuf,
    header: String,
    earlier: BTreeSet<usize>,
    state: Mutex<State>,
}

struct State {
    file: AppendFile,
    finished: Vec<Finished>,
}

impl Journal {
    /// Opens or starts the journal in `out`. Drops entries whose images are not complete on disk, and
    /// everything after a truncated line.
    pub(super) fn open(out: &Path, fingerprint: &Fingerprint, units: &[Unit]) -> Result<Self> {
        let path = out.join(JOURNAL);
        let header = header(fingerprint)?;
        let text = sonotune_base::fs::read_if_exists(&path)?.unwrap_or_default();
        let mut lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        let mut finished = Vec::new();
        // Only the contents count, not the times.
        if read_header(lines.next()).is_some_and(|header| header.fingerprint == fingerprint.whole) {
            for line in lines {
                let Ok(entry) = serde_json::from_str::<Finished>(line) else { break };
                let is_of_plan = units.get(entry.unit).is_some_and(|unit| unit.key == entry.key);
                if is_of_plan && entry.images.iter().all(|image| image.is_whole(out)) {
                    finished.push(entry);
                }
            }
        }
        let earlier = finished.iter().map(|entry| entry.unit).collect();
        let file = rewrite(&path, &header, &finished)?;
        Ok(Self { path, header, earlier, state: Mutex::new(State { file, finished }) })
    }

    /// Units that earlier calls finished.
    pub(super) fn finished(&self) -> &BTreeSet<usize> {
        &self.earlier
    }

    pub(super) fn append(&self, entry: Finished) -> Result<()> {
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        let mut state = self.lock();
        state.file.append(&line)?;
        state.finished.push(entry);
        Ok(())
    }

    pub(super) fn num_problems(&self) -> usize {
        self.lock().finished.iter().filter(|entry| entry.problem.is_some()).count()
    }

    /// Problems in the order of units.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let state = self.lock();
        let mut entries: Vec<&Finished> = state.finished.iter().collect();
        entries.sort_by_key(|entry| entry.unit);
        entries.into_iter().filter_map(|entry| entry.problem.clone()).collect()
    }

    /// Removes the units with problems, so that they are read again.
    pub(super) fn forget_problems(&self) -> Result<()> {
        let mut state = self.lock();
        state.finished.retain(|entry| entry.problem.is_none());
        state.file = rewrite(&self.path, &self.header, &state.finished)?;
        Ok(())
    }

    /// All entries in the order of units.
    pub(super) fn into_finished(self) -> Vec<Finished> {
        let state = self.state.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut finished = state.finished;
        finished.sort_by_key(|entry| entry.unit);
        finished
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic in another thread ends the conversion; the entries are complete nevertheless.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn header(fingerprint: &Fingerprint) -> Result<String> {
    let Fingerprint { whole: fingerprint, times } = fingerprint.clone();
    Ok(serde_json::to_string(&Header { fingerprint, times })?)
}

fn read_header(line: Option<&str>) -> Option<Header> {
    serde_json::from_str(line?).ok()
}

/// The fingerprint of the unfinished conversion in `out`.
pub(super) fn earlier(out: &Path) -> Result<Option<Fingerprint>> {
    let text = sonotune_base::fs::read_if_exists(&out.join(JOURNAL))?;
    let header = read_header(text.as_deref().and_then(|text| text.lines().next()));
    Ok(header.map(|header| Fingerprint { whole: header.fingerprint, times: header.times }))
}

/// Starts the journal of a conversion that has not done anything yet.
pub(super) fn start(out: &Path, fingerprint: &Fingerprint) -> Result<()> {
    rewrite(&out.join(JOURNAL), &header(fingerprint)?, &[]).map(drop)
}

fn rewrite(path: &Path, header: &str, finished: &[Finished]) -> Result<AppendFile> {
    let mut text = format!("{header}\n");
    for entry in finished {
        text.push_str(&serde_json::to_string(entry)?);
        text.push('\n');
    }
    sonotune_base::fs::atomic_write(path, text.as_bytes())?;
    AppendFile::open(path)
}

impl WrittenImage {
    fn is_whole(&self, out: &Path) -> bool {
        let path = out.join("images").join(&self.file_name);
        let has_length = fs::metadata(&path).is_ok_and(|m| m.len() == self.bytes);
        has_length && fs::read(&path).is_ok_and(|bytes| crc32fast::hash(&bytes) == self.crc32)
    }
}

/// Removes the journal of a complete conversion.
pub(super) fn remove(out: &Path) -> Result<()> {
    let path = out.join(JOURNAL);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}
