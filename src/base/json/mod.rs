//! Values of JSON files in every spelling that tools write: numbers as texts, texts as numbers, and NaN,
//! which is not JSON but which Python writes.

mod nan;
mod values;

pub use nan::{quoted_nan, restored, spells_nan};
pub use values::{Integer, Number, Text, Unsigned};
