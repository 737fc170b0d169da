//! Instance segmentation with Mask2Former (Cheng et al. 2022) on any backbone, trained and scored as
//! the UltraSam paper does (Meyer et al. 2025, Table 3).
//!
//! ```text
//! image ─► backbone ─► levels ─► pixel decoder ─┬─► mask features ──────────┐
//!                      (neck)                   └─► three levels of tokens  │
//!                                                        │ masked attention ▼
//!                              queries ─► transformer decoder ─► classes, masks
//! ```
//!
//! `config` has the user's options. From the bottom up: `layers`, [`deformable_attention`],
//! [`pixel_decoder`], [`transformer_decoder`] and [`head`] are the network; [`points`], [`matcher`] and
//! [`criterion`] make a training step; [`prediction`] turns queries into instances.

mod averaging;
mod config;
pub mod criterion;
pub mod deformable_attention;
mod evaluation;
mod export;
pub mod head;
mod keymap;
mod layers;
pub mod matcher;
mod neck;
pub mod pixel_decoder;
pub mod points;
pub mod prediction;
mod preparation;
mod task;
mod training;
pub mod transformer_decoder;

pub use config::{Mask2FormerConfig, Neck, PixelDecoderConfig, TransformerDecoderConfig};
pub use evaluation::EvaluationConfig;
pub use training::{Learnt, TrainingConfig, learn};
