//! Which of several processes this one is, as the program that started them says.
//!
//! torchrun, Slurm's `srun` and `sonotune … --processes N` each tell a process its place through
//! environment variables. [`Launch`] holds what they say; nothing is contacted here.

mod hosts;
mod slurm;
#[cfg(test)]
mod tests;
mod torchrun;
mod variables;

use crate::Error;
use variables::Variables;

pub use torchrun::{BY_SONOTUNE, PARENT, STARTED_BY};

/// The place of this process among several that train together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// From 0 to `world_size - 1`; rank 0 writes the results.
    pub rank: usize,
    /// Number of processes on all machines.
    pub world_size: usize,
    /// From 0 to `local_world_size - 1` among the processes of this machine: which of its devices to take.
    pub local_rank: usize,
    /// Number of processes on this machine.
    pub local_world_size: usize,
    /// Machine of the store through which the processes find each other.
    pub master_addr: String,
    /// Port of the store.
    pub master_port: u16,
    /// Which process serves the store.
    pub store: StoreHost,
    /// How often the group has been started anew; keys of an earlier start may still be in the store.
    pub restart_count: u64,
    pub starter: Starter,
}

/// The process that serves the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreHost {
    /// The program that started the group; every rank is a client.
    Agent,
    /// Rank 0 of the group.
    FirstRank,
}

/// What started the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Starter {
    /// torchrun, or anything else that sets its variables.
    Torchrun,
    /// A job step of Slurm.
    Slurm,
    /// `--processes N` of this program.
    Own,
}

impl Launch {
    /// The place that `read` finds among the environment variables; `None` for a single process.
    ///
    /// torchrun's variables take precedence over Slurm's, since torchrun may run within a job step.
    ///
    /// # Errors
    /// Of kind config: if variables of a group are missing, are not numbers or contradict each other.
    pub fn from_env(read: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Error> {
        let variables = Variables::new(&read);
        let launch = match slurm::group(&variables)? {
            // Scripts for Slurm often set the size of the world and leave the rank to the job step.
            Some(group) if !variables.has(torchrun::RANK) => {
                Some(slurm::launch(&variables, group)?)
            }
            _ => torchrun::launch(&variables)?,
        };
        match launch {
            Some(launch) if launch.world_size > 1 => launch.checked().map(Some),
            _ => Ok(None),
        }
    }

    /// The place of this process, by its own environment.
    ///
    /// # Errors
    /// Same errors as [`Launch::from_env`].
    pub fn of_this_process() -> Result<Option<Self>, Error> {
        Self::from_env(|name| std::env::var(name).ok())
    }

    fn checked(self) -> Result<Self, Error> {
        let Self { rank, world_size, local_rank, local_world_size, .. } = self;
        let by = self.starter.words();
        let fault = if rank >= world_size {
            format!("rank {rank} of {world_size} processes; ranks count from 0")
        } else if local_rank >= local_world_size {
            format!(
                "local rank {local_rank} of {local_world_size} processes on this machine; local \
                 ranks count from 0"
            )
        } else if local_world_size > world_size {
            format!("{local_world_size} processes on this machine, but {world_size} in all")
        } else {
            return Ok(self);
        };
        Err(Error::config(format!(
            "the environment says ({by}) that this is {fault}; start the group anew, or unset these \
             variables to train in one process"
        )))
    }
}

impl Starter {
    /// The variables in question, for messages.
    fn words(self) -> &'static str {
        match self {
            Self::Torchrun | Self::Own => "RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE",
            Self::Slurm => "SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LOCALID, tasks per node",
        }
    }
}
