//! SAM 2's image encoder: Hiera, a ViT of four stages with attention within windows, and a feature
//! pyramid (Ravi et al. 2024, after Ryali et al. 2023 and Bolya et al. 2023).
//!
//! Variables are named as in SAM 2 below `image_encoder.`.

mod block;
mod config;
mod encoder;
mod neck;
mod trunk;

pub use config::{Arch, HieraConfig};
