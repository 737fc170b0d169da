//! Sizes of files and memory.

use super::counts::{counted, scaled};

/// `12.3 GiB`, in the largest unit that leaves at least 1.
///
/// Powers of two for files as well as memory: libtorch, the kernel and `nvidia-smi` count memory that
/// way, and the size of a file should compare with the memory that it will fill. The `i` makes that
/// clear; `GB` could mean either.
#[must_use]
pub fn bytes(count: u64) -> String {
    scaled(count, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// `1 byte`, `12345678 bytes (11.8 MiB)`: exact, and easy to read.
#[must_use]
pub fn exact_bytes(count: u64) -> String {
    let exact = counted(count, "byte");
    if count < 1024 { exact } else { format!("{exact} ({})", bytes(count)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1.0 KiB");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes((1 << 20) - 1), "1.0 MiB");
        assert_eq!(bytes(374_979_000), "357.6 MiB");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
    }

    #[test]
    fn exact_sizes_say_both() {
        assert_eq!(exact_bytes(0), "0 bytes");
        assert_eq!(exact_bytes(1), "1 byte");
        assert_eq!(exact_bytes(1023), "1023 bytes");
        assert_eq!(exact_bytes(12_345_678), "12345678 bytes (11.8 MiB)");
    }
}
