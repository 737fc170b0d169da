//! Why a group of processes ends.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use sonotune_base::{
    error::{exit_code, of_exit_code},
    launch::StoreHost,
    words::duration,
};

use super::Beat;

/// The failure of one process, as all the others report it. Within an [`anyhow::Error`] it marks one that
/// another process caused, and that rank 0 alone needs to print.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The process that failed.
    pub rank: usize,
    /// That of the process, which the others end with as well.
    pub exit_code: u8,
    /// What happened to which rank.
    pub what: String,
    /// Why.
    pub cause: String,
    /// The process that prints it, so that it is printed once.
    pub told_by: usize,
}

impl Failure {
    /// Rank `rank` has ended at a step with an error.
    #[must_use]
    pub fn of_error(rank: usize, step: u64, error: &anyhow::Error) -> Self {
        Self {
            rank,
            exit_code: exit_code(error),
            what: format!("rank {rank} stopped at step {step}"),
            cause: format!("{error:#}"),
            told_by: 0,
        }
    }

    /// Rank `rank` has ended in a way that it could not report; `last` is what it last said.
    #[must_use]
    pub fn of_end(rank: usize, last: Option<Beat>, exit_code: u8, cause: String) -> Self {
        let place = last.map_or_else(
            || "before it had joined the others".to_owned(),
            |beat| format!("at step {}", beat.step),
        );
        let what = format!("rank {rank} stopped {place}");
        Self { rank, exit_code, what, cause, told_by: without(rank) }
    }

    /// Rank `rank` gives no sign of life any more.
    pub(super) fn silent(rank: usize, last: Option<Beat>, since: Duration) -> Self {
        let place = last.map_or_else(
            || "it has not joined the others".to_owned(),
            |beat| format!("it was last at step {}, {}", beat.step, beat.phase.words()),
        );
        Self {
            rank,
            exit_code: 1,
            what: format!(
                "rank {rank} has not been heard of for {}",
                duration(since.as_secs_f64())
            ),
            cause: format!(
                "{place}. Its process or its machine has stopped, or the network is down"
            ),
            told_by: without(rank),
        }
    }

    /// Rank `rank` lives, but its main thread does nothing while another one waits for it.
    pub(super) fn behind(rank: usize, last: Beat, waiting: (usize, u64)) -> Self {
        let (other, step) = waiting;
        Self {
            rank,
            exit_code: 1,
            what: format!("rank {rank} hangs"),
            cause: format!(
                "for {} it has been at step {}, {}, while rank {other} waited for it at step {step}. If \
                 it may need that long, raise `parallel.timeout_seconds`",
                duration(last.still_seconds as f64),
                last.step,
                last.phase.words()
            ),
            told_by: 0,
        }
    }

    /// The store of the group, which `host` serves, does not answer rank `rank`.
    pub(super) fn without_store(rank: usize, host: StoreHost, why: &str) -> Self {
        let (rank, host, told_by) = match host {
            StoreHost::FirstRank => (0, "rank 0, which serves the store of the group,", without(0)),
            StoreHost::Agent => (rank, "the program that started the processes", 0),
        };
        Self {
            rank,
            exit_code: 1,
            what: format!("{host} has ended"),
            cause: format!("or its machine or the network is down ({why})"),
            told_by,
        }
    }

    /// The same as an error of this process, of the kind of the original.
    #[must_use]
    pub fn into_error(self) -> anyhow::Error {
        of_exit_code(self.exit_code, self.cause.clone()).context(self)
    }

    /// What happened and why, in one line.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}: {}", self.what, self.cause)
    }
}

/// The first process but `rank`, which cannot print any more.
fn without(rank: usize) -> usize {
    usize::from(rank == 0)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

#[cfg(test)]
mod tests {
    use sonotune_base::Error;

    use super::*;

    #[test]
    fn the_kind_of_an_error_travels_to_other_processes() {
        let error = anyhow::Error::from(Error::data("no such file")).context("image 3");
        let failure = Failure::of_error(2, 17, &error);
        let there: Failure =
            serde_json::from_slice(&serde_json::to_vec(&failure).unwrap()).unwrap();
        let told = there.into_error();
        assert_eq!(format!("{told:#}"), "rank 2 stopped at step 17: image 3: no such file");
        assert_eq!(exit_code(&told), 3);
        assert_eq!(told.downcast_ref::<Failure>(), Some(&failure));
        let killed = Failure::of_end(0, None, 137, "killed".to_owned()).into_error();
        assert_eq!(format!("{killed:#}"), "rank 0 stopped before it had joined the others: killed");
        assert_eq!(exit_code(&killed), 1);
    }
}
