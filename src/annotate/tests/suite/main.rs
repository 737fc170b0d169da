//! The server as the page sees it, and the file that it leaves.

// Clippy treats only functions marked #[test] as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod continued;
mod endpoints;
mod hostile;
mod killed;
mod large;
mod model;
mod outside;
mod saving;
mod second;
mod support;
