//! Declares the C interface of `shim.h`.

use std::ffi::{CStr, c_char, c_int, c_void};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::ShimError;

unsafe extern "C" {
    pub(crate) fn shim_free(message: *mut c_char);
    pub(crate) fn shim_autocast_enter(
        device_type: c_int,
        dtype: c_int,
        previous_enabled: *mut c_int,
        previous_dtype: *mut c_int,
    ) -> *mut c_char;
    pub(crate) fn shim_autocast_leave(
        device_type: c_int,
        previous_enabled: c_int,
        previous_dtype: c_int,
    ) -> *mut c_char;
    pub(crate) fn shim_fused_adamw(
        n: usize,
        params: *const *mut C_tensor,
        grads: *const *mut C_tensor,
        exp_avgs: *const *mut C_tensor,
        exp_avg_sqs: *const *mut C_tensor,
        steps: *const *mut C_tensor,
        lr: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
        found_inf: *mut C_tensor,
    ) -> *mut c_char;
    pub(crate) fn shim_fused_sgd(
        n: usize,
        params: *const *mut C_tensor,
        grads: *const *mut C_tensor,
        momentum_buffers: *const *mut C_tensor,
        lr: f64,
        momentum: f64,
        weight_decay: f64,
        nesterov: c_int,
        is_first_step: c_int,
        found_inf: *mut C_tensor,
    ) -> *mut c_char;
    pub(crate) fn shim_clear_grads(n: usize, params: *const *mut C_tensor) -> *mut c_char;
    pub(crate) fn shim_total_norm(
        n: usize,
        tensors: *const *mut C_tensor,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub(crate) fn shim_scale(
        n: usize,
        tensors: *const *mut C_tensor,
        factor: *mut C_tensor,
    ) -> *mut c_char;
    pub(crate) fn shim_lerp(
        n: usize,
        tensors: *const *mut C_tensor,
        ends: *const *mut C_tensor,
        weight: f64,
    ) -> *mut c_char;
    pub(crate) fn shim_rel_pos_attention(
        qkv: *mut C_tensor,
        padding: *mut C_tensor,
        rel_pos_h: *mut C_tensor,
        rel_pos_w: *mut C_tensor,
        num_heads: i64,
        window_size: i64,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub(crate) fn shim_ms_deform_attn(
        value: *mut C_tensor,
        spatial_shapes: *const i64,
        num_levels: usize,
        sampling_locations: *mut C_tensor,
        attention_weights: *mut C_tensor,
        composite: c_int,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub(crate) fn shim_point_sample(
        maps: *mut C_tensor,
        points: *mut C_tensor,
        composite: c_int,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub(crate) fn shim_checkpoint(
        input: *mut C_tensor,
        data: *mut c_void,
        call: unsafe extern "C" fn(*mut c_void, *mut C_tensor, *mut *mut C_tensor) -> *mut c_char,
        drop: unsafe extern "C" fn(*mut c_void),
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub(crate) fn shim_push_result(results: *mut c_void, result: *mut C_tensor);
    pub(crate) fn shim_script(
        num_variables: usize,
        names: *const *const c_char,
        variables: *const *mut C_tensor,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    pub(crate) fn shim_script_record(
        to: *mut c_void,
        method: *const c_char,
        num_inputs: usize,
        inputs: *const *mut C_tensor,
        other_inputs: *const *mut C_tensor,
        data: *mut c_void,
        call: unsafe extern "C" fn(
            *mut c_void,
            *mut *mut C_tensor,
            usize,
            *mut c_void,
        ) -> *mut c_char,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    pub(crate) fn shim_script_save(
        from: *mut c_void,
        path: *const c_char,
        note_name: *const c_char,
        note: *const c_char,
    ) -> *mut c_char;
    pub(crate) fn shim_script_free(owned: *mut c_void);
    pub(crate) fn shim_traced_graph(
        trace: *mut c_void,
        text: *mut *mut c_char,
        num_tensors: *mut usize,
    ) -> *mut c_char;
    pub(crate) fn shim_traced_tensor(
        trace: *mut c_void,
        index: usize,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub(crate) fn shim_traced_free(trace: *mut c_void);
    pub(crate) fn shim_adopt_f32(
        data: *mut f32,
        sizes: *const i64,
        num_sizes: usize,
        owner: *mut c_void,
        free_data: extern "C" fn(*mut c_void),
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub(crate) fn shim_compute_alone() -> *mut c_char;
    pub(crate) fn shim_start_idle_team();
    pub(crate) fn shim_pin(source: *mut C_tensor, out: *mut *mut C_tensor) -> *mut c_char;
    pub(crate) fn shim_host_bytes(
        length: i64,
        pinned: c_int,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub(crate) fn shim_upload(
        source: *mut C_tensor,
        device_index: c_int,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub(crate) fn shim_upload_ahead(
        n: usize,
        sources: *const *mut C_tensor,
        device_index: c_int,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub(crate) fn shim_download(
        n: usize,
        sources: *const *mut C_tensor,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub(crate) fn shim_set_determinism(mode: c_int) -> *mut c_char;
    pub(crate) fn shim_nondeterministic_operators(out: *mut *mut c_char) -> *mut c_char;
    pub(crate) fn shim_record_nondeterministic(name: *const c_char) -> *mut c_char;
    pub(crate) fn shim_alert_not_deterministic(name: *const c_char) -> *mut c_char;
    pub(crate) fn shim_set_attention_backend(backend: c_int) -> *mut c_char;
    pub(crate) fn shim_attention_backends() -> c_int;
    pub(crate) fn shim_set_tf32(allowed: c_int) -> *mut c_char;
    pub(crate) fn shim_tf32(products: *mut c_int, convolutions: *mut c_int) -> *mut c_char;
    pub(crate) fn shim_set_cudnn_benchmark(on: c_int) -> c_int;
    pub(crate) fn shim_select_cuda_device(device_index: c_int) -> *mut c_char;
    pub(crate) fn shim_cuda_has_bf16(has: *mut c_int) -> *mut c_char;
    pub(crate) fn shim_set_allocator(settings: *const c_char) -> *mut c_char;
    #[cfg(test)]
    pub(crate) fn shim_allocator_is_expandable(expandable: *mut c_int) -> *mut c_char;
    pub(crate) fn shim_cuda_memory(
        device_index: c_int,
        allocated_peak: *mut i64,
        reserved_peak: *mut i64,
        reserved: *mut i64,
        free_bytes: *mut i64,
        total_bytes: *mut i64,
    ) -> *mut c_char;
    pub(crate) fn shim_cuda_reset_peak(device_index: c_int) -> *mut c_char;
    pub(crate) fn shim_cuda_empty_cache() -> *mut c_char;
    pub(crate) fn strdup(text: *const c_char) -> *mut c_char;
    fn shim_torch_version() -> *const c_char;
}

/// Turns a message of the shim into an error and frees it.
pub(crate) fn check(message: *mut c_char) -> Result<(), ShimError> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: not null, and the shim hands over a string of its own.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
    // SAFETY: allocated by the shim, freed once.
    unsafe { shim_free(message) };
    // libtorch appends a C++ stack trace; the first lines say what is wrong.
    let text = text.split("\nException raised from").next().unwrap_or_default().trim_end();
    Err(ShimError(text.to_owned()))
}

/// The C++ handles of `tensors`, valid as long as these are borrowed.
pub(crate) fn handles<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Vec<*mut C_tensor> {
    tensors.into_iter().map(|t| t.as_ptr().cast_mut()).collect()
}

/// The handle, or null.
pub(crate) fn optional(tensor: Option<&Tensor>) -> *mut C_tensor {
    tensor.map_or(std::ptr::null_mut(), |t| t.as_ptr().cast_mut())
}

pub(crate) fn torch_version() -> String {
    // SAFETY: a string literal of the C++ side.
    unsafe { CStr::from_ptr(shim_torch_version()) }.to_string_lossy().into_owned()
}
