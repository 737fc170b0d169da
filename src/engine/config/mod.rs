//! The config of a run: plain data, read from TOML.

mod schema;

pub use schema::*;
