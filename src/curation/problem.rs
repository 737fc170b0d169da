//! Problems in a source: named, counted, and either fatal or left out.

use std::{collections::BTreeMap, fmt::Write};

use serde::{Deserialize, Serialize};
use sonotune_base::Error;

/// Kinds of problems, for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// An image without its mask, or a mask without its image.
    MissingPartner,
    /// Two files with the same role and key.
    DuplicateKey,
    /// A file that matches the globs but not the key's regex.
    NoKey,
    /// A mask whose size differs from that of its image.
    MaskSize,
    /// A grey value or colour that the rule does not list.
    UnknownValue,
    /// A class name that the rule does not list.
    UnknownLabel,
    /// A table without a row for an image.
    MissingRow,
    /// A file that cannot be read.
    Unreadable,
    /// A video or volume with fewer frames than its annotation refers to.
    FrameCount,
    /// An outline that does not cover any pixel of the image.
    OutOfFrame,
    /// A mask that can be read in several ways, with different objects.
    AmbiguousMask,
    /// A mask whose values lossy compression changed.
    LossyMask,
    /// A mask whose header places it elsewhere than its image.
    Geometry,
    /// A shape without area, such as a line.
    NoArea,
    /// An object with a box at most.
    NoMask,
}

impl ProblemKind {
    /// A phrase to put after a count.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::MissingPartner => "without a partner",
            Self::DuplicateKey => "with a duplicate key",
            Self::NoKey => "that match the globs but not the key",
            Self::MaskSize => "with a mask of a different size",
            Self::UnknownValue => "with values that the rule does not list",
            Self::UnknownLabel => "with labels that the rule does not list",
            Self::MissingRow => "without a row in the table",
            Self::Unreadable => "that cannot be read",
            Self::FrameCount => "with frames missing",
            Self::OutOfFrame => "with an outline outside the image",
            Self::AmbiguousMask => "with a mask that can be read in several ways",
            Self::LossyMask => "with a mask that lossy compression changed",
            Self::Geometry => "with a mask in a different place or orientation",
            Self::NoArea => "with a shape that has no area",
            Self::NoMask => "with an object that has no mask",
        }
    }
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Kind, for counting.
    pub kind: ProblemKind,
    /// Names the files, and what was expected and found.
    pub message: String,
}

impl Problem {
    /// Creates a problem.
    pub fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// A file that cannot be read.
    #[must_use]
    pub fn unreadable(error: &anyhow::Error) -> Self {
        Self::new(ProblemKind::Unreadable, format!("{error:#}"))
    }
}

/// Why reading stopped: a problem in the source, or an error of this machine.
#[derive(Debug)]
pub enum Fault {
    /// The unit at hand can be left out.
    Problem(Problem),
    /// The conversion cannot continue.
    Fatal(anyhow::Error),
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// How to handle problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnProblem {
    /// Stop at the first one.
    Fail,
    /// Leave them out, up to this many.
    Skip { cap: usize },
}

/// Fails if there are more `problems` than `policy` allows.
///
/// # Errors
/// Kind data: counts by kind, with examples and what to do.
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
            writeln!(text, "{} problems in the source, more than the {cap} allowed", problems.len())
        }
    };
    text.push_str(&listed(problems, 3));
    text.push_str(match policy {
        OnProblem::Fail => {
            "fix the source or the spec and convert again with --overwrite, or leave these out with \
             --on-problem skip (--max-problems N)"
        }
        OnProblem::Skip { .. } => "fix the source or the spec, or raise --max-problems",
    });
    Err(Error::data(text).into())
}

/// Counts by kind, each followed by up to `examples` messages, one per line.
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
