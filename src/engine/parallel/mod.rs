//! Data parallel: several processes train one model.

pub mod monitor;
