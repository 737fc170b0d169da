//! Reads Python pickles as data: nothing is imported, nothing is called.
//!
//! A pickle is a program for a small stack machine that may name and call anything Python can
//! import. [`Machine`] runs it without that part: every named class, call and state becomes an
//! inert [`Node`], and code that needs tensors looks for the few calls that represent them.
//! Nodes are in one arena and refer to each other by number, so a graph with cycles neither
//! leaks nor overflows the stack when dropped.

mod machine;
mod node;

pub use machine::Machine;
pub use node::{Graph, Id, Node};
