//! The `[backbone]` table of `type = "vit"`.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use super::{
    encoder::Vit,
    pixel_statistics::PixelStatistics,
    presets::{Arch, Variant},
    shapes,
};
use crate::backbone::{
    Backbone, BackboneConfig, Freeze,
    peft::{AdapterConfig, LoraConfig},
};

/// A plain vision transformer. What is absent comes from `variant` and `arch`.
///
/// ```toml
/// [backbone]
/// type = "vit"
/// variant = "dinov2"
/// arch = "base"
/// num_register_tokens = 4
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VitConfig {
    /// The published family whose choices are the defaults of all other keys.
    pub variant: Variant,
    /// Sizes of the published models.
    pub arch: Arch,
    /// Width of a token.
    pub embed_dim: Option<i64>,
    /// Number of blocks.
    pub depth: Option<i64>,
    pub num_heads: Option<i64>,
    /// Hidden width of the MLP; of each of its two halves if it is SwiGLU.
    pub mlp_dim: Option<i64>,
    /// Side of a patch in pixels; the stride of every level.
    pub patch_size: Option<i64>,
    /// Side in pixels of the square image whose positions are stored. Other input sizes work: positions
    /// are interpolated.
    pub image_size: Option<i64>,
    /// Whether a class token comes before the patches.
    pub class_token: Option<bool>,
    /// Register tokens (DINOv3: storage tokens) between class token and patches; they have no position.
    pub num_register_tokens: Option<i64>,
    /// Absolute positions, added to the patches.
    pub pos_embed: Option<PosEmbedKind>,
    /// Whether the class token has no absolute position, as in timm.
    pub no_embed_class: Option<bool>,
    /// Whether absolute positions are interpolated with antialiasing.
    pub pos_embed_antialias: Option<bool>,
    /// Added to the sides of the grid when the scale of the interpolation is computed (DINOv2's
    /// `interpolate_offset`).
    pub pos_embed_offset: Option<f64>,
    /// Base of the axial rotary positions in attention; 0: none.
    pub rope_base: Option<f64>,
    /// Tables of relative positions in attention.
    pub rel_pos_bias: Option<RelPosBiasKind>,
    /// Whether the tokens are normalised before the first block.
    pub pre_norm: Option<bool>,
    /// Whether the patch embedding has a bias.
    pub patch_bias: Option<bool>,
    pub qkv_bias: Option<QkvBias>,
    /// Start value of a factor per channel on each branch of a block; 0: no factors.
    pub layer_scale: Option<f64>,
    pub mlp: Option<MlpKind>,
    /// Added to the variance in every layer norm.
    pub norm_eps: Option<f64>,
    pub final_norm: Option<FinalNorm>,
    /// The level that the last block's tokens make.
    pub output: Output,
    /// Blocks whose patch tokens become levels instead of `output`, in this order.
    pub out_indices: Option<Vec<usize>>,
    /// Whether these levels pass the final norm.
    pub norm_out_indices: Option<bool>,
    /// Mean and standard deviation that images are normalised with.
    pub pixel_statistics: Option<PixelStatistics>,
    /// Variables that are not trained. Those of `lora` and `adapter` always are.
    pub freeze: Freeze,
    /// Low-rank updates that are trained instead of the frozen weights.
    pub lora: Option<LoraConfig>,
    /// Bottlenecks that are trained instead of the frozen weights.
    pub adapter: Option<AdapterConfig>,
    /// Keeps only the inputs of blocks in training and computes each block again in backward.
    pub activation_checkpointing: bool,
}

/// Absolute positions: a vector per patch of the stored grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PosEmbedKind {
    None,
    /// Trained.
    Learned,
    /// Sines and cosines of the two coordinates, as MAE computes them; not trained. A file's values
    /// replace them.
    Sincos,
}

/// The bias of the layer that computes queries, keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QkvBias {
    None,
    /// One for all three.
    All,
    /// `attn.q_bias` and `attn.v_bias` (BEiT; DINOv3 in timm and transformers): a key's bias would change
    /// nothing after the softmax.
    QueryValue,
    /// One for all three, times `attn.qkv.bias_mask`, which is zero for the keys (Meta's DINOv3 files).
    Masked,
}

/// BEiT's bias per head and relative position, added to the scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelPosBiasKind {
    None,
    /// A table in every block.
    PerBlock,
    /// One table for all blocks (BEiT and USFM before fine-tuning).
    Shared,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MlpKind {
    /// `fc2(GELU(fc1(x)))`.
    Gelu,
    /// The same with `x · sigmoid(1.702 x)` for GELU, as in OpenAI's CLIP.
    QuickGelu,
    /// `w3(SiLU(a) · b)` with `[a, b] = w12(x)`.
    Swiglu,
}

/// The norm after the last block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinalNorm {
    None,
    /// `norm`, of every token.
    Norm,
    /// `fc_norm`, of the pooled vector only.
    FcNorm,
}

/// What the level of the last block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// A map of the patch tokens, `[B, C, h, w]`.
    #[default]
    PatchTokens,
    /// The class token, `[B, C, 1, 1]`.
    ClassToken,
    /// The mean of the patch tokens, `[B, C, 1, 1]`.
    Mean,
    /// Class token, then the mean of the patch tokens: `[B, 2C, 1, 1]`.
    ClassAndMean,
}

inventory::submit! {
    sonotune_config::Summary::of("backbone", "vit", "plain ViT: MAE, DINOv2, DINOv3, BEiT, CLIP or options of your own; a map, block outputs or one vector per image")
}

#[typetag::serde(name = "vit")]
impl BackboneConfig for VitConfig {
    fn build(&self, vs: &nn::Path) -> Result<Box<dyn Backbone>> {
        Ok(Box::new(Vit::new(vs, self)?))
    }

    fn other_sizes(&self, shapes: &BTreeMap<String, Vec<i64>>) -> Option<String> {
        shapes::differences(&self.architecture().ok()?, shapes)
    }

    fn merge(&self, variables: &mut BTreeMap<String, Tensor>) -> Result<usize> {
        self.lora.as_ref().map_or(Ok(0), |lora| lora.fold(variables))
    }
}
