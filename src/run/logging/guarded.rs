//! Logs that may lose records: reported once, counted, and an error at the end.

use std::io::Write;

use anyhow::Result;
use tempfile::NamedTempFile;

use sonotune_base::{Error, ErrorKind, error::kind as error_kind, fs::explain};
use sonotune_run_folder::RunFolder;

/// A writer whose failures are reported once, and counted.
#[derive(Debug)]
pub(super) struct Guarded<W> {
    writer: W,
    pub(super) failures: Failures,
}

/// What a writer has lost.
#[derive(Debug, Default)]
pub(super) struct Failures {
    records: u64,
    /// Text and kind of the first failure.
    first: Option<(String, Option<ErrorKind>)>,
}

impl Failures {
    fn sentence(&self) -> Option<String> {
        let (first, _) = self.first.as_ref()?;
        let records = self.records;
        Some(format!("{records} record(s) lost, the first because: {first}"))
    }
}

impl<W> Guarded<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { writer, failures: Failures::default() }
    }

    /// Writes; returns the warning to print if this is the first failure.
    pub(super) fn write(&mut self, write: impl FnOnce(&mut W) -> Result<()>) -> Option<String> {
        let error = write(&mut self.writer).err()?;
        self.failures.records += 1;
        if self.failures.first.is_some() {
            return None;
        }
        let text = format!("{error:#}");
        let warning = format!("warning: {text}; the run continues without these records");
        self.failures.first = Some((text, error_kind(&error)));
        Some(warning)
    }
}

/// A sentence for each log that has lost records.
pub(super) fn lost_records(logs: &[&Failures]) -> Vec<String> {
    logs.iter().filter_map(|failures| failures.sentence()).collect()
}

/// The error to end with if records were lost.
pub(super) fn loss(logs: &[&Failures]) -> Option<anyhow::Error> {
    let (_, kind) = logs.iter().find_map(|failures| failures.first.as_ref())?;
    let text = format!(
        "the run is complete and saved, but its logs are not: {}",
        lost_records(logs).join("; ")
    );
    Some(match kind {
        Some(ErrorKind::Storage) => Error::storage(text).into(),
        _ => anyhow::anyhow!(text),
    })
}

/// Space for a summary of any run, and for the temporary file it is written to.
pub(super) fn reserve(folder: &RunFolder) -> Result<NamedTempFile> {
    static BYTES: [u8; 32 << 10] = [0; 32 << 10];
    let path = folder.summary();
    let write = || {
        let mut file = tempfile::Builder::new()
            .prefix(".summary.")
            .suffix(".tmp")
            .tempfile_in(folder.path())?;
        file.write_all(&BYTES)?;
        Ok(file)
    };
    write().map_err(|error| explain(&path, error))
}
