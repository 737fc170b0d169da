//! TinyViT (Wu et al. 2022): convolutions, then three stages of attention in windows, each window with
//! learnt biases between its positions; with SAM's neck it is the image encoder of MobileSAM and
//! LiteMedSAM.
//!
//! Variables are named as in MobileSAM below `image_encoder.`.

mod block;
mod config;
mod conv;
mod encoder;
mod stage;
#[cfg(test)]
mod tests;

pub use config::{Arch, TinyVitConfig};
