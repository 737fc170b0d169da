//! The `[task]` table of `type = "mask2former"`.

use sonotune_engine::prelude::{words::counted, *};

use crate::{
    EvaluationConfig, TrainingConfig, head::HeadSizes, layers::ConvGroupNorm,
    pixel_decoder::PixelDecoderSizes, transformer_decoder::TransformerDecoderSizes,
};

/// Options of instance segmentation. The defaults are the UltraSam paper's.
///
/// ```toml
/// [task]
/// type = "mask2former"
/// num_queries = 100
///
/// [task.evaluation]
/// max_per_image = 100
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "sonotune_engine::serde", deny_unknown_fields, default)]
#[schemars(crate = "sonotune_engine::schemars")]
pub struct Mask2FormerConfig {
    /// Maximum number of objects that can be found in an image.
    pub num_queries: i64,
    /// Width of the head; a multiple of 32 and of `num_heads`.
    pub feat_channels: i64,
    /// Heads of every attention layer.
    pub num_heads: i64,
    /// What is between backbone and pixel decoder: `none`, the backbone's levels as they are;
    /// `simple_feature_pyramid`, four levels made from its last, as in ViTDet.
    pub neck: Neck,
    /// The layers of deformable attention over the coarser levels.
    pub pixel_decoder: PixelDecoderConfig,
    /// The layers that turn queries into objects.
    pub transformer_decoder: TransformerDecoderConfig,
    /// Points and weights of the loss.
    pub training: TrainingConfig,
    /// What of a prediction is kept.
    pub evaluation: EvaluationConfig,
}

impl Default for Mask2FormerConfig {
    fn default() -> Self {
        Self {
            num_queries: 100,
            feat_channels: 256,
            num_heads: 8,
            neck: Neck::None,
            pixel_decoder: PixelDecoderConfig::default(),
            transformer_decoder: TransformerDecoderConfig::default(),
            training: TrainingConfig::default(),
            evaluation: EvaluationConfig::default(),
        }
    }
}

/// How a backbone feeds the pixel decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "sonotune_engine::serde", rename_all = "snake_case")]
#[schemars(crate = "sonotune_engine::schemars")]
pub enum Neck {
    /// The backbone's levels as they are. For a plain ViT these are outputs of several blocks, all of
    /// the same stride, as in the UltraSam paper.
    None,
    /// Four levels made from the backbone's last, from four times its resolution to half of it (Li et
    /// al. 2022, ViTDet).
    SimpleFeaturePyramid,
}

/// `[task.pixel_decoder]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "sonotune_engine::serde", deny_unknown_fields, default)]
#[schemars(crate = "sonotune_engine::schemars")]
pub struct PixelDecoderConfig {
    /// Layers of deformable attention.
    pub num_layers: usize,
    /// Width of their MLPs.
    pub feedforward_channels: i64,
    /// Levels that attend to each other, the coarsest ones; masks are made at the next finer level, or, if there
    /// is none, at the finest of these.
    pub num_levels: usize,
    /// Sampling points of each head in each level.
    pub num_points: i64,
}

impl Default for PixelDecoderConfig {
    fn default() -> Self {
        Self { num_layers: 6, feedforward_channels: 1024, num_levels: 3, num_points: 4 }
    }
}

/// `[task.transformer_decoder]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "sonotune_engine::serde", deny_unknown_fields, default)]
#[schemars(crate = "sonotune_engine::schemars")]
pub struct TransformerDecoderConfig {
    /// Layers; each looks at one level, in turns.
    pub num_layers: usize,
    /// Width of their MLPs.
    pub feedforward_channels: i64,
}

impl Default for TransformerDecoderConfig {
    fn default() -> Self {
        Self { num_layers: 9, feedforward_channels: 2048 }
    }
}

fn fault<T>(message: String) -> Result<T> {
    Err(Error::config(message).into())
}

impl Mask2FormerConfig {
    pub(crate) fn check(&self) -> Result<()> {
        let groups = ConvGroupNorm::GROUPS;
        let dim = self.feat_channels;
        if dim <= 0 || dim % groups != 0 {
            return fault(format!(
                "task.feat_channels = {dim}: expected a multiple of {groups}, the groups of its norms"
            ));
        }
        if self.num_heads <= 0 || dim % self.num_heads != 0 {
            return fault(format!(
                "task.num_heads = {}: expected a divisor of feat_channels = {dim}",
                self.num_heads
            ));
        }
        let (pixel, transformer) = (&self.pixel_decoder, &self.transformer_decoder);
        for (key, value) in [
            ("num_queries", self.num_queries),
            ("pixel_decoder.num_layers", pixel.num_layers as i64),
            ("pixel_decoder.num_levels", pixel.num_levels as i64),
            ("pixel_decoder.num_points", pixel.num_points),
            ("pixel_decoder.feedforward_channels", pixel.feedforward_channels),
            ("transformer_decoder.num_layers", transformer.num_layers as i64),
            ("transformer_decoder.feedforward_channels", transformer.feedforward_channels),
        ] {
            if value < 1 {
                return fault(format!("task.{key} = {value}: expected at least 1"));
            }
        }
        self.training.check()?;
        self.evaluation.check()
    }

    /// Channels of the levels that the head uses, fine to coarse: the coarsest for the encoder, and
    /// one finer level for the masks.
    pub(crate) fn in_channels(&self, available: &[i64]) -> Result<Vec<i64>> {
        let encoded = self.pixel_decoder.num_levels;
        let (giver, most) = match self.neck {
            // A level that nothing uses is probably a mistake.
            Neck::None => ("the backbone", encoded + 1),
            Neck::SimpleFeaturePyramid => ("the feature pyramid", usize::MAX),
        };
        let count = available.len();
        if count < encoded || count > most {
            return fault(format!(
                "task.pixel_decoder.num_levels = {encoded}: {giver} gives {}, expected \
                 {encoded}, or {} with a finer one for the masks; set backbone.out_indices, or \
                 task.neck = \"simple_feature_pyramid\" to make four from the last",
                counted(count, "level"),
                encoded + 1
            ));
        }
        Ok(available[count.saturating_sub(encoded + 1)..].to_vec())
    }

    pub(crate) fn head_sizes(&self, in_channels: Vec<i64>, num_classes: i64) -> HeadSizes {
        let (pixel, transformer) = (&self.pixel_decoder, &self.transformer_decoder);
        HeadSizes {
            pixel_decoder: PixelDecoderSizes {
                in_channels,
                feat_channels: self.feat_channels,
                num_heads: self.num_heads,
                num_layers: pixel.num_layers,
                feedforward_channels: pixel.feedforward_channels,
                num_levels: pixel.num_levels,
                num_points: pixel.num_points,
            },
            transformer_decoder: TransformerDecoderSizes {
                feat_channels: self.feat_channels,
                num_heads: self.num_heads,
                num_layers: transformer.num_layers,
                feedforward_channels: transformer.feedforward_channels,
            },
            num_queries: self.num_queries,
            num_classes,
        }
    }
}
