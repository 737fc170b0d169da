//! A process group: the collectives among all ranks.

use std::{ffi::c_int, time::Duration};

use tch::{Device, Kind, Tensor};

use super::{Store, c_string, explain, ffi as c, interface, milliseconds, nccl};
use crate::{ShimError, ffi};

/// What an all-reduce computes of the ranks' values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReduceOp {
    Sum = 0,
    Max = 1,
}

/// The ranks of a run, connected to each other. All ranks must make the same calls in the same order, reducers'
/// included: threads that communicate independently need a group each. A rank that dies makes the calls of the
/// others fail, one that hangs makes them fail after the group's timeout.
#[derive(Debug)]
pub struct ProcessGroup {
    handle: *mut c::CGroup,
    rank: usize,
    world_size: usize,
}

// SAFETY: c10d may be called from any thread, and the shim locks what it leaves unlocked.
unsafe impl Send for ProcessGroup {}
// SAFETY: see above.
unsafe impl Sync for ProcessGroup {}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // SAFETY: created by the shim, freed once. Pending operations fail.
        unsafe { c::shim_group_free(self.handle) };
    }
}

/// An operation that runs in the background.
#[derive(Debug)]
#[must_use]
pub struct Pending {
    /// Null once it was waited for.
    handle: *mut c::CPending,
    tensor: Tensor,
    context: String,
}

// SAFETY: as for the group.
unsafe impl Send for Pending {}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: created by the shim, freed once. The operation holds what it uses.
            unsafe { c::shim_pending_free(self.handle) };
        }
    }
}

impl Pending {
    /// The result, once it is there (CUDA: work queued from now on waits for it).
    ///
    /// # Errors
    /// When another rank died, or did not take part within the group's timeout.
    pub fn wait(mut self) -> Result<Tensor, ShimError> {
        let handle = std::mem::replace(&mut self.handle, std::ptr::null_mut());
        // SAFETY: a live handle, which this call frees.
        ffi::check(unsafe { c::shim_wait(handle) })
            .map_err(|error| explain(error, &self.context))?;
        Ok(self.tensor.shallow_clone())
    }
}

/// Up to this many bytes of each rank travel with their number.
const INLINE: usize = 1024;
const HEADER: usize = 8;

impl ProcessGroup {
    /// Connects all ranks by Gloo, for tensors in host memory (CUDA's are copied through it). Each group of a
    /// store needs a prefix of its own. Ranks of one machine are connected by loopback; several machines by the
    /// interfaces that `GLOO_SOCKET_IFNAME` names, else those by which they reach the store.
    ///
    /// # Errors
    /// When `rank` is not below `world_size`, or a rank does not come within `timeout`.
    pub fn gloo(
        store: &Store,
        rank: usize,
        world_size: usize,
        timeout: Duration,
    ) -> Result<Self, ShimError> {
        if rank >= world_size {
            return Err(ShimError(format!(
                "rank {rank} of {world_size}: ranks are counted from 0 to the world size less one"
            )));
        }
        let context = format!("rank {rank} cannot connect to the {world_size} ranks");
        Self::connect(store, rank, world_size, timeout).map_err(|error| explain(error, &context))
    }

    /// Same as [`gloo`](Self::gloo), with NCCL for the tensors of CUDA device `device_index`, one for each rank. Opens
    /// libtorch's CUDA half.
    ///
    /// NCCL's operations run on the device. If one does not end within `timeout`, because a rank died or hangs, a thread
    /// of c10d ends this process (`TORCH_NCCL_ASYNC_ERROR_HANDLING` says how), since the values would be wrong.
    ///
    /// # Errors
    /// Same errors as [`gloo`](Self::gloo); when this program was built without NCCL, or NCCL does not connect the devices,
    /// e.g. as two ranks have the same.
    pub fn nccl(
        store: &Store,
        rank: usize,
        world_size: usize,
        timeout: Duration,
        device_index: usize,
    ) -> Result<Self, ShimError> {
        let make = nccl::backend()?;
        let group = Self::gloo(store, rank, world_size, timeout)?;
        let prefix = c_string(&format!("{}nccl", store.prefix()))?;
        let index = number(device_index)?;
        // SAFETY: the pointers outlive the call; `make` is of this interface.
        ffi::check(unsafe {
            c::shim_group_add_cuda(
                group.handle,
                store.connection().0,
                prefix.as_ptr(),
                milliseconds(timeout),
                make,
                index,
            )
        })
        .map_err(|error| explain(error, &group.context("connecting NCCL")))?;
        Ok(group)
    }

    fn connect(
        store: &Store,
        rank: usize,
        world_size: usize,
        timeout: Duration,
    ) -> Result<Self, ShimError> {
        let (rank_number, size) = (number(rank)?, number(world_size)?);
        let host = interface::address(store, rank, world_size, timeout)?;
        let host = host.map(|host| c_string(&host)).transpose()?;
        let prefix = c_string(&format!("{}gloo", store.prefix()))?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the pointers outlive the call.
        ffi::check(unsafe {
            c::shim_group_gloo(
                store.connection().0,
                prefix.as_ptr(),
                rank_number,
                size,
                milliseconds(timeout),
                host.as_ref().map_or(std::ptr::null(), |host| host.as_ptr()),
                &mut handle,
            )
        })?;
        Ok(Self { handle, rank, world_size })
    }

    pub(super) fn handle(&self) -> *mut c::CGroup {
        self.handle
    }

    /// Number of this process, from 0.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The number of ranks.
    #[must_use]
    pub fn world_size(&self) -> usize {
        self.world_size
    }

    pub(super) fn context(&self, call: &str) -> String {
        format!("{call} on rank {} of {}", self.rank, self.world_size)
    }

    /// Leaves the group: operations under way and later ones fail, on this rank and the others. For a thread that
    /// knows of a failure while another one waits.
    ///
    /// # Errors
    /// Propagates errors from libtorch.
    pub fn abandon(&self) -> Result<(), ShimError> {
        // SAFETY: a live handle.
        ffi::check(unsafe { c::shim_group_abandon(self.handle) })
    }

    /// Replaces `tensor`, of equal form on all ranks, by the sum or maximum over the ranks; the same bits on all.
    /// Returns when the result is there (CUDA: work queued from then on waits for it).
    ///
    /// # Errors
    /// When another rank died, or did not take part within the group's timeout.
    pub fn all_reduce(&self, tensor: &Tensor, op: ReduceOp) -> Result<(), ShimError> {
        self.start_all_reduce(tensor.shallow_clone(), op)?.wait().map(drop)
    }

    /// Starts [`all_reduce`](Self::all_reduce); the tensor must not be used until it is waited for.
    ///
    /// # Errors
    /// Same errors as [`all_reduce`](Self::all_reduce), some of them only in [`Pending::wait`].
    pub fn start_all_reduce(&self, tensor: Tensor, op: ReduceOp) -> Result<Pending, ShimError> {
        let context = self.context("all-reduce");
        let mut handle = std::ptr::null_mut();
        let value = tensor.as_ptr().cast_mut();
        // SAFETY: the pointers outlive the call; the operation holds the tensor.
        ffi::check(unsafe {
            c::shim_start_all_reduce(self.handle, value, op as c_int, &mut handle)
        })
        .map_err(|error| explain(error, &context))?;
        Ok(Pending { handle, tensor, context })
    }

    /// Copies the values of rank `root` into the tensors of the others, many in one message.
    ///
    /// # Errors
    /// When there is no such rank, another rank died, or did not take part within the group's timeout.
    pub fn broadcast(&self, tensors: &[Tensor], root: usize) -> Result<(), ShimError> {
        let root = self.root(root)?;
        if tensors.is_empty() {
            return Ok(());
        }
        let handles = ffi::handles(tensors);
        // SAFETY: the handles live as long as the tensors.
        ffi::check(unsafe { c::shim_broadcast(self.handle, handles.len(), handles.as_ptr(), root) })
            .map_err(|error| explain(error, &self.context("broadcast")))
    }

    /// Compares number, dtypes, sizes and strides of the parameters with those of rank 0. Not empty.
    ///
    /// # Errors
    /// When they differ; libtorch's message names the parameter by its place in the list.
    pub fn verify_parameters(&self, parameters: &[Tensor]) -> Result<(), ShimError> {
        if parameters.is_empty() {
            return Err(ShimError("there are no parameters to compare".to_owned()));
        }
        let handles = ffi::handles(parameters);
        // SAFETY: the handles live as long as the tensors.
        ffi::check(unsafe {
            c::shim_verify_parameters(self.handle, handles.len(), handles.as_ptr())
        })
        .map_err(|error| explain(error, &self.context("comparison of parameters")))
    }

    /// What each rank gave, by rank; of any length, also empty. One round trip when all fit into 1 KiB, else two.
    ///
    /// # Errors
    /// When another rank died, or did not take part within the group's timeout.
    pub fn all_gather_bytes(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>, ShimError> {
        let (first, lengths) = self.exchange(mine)?;
        let longest = lengths.iter().copied().max().unwrap_or(0);
        if longest <= INLINE {
            return Ok(first);
        }
        let outputs = self.buffers(longest);
        self.gather_into(&padded(mine, longest), &outputs, None)?;
        outputs.iter().zip(lengths).map(|(output, length)| bytes(output, length)).collect()
    }

    /// Same as [`all_gather_bytes`](Self::all_gather_bytes), at rank `root` alone; empty elsewhere.
    ///
    /// # Errors
    /// Same errors as [`all_gather_bytes`](Self::all_gather_bytes), and when there is no such rank.
    pub fn gather_bytes(&self, mine: &[u8], root: usize) -> Result<Vec<Vec<u8>>, ShimError> {
        let is_root = root == self.rank;
        let number = self.root(root)?;
        let (first, lengths) = self.exchange(mine)?;
        let longest = lengths.iter().copied().max().unwrap_or(0);
        if longest <= INLINE {
            return Ok(if is_root { first } else { Vec::new() });
        }
        let outputs = if is_root { self.buffers(longest) } else { Vec::new() };
        self.gather_into(&padded(mine, longest), &outputs, Some(number))?;
        outputs.iter().zip(lengths).map(|(output, length)| bytes(output, length)).collect()
    }

    /// The first bytes that each rank gave, and their number.
    fn exchange(&self, mine: &[u8]) -> Result<(Vec<Vec<u8>>, Vec<usize>), ShimError> {
        let mut message = (mine.len() as u64).to_le_bytes().to_vec();
        message.extend(&mine[..mine.len().min(INLINE)]);
        let outputs = self.buffers(HEADER + INLINE);
        self.gather_into(&padded(&message, HEADER + INLINE), &outputs, None)?;
        let (mut firsts, mut lengths) = (Vec::new(), Vec::new());
        for output in &outputs {
            let message = bytes(output, HEADER + INLINE)?;
            let (header, rest) = message.split_at(HEADER);
            let length = header.iter().rev().fold(0, |n: usize, byte| n << 8 | usize::from(*byte));
            firsts.push(rest[..length.min(INLINE)].to_vec());
            lengths.push(length);
        }
        Ok((firsts, lengths))
    }

    fn buffers(&self, length: usize) -> Vec<Tensor> {
        let new = |_| Tensor::empty([length as i64], (Kind::Uint8, Device::Cpu));
        (0..self.world_size).map(new).collect()
    }

    fn gather_into(
        &self,
        input: &Tensor,
        outputs: &[Tensor],
        root: Option<c_int>,
    ) -> Result<(), ShimError> {
        let handles = ffi::handles(outputs);
        let input = input.as_ptr().cast_mut();
        let (n, outputs) = (handles.len(), handles.as_ptr());
        // SAFETY: the handles live as long as the tensors.
        ffi::check(unsafe {
            match root {
                None => c::shim_all_gather(self.handle, input, n, outputs),
                Some(root) => c::shim_gather(self.handle, input, n, outputs, root),
            }
        })
        .map_err(|error| explain(error, &self.context("gathering bytes")))
    }

    fn root(&self, root: usize) -> Result<c_int, ShimError> {
        if root >= self.world_size {
            return Err(ShimError(format!("there is no rank {root} among {}", self.world_size)));
        }
        number(root)
    }
}

fn number(rank: usize) -> Result<c_int, ShimError> {
    c_int::try_from(rank).map_err(|_| ShimError(format!("{rank} is too large for a rank")))
}

fn padded(bytes: &[u8], length: usize) -> Tensor {
    let mut padded = bytes.to_vec();
    padded.resize(length, 0);
    Tensor::from_slice(&padded)
}

fn bytes(tensor: &Tensor, length: usize) -> Result<Vec<u8>, ShimError> {
    let used = tensor.f_narrow(0, 0, length as i64);
    used.and_then(Vec::<u8>::try_from).map_err(|error| ShimError(error.to_string()))
}
