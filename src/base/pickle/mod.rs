//! Python pickles, read as data: nothing is imported, nothing is called.
//!
//! A pickle is a program for a small stack machine that may name and call anything Python can
//! import. [`Machine`] runs it without that part: every named class, call and state becomes an
//! inert [`Node`], and whoever wants tensors looks for the handful of calls that stand for them.
//! Nodes live in one arena and refer to each other by number, so that a graph with cycles neither
//! leaks nor overflows the stack when dropped.

mod machine;
mod node;

pub use machine::Machine;
pub use node::{Graph, Id, Node};
