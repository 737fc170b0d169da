//! What the C library's allocator does with memory that is given back.

/// Makes glibc keep freed memory up to 256 MiB a heap, for blocks of up to 32 MiB (its own maximum),
/// for the rest of the process. As it comes, it hands pixel buffers of a few MiB back to the system
/// each time, and the page faults of the next one cost as much as resizing an image.
///
/// Does nothing on other C libraries, or where the environment already says what to do
/// (`GLIBC_TUNABLES`, `MALLOC_TRIM_THRESHOLD_`, `MALLOC_MMAP_THRESHOLD_`).
pub fn keep_freed_memory() {
    let settings = ["GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"];
    if settings.iter().all(|name| std::env::var_os(name).is_none()) {
        keep();
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn keep() {
    use std::ffi::c_int;

    // malloc.h
    const M_TRIM_THRESHOLD: c_int = -1;
    const M_MMAP_THRESHOLD: c_int = -3;
    // SAFETY: as in malloc.h.
    unsafe extern "C" {
        fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }
    // SAFETY: takes plain values and the allocator's own lock; an unknown one is ignored.
    unsafe {
        mallopt(M_MMAP_THRESHOLD, 32 << 20);
        mallopt(M_TRIM_THRESHOLD, 256 << 20);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn keep() {}
