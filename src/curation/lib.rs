//! From the raw archives of published datasets to COCO files that a run can train on.
//!
//! A [`spec`] describes what a dataset looks like on disk. [`sonotune_archive`] unpacks the download; a reader
//! ([`readers`]) pairs files and yields [`Frame`]s, whose [`masks`] become objects; [`convert`]
//! writes images and annotations.

pub mod convert;
pub mod figure;
pub mod frame;
pub mod masks;
pub mod png;
pub mod problem;
pub mod readers;
pub mod select;
pub mod spec;
pub mod tables;
pub mod us43d;

pub use frame::{Frame, Mask, Pixels};
