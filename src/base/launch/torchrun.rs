//! The variables of `torchrun`, which `sonotune … --processes N` sets as well.
//!
//! Source: "Environment Variables" of <https://docs.pytorch.org/docs/stable/elastic/run.html>, and
//! `torch/distributed/rendezvous.py` for `TORCHELASTIC_USE_AGENT_STORE`.

use super::{Launch, Starter, StoreHost, Variables};
use crate::Error;

pub(super) const RANK: &str = "RANK";
const WORLD_SIZE: &str = "WORLD_SIZE";
const LOCAL_RANK: &str = "LOCAL_RANK";
const LOCAL_WORLD_SIZE: &str = "LOCAL_WORLD_SIZE";
pub(super) const MASTER_ADDR: &str = "MASTER_ADDR";
pub(super) const MASTER_PORT: &str = "MASTER_PORT";
const RESTART_COUNT: &str = "TORCHELASTIC_RESTART_COUNT";
const USE_AGENT_STORE: &str = "TORCHELASTIC_USE_AGENT_STORE";

/// Variable that says which program set the others.
pub const STARTED_BY: &str = "SONOTUNE_STARTED_BY";
/// Its value if it was this program.
pub const BY_SONOTUNE: &str = "sonotune";
/// Variable with the number of the process that started this one, if it was this program.
pub const PARENT: &str = "SONOTUNE_PARENT";

/// The place among the processes; `None` if no group is mentioned or it has one process.
pub(super) fn launch(variables: &Variables<'_>) -> Result<Option<Launch>, Error> {
    let world_size = variables.number(WORLD_SIZE)?;
    if world_size == Some(1) || world_size.is_none() && !variables.has(RANK) {
        return Ok(None);
    }
    let needed = [RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT];
    let missing: Vec<_> = needed.into_iter().filter(|name| !variables.has(name)).collect();
    if !missing.is_empty() {
        return Err(incomplete(variables, &needed, &missing));
    }
    let number = |name| Ok(variables.number(name)?.unwrap_or_default());
    let by_agent = variables.text(USE_AGENT_STORE).as_deref() == Some("True");
    let is_own = variables.text(STARTED_BY).as_deref() == Some(BY_SONOTUNE);
    Ok(Some(Launch {
        rank: number(RANK)?,
        world_size: number(WORLD_SIZE)?,
        local_rank: number(LOCAL_RANK)?,
        local_world_size: number(LOCAL_WORLD_SIZE)?,
        master_addr: variables.text(MASTER_ADDR).unwrap_or_default(),
        master_port: port(variables)?,
        store: if by_agent { StoreHost::Agent } else { StoreHost::FirstRank },
        restart_count: variables.number(RESTART_COUNT)?.unwrap_or(0),
        starter: if is_own { Starter::Own } else { Starter::Torchrun },
    }))
}

fn incomplete(variables: &Variables<'_>, needed: &[&str], missing: &[&str]) -> Error {
    let set: Vec<_> = needed.iter().filter(|name| variables.has(name)).copied().collect();
    // Starters of one process per machine leave these two out.
    let local = [LOCAL_RANK, LOCAL_WORLD_SIZE];
    let remedy = if missing.iter().all(|name| local.contains(name)) {
        "with one process per machine set LOCAL_RANK=0 and LOCAL_WORLD_SIZE=1, otherwise"
    } else {
        "set them all, for instance with torchrun; or"
    };
    Error::config(format!(
        "the environment names a group of processes ({}), but {} not set; {remedy} unset these \
         variables to train in one process",
        set.join(", "),
        if let [one] = missing {
            format!("{one} is")
        } else {
            format!("{} are", missing.join(", "))
        },
    ))
}

/// `MASTER_PORT`.
pub(super) fn port(variables: &Variables<'_>) -> Result<u16, Error> {
    match variables.number(MASTER_PORT)? {
        Some(port) if port > 0 => Ok(port),
        _ => {
            let port = variables.text(MASTER_PORT).unwrap_or_default();
            Err(Error::config(format!(
                "the environment variable MASTER_PORT is {port:?}; expected the port of the group's \
                 store, from 1 to 65535"
            )))
        }
    }
}

impl Launch {
    /// The variables that tell a process this place: what [`Launch::from_env`] reads back.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let by_agent = if self.store == StoreHost::Agent { "True" } else { "False" };
        let mut variables = vec![
            (RANK, self.rank.to_string()),
            (WORLD_SIZE, self.world_size.to_string()),
            (LOCAL_RANK, self.local_rank.to_string()),
            (LOCAL_WORLD_SIZE, self.local_world_size.to_string()),
            (MASTER_ADDR, self.master_addr.clone()),
            (MASTER_PORT, self.master_port.to_string()),
            (RESTART_COUNT, self.restart_count.to_string()),
            (USE_AGENT_STORE, by_agent.to_owned()),
        ];
        if self.starter == Starter::Own {
            variables.push((STARTED_BY, BY_SONOTUNE.to_owned()));
        }
        variables
    }
}
