//! Gradients summed over ranks while backward runs: c10d's `Reducer`, the engine of PyTorch's
//! `DistributedDataParallel`.

use std::ffi::c_char;

use tch::Tensor;

use super::{ProcessGroup, c_string, explain, ffi as c};
use crate::{ShimError, ffi};

/// Gradients that travel together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Places in the list of parameters, in the order within the bucket.
    pub parameters: Vec<usize>,
    pub bytes: usize,
}

/// Sums the gradients of parameters over the ranks of a group. While it exists, gradients may be views of its
/// buckets; the sums are the same bits on all ranks.
///
/// A parameter must receive its gradient at most once per pass, e.g. not from two checkpointed blocks. Gradients are
/// in the dtype of their parameter.
#[derive(Debug)]
pub struct Reducer {
    handle: *mut c::CReducer,
    buckets: Vec<Bucket>,
    parameters: usize,
    context: String,
}

// SAFETY: c10d locks what the threads of backward use; `&mut` keeps other callers apart.
unsafe impl Send for Reducer {}

impl Drop for Reducer {
    fn drop(&mut self) {
        // SAFETY: created by the shim, freed once. A destructor cannot act on an error.
        drop(ffi::check(unsafe { c::shim_reducer_free(self.handle) }));
    }
}

impl Reducer {
    /// Divides the parameters, from the last to the first, into buckets; each ends with the parameter that fills
    /// `bucket_bytes` (the first: 1 MiB at most, so that communication starts early). Sums only: no division by the
    /// number of ranks. The buckets never change.
    ///
    /// # Errors
    /// When there are no parameters, one requires no gradient, or two are the same tensor.
    pub fn new(
        parameters: &[(String, Tensor)],
        group: &ProcessGroup,
        bucket_bytes: usize,
    ) -> Result<Self, ShimError> {
        let names: Vec<_> =
            parameters.iter().map(|(name, _)| c_string(name)).collect::<Result<_, _>>()?;
        let names: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        let handles = ffi::handles(parameters.iter().map(|(_, parameter)| parameter));
        let mut bucket_of = vec![0; parameters.len()];
        let mut handle = std::ptr::null_mut();
        let context = group.context("reduction of gradients");
        // SAFETY: the pointers outlive the call, and there are as many names and places as parameters.
        ffi::check(unsafe {
            c::shim_reducer_new(
                group.handle(),
                handles.len(),
                handles.as_ptr(),
                names.as_ptr(),
                bucket_bytes.max(1),
                bucket_of.as_mut_ptr(),
                &mut handle,
            )
        })
        .map_err(|error| explain(error, &context))?;
        let buckets = describe(parameters, &bucket_of);
        Ok(Self { handle, buckets, parameters: parameters.len(), context })
    }

    /// The next backward pass reduces gradients; one without this call accumulates them on this rank.
    ///
    /// # Errors
    /// Propagates errors from libtorch.
    pub fn prepare(&mut self) -> Result<(), ShimError> {
        // SAFETY: a live handle.
        ffi::check(unsafe { c::shim_reducer_prepare(self.handle) })
            .map_err(|error| explain(error, &self.context))
    }

    /// To be called after that backward pass, or instead of it on a rank with nothing to differentiate. Parameters
    /// that received no gradient in it take part with what they accumulated earlier, or zero. Returns once
    /// everything is reduced (CUDA: work queued from then on waits for it), so that every parameter has a gradient.
    ///
    /// The result says for each parameter whether a gradient arrived on this rank, in this pass or since the last
    /// call: if on no rank, the zero that it has now means none.
    ///
    /// # Errors
    /// When [`prepare`](Self::prepare) was not called, another rank died, or did not take part within the group's
    /// timeout.
    pub fn finish(&mut self) -> Result<Vec<bool>, ShimError> {
        let mut reached = vec![0_u8; self.parameters];
        // SAFETY: a live handle; one byte per parameter.
        ffi::check(unsafe { c::shim_reducer_finish(self.handle, reached.as_mut_ptr()) })
            .map_err(|error| explain(error, &self.context))?;
        Ok(reached.into_iter().map(|byte| byte != 0).collect())
    }

    /// The buckets, in the order in which they are reduced.
    #[must_use]
    pub fn buckets(&self) -> Vec<Bucket> {
        self.buckets.clone()
    }
}

fn describe(parameters: &[(String, Tensor)], bucket_of: &[usize]) -> Vec<Bucket> {
    let count = bucket_of.iter().max().map_or(0, |last| last + 1);
    let mut buckets = vec![Bucket { parameters: Vec::new(), bytes: 0 }; count];
    for (index, ((_, parameter), bucket)) in parameters.iter().zip(bucket_of).enumerate().rev() {
        buckets[*bucket].parameters.push(index);
        buckets[*bucket].bytes += parameter.numel() * parameter.kind().elt_size_in_bytes();
    }
    buckets
}
