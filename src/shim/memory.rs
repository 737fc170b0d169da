//! Configures what the C library's allocator does with freed memory.

/// Makes glibc keep up to 256 MiB of freed memory per heap, for blocks of up to 32 MiB (its maximum),
/// for the rest of the process. By default it returns pixel buffers of a few MiB to the system
/// each time, and the page faults of the next one take as long as resizing an image.
///
/// Does nothing on other C libraries, or if the environment already configures this
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
    // SAFETY: takes plain values and the allocator's own lock; an unknown parameter is ignored.
    unsafe {
        mallopt(M_MMAP_THRESHOLD, 32 << 20);
        mallopt(M_TRIM_THRESHOLD, 256 << 20);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn keep() {}
