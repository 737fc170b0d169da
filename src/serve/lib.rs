//! A trained model over HTTP.
//!
//! [`Inference`] is what a server asks of a model, and [`server`] what every server of the project has in common:
//! who is let in, how much is taken, how it stops.

pub mod inference;
pub mod server;

pub use inference::{About, Answer, Found, Image, Inference, Question};

#[cfg(test)]
mod tests;
