//! Promptable segmentation: SAM, SAM 2, MedSAM and UltraSam, trained and scored as the UltraSam paper does
//! (Meyer et al. 2025, after Kirillov et al. 2023).
//!
//! ```text
//! image ──► backbone ──► embedding ─┐ once per image
//!                                   ├─► two-way transformer ──► masks, predicted IoU
//! points, box, mask ─► prompt encoder ─┘ once per object         │
//!                         ▲                                      │ refinement: the first mask,
//!                         └──────────────────────────────────────┘ and its box, as prompts
//! ```
//!
//! `config` has the user's options; [`model`] holds the network; `training` draws prompts and sums
//! losses; `prediction` answers prompts, whether given or derived from annotations.

mod averaging;
mod config;
mod convention;
mod evaluation;
mod everything;
mod export;
mod image_tokens;
mod keymap;
mod layers;
mod loss;
pub mod mask_decoder;
pub mod model;
mod postprocess;
mod prediction;
mod preparation;
mod prompt;
pub mod prompt_encoder;
pub mod sam2;
mod sampling;
mod task;
mod training;
pub mod transformer;

pub use config::{
    DecoderConfig, EvaluationConfig, EverythingConfig, Protocol, SamPromptConfig, TrainingConfig,
};
pub use convention::Convention;
pub use image_tokens::Owners;
pub use loss::{IouLoss, LossConfig, MaskChoice, MaskLosses, mask_losses};
pub use postprocess::{Frame, Postprocess};
pub use training::{Passes, pass_losses};
