//! `cargo xtask`: set-up, demo, tests, checks, benches, bundle.
fn main() {}
