//! An error of one process, as the others report it.

use serde::{Deserialize, Serialize};

use sonotune_base::error::{exit_code, of_exit_code};

/// What went wrong, and in which process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub rank: usize,
    /// That of the process.
    pub exit_code: u8,
    pub message: String,
}

impl Fault {
    /// The error of rank `rank`.
    #[must_use]
    pub fn of(rank: usize, error: &anyhow::Error) -> Self {
        Self { rank, exit_code: exit_code(error), message: format!("{error:#}") }
    }

    /// The same error in another process: of the same kind, with the rank in front.
    #[must_use]
    pub fn error(&self) -> anyhow::Error {
        of_exit_code(self.exit_code, format!("rank {}: {}", self.rank, self.message))
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use sonotune_base::{Error, ErrorKind, error::kind};

    use super::*;

    #[test]
    fn the_kind_travels_with_the_message() {
        let error = anyhow::Error::from(Error::data("no such file")).context("image 3");
        let fault = Fault::of(2, &error);
        let there: Fault = serde_json::from_slice(&serde_json::to_vec(&fault).unwrap()).unwrap();
        let told = there.error();
        assert_eq!(told.to_string(), "rank 2: image 3: no such file");
        assert_eq!(kind(&told), Some(ErrorKind::Data));
        assert_eq!(kind(&Fault::of(0, &anyhow!("odd")).error()), None);
    }
}
