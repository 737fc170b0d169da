//! What scores show: intervals over patients, paired tests, ranks and how stable they are, calibration.
//!
//! Slices in, numbers out; nothing is printed. [`scores`] is the table that all of it starts from.
//! An undefined value is NaN, and every mean leaves it out.

pub mod bootstrap;
pub mod calibration;
pub mod classification;
mod clusters;
pub mod comparison;
mod error;
pub mod paired;
mod probability;
pub mod ranks;
pub mod scores;

pub use clusters::Clusters;
pub use error::Error;
