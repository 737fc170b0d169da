//! The plain vision transformer (Dosovitskiy et al. 2021) in the forms that are published: MAE, DINOv2,
//! DINOv3, BEiT, CLIP.
//!
//! Variables are named as in timm's `VisionTransformer`; what only others have keeps their name:
//! `attn.qkv.bias_mask` (DINOv3), `mlp.w12` and `mlp.w3` (DINOv2's SwiGLU),
//! `attn.relative_position_bias_table` (BEiT).

mod architecture;
mod attention;
mod block;
mod config;
mod encoder;
mod levels;
mod mlp;
mod pixel_statistics;
mod positions;
mod presets;
mod rel_pos_bias;
mod rope;
mod shapes;
#[cfg(test)]
mod tests;

pub use config::{FinalNorm, MlpKind, Output, PosEmbedKind, QkvBias, RelPosBiasKind, VitConfig};
pub use pixel_statistics::PixelStatistics;
pub use presets::{Arch, Variant};
