//! What is wrong with a config, and where.

use std::fmt;

use super::node::Origin;

/// Whether a run can start in spite of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The run starts; the value is probably not what was meant.
    Warning,
    /// The config is refused.
    Error,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    /// Where the key was given; `None` for defaults and for whole files.
    pub origin: Option<Origin>,
    /// E.g. `optimizer.lr`; empty if it is not about a key.
    pub key: String,
    /// What is wrong, what was expected and what was found.
    pub message: String,
    /// What to do; may be empty.
    pub help: String,
}

impl Problem {
    /// What keeps the config from being used.
    #[must_use]
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            origin: None,
            key: String::new(),
            message: message.into(),
            help: String::new(),
        }
    }

    /// What is worth a line.
    #[must_use]
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    pub(super) fn at(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// Sets the dotted key that the problem concerns.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        f.write_str(&self.message)?;
        if !self.help.is_empty() {
            write!(f, "\n    {}", self.help.replace('\n', "\n    "))?;
        }
        Ok(())
    }
}

/// The errors of one config as one text.
pub(super) fn report(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    match lines.as_slice() {
        [only] => only.clone(),
        _ => format!("{} problems in the config\n{}", lines.len(), lines.join("\n")),
    }
}
