//! What was found, and where.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::findings::{Code, Severity};
use sonotune_base::ImageId;

/// All findings of one kind in one split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    pub code: Code,
    pub severity: Severity,
    /// How often.
    pub count: usize,
    /// What this kind is.
    pub meaning: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
    /// Every finding, in the order of the files.
    pub examples: Vec<Example>,
}

/// One finding.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Example {
    #[serde(flatten)]
    pub place: Place,
    /// What was expected, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What was found instead.
    pub got: String,
}

/// Where something was found, as precisely as is known.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Place {
    /// Annotation file, list or folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// `annotations[3]`, `line 12`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// File of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_id: Option<ImageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotation_id: Option<ImageId>,
    /// Name of the category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
}

impl Place {
    /// A file as a whole.
    #[must_use]
    pub fn file(file: &Path) -> Self {
        Self { file: Some(file.to_owned()), ..Self::default() }
    }

    /// An entry of a file.
    #[must_use]
    pub fn entry(file: &Path, entry: String) -> Self {
        Self { entry: Some(entry), ..Self::file(file) }
    }
}

impl fmt::Display for Place {
    /// The image if there is one, else the annotation file; then ids.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.image, &self.file) {
            (Some(path), _) | (None, Some(path)) => write!(f, "{}", path.display())?,
            (None, None) => f.write_str("the dataset")?,
        }
        let mut details = Vec::new();
        if let Some(id) = &self.image_id {
            details.push(format!("image id {id}"));
        }
        details.extend(self.entry.clone());
        if let Some(id) = &self.annotation_id {
            details.push(format!("annotation id {id}"));
        }
        if let Some(name) = &self.category {
            details.push(format!("\"{name}\""));
        }
        if details.is_empty() { Ok(()) } else { write!(f, " ({})", details.join(", ")) }
    }
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        match &self.expected {
            Some(expected) => write!(f, "expected {expected}, got {}", self.got),
            None => f.write_str(&self.got),
        }
    }
}

/// Findings, in the order in which they are made.
#[derive(Debug, Clone, Default)]
pub struct Findings(BTreeMap<Code, Vec<Example>>);

impl Findings {
    /// Adds something that is there and should not be.
    pub fn add(&mut self, code: Code, place: Place, got: impl Into<String>) {
        self.push(code, Example { place, expected: None, got: got.into() });
    }

    /// Adds something that differs from what was expected.
    pub fn add_expected(
        &mut self,
        code: Code,
        place: Place,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) {
        self.push(code, Example { place, expected: Some(expected.into()), got: got.into() });
    }

    pub fn push(&mut self, code: Code, example: Example) {
        self.0.entry(code).or_default().push(example);
    }

    /// Appends the findings of another.
    pub fn extend(&mut self, other: Self) {
        for (code, examples) in other.0 {
            self.0.entry(code).or_default().extend(examples);
        }
    }

    /// The first of the most serious kind.
    #[must_use]
    pub fn first(&self) -> Option<&Example> {
        let (_, examples) = self.0.iter().min_by_key(|(code, _)| (code.severity(), **code))?;
        examples.first()
    }

    /// Whether anything is a fault.
    #[must_use]
    pub fn has_faults(&self) -> bool {
        self.0.keys().any(|code| code.severity() == Severity::Fault)
    }

    /// By kind, faults first.
    #[must_use]
    pub fn sorted(self) -> Vec<Finding> {
        let finding = |(code, examples): (Code, Vec<Example>)| Finding {
            code,
            severity: code.severity(),
            count: examples.len(),
            meaning: code.meaning(),
            remedy: code.remedy(),
            examples,
        };
        let mut all: Vec<Finding> = self.0.into_iter().map(finding).collect();
        all.sort_by_key(|finding| (finding.severity, finding.code));
        all
    }
}
