//! Annotation in the browser, with a model that answers clicks.
//!
//! A [`Session`] opens images and one COCO file, and serves a page on this machine alone. Every change is in the file
//! before the page is told that it is saved.

mod activity;
mod agreement;
mod app;
mod document;
mod events;
mod images;
mod lock;
mod model;
mod object;
mod options;
mod palette;
mod routes;
mod session;
mod store;

pub use document::Status;
pub use options::{Options, Order};
pub use session::Session;
pub use store::Summary;
