//! Errors, classified by where to fix them. The kind determines the exit code.

use std::fmt;

use crate::storage::no_room;

/// Where to look for the cause; each kind has a documented exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The config file, an override or a command-line argument.
    Config,
    /// Images, annotations, list files.
    Data,
    /// Pretrained weights or a checkpoint.
    Weights,
    /// A loss or gradient that is not finite.
    NonFinite,
    /// The disk is full or its quota used up.
    Storage,
    /// A run that does not fit into memory.
    Memory,
    /// The user asked to stop; the run is saved.
    Interrupted,
}

impl ErrorKind {
    /// Process exit code (`docs/configuration.md` lists them). Errors without a kind exit with 1.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Config => 2,
            Self::Data => 3,
            Self::Weights => 4,
            Self::NonFinite => 5,
            Self::Storage => 6,
            Self::Memory => 7,
            Self::Interrupted => 130,
        }
    }

    /// The kind whose processes exit with `code`.
    #[must_use]
    pub fn of_exit_code(code: u8) -> Option<Self> {
        [
            Self::Config,
            Self::Data,
            Self::Weights,
            Self::NonFinite,
            Self::Storage,
            Self::Memory,
            Self::Interrupted,
        ]
        .into_iter()
        .find(|kind| kind.exit_code() == code)
    }
}

/// An error that a user can act on: which file, key, line or image; expected and got; what to do.
///
/// Travels inside [`anyhow::Error`], under any number of contexts; [`exit_code`] finds it there.
#[derive(Debug)]
pub struct Error {
    /// Determines the exit code.
    pub kind: ErrorKind,
    message: String,
}

impl Error {
    /// An error of a kind that is known only when the program runs.
    pub fn of_kind(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// An error in the config, an override or an argument.
    pub fn config(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Config, message: message.into() }
    }

    /// An error in images, annotations or list files.
    pub fn data(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Data, message: message.into() }
    }

    /// An error in weights or checkpoints.
    pub fn weights(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Weights, message: message.into() }
    }

    /// A value that is not finite.
    pub fn non_finite(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::NonFinite, message: message.into() }
    }

    /// A full disk; [`crate::fs::explain`] creates these errors for failed writes.
    pub fn storage(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Storage, message: message.into() }
    }

    /// A run that does not fit into memory.
    pub fn memory(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Memory, message: message.into() }
    }

    /// A stop that the user requested.
    pub fn interrupted(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Interrupted, message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The kind of the [`Error`] inside, under any number of contexts. A system error for a full disk
/// always has a kind, even without an [`Error`].
#[must_use]
pub fn kind(error: &anyhow::Error) -> Option<ErrorKind> {
    let full = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|e| no_room(e).is_some())
    };
    match error.downcast_ref::<Error>() {
        Some(error) => Some(error.kind),
        None => error.chain().any(full).then_some(ErrorKind::Storage),
    }
}

/// The error of another process, which ends with `code`: of the same kind, if it has one.
#[must_use]
pub fn of_exit_code(code: u8, message: String) -> anyhow::Error {
    match ErrorKind::of_exit_code(code) {
        Some(kind) => Error::of_kind(kind, message).into(),
        None => anyhow::anyhow!(message),
    }
}

/// Exit code of a failed command: the code of its [`kind`], else 1.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> u8 {
    kind(error).map_or(1, ErrorKind::exit_code)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_kind_survives_contexts() {
        let error = Err::<(), _>(Error::data("no such image")).context("image 3").context("train");
        assert_eq!(exit_code(&error.unwrap_err()), 3);
        assert_eq!(exit_code(&anyhow::anyhow!("other")), 1);
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let unexplained = anyhow::Error::new(full).context("writing a figure");
        assert_eq!(exit_code(&unexplained), 6);
        assert_eq!(exit_code(&unexplained.context(Error::data("it has another cause"))), 3);
    }
}
