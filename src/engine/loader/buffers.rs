//! Memory for batches, reused once their tensors are dropped.
//!
//! A batch of four 1024x1024 images has 48 MiB: too large for the allocator to keep, so each would
//! cost twelve thousand page faults, as much time as all the arithmetic on its pixels.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow};
use sonotune_base::words::bytes;
use tch::Tensor;

use sonotune_base::Error;

/// Buffers waiting to be filled again.
#[derive(Debug, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Vec<f32>>>>);

impl Buffers {
    /// Enough for a loader whose batches come back one at a time; a burst of them is not hoarded.
    const KEPT: usize = 4;

    /// `length` values with arbitrary content.
    ///
    /// # Errors
    /// If there is no memory for them: an allocation that fails elsewhere ends the process.
    pub(super) fn take(&self, length: usize) -> Result<Vec<f32>> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match held {
            Some(mut buffer) if buffer.capacity() >= length => {
                buffer.resize(length, 0.0);
                Ok(buffer)
            }
            _ => {
                let mut buffer = Vec::new();
                buffer
                    .try_reserve_exact(length)
                    .map_err(|e| no_memory(&e, length.saturating_mul(size_of::<f32>())))?;
                buffer.resize(length, 0.0);
                Ok(buffer)
            }
        }
    }

    /// A tensor that takes over `values` without copying, and returns them when it is dropped.
    pub(super) fn tensor(&self, values: Vec<f32>, sizes: &[i64]) -> Result<Tensor> {
        // Weak: a batch that outlives its loader frees its memory.
        let pool = Arc::downgrade(&self.0);
        let give_back = move |values| {
            let Some(pool) = pool.upgrade() else { return };
            let mut held = pool.lock().unwrap_or_else(PoisonError::into_inner);
            if held.len() < Self::KEPT {
                held.push(values);
            }
        };
        Ok(sonotune_shim::tensor_from_vec(values, sizes, give_back)?)
    }
}

/// The error for a batch of `length` bytes that memory cannot hold.
pub(super) fn no_memory(cause: &dyn std::error::Error, length: usize) -> anyhow::Error {
    let error = Error::memory(format!(
        "no memory for a batch of {}; set a smaller loader.batch_size, loader.prefetch_batches or \
         preprocess.image_size",
        bytes(length as u64)
    ));
    anyhow!("{cause}").context(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_with_the_last_view() {
        let buffers = Buffers::default();
        let values = buffers.take(6).unwrap();
        let at = values.as_ptr();
        let tensor = buffers.tensor(values, &[2, 3]).unwrap();
        let view = tensor.get(1);
        drop(tensor);
        let other = buffers.take(6).unwrap();
        assert_ne!(other.as_ptr(), at, "still in use");
        drop(view);
        let shorter = buffers.take(4).unwrap();
        assert_eq!((shorter.as_ptr(), shorter.len()), (at, 4));
    }

    #[test]
    fn a_batch_that_memory_cannot_hold_names_the_keys() {
        let error = Buffers::default().take(usize::MAX / 8).unwrap_err().to_string();
        assert!(error.contains("TiB; set a smaller loader.batch_size"), "{error}");
    }

    #[test]
    fn a_tensor_may_outlive_its_loader() {
        let buffers = Buffers::default();
        let tensor = buffers.tensor(vec![1.0, 2.0], &[2]).unwrap();
        drop(buffers);
        assert_eq!(Vec::<f32>::try_from(tensor).unwrap(), [1.0, 2.0]);
    }
}
