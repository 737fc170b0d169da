//! Hostile input for everything that Sonotune reads from its user.
//!
//! [`targets`] are plain functions of bytes; the project's own tests run them too, over the files that
//! `tests/fixtures/hostile` keeps. [`harness`] is what libFuzzer needs around them.

#[cfg(feature = "engine")]
pub mod engine_targets;
pub mod harness;
pub mod targets;

/// The binary of one target: its allocator, and libFuzzer's entry.
#[macro_export]
macro_rules! fuzz {
    ($module:ident::$target:ident) => {
        #[global_allocator]
        static ALLOCATOR: $crate::harness::Allocator = $crate::harness::allocator();

        libfuzzer_sys::fuzz_target!(
            init: $crate::harness::start(&ALLOCATOR),
            |bytes: &[u8]| $crate::$module::$target(bytes)
        );
    };
}
