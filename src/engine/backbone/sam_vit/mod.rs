//! SAM's image encoder: a ViT with windowed and global attention, decomposed relative positions and
//! an optional convolutional neck (Kirillov et al. 2023, after ViTDet).
//!
//! Variables are named as in segment-anything below `image_encoder.`.

mod block;
mod config;
mod encoder;
mod positions;

pub use config::{Arch, SamVitConfig};
