//! A trained model over HTTP.
//!
//! [`Inference`] is what a server asks of a model, and [`server`] what every server of the project has in common:
//! who is let in, how much is taken, how it stops. [`run`] serves a model to programs (a plain REST API) and to
//! annotation tools (Label Studio, MONAI Label's clients, X-AnyLabeling).

mod app;
pub mod inference;
mod label_studio;
mod metrics;
mod monai;
mod options;
mod polygons;
mod rest;
mod router;
pub mod server;
mod sessions;
mod store;
mod x_anylabeling;

pub use inference::{About, Answer, Found, Image, Inference, Question};
pub use options::Options;
pub use router::{router, run};

// The fake model is shared with an example, which names the crate.
#[cfg(test)]
extern crate self as sonotune_serve;
#[cfg(test)]
mod tests;
