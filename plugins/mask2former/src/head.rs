//! Queries, decoder and the two heads (mmdet's `Mask2FormerHead`, whose names the variables have).

use sonotune_engine::{nn::Linear, prelude::*, tch::nn::Init};

use crate::{
    layers::{MaskEmbedding, linear, resize, sine_positions, size_of, to_tokens},
    pixel_decoder::{PixelDecoder, PixelDecoderSizes, PixelFeatures},
    transformer_decoder::{Memory, TransformerDecoder, TransformerDecoderSizes},
};

/// What the head is built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadSizes {
    pub pixel_decoder: PixelDecoderSizes,
    pub transformer_decoder: TransformerDecoderSizes,
    pub num_queries: i64,
    pub num_classes: i64,
}

/// Computes classes and masks of all queries from a backbone's levels.
#[derive(Debug)]
pub struct Mask2FormerHead {
    pub pixel_decoder: PixelDecoder,
    decoder: TransformerDecoder,
    query_feat: Tensor,
    query_embed: Tensor,
    level_embed: Tensor,
    cls_embed: Linear,
    mask_embed: MaskEmbedding,
}

/// Output of the heads after a layer, or before the first.
#[derive(Debug)]
pub struct LayerOutput {
    /// `[B, Q, K + 1]` logits; the last class is "no object".
    pub classes: Tensor,
    /// `[B, Q, C]`: a query's mask is its product with the mask features.
    pub embeddings: Tensor,
}

impl LayerOutput {
    /// `[B, Q, H, W]` logits, at the size of the mask features.
    pub fn masks(&self, mask_features: &Tensor) -> Tensor {
        let (h, w) = size_of(mask_features);
        let masks = self.embeddings.matmul(&mask_features.flatten(2, 3));
        masks.unflatten(2, [h, w].as_slice())
    }
}

impl Mask2FormerHead {
    pub fn new(vs: &nn::Path<'_>, sizes: &HeadSizes) -> Self {
        let dim = sizes.transformer_decoder.feat_channels;
        let embedding = |name: &str, count: i64| {
            (vs / name).var("weight", &[count, dim], Init::Randn { mean: 0.0, stdev: 1.0 })
        };
        Self {
            pixel_decoder: PixelDecoder::new(&(vs / "pixel_decoder"), &sizes.pixel_decoder),
            decoder: TransformerDecoder::new(
                &(vs / "transformer_decoder"),
                sizes.transformer_decoder,
            ),
            query_feat: embedding("query_feat", sizes.num_queries),
            query_embed: embedding("query_embed", sizes.num_queries),
            level_embed: embedding("level_embed", sizes.pixel_decoder.num_levels as i64),
            cls_embed: linear(&(vs / "cls_embed"), dim, sizes.num_classes + 1),
            mask_embed: MaskEmbedding::new(&(vs / "mask_embed"), dim),
        }
    }

    /// Where its weights are.
    pub(crate) fn device(&self) -> Device {
        self.query_embed.device()
    }

    /// Runs the decoder over `pixels`; `each` receives the output of the heads before the first layer
    /// and after every layer, in order.
    ///
    /// # Errors
    /// Propagates errors from `each`.
    pub fn decode(
        &self,
        pixels: &PixelFeatures,
        each: &mut dyn FnMut(usize, LayerOutput) -> Result<()>,
    ) -> Result<()> {
        let (b, ..) = pixels.mask_features.size4()?;
        let (q, c) = self.query_feat.size2()?;
        let memories = self.memories(pixels);
        let visible_from = AttentionMasks::new(pixels);
        let mut queries = self.query_feat.unsqueeze(0).expand([b, q, c], false);
        let mut output = self.heads(&queries);
        for (i, layer) in self.decoder.layers.iter().enumerate() {
            let level = i % memories.len();
            let visible = visible_from.of(level, &output.embeddings);
            each(i, output)?;
            queries = layer.forward(&queries, &self.query_embed, &memories[level], &visible);
            output = self.heads(&queries);
        }
        each(self.decoder.layers.len(), output)
    }

    fn heads(&self, queries: &Tensor) -> LayerOutput {
        let normed = self.decoder.post_norm.forward(queries);
        LayerOutput {
            classes: at_least_float(&self.cls_embed.forward(&normed)),
            embeddings: self.mask_embed.forward(&normed),
        }
    }

    fn memories(&self, pixels: &PixelFeatures) -> Vec<Memory> {
        let memory = |(i, map): (usize, &Tensor)| {
            let level = self.level_embed.get(i as i64);
            let channels = level.numel() as i64;
            Memory {
                tokens: to_tokens(map) + level,
                positions: sine_positions(size_of(map), channels, &self.level_embed),
            }
        };
        pixels.levels.iter().enumerate().map(memory).collect()
    }
}

/// The pixels that a query may attend to: those of its own mask. Shrinking masks and multiplying
/// embeddings commute, so the mask features are shrunk, once, instead of every layer's masks.
struct AttentionMasks {
    /// `[B, C, h · w]` each.
    features: Vec<Tensor>,
}

impl AttentionMasks {
    fn new(pixels: &PixelFeatures) -> Self {
        no_grad(|| {
            let features = pixels.mask_features.detach();
            let shrink = |level: &Tensor| resize(&features, size_of(level)).flatten(2, 3);
            Self { features: pixels.levels.iter().map(shrink).collect() }
        })
    }

    /// `[B, 1, Q, h · w]` bool. A query whose mask is empty may attend everywhere.
    fn of(&self, level: usize, embeddings: &Tensor) -> Tensor {
        no_grad(|| {
            // sigmoid(x) < 0.5 hides a pixel.
            let inside = embeddings.detach().matmul(&self.features[level]).ge(0.0);
            let is_empty = inside.any_dim(2, true).logical_not();
            inside.logical_or(&is_empty).unsqueeze(1)
        })
    }
}
