//! What a split contains, in numbers and pictures.
//!
//! [`Statistics`](sonotune_dataset::Statistics) counts what the annotations say; a [`Survey`] also looks at every image.

pub mod charts;
mod distribution;
mod pictures;
mod samples;
mod survey;
mod text;

pub use crate::statistics::{
    distribution::Distribution,
    pictures::PictureOptions,
    samples::samples,
    survey::{CELLS, Details, HeatMap, SizeCount, SplitSurvey, Survey, survey},
};
