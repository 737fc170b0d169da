//! Queries attend to the pixels inside the masks that they predicted a layer before (Cheng et al. 2022,
//! section 3.2; mmdet's `Mask2FormerTransformerDecoder`).

use sonotune_engine::{
    nn::{LayerNorm, Linear, linear as product},
    prelude::*,
};

use crate::layers::{FeedForward, linear_from, xavier_normal};

/// Sizes of a transformer decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransformerDecoderSizes {
    pub feat_channels: i64,
    pub num_heads: i64,
    pub num_layers: usize,
    pub feedforward_channels: i64,
}

/// The layers and the norm before the heads.
#[derive(Debug)]
pub struct TransformerDecoder {
    pub(crate) layers: Vec<DecoderLayer>,
    pub(crate) post_norm: LayerNorm,
}

impl TransformerDecoder {
    pub(crate) fn new(vs: &nn::Path<'_>, sizes: TransformerDecoderSizes) -> Self {
        let layers = vs / "layers";
        Self {
            layers: (0..sizes.num_layers)
                .map(|i| DecoderLayer::new(&(&layers / i), sizes))
                .collect(),
            post_norm: LayerNorm::new(&(vs / "post_norm"), sizes.feat_channels, 1e-5),
        }
    }
}

/// Masked cross-attention, self-attention, feed-forward; a norm after each.
#[derive(Debug)]
pub(crate) struct DecoderLayer {
    cross_attn: Attention,
    self_attn: Attention,
    ffn: FeedForward,
    norms: [LayerNorm; 3],
}

/// One level of pixels, as used by the decoder's layers.
#[derive(Debug)]
pub(crate) struct Memory {
    /// `[B, h · w, C]`, with the level's embedding.
    pub(crate) tokens: Tensor,
    /// `[h · w, C]`, added to keys only.
    pub(crate) positions: Tensor,
}

impl DecoderLayer {
    fn new(vs: &nn::Path<'_>, sizes: TransformerDecoderSizes) -> Self {
        let dim = sizes.feat_channels;
        let norms = vs / "norms";
        let attention = |name: &str| Attention::new(&(vs / name / "attn"), dim, sizes.num_heads);
        Self {
            cross_attn: attention("cross_attn"),
            self_attn: attention("self_attn"),
            ffn: FeedForward::new(&(vs / "ffn"), dim, sizes.feedforward_channels),
            norms: [0, 1, 2].map(|i| LayerNorm::new(&(&norms / i), dim, 1e-5)),
        }
    }

    /// `queries`: `[B, Q, C]`; `query_positions`: `[Q, C]`; `visible`: `[B, 1, Q, h · w]` bool.
    pub(crate) fn forward(
        &self,
        queries: &Tensor,
        query_positions: &Tensor,
        memory: &Memory,
        visible: &Tensor,
    ) -> Tensor {
        let placed = queries + query_positions;
        let [q, _, _] = self.cross_attn.rows();
        let q = q.forward(&placed);
        let (k, v) = self.cross_attn.keys_and_values(&memory.tokens, &memory.positions);
        let attended = self.cross_attn.attend(&q, &k, &v, Some(visible));
        let queries = self.norms[0].forward(&(queries + attended));

        let placed = &queries + query_positions;
        let [q, k, v] = self.self_attn.rows();
        let (q, k, v) = (q.forward(&placed), k.forward(&placed), v.forward(&queries));
        let attended = self.self_attn.attend(&q, &k, &v, None);
        let queries = self.norms[1].forward(&(queries + attended));
        self.norms[2].forward(&self.ffn.forward(&queries))
    }
}

/// PyTorch's `MultiheadAttention`: one matrix for queries, keys and values.
#[derive(Debug)]
struct Attention {
    /// `[3C, C]`.
    in_proj_weight: Tensor,
    /// `[3C]`.
    in_proj_bias: Tensor,
    out_proj: Linear,
    num_heads: i64,
}

/// A third of the joint projection.
struct Rows {
    weight: Tensor,
    bias: Tensor,
}

impl Rows {
    fn forward(&self, x: &Tensor) -> Tensor {
        product(x, &self.weight, Some(&self.bias))
    }
}

impl Attention {
    fn new(vs: &nn::Path<'_>, dim: i64, num_heads: i64) -> Self {
        Self {
            in_proj_weight: vs.var("in_proj_weight", &[3 * dim, dim], xavier_normal(dim, 3 * dim)),
            in_proj_bias: vs.zeros("in_proj_bias", &[3 * dim]),
            out_proj: linear_from(&(vs / "out_proj"), (dim, dim), xavier_normal(dim, dim)),
            num_heads,
        }
    }

    /// Query, key, value.
    fn rows(&self) -> [Rows; 3] {
        let dim = self.in_proj_bias.dims::<1>()[0] / 3;
        [0, 1, 2].map(|i| Rows {
            weight: self.in_proj_weight.narrow(0, i * dim, dim),
            bias: self.in_proj_bias.narrow(0, i * dim, dim),
        })
    }

    /// Keys and values of `[B, K, C]` tokens in one product; positions `[K, C]` are added to the keys
    /// only, and so are projected once for all images.
    fn keys_and_values(&self, tokens: &Tensor, positions: &Tensor) -> (Tensor, Tensor) {
        let [_, key, value] = self.rows();
        let dim = value.bias.dims::<1>()[0];
        let weight = self.in_proj_weight.narrow(0, dim, 2 * dim);
        let key_positions = key.forward(positions);
        let value_bias = value.bias.to_kind(key_positions.kind()).expand_as(&key_positions);
        let offset = Tensor::cat(&[key_positions, value_bias], -1);
        let both = product(tokens, &weight, None) + offset;
        (both.narrow(2, 0, dim), both.narrow(2, dim, dim))
    }

    /// Projected `[B, Q, C]`, `[B, K, C]` twice to `[B, Q, C]`.
    fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor, visible: Option<&Tensor>) -> Tensor {
        let heads = |x: &Tensor| {
            let [b, n, dim] = x.dims();
            x.view([b, n, self.num_heads, dim / self.num_heads]).transpose(1, 2)
        };
        let (q, k, v) = (heads(q), heads(k), heads(v));
        let attended =
            Tensor::scaled_dot_product_attention(&q, &k, &v, visible, 0.0, false, None, false);
        self.out_proj.forward(&attended.transpose(1, 2).flatten(2, 3))
    }
}
