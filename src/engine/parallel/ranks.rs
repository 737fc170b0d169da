//! A process's place in its group, and how the group agrees.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use serde::{Serialize, de::DeserializeOwned};
use tch::{Device, Tensor};

use super::{
    Exchange, Fault, ParallelConfig, Share,
    monitor::{Monitor, Phase, Watching, of_start},
};
use crate::device::Local;
use sonotune_base::{
    ErrorKind,
    error::kind,
    launch::{Launch, StoreHost},
};
use sonotune_shim::{ProcessGroup, ReduceOp, ShimError, Store};

/// One of the processes that work on the same model; or a process that works alone, for which every
/// exchange is over before it begins.
///
/// All processes of a group call the same methods in the same order, each on its main thread.
#[derive(Debug, Default)]
pub struct Ranks {
    group: Option<Group>,
}

#[derive(Debug)]
struct Group {
    rank: usize,
    world_size: usize,
    /// The place among the processes of this machine.
    local: Local,
    /// What the main threads tell each other, on the CPU.
    host: ProcessGroup,
    /// What the loaders tell each other meanwhile.
    loader: Arc<LoaderGroup>,
    /// Gradients and values of a step, on the device, once it is known.
    gradients: OnceLock<ProcessGroup>,
    store: Store,
    timeout: Duration,
    monitor: Monitor,
    /// How often the others have waited for rank 0 alone.
    waits_for_first: AtomicU64,
}

/// A group of its own, since loaders run ahead of the steps.
#[derive(Debug)]
struct LoaderGroup(ProcessGroup);

impl Exchange for LoaderGroup {
    fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>> {
        Ok(self.0.all_gather_bytes(mine)?)
    }
}

impl Ranks {
    /// A process without others.
    #[must_use]
    pub fn alone() -> Self {
        Self::default()
    }

    /// Joins the group that `launch` describes. `report` prints a failure that the main thread does not
    /// survive to print, in the one process that prints it.
    ///
    /// # Errors
    /// If the others do not come within the timeout, or libtorch cannot connect them.
    pub fn join(
        launch: &Launch,
        config: &ParallelConfig,
        report: impl Fn(&str) + Send + 'static,
    ) -> Result<Self> {
        let timeout = Duration::from_secs(config.timeout_seconds);
        let &Launch { rank, world_size, master_port, .. } = launch;
        let local = Local { rank: launch.local_rank, world_size: launch.local_world_size };
        let hosts = launch.store == StoreHost::FirstRank && rank == 0;
        let connect = |serves: bool| {
            let store = Store::tcp(&launch.master_addr, master_port, serves, timeout);
            let store = store.with_context(|| {
                let address = &launch.master_addr;
                format!(
                    "rank {rank} cannot reach the store of its group at {address}:{master_port}"
                )
            })?;
            // What an earlier start of the group left behind is not read.
            Ok::<_, anyhow::Error>(of_start(&store, launch.restart_count))
        };
        let store = connect(hosts)?;
        let watching =
            Watching { rank, world_size, timeout, store: launch.store, report: Box::new(report) };
        let monitor = Monitor::start(&connect(false)?, watching)?;
        let gloo = |name: &str| gloo(&store, name, (rank, world_size), timeout);
        let joined =
            gloo("host").and_then(|host| Ok((host, Arc::new(LoaderGroup(gloo("loader")?)))));
        let (host, loader) =
            joined.map_err(|error| told(rank, &monitor, monitor.explain(error)))?;
        let (gradients, waits_for_first) = (OnceLock::new(), AtomicU64::new(0));
        let group = Group {
            rank,
            world_size,
            local,
            host,
            loader,
            gradients,
            store,
            timeout,
            monitor,
            waits_for_first,
        };
        Ok(Self { group: Some(group) })
    }

    /// Connects the devices, on which gradients are added up. Once, before the first step.
    ///
    /// # Errors
    /// If the others do not come within the timeout, or libtorch cannot connect them.
    pub fn connect(&self, device: Device) -> Result<()> {
        let Some(group) = &self.group else { return Ok(()) };
        let Group { store, rank, world_size, timeout, .. } = group;
        let place = (*rank, *world_size);
        let gradients = match device {
            Device::Cuda(index) => {
                let store = store.prefixed("gradients");
                let group = ProcessGroup::nccl(&store, *rank, *world_size, *timeout, index);
                group.with_context(|| {
                    format!("rank {rank} of {world_size} cannot connect cuda:{index} to the others")
                })?
            }
            _ => gloo(store, "gradients", place, *timeout)?,
        };
        // Set only here, once.
        let _ = group.gradients.set(gradients);
        Ok(())
    }

    /// Says how far this process is, in case others wait for it.
    pub fn progress(&self, step: u64, phase: Phase) {
        if let Some(group) = &self.group {
            group.monitor.progress(step, phase);
        }
    }

    /// Ends the work of this process with `result`. An error is told to the others, which then end as well;
    /// one that comes from them says which process failed and why.
    ///
    /// # Errors
    /// That of `result`; on other ranks than 0 as the failure that rank 0 prints.
    pub fn close<T>(&self, result: Result<T>) -> Result<T> {
        let Some(Group { monitor, rank, .. }) = &self.group else { return result };
        let result = result.map_err(|error| self.explain(error));
        match result {
            // All have agreed to stop.
            Err(error) if kind(&error) == Some(ErrorKind::Interrupted) => {
                monitor.finish();
                Err(error)
            }
            Err(error) => Err(told(*rank, monitor, error)),
            Ok(value) => {
                monitor.finish();
                Ok(value)
            }
        }
    }

    /// An error with its reason: if it comes from an exchange with others, which process failed, as far as is
    /// known.
    #[must_use]
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        match &self.group {
            // Collectives fail here and there, also within a backward pass, but never with a kind.
            Some(group) if kind(&error).is_none() => group.monitor.explain(error),
            _ => error,
        }
    }

    /// The result of a collective. While it waits, this process is not the one that hangs.
    pub(crate) fn waiting<T>(&self, wait: impl FnOnce() -> Result<T, ShimError>) -> Result<T> {
        let Some(Group { monitor, .. }) = &self.group else { return Ok(wait()?) };
        monitor.waits(true);
        let result = wait();
        monitor.waits(false);
        result.map_err(|error| monitor.explain(error.into()))
    }

    /// From 0.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.group.as_ref().map_or(0, |group| group.rank)
    }

    /// Number of processes.
    #[must_use]
    pub fn world_size(&self) -> usize {
        self.group.as_ref().map_or(1, |group| group.world_size)
    }

    /// The place among the processes of this machine.
    #[must_use]
    pub fn local(&self) -> Local {
        self.group.as_ref().map_or_else(Local::default, |group| group.local)
    }

    /// Whether this is the process that writes results: rank 0, or one that is alone.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.group.is_none()
    }

    /// The part of each batch that this process prepares.
    #[must_use]
    pub fn share(&self) -> Share {
        match &self.group {
            None => Share::default(),
            Some(Group { rank, world_size, loader, local, .. }) => {
                let exchange: Arc<dyn Exchange> = loader.clone();
                let (rank, world_size) = (*rank, *world_size);
                Share {
                    rank,
                    world_size,
                    local_world_size: local.world_size,
                    exchange: Some(exchange),
                }
            }
        }
    }

    /// The group that adds up gradients; `None` if the process is alone.
    pub(crate) fn of_gradients(&self) -> Option<&ProcessGroup> {
        self.group.as_ref().and_then(|group| group.gradients.get())
    }

    /// What each process gives, by rank.
    ///
    /// # Errors
    /// If a process has ended or does not answer in time.
    pub fn tell<T: Serialize + DeserializeOwned>(&self, mine: T) -> Result<Vec<T>> {
        let Some(group) = &self.group else { return Ok(vec![mine]) };
        let said = serde_json::to_vec(&mine)?;
        let all = self.waiting(|| group.host.all_gather_bytes(&said))?;
        all.iter().map(|said| read(said)).collect()
    }

    /// The value of rank 0, for all: the others need not have one.
    ///
    /// # Errors
    /// Same errors as [`tell`](Self::tell).
    pub fn from_first<T: Serialize + DeserializeOwned>(&self, first: Option<T>) -> Result<T> {
        let all = self.tell(first)?;
        all.into_iter().next().flatten().ok_or_else(|| anyhow!("rank 0 said nothing"))
    }

    /// What rank 0 finds, for all: the others need not look.
    ///
    /// # Errors
    /// Those of rank 0, and those of [`tell`](Self::tell).
    pub fn decide<T: Serialize + DeserializeOwned>(
        &self,
        find: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let found = if self.is_first() { find().map(Some) } else { Ok(None) };
        self.from_first(self.agree(found)?)
    }

    /// What each process gives, by rank, at rank 0; nothing elsewhere.
    ///
    /// # Errors
    /// Same errors as [`tell`](Self::tell).
    pub fn gather(&self, mine: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        match &self.group {
            None => Ok(vec![mine]),
            Some(group) => self.waiting(|| group.host.gather_bytes(&mine, 0)),
        }
    }

    /// Waits for all processes; an error of any is the error of all: if several have one, that of the lowest rank.
    ///
    /// # Errors
    /// The error of `result`, or that of another process, with its rank in front.
    pub fn agree<T>(&self, result: Result<T>) -> Result<T> {
        let fault = result.as_ref().err().map(|error| Fault::of(self.rank(), error));
        if self.is_alone() {
            return result;
        }
        match self.tell(fault)?.into_iter().flatten().next() {
            Some(first) if first.rank != self.rank() => Err(first.error()),
            _ => result,
        }
    }

    /// Has the others wait until rank 0 comes here as well, however long it works on its own, such as to score a
    /// split: no timeout ends this, only the end of a process.
    ///
    /// # Errors
    /// If the store does not answer.
    pub fn wait_for_first(&self) -> Result<()> {
        const LONGEST_PAUSE: Duration = Duration::from_millis(200);
        let Some(Group { rank, store, waits_for_first, .. }) = &self.group else { return Ok(()) };
        let key = format!("first/{}", waits_for_first.fetch_add(1, Ordering::Relaxed));
        if *rank == 0 {
            return self.waiting(|| store.set(&key, b"here"));
        }
        self.waiting(|| {
            let mut pause = Duration::from_millis(1);
            while store.try_get(&key)?.is_none() {
                thread::sleep(pause);
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
            Ok(())
        })
    }

    /// For each place, whether any process has something other than 0 there.
    ///
    /// # Errors
    /// Same errors as [`tell`](Self::tell).
    pub(crate) fn any(&self, mine: &[u8]) -> Result<Vec<u8>> {
        let Some(group) = &self.group else { return Ok(mine.to_vec()) };
        let tensor = Tensor::from_slice(mine);
        self.waiting(|| group.host.all_reduce(&tensor, ReduceOp::Max))?;
        Ok(Vec::try_from(tensor)?)
    }

    /// Adds up the tensor over all processes, in place, on its device.
    ///
    /// # Errors
    /// Same errors as [`tell`](Self::tell).
    pub(crate) fn add_up(&self, tensor: &Tensor) -> Result<()> {
        let Some(gradients) = self.of_gradients() else { return Ok(()) };
        self.waiting(|| gradients.all_reduce(tensor, ReduceOp::Sum))
    }

    /// Gives the tensors of all processes the values of rank 0.
    ///
    /// # Errors
    /// Same errors as [`tell`](Self::tell).
    pub fn broadcast(&self, tensors: &[Tensor]) -> Result<()> {
        let Some(gradients) = self.of_gradients() else { return Ok(()) };
        self.waiting(|| gradients.broadcast(tensors, 0))
    }
}

/// The error of this process, once the others know it. That of rank 0 stays as it is, for it prints it; that
/// of any other becomes the failure that rank 0 prints.
fn told(rank: usize, monitor: &Monitor, error: anyhow::Error) -> anyhow::Error {
    let failure = monitor.announce(&error);
    if rank == 0 { error } else { failure.into_error() }
}

/// A group for tensors of the CPU.
fn gloo(
    store: &Store,
    name: &str,
    (rank, world_size): (usize, usize),
    timeout: Duration,
) -> Result<ProcessGroup> {
    ProcessGroup::gloo(&store.prefixed(name), rank, world_size, timeout).with_context(|| {
        format!("rank {rank} of {world_size} cannot connect to the others ({name})")
    })
}

fn read<T: DeserializeOwned>(said: &[u8]) -> Result<T> {
    serde_json::from_slice(said).context("a process of the group runs another version of Sonotune")
}
