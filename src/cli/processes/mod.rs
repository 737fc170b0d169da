//! `--processes N`: starts this program N times and sees that all of them end.
//!
//! The process that the user started serves the store through which the others find each other, as the agent
//! of torchrun does, and gives each of them torchrun's variables. It computes nothing. Each has a process
//! group of its own: Ctrl-C reaches the first process alone, which passes it on once.

mod child;
mod group;

use std::{ffi::OsString, num::NonZero, thread::available_parallelism, time::Duration};

use anyhow::{Context, Result};
use clap::Args;

use child::Child;
use group::Group;
use sonotune_base::{
    Error,
    launch::{Launch, Starter, StoreHost},
    signals::Received,
};
use sonotune_engine::parallel::monitor::{self, Board, Failure};
use sonotune_shim::Store;

/// The option, for commands whose work several processes can share.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct ProcessArgs {
    /// Share the work among this many processes of this machine: one per GPU; on the CPU each gets its share
    /// of the cores.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    processes: Option<u16>,
}

impl ProcessArgs {
    /// The number of processes to start, if this one alone is not enough.
    pub(super) fn several(self) -> Option<usize> {
        self.processes.filter(|&number| number > 1).map(usize::from)
    }
}

const OPTION: &str = "--processes";
const LOOPBACK: &str = "127.0.0.1";
/// How long a child waits for an answer of the store.
const STORE_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs the command of this process in `number` others; returns the exit code of the first that failed.
///
/// # Errors
/// If this process is one of several already; if the others cannot be started.
pub(super) fn run(number: usize) -> Result<u8> {
    refuse_within_a_group()?;
    let received = Received::start()?;
    let store = Store::tcp(LOOPBACK, 0, true, STORE_TIMEOUT)
        .with_context(|| format!("cannot serve the store of the processes on {LOOPBACK}"))?;
    let program = std::env::current_exe().context("cannot find this program to start it again")?;
    let arguments = without_option(std::env::args_os().skip(1));
    let mut children = Vec::new();
    for rank in 0..number {
        let launch = Launch {
            rank,
            world_size: number,
            local_rank: rank,
            local_world_size: number,
            master_addr: LOOPBACK.to_owned(),
            master_port: store.port(),
            store: StoreHost::Agent,
            restart_count: 0,
            starter: Starter::Own,
        };
        // If one cannot be started, those before it are killed on the way out.
        children.push(Child::start(&program, &arguments, &launch, threads(number))?);
    }
    let board = Board::of(&monitor::of_start(&store, 0));
    Ok(Group::new(children, board).wait(&received))
}

/// Whether this process prints the error that ends it: a failure that all processes report is printed once.
/// Those that `--processes` starts print to it, and it chooses.
pub(super) fn prints(error: &anyhow::Error) -> bool {
    match (error.downcast_ref::<Failure>(), Launch::of_this_process()) {
        (Some(failure), Ok(Some(launch))) => {
            launch.starter == Starter::Own || failure.told_by == launch.rank
        }
        _ => true,
    }
}

fn refuse_within_a_group() -> Result<()> {
    let Some(Launch { rank, world_size, starter, .. }) = Launch::of_this_process()? else {
        return Ok(());
    };
    let (by, remedy) = match starter {
        Starter::Slurm => ("srun", "start a single task, or leave out"),
        Starter::Torchrun | Starter::Own => ("torchrun's variables", "unset them, or leave out"),
    };
    Err(Error::config(format!(
        "{OPTION} starts the processes, but {by} made this one rank {rank} of {world_size} already; \
         {remedy} {OPTION}"
    ))
    .into())
}

/// Threads of each process's operators, unless the user says how many.
fn threads(processes: usize) -> Option<usize> {
    if std::env::var_os("OMP_NUM_THREADS").is_some() {
        return None;
    }
    let cores = available_parallelism().map_or(1, NonZero::get);
    Some((cores / processes).max(1))
}

/// The arguments for a child: everything but the option and its value.
fn without_option(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        if text == "--" {
            kept.push(argument);
            kept.extend(arguments);
            break;
        }
        if text == OPTION {
            drop(arguments.next());
        } else if text.strip_prefix(OPTION).is_none_or(|rest| !rest.starts_with('=')) {
            kept.push(argument);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_get_all_arguments_but_the_option() {
        let kept = |line: &str| {
            let kept = without_option(line.split(' ').map(OsString::from));
            kept.join(std::ffi::OsStr::new(" ")).into_string().unwrap()
        };
        assert_eq!(kept("train a.toml --processes 2 seed=3"), "train a.toml seed=3");
        assert_eq!(kept("train --processes=2 a.toml"), "train a.toml");
        assert_eq!(kept("predict --out x i --processes 4"), "predict --out x i");
        assert_eq!(kept("predict -- --processes 4"), "predict -- --processes 4");
    }
}
