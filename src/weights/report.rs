//! What happened when weights were loaded, in full.

use std::{collections::HashSet, fmt::Write, path::PathBuf, time::UNIX_EPOCH};

use anyhow::Result;
use serde::Serialize;
use sonotune_base::words::listed;

use super::{
    Container,
    dtype::Dtype,
    keymap::{Part, Recognised},
    overlay::OverlayReport,
    parts::Source,
    plan::Copy,
    words::{count, grouped},
};
use crate::addition;
use sonotune_base::Error;

/// The outcome of [`load`](fn@super::load), written to the run folder as `weights.json`.
#[derive(Debug, Clone, Serialize)]
pub struct LoadReport {
    pub path: PathBuf,
    /// Patterns of the variables that this file had to give; empty: all that no part gives.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<String>,
    pub container: Container,
    /// Together with `modified_seconds`, distinguishes files without reading all of them.
    pub file_bytes: u64,
    /// Modification time in seconds since 1970.
    pub modified_seconds: Option<u64>,
    /// Dotted path of the state dict within the file; empty at its top.
    pub state_dict: String,
    #[serde(flatten)]
    pub recognised: Recognised,
    pub loaded: Vec<Loaded>,
    /// Variables loaded into another number format.
    pub cast: Vec<Cast>,
    /// Variables loaded at another size.
    pub resized: Vec<Resized>,
    /// Variables that the file lacks; an error.
    pub missing: Vec<Missing>,
    pub allowed_missing: Vec<Missing>,
    /// Variables of LoRA and adapters, if the file has none of them.
    pub new: Vec<Missing>,
    /// The overlay on top of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlay: Option<OverlayReport>,
    /// Tensors of the file that the overlay replaces.
    pub replaced: Vec<Unplaced>,
    /// Tensors that `ignore` skips.
    pub ignored: Vec<Unplaced>,
    /// Tensors whose variables come from another file.
    pub left: Vec<Unplaced>,
    /// Tensors without a place in the model; an error.
    pub unexpected: Vec<Unplaced>,
    pub allowed_unexpected: Vec<Unplaced>,
    /// Tensors whose shape or kind of number differs from their variable's; an error.
    pub misshapen: Vec<Misshapen>,
    pub allowed_misshapen: Vec<Misshapen>,
    /// Known parts of the convention that this model has no use for.
    pub unused: Vec<Unplaced>,
    /// Tensors that are never used, by the convention's table.
    pub dropped: Vec<Unplaced>,
    /// Patterns that match nothing.
    pub warnings: Vec<String>,
    /// Reports of the files that give some of the variables instead of this one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<LoadReport>,
}

/// A variable that was loaded; it has several entries if the file stores it as several tensors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loaded {
    pub variable: String,
    /// Name as the file spells it.
    pub key: String,
    /// Rows of that tensor; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// Rows of the variable that they went into; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<Part>,
}

/// A variable whose number format differs from the file's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cast {
    pub variable: String,
    pub from: Dtype,
    pub to: Dtype,
}

/// A position embedding that was resized.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resized {
    pub variable: String,
    pub from: Vec<i64>,
    pub to: Vec<i64>,
    /// `bicubic` or `linear`.
    pub how: &'static str,
}

/// A variable that the file lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    pub variable: String,
    pub shape: Vec<i64>,
}

/// A tensor of the file that did not go into the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unplaced {
    pub key: String,
    pub shape: Vec<i64>,
}

/// A tensor that does not fit its variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Misshapen {
    pub variable: String,
    pub key: String,
    pub expected: Vec<i64>,
    pub expected_dtype: String,
    pub got: Vec<i64>,
    pub got_dtype: Dtype,
    /// The convention's table names it as a part that may stay unused.
    #[serde(skip)]
    pub(super) known_part: bool,
}

/// Names shown per list on a terminal; `weights.json` has them all.
pub(super) const SHOWN: usize = 6;

impl LoadReport {
    pub(super) fn new(source: &Source<'_>) -> Self {
        let file = source.file;
        let modified = std::fs::metadata(file.path()).and_then(|meta| meta.modified()).ok();
        Self {
            path: file.path().to_owned(),
            variables: source.variables().to_vec(),
            container: file.container(),
            file_bytes: file.file_len(),
            modified_seconds: modified
                .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
                .map(|time| time.as_secs()),
            state_dict: file.found_at().to_owned(),
            recognised: source.recognised.clone(),
            loaded: Vec::new(),
            cast: Vec::new(),
            resized: Vec::new(),
            missing: Vec::new(),
            allowed_missing: Vec::new(),
            new: Vec::new(),
            overlay: None,
            replaced: Vec::new(),
            ignored: Vec::new(),
            left: Vec::new(),
            unexpected: Vec::new(),
            allowed_unexpected: Vec::new(),
            misshapen: Vec::new(),
            allowed_misshapen: Vec::new(),
            unused: Vec::new(),
            dropped: Vec::new(),
            warnings: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// # Errors
    /// When a variable is missing, a tensor has no place, or one does not fit.
    pub fn check(&self) -> Result<()> {
        let wrong: Vec<_> = self.files().filter_map(Self::misfit).collect();
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Error::weights(wrong.join("\n")).into())
    }

    /// The reports of all files: this one's and the parts'.
    pub fn files(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.parts)
    }

    /// The table of the config whose patterns apply to a copy; `None` for the overlay, to which none do.
    pub(super) fn table(&self, copy: &Copy<'_>) -> Option<&'static str> {
        if self.overlay.as_ref().is_some_and(|overlay| overlay.path == copy.file.path()) {
            return None;
        }
        let loads = |report: &&Self| report.loaded.iter().any(|l| l.variable == copy.variable);
        self.files().find(loads).map(Self::own_table)
    }

    pub(super) fn own_table(&self) -> &'static str {
        if self.is_part() { "[[weights.parts]]" } else { "[weights]" }
    }

    fn is_part(&self) -> bool {
        !self.variables.is_empty()
    }

    /// A few lines per file for a terminal: counts, then everything that did not simply load.
    #[must_use]
    pub fn summary(&self) -> String {
        self.files().map(Self::summary_of_file).collect()
    }

    fn summary_of_file(&self) -> String {
        let mut text = format!("weights: {} ({})\n", self.path.display(), self.container);
        if self.is_part() {
            let _ = writeln!(text, "  gives       {}", self.variables.join(", "));
        }
        let _ = writeln!(text, "  convention  {}", self.recognised.words());
        if !self.state_dict.is_empty() {
            let _ = writeln!(text, "  state dict  under `{}`", self.state_dict);
        }
        let loaded: HashSet<_> = self.loaded.iter().map(|loaded| &loaded.variable).collect();
        let _ = writeln!(text, "  loaded      {} variables", loaded.len());
        if let Some(OverlayReport { path, variables, info }) = &self.overlay {
            let _ = writeln!(
                text,
                "  overlay     {variables} of them from {} (step {})",
                path.display(),
                info.step
            );
        }
        let unplaced = |unplaced: &Unplaced| format!("{} {:?}", unplaced.key, unplaced.shape);
        let missing = |missing: &Missing| format!("{} {:?}", missing.variable, missing.shape);
        let mut section = |title: &str, items: Vec<String>| {
            if !items.is_empty() {
                let _ = writeln!(text, "  {title:<11} {}", listed(items, SHOWN));
            }
        };
        section("cast", grouped_casts(&self.cast));
        section("resized", self.resized.iter().map(Resized::words).collect());
        section("missing", self.missing.iter().map(missing).collect());
        section("new in this model", grouped_additions(&self.new));
        section("ignored", grouped(self.ignored.iter().map(|u| u.key.as_str())));
        section("left", grouped(self.left.iter().map(|u| u.key.as_str())));
        section("replaced", grouped(self.replaced.iter().map(|u| u.key.as_str())));
        section("start anew", self.allowed_missing.iter().map(missing).collect());
        section("unexpected", self.unexpected.iter().map(unplaced).collect());
        section("left out", self.allowed_unexpected.iter().map(unplaced).collect());
        section("misshapen", self.misshapen.iter().map(Misshapen::words).collect());
        section("kept random", self.allowed_misshapen.iter().map(Misshapen::words).collect());
        section("unused", grouped(self.unused.iter().map(|u| u.key.as_str())));
        section("dropped", grouped(self.dropped.iter().map(|u| u.key.as_str())));
        for warning in &self.warnings {
            let _ = writeln!(text, "  warning     {warning}");
        }
        text
    }
}

impl Misshapen {
    pub(super) fn words(&self) -> String {
        if self.expected == self.got {
            return format!(
                "{}: expected {}, got {}",
                self.variable, self.expected_dtype, self.got_dtype
            );
        }
        format!("{}: expected {:?}, got {:?}", self.variable, self.expected, self.got)
    }
}

impl Resized {
    fn words(&self) -> String {
        format!("{} {:?} -> {:?} ({})", self.variable, self.from, self.to, self.how)
    }
}

fn grouped_additions(new: &[Missing]) -> Vec<String> {
    let kinds = new.iter().filter_map(|missing| addition(&missing.variable));
    let counts = count(kinds.map(str::to_owned));
    counts.into_iter().map(|(kind, n)| format!("{n} variables of {kind}")).collect()
}

fn grouped_casts(casts: &[Cast]) -> Vec<String> {
    let counts = count(casts.iter().map(|cast| format!("{} -> {}", cast.from, cast.to)));
    counts.into_iter().map(|(name, n)| format!("{n} of {name}")).collect()
}
