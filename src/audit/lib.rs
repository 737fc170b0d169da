//! What is wrong with a dataset, and what it contains.
//!
//! [`check`] reports everything it finds before anything is trained, [`statistics`] counts and draws,
//! [`mod@print`] and [`near`] find images that look alike.

pub mod check;
pub mod near;
pub mod print;
pub mod statistics;
