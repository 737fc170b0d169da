use std::collections::HashMap;

use super::*;
use crate::ErrorKind;

const TORCHRUN: &str = "RANK=5 WORLD_SIZE=8 LOCAL_RANK=1 LOCAL_WORLD_SIZE=4 MASTER_ADDR=n1 \
                        MASTER_PORT=29400 TORCHELASTIC_RESTART_COUNT=3 \
                        TORCHELASTIC_USE_AGENT_STORE=True TORCHELASTIC_RUN_ID=none";
const SRUN: &str = "SLURM_JOB_ID=1234567 SLURM_STEP_ID=2 SLURM_STEP_NUM_TASKS=11 SLURM_NTASKS=11 \
                    SLURM_PROCID=9 SLURM_LOCALID=1 SLURM_NODEID=2 \
                    SLURM_STEP_TASKS_PER_NODE=4(x2),3 SLURM_TASKS_PER_NODE=4(x2),3 \
                    SLURM_STEP_NODELIST=node[003-005] SLURM_JOB_NODELIST=node[001-005]";

/// Reads `A=b C=d`; later ones win, `A=` is empty.
fn launched(parts: &[&str]) -> Result<Option<Launch>, Error> {
    let text = parts.join(" ");
    let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
    let variables: HashMap<&str, &str> = pairs.collect();
    Launch::from_env(|name| variables.get(name).map(|&value| value.to_owned()))
}

fn group(parts: &[&str]) -> Launch {
    launched(parts).unwrap().unwrap()
}

#[track_caller]
fn refused(parts: &[&str], words: &[&str]) {
    let error = launched(parts).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    let message = error.to_string();
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
}

#[test]
fn without_variables_it_is_one_process() {
    assert_eq!(launched(&[]).unwrap(), None);
    assert_eq!(launched(&["LOCAL_RANK=0 MASTER_ADDR=n1 MASTER_PORT=1"]).unwrap(), None);
    assert_eq!(launched(&["RANK=0 WORLD_SIZE=1"]).unwrap(), None);
}

#[test]
fn torchrun_tells_everything() {
    let expected = Launch {
        rank: 5,
        world_size: 8,
        local_rank: 1,
        local_world_size: 4,
        master_addr: "n1".to_owned(),
        master_port: 29400,
        store: StoreHost::Agent,
        restart_count: 3,
        starter: Starter::Torchrun,
    };
    assert_eq!(group(&[TORCHRUN]), expected);
    assert_eq!(group(&[SRUN, TORCHRUN]), expected, "torchrun within a job step");
    let by_rank = group(&[TORCHRUN, "TORCHELASTIC_USE_AGENT_STORE=False"]);
    assert_eq!(by_rank.store, StoreHost::FirstRank);
    let plain = group(&["RANK=1 WORLD_SIZE=2 LOCAL_RANK=1 LOCAL_WORLD_SIZE=2 MASTER_ADDR=::1 \
                         MASTER_PORT=29500"]);
    assert_eq!((plain.store, plain.restart_count), (StoreHost::FirstRank, 0));
}

#[test]
fn a_place_survives_its_variables() {
    for starter in [Starter::Torchrun, Starter::Own] {
        for store in [StoreHost::Agent, StoreHost::FirstRank] {
            let launch = Launch { starter, store, ..group(&[TORCHRUN]) };
            let variables: HashMap<_, _> = launch.variables().into_iter().collect();
            let read = |name: &str| variables.get(name).cloned();
            assert_eq!(Launch::from_env(read).unwrap(), Some(launch));
        }
    }
}

#[test]
fn what_torchrun_would_not_say_is_refused_by_its_name() {
    refused(&["RANK=1"], &["(RANK)", "WORLD_SIZE, LOCAL_RANK", "MASTER_PORT are not set"]);
    refused(&["WORLD_SIZE=2"], &["(WORLD_SIZE)", "RANK, LOCAL_RANK", "unset"]);
    refused(&[TORCHRUN, "MASTER_ADDR="], &["MASTER_ADDR is not set", "torchrun"]);
    let local = &["LOCAL_RANK is not set", "LOCAL_RANK=0 and LOCAL_WORLD_SIZE=1"];
    refused(&[TORCHRUN, "LOCAL_RANK="], local);
    refused(&[TORCHRUN, "RANK=8"], &["rank 8 of 8 processes"]);
    refused(&[TORCHRUN, "LOCAL_RANK=4"], &["local rank 4 of 4"]);
    refused(&[TORCHRUN, "WORLD_SIZE=3 RANK=2"], &["4 processes on this machine, but 3"]);
    refused(&[TORCHRUN, "RANK=-1"], &["RANK is \"-1\"", "whole number"]);
    refused(&[TORCHRUN, "MASTER_PORT=0"], &["MASTER_PORT is \"0\"", "65535"]);
    refused(&[TORCHRUN, "MASTER_PORT=70000"], &["MASTER_PORT is \"70000\""]);
}

#[test]
fn one_process_per_machine_follows_the_remedy() {
    let four = "RANK=1 WORLD_SIZE=2 MASTER_ADDR=n1 MASTER_PORT=29500";
    refused(&[four], &["LOCAL_RANK, LOCAL_WORLD_SIZE are not set"]);
    let launch = group(&[four, "LOCAL_RANK=0 LOCAL_WORLD_SIZE=1"]);
    assert_eq!((launch.rank, launch.local_rank, launch.local_world_size), (1, 0, 1));
}

#[test]
fn a_job_step_tells_everything() {
    let launch = group(&[SRUN]);
    let expected = Launch {
        rank: 9,
        world_size: 11,
        local_rank: 1,
        local_world_size: 3,
        master_addr: "node003".to_owned(),
        master_port: launch.master_port,
        store: StoreHost::FirstRank,
        restart_count: 0,
        starter: Starter::Slurm,
    };
    assert_eq!(launch, expected);
    assert!((29500..32500).contains(&launch.master_port), "{}", launch.master_port);
    let others = ["SLURM_STEP_ID=3", "SLURM_JOB_ID=1234568"];
    assert!(others.iter().all(|o| group(&[SRUN, o]).master_port != launch.master_port));
    assert_eq!(group(&[SRUN, "SLURM_NODEID=0"]).local_world_size, 4);
    assert_eq!(group(&[SRUN, "SLURM_RESTART_COUNT=2"]).restart_count, 2);
}

#[test]
fn the_user_names_address_and_port() {
    let launch = group(&[SRUN, "MASTER_ADDR=10.0.0.1 MASTER_PORT=12345"]);
    assert_eq!((launch.master_addr.as_str(), launch.master_port), ("10.0.0.1", 12345));
    refused(&[SRUN, "MASTER_PORT=x"], &["MASTER_PORT is \"x\""]);
    // A script may name the size of the world, if it is right.
    assert_eq!(group(&[SRUN, "WORLD_SIZE=11"]), group(&[SRUN]));
    refused(&[SRUN, "WORLD_SIZE=1"], &["WORLD_SIZE is 1", "11 tasks"]);
}

#[test]
fn a_job_step_on_one_machine_meets_on_loopback() {
    let one = "SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=3 SLURM_LOCALID=3 SLURM_STEP_TASKS_PER_NODE=4";
    let launch = group(&[SRUN, one]);
    assert_eq!((launch.local_world_size, launch.master_addr.as_str()), (4, "127.0.0.1"));
}

#[test]
fn tasks_per_node_come_from_the_step_the_job_or_what_was_asked_for() {
    let none = "SLURM_STEP_TASKS_PER_NODE= SLURM_TASKS_PER_NODE=";
    let job = group(&[SRUN, "SLURM_STEP_TASKS_PER_NODE=", "SLURM_TASKS_PER_NODE=2(x2),7"]);
    assert_eq!(job.local_world_size, 7);
    assert_eq!(group(&[SRUN, none, "SLURM_NTASKS_PER_NODE=5"]).local_world_size, 5);
    refused(&[SRUN, none], &["SLURM_STEP_TASKS_PER_NODE", "set SLURM_NTASKS_PER_NODE"]);
    refused(&[SRUN, "SLURM_STEP_TASKS_PER_NODE=x"], &["is \"x\"", "4(x2),3"]);
    refused(&[SRUN, "SLURM_NODEID="], &["SLURM_NODEID", "not set"]);
    refused(&[SRUN, "SLURM_NODEID=3"], &["is 3; expected a number below 3"]);
}

#[test]
fn nobody_started_the_tasks_of_a_batch_script_or_a_shell() {
    let batch = "SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 \
                 SLURM_TASKS_PER_NODE=4 SLURM_JOB_NODELIST=n1";
    assert_eq!(launched(&[batch]).unwrap(), None, "sbatch without srun");
    let shell = "SLURM_STEP_ID=4294967290 SLURM_STEP_NUM_TASKS=4";
    assert_eq!(launched(&[batch, shell]).unwrap(), None, "salloc with an interactive step");
    let single = "SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=1";
    assert_eq!(launched(&[batch, single]).unwrap(), None, "srun -n 1");
    assert_eq!(launched(&[SRUN, "SLURM_PTY_PORT=4711"]).unwrap(), None, "srun --pty");
}

#[test]
fn what_a_job_step_lacks_is_named() {
    refused(&[SRUN, "SLURM_PROCID="], &["SLURM_PROCID is not set", "srun"]);
    refused(&[SRUN, "SLURM_LOCALID=3"], &["local rank 3 of 3", "SLURM_LOCALID"]);
    refused(&[SRUN, "SLURM_JOB_ID="], &["SLURM_JOB_ID is not set", "MASTER_PORT"]);
    let unlisted = "SLURM_STEP_NODELIST= SLURM_JOB_NODELIST=";
    refused(&[SRUN, unlisted], &["SLURM_STEP_NODELIST", "set MASTER_ADDR"]);
    refused(&[SRUN, "SLURM_STEP_NODELIST=(null)"], &["is \"(null)\"", "node[003-005,7]"]);
}
