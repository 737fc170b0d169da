//! Blocks of a transformer, each with a residual stream, that backward can compute again.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use tch::Tensor;

/// One block: tokens to tokens.
pub trait Block: Debug + Send {
    /// `[B, …, C]` to the same, or to a coarser and wider map.
    ///
    /// # Errors
    /// Propagates errors from libtorch.
    fn forward(&self, x: &Tensor) -> Result<Tensor>;
}

/// A block that backward can run again, and its variables.
#[derive(Debug)]
pub struct SharedBlock<B> {
    block: Arc<Mutex<B>>,
    variables: Vec<Tensor>,
}

impl<B: Debug + Send + 'static> SharedBlock<B> {
    /// A block and its variables.
    pub fn new(block: B, variables: Vec<Tensor>) -> Self {
        Self { block: Arc::new(Mutex::new(block)), variables }
    }

    /// Whether any variable is trained. A frozen block keeps nothing for backward anyway.
    pub fn learns(&self) -> bool {
        self.variables.iter().any(Tensor::requires_grad)
    }

    /// What `forward` computes with the block, for one that needs to know more than its tokens.
    pub fn with<T>(&self, forward: impl FnOnce(&B) -> T) -> T {
        forward(&lock(&self.block))
    }

    /// Like [`with`](Self::with), but keeps only `x` for backward, which calls `forward` again.
    ///
    /// # Errors
    /// Those of `forward`, and libtorch's.
    pub fn with_checkpointed(
        &self,
        x: &Tensor,
        forward: impl Fn(&B, &Tensor) -> Result<Tensor> + Send + 'static,
    ) -> Result<Tensor> {
        let block = Arc::clone(&self.block);
        let again =
            move |x: &Tensor| forward(&lock(&block), x).map_err(|error| format!("{error:#}"));
        Ok(sonotune_shim::checkpoint(x, again)?)
    }
}

impl<B: Block + 'static> SharedBlock<B> {
    /// See [`Block::forward`].
    ///
    /// # Errors
    /// Same errors as [`Block::forward`].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.with(|block| block.forward(x))
    }

    /// Like [`forward`](Self::forward), but keeps only `x` for backward, which computes the rest again.
    ///
    /// # Errors
    /// Same errors as [`Block::forward`].
    pub fn forward_checkpointed(&self, x: &Tensor) -> Result<Tensor> {
        self.with_checkpointed(x, |block, x| block.forward(x))
    }
}

/// A forward changes nothing in a block, so a panic in one leaves it whole.
fn lock<B>(block: &Mutex<B>) -> MutexGuard<'_, B> {
    block.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds in place to the branch's output, which nothing else needs (not even its backward). Under
/// autocast the branch is 16-bit and the stream stays fp32.
pub fn residual(mut branch: Tensor, x: &Tensor) -> Tensor {
    if branch.kind() == x.kind() { branch.g_add_(x) } else { branch + x }
}
