//! What scores show: intervals over patients, paired tests, ranks and how stable they are, calibration.
//!
//! Slices in, numbers out; nothing is printed. [`scores`] is the table that all of it starts from.

pub mod scores;
