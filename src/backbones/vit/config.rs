//! The `[backbone]` table of `type = "vit"`.

use std::collections::BTreeMap;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use super::{
    encoder::Vit,
    pixel_statistics::PixelStatistics,
    presets::{Arch, Variant},
    shapes,
};
use sonotune_engine::backbone::{
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
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VitConfig {
    /// Family of published models that decides every key that is not given; docs/configuration.md has a table of
    /// them.
    pub variant: Variant,
    /// Width, blocks, heads: `tiny` (192, 12, 3), `small` (384, 12, 6), `base` (768, 12, 12), `large` (1024, 24,
    /// 16), `huge` (1280, 32, 16), `giant` (1536, 40, 24, SwiGLU); DINOv3's `small_plus` and `huge_plus` (1280,
    /// 32, 20) with SwiGLU.
    pub arch: Arch,
    /// Width of a token; a multiple of `num_heads`. If absent, that of `arch`.
    pub embed_dim: Option<i64>,
    /// Number of blocks. If absent, that of `arch`.
    pub depth: Option<i64>,
    /// Heads of each attention. A file does not show them: check those of unusual models. If absent, that of
    /// `arch`.
    pub num_heads: Option<i64>,
    /// Hidden width of the MLP, with SwiGLU of each half; DINOv2's SwiGLU: two thirds of it, a multiple of 8. If
    /// absent, 4 · `embed_dim`.
    pub mlp_dim: Option<i64>,
    /// Side of a patch, pixels; the stride of every map. If absent, that of `variant`.
    pub patch_size: Option<i64>,
    /// Side of the square image whose positions are stored, pixels. Other inputs work: positions are resized in
    /// the forward pass as the original does. Leave it as the file has it. If absent, that of `variant`.
    pub image_size: Option<i64>,
    /// Whether there is a class token. If absent, `true`.
    pub class_token: Option<bool>,
    /// Registers (DINOv3: storage tokens). If absent, 0; `dinov3`: 4.
    pub num_register_tokens: Option<i64>,
    /// Absolute positions: `none`, `learned`, or `sincos`, MAE's fixed ones, which are not trained. If absent,
    /// that of `variant`.
    pub pos_embed: Option<PosEmbedKind>,
    /// The class token has no absolute position, as in timm's files of DINOv2 with registers. If absent, `false`.
    pub no_embed_class: Option<bool>,
    /// Whether absolute positions are resized with antialiasing; bicubic in any case. If absent, that of
    /// `variant`.
    pub pos_embed_antialias: Option<bool>,
    /// Added to the sides of the grid when the scale of the resizing is computed (DINOv2's `interpolate_offset`).
    /// If absent, that of `variant`.
    pub pos_embed_offset: Option<f64>,
    /// Base of axial rotary positions; 0: none. They leave class token and registers as they are. If absent, 0;
    /// `dinov3`: 100.
    pub rope_base: Option<f64>,
    /// BEiT's tables of relative positions: `none`, `per_block`, `shared`. They need an N×N matrix per head;
    /// another input size resizes them bilinearly. If absent, that of `variant`.
    pub rel_pos_bias: Option<RelPosBiasKind>,
    /// A norm before the first block. If absent, that of `variant`.
    pub pre_norm: Option<bool>,
    /// A bias of the patch embedding. If absent, that of `variant`.
    pub patch_bias: Option<bool>,
    /// `none`, `all`, `query_value` (BEiT; DINOv3 of timm and Hugging Face), `masked` (Meta's DINOv3 files). If
    /// absent, that of `variant`.
    pub qkv_bias: Option<QkvBias>,
    /// Start value of a factor per channel on each branch; 0: no factors. If absent, that of `variant`.
    pub layer_scale: Option<f64>,
    /// `gelu`, `quick_gelu` (OpenAI's CLIP), `swiglu`. If absent, that of `arch`.
    pub mlp: Option<MlpKind>,
    /// ε of all norms. Files of Google's and MAE's models in transformers' format: 1e-12. If absent, that of
    /// `variant`.
    pub norm_eps: Option<f64>,
    /// `norm`, of every token; `fc_norm`, of the pooled vector only; `none`. If absent, that of `variant`.
    pub final_norm: Option<FinalNorm>,
    /// The level that the last block makes: a map of the patch tokens; or one vector per image, for
    /// classification: `class_token`, `mean` (of the patch tokens), `class_and_mean`.
    pub output: Output,
    /// Blocks, from 0, whose patch tokens become levels instead, all of one stride.
    pub out_indices: Option<Vec<usize>>,
    /// Whether these levels pass the final norm, as DINOv2's `get_intermediate_layers` does. If absent, that of
    /// `variant`.
    pub norm_out_indices: Option<bool>,
    /// `imagenet`, `clip`, `half` (0.5, 0.5), or six numbers: means, then standard deviations, of red, green and
    /// blue in 0..=1. If absent, that of `variant`.
    pub pixel_statistics: Option<PixelStatistics>,
    /// What does not learn: `"none"`, `"all"`, a number (the stem and that many blocks), or a list of patterns of
    /// variable names.
    pub freeze: Freeze,
    /// Low-rank updates that are trained instead of the frozen weights.
    pub lora: Option<LoraConfig>,
    /// Bottlenecks that are trained instead of the frozen weights.
    pub adapter: Option<AdapterConfig>,
    /// Recomputes each block in the backward pass: less memory for a third more time.
    pub activation_checkpointing: bool,
}

/// Absolute positions: a vector per patch of the stored grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RelPosBiasKind {
    None,
    /// A table in every block.
    PerBlock,
    /// One table for all blocks (BEiT and USFM before fine-tuning).
    Shared,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FinalNorm {
    None,
    /// `norm`, of every token.
    Norm,
    /// `fc_norm`, of the pooled vector only.
    FcNorm,
}

/// What the level of the last block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
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
        .schema::<VitConfig>()
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
