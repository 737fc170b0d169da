//! Bilinear sampling: multi-scale deformable attention, and sampling maps at points.

use tch::Tensor;

use crate::{ShimError, ffi};

/// The sampling of multi-scale deformable attention (Deformable DETR, equation 3 without its
/// projections): for each query and head the weighted sum of L·P points of the value map, each point
/// bilinear between pixel centres (`location · size − 0.5`), zeros outside.
///
/// - `value` `[B, S, heads, D]`: the pixels of all levels, level after level, row after row.
/// - `spatial_shapes`: `(height, width)` of the L levels; `S = Σ height · width`.
/// - `sampling_locations` `[B, Q, heads, L, P, 2]`: (x, y), in `[0, 1]` over the level.
/// - `attention_weights` `[B, Q, heads, L, P]`: used unchanged.
///
/// Returns `[B, Q, heads · D]` in the dtype of `value`; differentiable, once, in all three tensors.
/// Computed in fp64 if `value` is, else in fp32. Under autocast keep locations in fp32: bf16 has only
/// eight bits for a position in the map. NaN and infinity are safe: a location outside contributes
/// nothing, a location of NaN makes its output NaN.
///
/// The CPU uses our own kernel, which holds nothing of size Q·heads·L·P·D and gives bit-identical
/// results for any number of threads; other devices use [`ms_deform_attn_composite`].
///
/// # Errors
/// When sizes do not match, or tensors are not floating point or not on one device.
pub fn ms_deform_attn(
    value: &Tensor,
    spatial_shapes: &[(i64, i64)],
    sampling_locations: &Tensor,
    attention_weights: &Tensor,
) -> Result<Tensor, ShimError> {
    deform(value, spatial_shapes, sampling_locations, attention_weights, false)
}

/// [`ms_deform_attn`] composed of libtorch's `grid_sampler`, one per level, like mmcv's
/// `multi_scale_deformable_attn_pytorch`: used on CUDA, and as the oracle of tests. If gradients are
/// recorded, it keeps every sample, `Q · heads · L · P · D` numbers; else those of one level at a time.
/// It treats a location of NaN as −0.5 pixels.
///
/// # Errors
/// Same errors as [`ms_deform_attn`].
pub fn ms_deform_attn_composite(
    value: &Tensor,
    spatial_shapes: &[(i64, i64)],
    sampling_locations: &Tensor,
    attention_weights: &Tensor,
) -> Result<Tensor, ShimError> {
    deform(value, spatial_shapes, sampling_locations, attention_weights, true)
}

fn deform(
    value: &Tensor,
    spatial_shapes: &[(i64, i64)],
    sampling_locations: &Tensor,
    attention_weights: &Tensor,
    composite: bool,
) -> Result<Tensor, ShimError> {
    let shapes: Vec<i64> = spatial_shapes.iter().flat_map(|&(h, w)| [h, w]).collect();
    let mut out = std::ptr::null_mut();
    // SAFETY: three live handles, `shapes` holds two numbers a level; `out` is written on success.
    ffi::check(unsafe {
        ffi::shim_ms_deform_attn(
            handle(value),
            shapes.as_ptr(),
            spatial_shapes.len(),
            handle(sampling_locations),
            handle(attention_weights),
            composite.into(),
            &mut out,
        )
    })?;
    // SAFETY: a new tensor that nobody else owns.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// Maps sampled at points, bilinear between pixel centres (`point · size − 0.5`), zeros outside:
/// `point_sample` of detectron2 and mmcv with `align_corners = false`.
///
/// - `maps` `[N, H, W]`: floating point (differentiable), or masks, bool or uint8 (not differentiable,
///   and never converted as a whole).
/// - `points` `[P, 2]`, common to all maps, or `[N, P, 2]`, one set per map: (x, y) in `[0, 1]`.
///   They get no gradient.
///
/// Returns `[N, P]`, fp64 if `maps` or `points` are, else fp32. Masks on the CPU use our own kernel (in which a
/// point of NaN gives NaN), everything else uses [`point_sample_composite`], which is as fast for
/// floats (docs/results.md). Results are bit-identical for any number of threads.
///
/// # Errors
/// When sizes do not match, dtypes are not supported, or tensors are on different devices.
pub fn point_sample(maps: &Tensor, points: &Tensor) -> Result<Tensor, ShimError> {
    sample(maps, points, false)
}

/// [`point_sample`] composed of libtorch's `grid_sampler`; masks are converted to floating
/// point first.
///
/// # Errors
/// Same errors as [`point_sample`].
pub fn point_sample_composite(maps: &Tensor, points: &Tensor) -> Result<Tensor, ShimError> {
    sample(maps, points, true)
}

fn sample(maps: &Tensor, points: &Tensor, composite: bool) -> Result<Tensor, ShimError> {
    let mut out = std::ptr::null_mut();
    // SAFETY: two live handles; `out` is written on success.
    ffi::check(unsafe {
        ffi::shim_point_sample(handle(maps), handle(points), composite.into(), &mut out)
    })?;
    // SAFETY: a new tensor that nobody else owns.
    Ok(unsafe { Tensor::from_ptr(out) })
}

fn handle(tensor: &Tensor) -> *mut torch_sys::C_tensor {
    tensor.as_ptr().cast_mut()
}

#[cfg(test)]
#[path = "deformable_tests.rs"]
mod tests;
