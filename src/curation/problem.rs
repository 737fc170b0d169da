//! What is wrong with a source: named, counted, and either the end or left out.

use std::{collections::BTreeMap, fmt::Write};

use base::Error;
use serde::{Deserialize, Serialize};

/// Kinds of problems, by which they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// An image without its mask, a mask without its image.
    MissingPartner,
    /// Two files of one role and key.
    DuplicateKey,
    /// A file that the globs match and the key's regex does not.
    NoKey,
    /// A mask of another size than its image.
    MaskSize,
    /// A grey value or colour that the rule does not know.
    UnknownValue,
    /// A class name that the rule does not know.
    UnknownLabel,
    /// A table without a row for an image.
    MissingRow,
    /// A file that cannot be read.
    Unreadable,
    /// A video or volume with fewer frames than its annotation speaks of.
    FrameCount,
    /// An outline without a pixel in the image.
    OutOfFrame,
}

impl ProblemKind {
    /// In words, for a count before it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::MissingPartner => "without partner",
            Self::DuplicateKey => "with a key that is there twice",
            Self::NoKey => "that the globs match and the key does not",
            Self::MaskSize => "with a mask of another size",
            Self::UnknownValue => "with values that the rule does not know",
            Self::UnknownLabel => "with labels that the rule does not know",
            Self::MissingRow => "without a row in the table",
            Self::Unreadable => "that cannot be read",
            Self::FrameCount => "with frames missing",
            Self::OutOfFrame => "with an outline outside the image",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// By which it is counted.
    pub kind: ProblemKind,
    /// Which files, what was expected and found.
    pub message: String,
}

impl Problem {
    /// A problem with its message.
    pub fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// A file that cannot be read.
    #[must_use]
    pub fn unreadable(error: &anyhow::Error) -> Self {
        Self::new(ProblemKind::Unreadable, format!("{error:#}"))
    }
}

/// Why reading stopped: something in the source, or something about this machine.
#[derive(Debug)]
pub enum Fault {
    /// The unit at hand can be left out.
    Problem(Problem),
    /// Nothing further can be done.
    Fatal(anyhow::Error),
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// What becomes of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnProblem {
    /// The first ends the conversion.
    Fail,
    /// They are left out, up to this many.
    Skip { cap: usize },
}

/// Ends with an error when `problems` are more than `policy` lets pass.
///
/// # Errors
/// Of kind data: counts by kind, with examples and what to do.
pub fn judge(problems: &[Problem], policy: OnProblem, place: &str) -> anyhow::Result<()> {
    let allowed = match policy {
        OnProblem::Fail => 0,
        OnProblem::Skip { cap } => cap,
    };
    if problems.len() <= allowed {
        return Ok(());
    }
    let mut text = format!("{place}: ");
    let _ = match policy {
        OnProblem::Fail => writeln!(text, "{} problems in the source", problems.len()),
        OnProblem::Skip { cap } => {
            writeln!(
                text,
                "{} problems in the source, more than the {cap} to be skipped",
                problems.len()
            )
        }
    };
    text.push_str(&listed(problems, 3));
    text.push_str(match policy {
        OnProblem::Fail => {
            "mend the source or the spec and convert again with --overwrite, or leave these out with \
             --on-problem skip (--max-problems N)"
        }
        OnProblem::Skip { .. } => "mend the source or the spec, or raise --max-problems",
    });
    Err(Error::data(text).into())
}

/// Counts by kind, each with its first `examples`, a line each.
#[must_use]
pub fn listed(problems: &[Problem], examples: usize) -> String {
    let mut kinds = BTreeMap::<ProblemKind, Vec<&str>>::new();
    for problem in problems {
        kinds.entry(problem.kind).or_default().push(&problem.message);
    }
    let mut text = String::new();
    for (kind, messages) in kinds {
        let _ = writeln!(text, "  {} {}:", messages.len(), kind.words());
        for message in messages.iter().take(examples) {
            let _ = writeln!(text, "    {message}");
        }
        if messages.len() > examples {
            let _ = writeln!(text, "    and {} more", messages.len() - examples);
        }
    }
    text
}
