//! Decode → resize → augment → normalise and pad.

use serde::{Deserialize, Serialize};

/// The `[preprocess]` table: how an image becomes network input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PreprocessConfig {
    /// The longest side after resizing, pixels.
    pub image_size: u32,
}

impl Default for PreprocessConfig {
    fn default() -> Self {
        Self { image_size: 1024 }
    }
}

/// The `[augment]` table: random changes in training.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentConfig {
    /// Probability of a mirror image, left to right.
    pub flip_probability: f64,
}
