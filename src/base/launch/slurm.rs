//! The variables of a job step of Slurm, as `srun` sets them for each task.
//!
//! Source: "Output environment variables" of <https://slurm.schedmd.com/srun.html>.

use super::{Launch, Starter, StoreHost, Variables, hosts, torchrun};
use crate::Error;

const STEP_ID: &str = "SLURM_STEP_ID";
const STEP_TASKS: &str = "SLURM_STEP_NUM_TASKS";
const TASK: &str = "SLURM_PROCID";
const LOCAL_TASK: &str = "SLURM_LOCALID";
const NODE: &str = "SLURM_NODEID";
const TASKS_OF_STEP: &str = "SLURM_STEP_TASKS_PER_NODE";
const TASKS_OF_JOB: &str = "SLURM_TASKS_PER_NODE";
const TASKS_ASKED: &str = "SLURM_NTASKS_PER_NODE";
const JOB: &str = "SLURM_JOB_ID";
/// Set for a shell that `srun --pty` opens: only one of the step's tasks runs it.
const TERMINAL: &str = "SLURM_PTY_PORT";

/// Slurm numbers the steps of batch scripts, interactive shells and the like from here on.
const FIRST_SPECIAL_STEP: u64 = 0xffff_fff0;
/// Ports from PyTorch's usual one on, and below those that Linux gives to clients.
const FIRST_PORT: u64 = 29_500;
const NUM_PORTS: u64 = 3_000;

/// A job step of several tasks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    step: u64,
    tasks: usize,
}

/// The job step that this process is a task of. A batch script and an interactive shell are none,
/// whatever number of tasks their job asked for: nobody started the others.
pub(super) fn group(variables: &Variables<'_>) -> Result<Option<Group>, Error> {
    if variables.has(TERMINAL) {
        return Ok(None);
    }
    let (step, tasks) = (variables.number(STEP_ID)?, variables.number(STEP_TASKS)?);
    Ok(match (step, tasks) {
        (Some(step), Some(tasks)) if step < FIRST_SPECIAL_STEP && tasks > 1 => {
            Some(Group { step, tasks })
        }
        _ => None,
    })
}

/// The place within the job step.
pub(super) fn launch(variables: &Variables<'_>, group: Group) -> Result<Launch, Error> {
    let needed = |name: &str| {
        variables.number(name)?.ok_or_else(|| {
            Error::config(format!(
                "this is a task of a job step ({STEP_TASKS} = {}), but {name} is not set; start it \
                 with `srun`, or unset {STEP_TASKS} to train in one process",
                group.tasks
            ))
        })
    };
    let (rank, local_rank) = (needed(TASK)?, needed(LOCAL_TASK)?);
    same_world(variables, group)?;
    let local_world_size = tasks_on_this_node(variables, group)?;
    Ok(Launch {
        rank,
        world_size: group.tasks,
        local_rank,
        local_world_size,
        master_addr: first_host(variables, local_world_size == group.tasks)?,
        master_port: port(variables, group)?,
        store: StoreHost::FirstRank,
        // A job that was requeued.
        restart_count: variables.number("SLURM_RESTART_COUNT")?.unwrap_or(0),
        starter: Starter::Slurm,
    })
}

fn same_world(variables: &Variables<'_>, group: Group) -> Result<(), Error> {
    match variables.number::<usize>("WORLD_SIZE")? {
        Some(other) if other != group.tasks => Err(Error::config(format!(
            "WORLD_SIZE is {other}, but this job step has {} tasks ({STEP_TASKS}); unset WORLD_SIZE, \
             or start as many tasks as it says",
            group.tasks
        ))),
        _ => Ok(()),
    }
}

fn tasks_on_this_node(variables: &Variables<'_>, group: Group) -> Result<usize, Error> {
    let names = [TASKS_OF_STEP, TASKS_OF_JOB, TASKS_ASKED];
    let Some((name, text)) = variables.first(&names) else {
        return Err(Error::config(format!(
            "this is a task of a job step of {} tasks, but none of {} says how many are on this \
             machine; set {TASKS_ASKED}",
            group.tasks,
            names.join(", ")
        )));
    };
    let counts = hosts::counts(&text).ok_or_else(|| {
        Error::config(format!(
            "the environment variable {name} is {text:?}; expected tasks per node such as \
             \"4(x2),3\""
        ))
    })?;
    let first = counts.first().copied().unwrap_or(group.tasks);
    if name == TASKS_ASKED || counts.iter().all(|&count| count == first) {
        return Ok(first);
    }
    let node: Option<usize> = variables.number(NODE)?;
    node.and_then(|node| counts.get(node)).copied().ok_or_else(|| {
        let node = node.map_or_else(|| "not set".to_owned(), |node| node.to_string());
        Error::config(format!(
            "{name} is {text:?}, with different numbers of tasks, but {NODE}, which says which of \
             them is this machine's, is {node}; expected a number below {}",
            counts.len()
        ))
    })
}

fn first_host(variables: &Variables<'_>, is_one_machine: bool) -> Result<String, Error> {
    if let Some(address) = variables.text(torchrun::MASTER_ADDR) {
        return Ok(address);
    }
    if is_one_machine {
        // Works on a machine whose name does not resolve.
        return Ok("127.0.0.1".to_owned());
    }
    let names = ["SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST"];
    let Some((name, list)) = variables.first(&names) else {
        return Err(Error::config(format!(
            "this job step has tasks on several machines, but none of {} says which; set {} to the \
             machine of rank 0",
            names.join(", "),
            torchrun::MASTER_ADDR
        )));
    };
    hosts::first(&list).ok_or_else(|| {
        Error::config(format!(
            "the environment variable {name} is {list:?}; expected a list of machines such as \
             \"node[003-005,7]\". Set {} to the machine of rank 0",
            torchrun::MASTER_ADDR
        ))
    })
}

/// A port that all tasks compute alike. Steps of one job, and jobs on the same machine, rarely share it.
fn port(variables: &Variables<'_>, group: Group) -> Result<u16, Error> {
    if variables.has(torchrun::MASTER_PORT) {
        return torchrun::port(variables);
    }
    let job: u64 = variables.number(JOB)?.ok_or_else(|| {
        Error::config(format!(
            "this is a task of a job step, but {JOB} is not set; set {} to a free port of the \
             machine of rank 0",
            torchrun::MASTER_PORT
        ))
    })?;
    let port = FIRST_PORT + job.wrapping_mul(7).wrapping_add(group.step) % NUM_PORTS;
    u16::try_from(port).map_err(|_| Error::config(format!("port {port} is out of range")))
}
