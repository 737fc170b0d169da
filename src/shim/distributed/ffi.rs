//! Declares the C interface of `distributed.h`.

use std::ffi::{c_char, c_int, c_void};

use torch_sys::C_tensor;

macro_rules! opaque {
    ($($name:ident),*) => {$(
        #[repr(C)]
        #[derive(Debug)]
        pub(super) struct $name {
            _private: [u8; 0],
        }
    )*};
}
opaque!(CStore, CGroup, CPending, CReducer);

/// Makes a backend for CUDA: (store, rank, size, timeout in ms, device, backend).
pub(super) type Backend =
    unsafe extern "C" fn(*mut c_void, c_int, c_int, i64, c_int, *mut *mut c_void) -> *mut c_char;

unsafe extern "C" {
    pub(super) fn shim_store_connect(
        host: *const c_char,
        port: c_int,
        server: c_int,
        listener: c_int,
        timeout_ms: i64,
        port_out: *mut c_int,
        out: *mut *mut CStore,
    ) -> *mut c_char;
    pub(super) fn shim_store_set(
        store: *mut CStore,
        key: *const c_char,
        value: *const u8,
        length: usize,
    ) -> *mut c_char;
    pub(super) fn shim_store_get(
        store: *mut CStore,
        key: *const c_char,
        timeout_ms: i64,
        value: *mut *mut c_char,
        length: *mut usize,
    ) -> *mut c_char;
    pub(super) fn shim_store_has(
        store: *mut CStore,
        key: *const c_char,
        has: *mut c_int,
    ) -> *mut c_char;
    pub(super) fn shim_store_add(
        store: *mut CStore,
        key: *const c_char,
        amount: i64,
        sum: *mut i64,
    ) -> *mut c_char;
    pub(super) fn shim_store_free(store: *mut CStore);
    pub(super) fn shim_group_gloo(
        store: *mut CStore,
        prefix: *const c_char,
        rank: c_int,
        size: c_int,
        timeout_ms: i64,
        host: *const c_char,
        out: *mut *mut CGroup,
    ) -> *mut c_char;
    pub(super) fn shim_start_all_reduce(
        group: *mut CGroup,
        value: *mut C_tensor,
        op: c_int,
        out: *mut *mut CPending,
    ) -> *mut c_char;
    pub(super) fn shim_wait(pending: *mut CPending) -> *mut c_char;
    pub(super) fn shim_pending_free(pending: *mut CPending);
    pub(super) fn shim_broadcast(
        group: *mut CGroup,
        n: usize,
        tensors: *const *mut C_tensor,
        root: c_int,
    ) -> *mut c_char;
    pub(super) fn shim_all_gather(
        group: *mut CGroup,
        input: *mut C_tensor,
        n: usize,
        outputs: *const *mut C_tensor,
    ) -> *mut c_char;
    pub(super) fn shim_gather(
        group: *mut CGroup,
        input: *mut C_tensor,
        n: usize,
        outputs: *const *mut C_tensor,
        root: c_int,
    ) -> *mut c_char;
    pub(super) fn shim_verify_parameters(
        group: *mut CGroup,
        n: usize,
        tensors: *const *mut C_tensor,
    ) -> *mut c_char;
    pub(super) fn shim_group_add_cuda(
        group: *mut CGroup,
        store: *mut CStore,
        prefix: *const c_char,
        timeout_ms: i64,
        make: Backend,
        device_index: c_int,
    ) -> *mut c_char;
    pub(super) fn shim_group_abandon(group: *mut CGroup) -> *mut c_char;
    pub(super) fn shim_group_free(group: *mut CGroup);
    pub(super) fn shim_reducer_new(
        group: *mut CGroup,
        n: usize,
        parameters: *const *mut C_tensor,
        names: *const *const c_char,
        bucket_bytes: usize,
        bucket_of: *mut usize,
        out: *mut *mut CReducer,
    ) -> *mut c_char;
    pub(super) fn shim_reducer_prepare(reducer: *mut CReducer) -> *mut c_char;
    pub(super) fn shim_reducer_finish(reducer: *mut CReducer, reached: *mut u8) -> *mut c_char;
    pub(super) fn shim_reducer_free(reducer: *mut CReducer) -> *mut c_char;
}
