//! Fused optimiser steps and gradient clipping: one libtorch call for many parameters.

use tch::Tensor;

use crate::{ShimError, ffi};

/// Hyperparameters of one AdamW step (decoupled weight decay, no amsgrad).
#[derive(Debug, Clone, Copy)]
pub struct AdamW {
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub weight_decay: f64,
    pub eps: f64,
}

/// Hyperparameters of one SGD step (weight decay added to the gradient, dampening 0).
#[derive(Debug, Clone, Copy)]
pub struct Sgd {
    pub lr: f64,
    pub momentum: f64,
    pub weight_decay: f64,
    pub nesterov: bool,
}

/// What an AdamW step reads and writes, one of each per parameter.
#[derive(Debug, Clone, Copy)]
pub struct AdamWTensors<'a> {
    pub params: &'a [Tensor],
    pub grads: &'a [Tensor],
    pub exp_avgs: &'a [Tensor],
    pub exp_avg_sqs: &'a [Tensor],
    /// 0-d fp32, on the parameter's device.
    pub steps: &'a [Tensor],
}

/// What an SGD step reads and writes, one of each per parameter.
#[derive(Debug, Clone, Copy)]
pub struct SgdTensors<'a> {
    pub params: &'a [Tensor],
    pub grads: &'a [Tensor],
    /// May be empty if there is no momentum.
    pub momentum_buffers: &'a [Tensor],
}

/// One fused AdamW step in place; `steps` are incremented first. If `found_inf` (0-d fp32) is
/// given and not 0, nothing changes.
///
/// # Errors
/// Propagates errors from libtorch.
///
/// # Panics
/// When the slices differ in length, a bug of the caller.
pub fn fused_adamw(
    tensors: AdamWTensors<'_>,
    options: AdamW,
    found_inf: Option<&Tensor>,
) -> Result<(), ShimError> {
    let AdamWTensors { params, grads, exp_avgs, exp_avg_sqs, steps } = tensors;
    let n = params.len();
    assert!([grads.len(), exp_avgs.len(), exp_avg_sqs.len(), steps.len()] == [n; 4]);
    if n == 0 {
        return Ok(());
    }
    let (p, g) = (ffi::handles(params), ffi::handles(grads));
    let (m, v, s) = (ffi::handles(exp_avgs), ffi::handles(exp_avg_sqs), ffi::handles(steps));
    let AdamW { lr, beta1, beta2, weight_decay, eps } = options;
    // SAFETY: five arrays of n live tensor handles; the shim does not keep them after the call.
    ffi::check(unsafe {
        ffi::shim_fused_adamw(
            n,
            p.as_ptr(),
            g.as_ptr(),
            m.as_ptr(),
            v.as_ptr(),
            s.as_ptr(),
            lr,
            beta1,
            beta2,
            weight_decay,
            eps,
            ffi::optional(found_inf),
        )
    })
}

/// One fused SGD step in place. If `found_inf` (0-d fp32) is given and not 0, nothing changes.
///
/// # Errors
/// Propagates errors from libtorch.
///
/// # Panics
/// When the slices differ in length, a bug of the caller.
pub fn fused_sgd(
    tensors: SgdTensors<'_>,
    options: Sgd,
    is_first_step: bool,
    found_inf: Option<&Tensor>,
) -> Result<(), ShimError> {
    let SgdTensors { params, grads, momentum_buffers } = tensors;
    let n = params.len();
    assert_eq!(grads.len(), n);
    assert!(options.momentum == 0.0 || momentum_buffers.len() == n);
    if n == 0 {
        return Ok(());
    }
    let (p, g, m) = (ffi::handles(params), ffi::handles(grads), ffi::handles(momentum_buffers));
    // SAFETY: as above; the buffers are only read if there is momentum.
    ffi::check(unsafe {
        ffi::shim_fused_sgd(
            n,
            p.as_ptr(),
            g.as_ptr(),
            m.as_ptr(),
            options.lr,
            options.momentum,
            options.weight_decay,
            i32::from(options.nesterov),
            i32::from(is_first_step),
            ffi::optional(found_inf),
        )
    })
}

/// Clears the gradients of `params`: the next backward pass stores instead of adding.
///
/// # Errors
/// Propagates errors from libtorch.
pub fn clear_grads(params: &[Tensor]) -> Result<(), ShimError> {
    let handles = ffi::handles(params);
    // SAFETY: live handles.
    ffi::check(unsafe { ffi::shim_clear_grads(handles.len(), handles.as_ptr()) })
}

/// The 2-norm over all `tensors`, as a 0-d tensor without a host sync: fp64 if one of them is, else fp32.
/// Zero without tensors.
///
/// # Errors
/// Propagates errors from libtorch.
pub fn total_norm(tensors: &[Tensor]) -> Result<Tensor, ShimError> {
    if tensors.is_empty() {
        return Ok(Tensor::from(0f32));
    }
    let handles = ffi::handles(tensors);
    let mut out = std::ptr::null_mut();
    // SAFETY: live handles; `out` is written on success.
    ffi::check(unsafe { ffi::shim_total_norm(handles.len(), handles.as_ptr(), &mut out) })?;
    // SAFETY: a new tensor that nobody else owns.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// Multiplies all `tensors` in place by the 0-d tensor `factor`.
///
/// # Errors
/// Propagates errors from libtorch.
pub fn scale(tensors: &[Tensor], factor: &Tensor) -> Result<(), ShimError> {
    if tensors.is_empty() {
        return Ok(());
    }
    let handles = ffi::handles(tensors);
    // SAFETY: live handles.
    ffi::check(unsafe {
        ffi::shim_scale(handles.len(), handles.as_ptr(), factor.as_ptr().cast_mut())
    })
}

/// `tensors + weight · (ends − tensors)` in place, like `torch._foreach_lerp_`; at weight 1 exactly
/// the ends, bit for bit.
///
/// # Errors
/// Propagates errors from libtorch.
///
/// # Panics
/// When the slices differ in length, a bug of the caller.
pub fn lerp(tensors: &[Tensor], ends: &[Tensor], weight: f64) -> Result<(), ShimError> {
    assert_eq!(tensors.len(), ends.len());
    if tensors.is_empty() {
        return Ok(());
    }
    let (from, to) = (ffi::handles(tensors), ffi::handles(ends));
    // SAFETY: two equally long arrays of live handles; the shim does not keep them after the call.
    ffi::check(unsafe { ffi::shim_lerp(from.len(), from.as_ptr(), to.as_ptr(), weight) })
}
