//! The drawing kit for everything that Sonotune shows: objects on images, sheets of images, charts.
//!
//! Pictures are [`image::RgbImage`]s, and drawing is deterministic: the same calls give the same
//! pixels. The kit knows pixels, masks and words, but neither models nor datasets.
//!
//! # Conventions
//! Coordinates are pixels of the picture unless a name says `original`: `(x, y)` from the top left
//! corner, x to the right, y down. Sizes are `(height, width)`. Boxes are XYXY; their far edges are
//! exclusive, so that `[0, 0, width, height]` is the whole picture. Colours are RGB, 8 bits per channel.
//! Anything outside a picture is cut off.

mod boxes;
mod captions;
pub mod chart;
pub mod colour;
mod figure;
mod masks;
mod matrix;
mod overlay;
mod png;
mod points;
mod sheet;
mod tag;
mod text;

pub use boxes::{draw_box, fill};
pub use captions::{Caption, with_captions};
pub use figure::{Figure, Rect};
pub use masks::{draw_mask, draw_outline};
pub use matrix::Matrix;
pub use overlay::{Object, Overlay, Prompt};
pub use png::write_png;
pub use points::{draw_disc, draw_point};
pub use sheet::{fit, grid};
pub use tag::draw_tag;
pub use text::{draw_text, draw_text_upwards, shorten, text_width, widest};
