//! Phantoms: B-mode-like pictures of tissue with lesions, annotated, from a seed.
//!
//! [`PhantomConfig`] says what to generate; [`render()`] makes one picture as a pure function of seed
//! and index; [`generate`] writes a dataset in COCO format, split by patient.
//!
//! A picture is formed as in a scanner. `patient` draws a person with a machine, tissue
//! layers and a lesion; `scene` evaluates backscatter, impedance and attenuation on a grid of
//! beams and depths; `echo` turns that into speckle, shadows and noise, and compresses it;
//! `render` converts the fan to pixels and rasterises the masks. What distinguishes
//! the classes is a table, `traits`.

mod config;
mod decibel;
mod draw;
mod echo;
mod lesion;
mod marks;
mod output;
mod patient;
mod probe;
mod render;
mod scene;
mod shape;
mod splits;
#[cfg(test)]
mod tests;
mod tissue;
mod traits;
mod writer;

pub use config::{Kind, PhantomConfig};
pub use probe::ProbeType;
pub use render::{PhantomImage, PhantomLesion, render};
pub use writer::{ClassSummary, SplitSummary, Summary, generate};
