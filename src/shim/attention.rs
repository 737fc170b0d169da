//! Fused attention with decomposed relative positions on the CPU.

use tch::Tensor;

use crate::{ShimError, ffi};

/// Operands of [`rel_pos_attention`], all on the CPU.
#[derive(Debug, Clone, Copy)]
pub struct RelPosAttention<'a> {
    /// `[B, H, W, 3C]`, fp32 or bf16.
    pub qkv: &'a Tensor,
    /// `[3C]`: replaces tokens of windows that extend beyond the grid.
    pub padding: &'a Tensor,
    /// `[2S − 1, C / num_heads]`, by `query − key + S − 1`.
    pub rel_pos_h: &'a Tensor,
    /// Like `rel_pos_h`, along the other axis.
    pub rel_pos_w: &'a Tensor,
    /// Number of heads that share `C`.
    pub num_heads: i64,
    /// Side of the windows, in tokens; `None`: global attention.
    pub window_size: Option<i64>,
}

/// Returns `[B, H, W, C]`, differentiable in all four tensors. Products are fp32, also for bf16 tensors.
///
/// # Errors
/// When shapes do not match.
pub fn rel_pos_attention(operands: &RelPosAttention) -> Result<Tensor, ShimError> {
    let handle = |tensor: &Tensor| tensor.as_ptr().cast_mut();
    let mut out = std::ptr::null_mut();
    // SAFETY: four live handles; `out` is written on success.
    ffi::check(unsafe {
        ffi::shim_rel_pos_attention(
            handle(operands.qkv),
            handle(operands.padding),
            handle(operands.rel_pos_h),
            handle(operands.rel_pos_w),
            operands.num_heads,
            operands.window_size.unwrap_or(0),
            &mut out,
        )
    })?;
    // SAFETY: a new tensor that nobody else owns.
    Ok(unsafe { Tensor::from_ptr(out) })
}
