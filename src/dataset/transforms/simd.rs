//! The widest vectors the processor has, chosen at run time.

use fearless_simd::{Level, dispatch};

/// Runs `op` compiled for the vector extensions of this processor. What `op` calls must be
/// inlined, or it stays at the baseline. Results do not depend on the choice: every operation is
/// rounded as IEEE 754 requires.
#[inline(always)]
pub(super) fn vectorized<R>(op: impl FnOnce() -> R) -> R {
    dispatch!(Level::new(), _ => op())
}
