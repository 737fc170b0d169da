//! Everything over real connections.

mod access;
mod client;
