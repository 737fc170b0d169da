//! Turns a backbone's levels into three levels of tokens that have attended to each other, and into the
//! mask features (mmdet's `MSDeformAttnPixelDecoder`).

use sonotune_engine::{nn::LayerNorm, prelude::*, tch::nn::Init};

use crate::{
    deformable_attention::{DeformableAttention, Places},
    layers::{
        Conv, ConvGroupNorm, FeedForward, resize, sine_positions, size_of, to_map, to_tokens,
        xavier_uniform,
    },
};

/// Sizes of a pixel decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PixelDecoderSizes {
    /// Channels of the backbone's levels, fine to coarse. The last `num_levels` go through the
    /// encoder; one finer level may remain, for the mask features.
    pub in_channels: Vec<i64>,
    pub feat_channels: i64,
    pub num_heads: i64,
    pub num_layers: usize,
    pub feedforward_channels: i64,
    pub num_levels: usize,
    /// Sampling points of a head in each level.
    pub num_points: i64,
}

/// The pixel decoder; variables named as in mmdet.
#[derive(Debug)]
pub struct PixelDecoder {
    /// Coarse to fine.
    input_convs: Vec<ConvGroupNorm>,
    level_encoding: Tensor,
    layers: Vec<EncoderLayer>,
    /// Layers of the level that is finer than the encoder's.
    finest: Option<(ConvGroupNorm, ConvGroupNorm)>,
    mask_feature: Conv,
}

/// Output of the pixel decoder.
#[derive(Debug)]
pub struct PixelFeatures {
    /// `[B, C, H, W]`, at the finest level's size.
    pub mask_features: Tensor,
    /// `[B, C, h, w]` each, coarse to fine.
    pub levels: Vec<Tensor>,
}

impl PixelDecoder {
    pub fn new(vs: &nn::Path<'_>, sizes: &PixelDecoderSizes) -> Self {
        let dim = sizes.feat_channels;
        let coarse = sizes.in_channels.iter().rev();
        let input_conv = |(i, &channels): (usize, &i64)| {
            let glorot = xavier_uniform(channels, dim);
            ConvGroupNorm::new(&(vs / "input_convs" / i), (channels, dim), 1, true, glorot)
        };
        let level_encoding = (vs / "level_encoding").var(
            "weight",
            &[sizes.num_levels as i64, dim],
            Init::Randn { mean: 0.0, stdev: 1.0 },
        );
        let finest = sizes.in_channels.len().checked_sub(sizes.num_levels + 1).map(|index| {
            let channels = sizes.in_channels[index];
            let lateral = &(vs / "lateral_convs" / 0);
            let output = &(vs / "output_convs" / 0);
            (
                ConvGroupNorm::new(lateral, (channels, dim), 1, false, caffe2_xavier(channels)),
                ConvGroupNorm::new(output, (dim, dim), 3, false, caffe2_xavier(9 * dim)),
            )
        });
        let layers = vs / "encoder" / "layers";
        let mask_feature = &(vs / "mask_feature");
        Self {
            input_convs: coarse.take(sizes.num_levels).enumerate().map(input_conv).collect(),
            level_encoding,
            layers: (0..sizes.num_layers)
                .map(|i| EncoderLayer::new(&(&layers / i), sizes))
                .collect(),
            finest,
            mask_feature: Conv::new(mask_feature, (dim, dim), 1, true, caffe2_xavier(dim)),
        }
    }

    /// `features`: the backbone's levels, fine to coarse, one for each of the sizes' channels.
    ///
    /// # Errors
    /// When libtorch refuses the shapes.
    pub fn forward(&self, features: &[Tensor]) -> Result<PixelFeatures> {
        let coarse_to_fine = features.iter().rev().zip(&self.input_convs).enumerate();
        let (mut tokens, mut positions, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        for (i, (map, conv)) in coarse_to_fine {
            let map = conv.forward(map);
            let level = self.level_encoding.get(i as i64);
            positions
                .push(sine_positions(size_of(&map), level.size1()?, &self.level_encoding) + level);
            sizes.push(size_of(&map));
            tokens.push(to_tokens(&map));
        }
        let places = Places::new(sizes, &self.level_encoding);
        let positions = Tensor::cat(&positions, 0);
        let mut x = Tensor::cat(&tokens, 1);
        for layer in &self.layers {
            x = layer.forward(&x, &positions, &places)?;
        }
        let mut first = 0;
        let mut levels = Vec::new();
        for &(h, w) in places.sizes() {
            levels.push(to_map(&x.narrow(1, first, h * w), (h, w)));
            first += h * w;
        }
        Ok(PixelFeatures { mask_features: self.mask_features(features, &levels), levels })
    }

    fn mask_features(&self, features: &[Tensor], levels: &[Tensor]) -> Tensor {
        let encoded = &levels[levels.len() - 1];
        match &self.finest {
            None => self.mask_feature.forward(encoded),
            Some((lateral, output)) => {
                let lateral = lateral.forward(&features[0]);
                let summed = &lateral + resize(encoded, size_of(&lateral));
                self.mask_feature.forward(&output.forward(&summed).relu())
            }
        }
    }
}

/// Caffe2's "Xavier": He's uniform initialisation by fan-in, with a gain of one.
fn caffe2_xavier(fan_in: i64) -> Init {
    let bound = (3.0 / fan_in as f64).sqrt();
    Init::Uniform { lo: -bound, up: bound }
}

#[derive(Debug)]
struct EncoderLayer {
    self_attn: DeformableAttention,
    ffn: FeedForward,
    norms: [LayerNorm; 2],
}

impl EncoderLayer {
    fn new(vs: &nn::Path<'_>, sizes: &PixelDecoderSizes) -> Self {
        let dim = sizes.feat_channels;
        let norms = vs / "norms";
        Self {
            self_attn: DeformableAttention::new(
                &(vs / "self_attn"),
                dim,
                sizes.num_heads,
                sizes.num_levels as i64,
                sizes.num_points,
            ),
            ffn: FeedForward::new(&(vs / "ffn"), dim, sizes.feedforward_channels),
            norms: [0, 1].map(|i| LayerNorm::new(&(&norms / i), dim, 1e-5)),
        }
    }

    /// `[B, S, C]` to the same.
    fn forward(&self, x: &Tensor, positions: &Tensor, places: &Places) -> Result<Tensor> {
        let attended = self.self_attn.forward(&(x + positions), x, places)?;
        let x = self.norms[0].forward(&(x + attended));
        Ok(self.norms[1].forward(&self.ffn.forward(&x)))
    }
}
