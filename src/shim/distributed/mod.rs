//! Data parallel by libtorch's c10d: a store in which ranks find each other, the collectives of a process
//! group, and the reducer that sums gradients while backward runs.

mod ffi;
mod group;
mod interface;
mod nccl;
mod reducer;
mod store;
#[cfg(test)]
mod tests;

use std::{ffi::CString, time::Duration};

pub use group::{Pending, ProcessGroup, ReduceOp};
pub use reducer::{Bucket, Reducer};
pub use store::Store;

use crate::ShimError;

/// For C; a name with a NUL inside would be another one there.
fn c_string(text: &str) -> Result<CString, ShimError> {
    CString::new(text).map_err(|_| ShimError(format!("`{text:?}` contains a NUL character")))
}

/// c10d takes 0 for "no limit".
fn milliseconds(timeout: Duration) -> i64 {
    i64::try_from(timeout.as_millis())
        .unwrap_or(i64::MAX / 1_000_000)
        .clamp(1, i64::MAX / 1_000_000)
}

/// Puts `context` before the cause, and removes the source line with which Gloo begins its messages.
fn explain(error: ShimError, context: &str) -> ShimError {
    let cause = match error.0.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((place, cause)) if place.contains(".cc:") || place.contains(".h:") => cause,
        _ => &error.0,
    };
    ShimError(format!("{context}: {}", cause.trim()))
}
