//! How many threads libtorch computes with.

use crate::{ShimError, ffi};

/// Has this thread compute alone from now on: a thread that works beside others would otherwise start a team
/// of its own for each larger operation, and all of them would contend for the same cores.
///
/// # Errors
/// Propagates errors from libtorch.
pub fn compute_alone() -> Result<(), ShimError> {
    // SAFETY: concerns the calling thread alone.
    ffi::check(unsafe { ffi::shim_compute_alone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_that_asks_computes_alone() {
        let threads = std::thread::spawn(|| {
            compute_alone().unwrap();
            tch::get_num_threads()
        });
        assert_eq!(threads.join().unwrap(), 1);
    }
}
