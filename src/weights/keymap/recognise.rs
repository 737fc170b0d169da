//! Recognises which convention a file follows by its keys.

use anyhow::Result;
use serde::Serialize;

use super::{Convention, conventions, rule};
use crate::WeightsFile;
use sonotune_base::Error;

/// Key of a `.safetensors` file's metadata that records the convention we wrote.
pub const CONVENTION_KEY: &str = "sonotune.convention";
/// Key under which a run's own checkpoints keep its progress.
pub(crate) const RUN_KEY: &str = "sonotune";

/// A convention and how it was determined.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Recognised {
    pub convention: &'static Convention,
    /// Prefix of every key: empty, or what a data-parallel or Lightning run puts before it.
    pub prefix: &'static str,
    pub by: By,
}

impl Recognised {
    /// `` `ultrasam`, recognised by its keys: UltraSam's … ``.
    #[must_use]
    pub fn words(&self) -> String {
        let by = match self.by {
            By::Keys => "recognised by its keys",
            By::Metadata => "named in its metadata",
            By::Request => "as asked for",
        };
        let prefix = match self.prefix {
            "" => String::new(),
            prefix => format!(", prefix `{prefix}` taken off"),
        };
        format!("`{}` ({}), {by}{prefix}", self.convention.name, self.convention.title)
    }
}

/// Why a convention was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The keys fit.
    Keys,
    /// The file's own metadata says so.
    Metadata,
    /// The config or the command line says so.
    Request,
}

/// Prefixes that training frameworks put before all of a model's keys.
const PREFIXES: [&str; 5] = ["", "module.", "model.", "module.model.", "model.module."];

/// The convention of a file: the requested one, else the one in its metadata, else the one its keys fit.
///
/// # Errors
/// When the requested one does not exist or the keys fit none; shows some keys.
pub fn recognise(file: &WeightsFile, requested: Option<&str>) -> Result<Recognised> {
    if let Some(name) = requested {
        let convention = Convention::by_name(name)?;
        let prefix = prefix(file, convention).unwrap_or_default();
        return Ok(Recognised { convention, prefix, by: By::Request });
    }
    let own = file.metadata().contains_key(RUN_KEY).then_some("sonotune");
    let named = file.metadata().get(CONVENTION_KEY).map(String::as_str);
    if let Some(name) = named.or(own)
        && let Ok(convention) = Convention::by_name(name)
    {
        return Ok(Recognised { convention, prefix: "", by: By::Metadata });
    }
    conventions()
        .find_map(|convention| {
            let prefix = prefix(file, convention)?;
            Some(Recognised { convention, prefix, by: By::Keys })
        })
        .ok_or_else(|| unknown(file))
}

/// The prefix with which a file matches all marks of a convention, if any.
fn prefix(file: &WeightsFile, convention: &Convention) -> Option<&'static str> {
    PREFIXES.into_iter().find(|prefix| {
        convention.marks.iter().all(|mark| {
            file.entries().iter().any(|entry| {
                entry.name.strip_prefix(prefix).is_some_and(|key| rule::matches(mark, key))
            })
        })
    })
}

fn unknown(file: &WeightsFile) -> anyhow::Error {
    let keys: Vec<_> = file.entries().iter().take(5).map(|e| format!("`{}`", e.name)).collect();
    let known: Vec<_> = conventions().map(|c| c.name).collect();
    Error::weights(format!(
        "{}: its {} keys follow no known naming convention; they begin with {}. Known conventions: {}; \
         name one as `convention` next to the file's `path` in [weights] (`sonotune` takes the model's \
         own variable names)",
        file.path().display(),
        file.entries().len(),
        keys.join(", "),
        known.join(", "),
    ))
    .into()
}
