//! Blocks of a transformer, each with a residual stream, that backward can compute again.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use tch::Tensor;

/// One block: tokens to tokens.
pub(super) trait Block: Debug + Send {
    /// `[B, …, C]` to the same.
    fn forward(&self, x: &Tensor) -> Result<Tensor>;
}

/// A block that backward can run again, and its variables.
#[derive(Debug)]
pub(super) struct SharedBlock<B> {
    block: Arc<Mutex<B>>,
    variables: Vec<Tensor>,
}

impl<B: Block + 'static> SharedBlock<B> {
    pub(super) fn new(block: B, variables: Vec<Tensor>) -> Self {
        Self { block: Arc::new(Mutex::new(block)), variables }
    }

    /// Whether any variable is trained. A frozen block keeps nothing for backward anyway.
    pub(super) fn learns(&self) -> bool {
        self.variables.iter().any(Tensor::requires_grad)
    }

    /// See [`Block::forward`].
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        lock(&self.block).forward(x)
    }

    /// Calls `forward` with the block.
    pub(super) fn with<T>(&self, forward: impl FnOnce(&B) -> T) -> T {
        forward(&lock(&self.block))
    }

    /// Like [`forward`](Self::forward), but keeps only `x` for backward, which computes the rest again.
    pub(super) fn forward_checkpointed(&self, x: &Tensor) -> Result<Tensor> {
        let block = Arc::clone(&self.block);
        let again = move |x: &Tensor| lock(&block).forward(x).map_err(|error| format!("{error:#}"));
        Ok(sonotune_shim::checkpoint(x, again)?)
    }
}

/// A forward changes nothing in a block, so a panic in one leaves it whole.
fn lock<B>(block: &Mutex<B>) -> MutexGuard<'_, B> {
    block.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds in place to the branch's output, which nothing else needs (not even its backward). Under
/// autocast the branch is 16-bit and the stream stays fp32.
pub(super) fn residual(mut branch: Tensor, x: &Tensor) -> Tensor {
    if branch.kind() == x.kind() { branch.g_add_(x) } else { branch + x }
}
