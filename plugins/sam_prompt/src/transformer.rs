//! The two-way transformer: tokens attend to the image, the image attends to the tokens (Kirillov et al.
//! 2023, `modeling/transformer.py`).
//!
//! Within a layer the image tokens do not change between the two cross attentions, so three of
//! their projections are one product; their positional encodings are projected once for all objects.

use sonotune_engine::{
    nn::{LayerNorm, Linear, Rows, dropout, linear as product},
    prelude::*,
};

use crate::{image_tokens::ImageTokens, layers::linear};

/// Sizes and the points in which UltraSam's decoder differs from SAM's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TransformerSizes {
    pub dim: i64,
    pub depth: usize,
    pub num_heads: i64,
    pub mlp_dim: i64,
    /// `LN(2q + MLP(q))` after the MLP, as UltraSam was trained, instead of `LN(q + MLP(q))`.
    pub double_residual: bool,
    /// Dropout of the MLP's hidden and output values, in training.
    pub dropout: f64,
}

/// The part of SAM's decoder between embeddings and masks.
#[derive(Debug)]
pub struct TwoWayTransformer {
    layers: Vec<Block>,
    final_attn: Attention,
    norm_final_attn: LayerNorm,
}

impl TwoWayTransformer {
    pub(crate) fn new(vs: &nn::Path<'_>, sizes: TransformerSizes) -> Self {
        let layers = vs / "layers";
        Self {
            layers: (0..sizes.depth).map(|i| Block::new(&(&layers / i), sizes, i == 0)).collect(),
            final_attn: Attention::cross(&(vs / "final_attn_token_to_image"), sizes),
            norm_final_attn: norm(&(vs / "norm_final_attn"), sizes.dim),
        }
    }

    /// Queries `[N, T, C]` and image tokens, with positional encodings `[h · w, C]`, to queries and
    /// image tokens `[N, h · w, C]`. `noise`: in training, the objects that other processes have, for which
    /// dropout draws as well.
    pub(crate) fn forward(
        &self,
        query_pe: &Tensor,
        image: ImageTokens<'_>,
        image_pe: &Tensor,
        noise: Option<Rows>,
    ) -> (Tensor, Tensor) {
        let mut queries = query_pe.shallow_clone();
        let mut image = image;
        for layer in &self.layers {
            let (q, tokens) = layer.forward(&queries, query_pe, &image, image_pe, noise);
            (queries, image) = (q, ImageTokens::Own(tokens));
        }
        let q = self.final_attn.q_proj.forward(&(&queries + query_pe));
        let [k, v] = self.final_attn.keys_and_values(image.tokens(), image_pe);
        let attended = self.final_attn.attend_image(&q, &k, &v, &image);
        let queries = self.norm_final_attn.forward(&(queries + attended));
        let tokens = match image {
            ImageTokens::Own(tokens) => tokens,
            ImageTokens::Shared(tokens, owners) => owners.spread(&tokens),
        };
        (queries, tokens)
    }
}

/// Adds in place to `attended`, which nothing else uses; under autocast it is 16-bit, but the sum must
/// not be.
fn add(mut attended: Tensor, tokens: &Tensor) -> Tensor {
    if attended.kind() == tokens.kind() { attended.g_add_(tokens) } else { attended + tokens }
}

fn norm(vs: &nn::Path<'_>, dim: i64) -> LayerNorm {
    LayerNorm::new(vs, dim, 1e-5)
}

#[derive(Debug)]
struct Block {
    self_attn: Attention,
    norm1: LayerNorm,
    token_to_image: Attention,
    norm2: LayerNorm,
    lin1: Linear,
    lin2: Linear,
    norm3: LayerNorm,
    image_to_token: Attention,
    norm4: LayerNorm,
    /// Whether its queries are still only positional encodings, which self-attention replaces.
    is_first: bool,
    double_residual: bool,
    dropout: f64,
}

impl Block {
    fn new(vs: &nn::Path<'_>, sizes: TransformerSizes, is_first: bool) -> Self {
        let mlp = vs / "mlp";
        Self {
            self_attn: Attention::new(&(vs / "self_attn"), sizes, sizes.dim),
            norm1: norm(&(vs / "norm1"), sizes.dim),
            token_to_image: Attention::cross(&(vs / "cross_attn_token_to_image"), sizes),
            norm2: norm(&(vs / "norm2"), sizes.dim),
            lin1: linear(&(&mlp / "lin1"), sizes.dim, sizes.mlp_dim),
            lin2: linear(&(&mlp / "lin2"), sizes.mlp_dim, sizes.dim),
            norm3: norm(&(vs / "norm3"), sizes.dim),
            image_to_token: Attention::cross(&(vs / "cross_attn_image_to_token"), sizes),
            norm4: norm(&(vs / "norm4"), sizes.dim),
            is_first,
            double_residual: sizes.double_residual,
            dropout: sizes.dropout,
        }
    }

    fn forward(
        &self,
        queries: &Tensor,
        query_pe: &Tensor,
        image: &ImageTokens<'_>,
        image_pe: &Tensor,
        noise: Option<Rows>,
    ) -> (Tensor, Tensor) {
        let queries = self.norm1.forward(&self.attend_self(queries, query_pe));
        let [key, value, image_query] = self.project_image(image.tokens(), image_pe);
        let q = self.token_to_image.q_proj.forward(&(&queries + query_pe));
        let queries = &queries + self.token_to_image.attend_image(&q, &key, &value, image);
        let queries = self.norm2.forward(&queries);
        let queries = self.norm3.forward(&self.mlp(&queries, noise));

        let of_image = &self.image_to_token;
        let k = of_image.k_proj.forward(&(&queries + query_pe));
        let v = of_image.v_proj.forward(&queries);
        let (image_query, tokens) = match image {
            ImageTokens::Shared(tokens, owners) => {
                (owners.spread(&image_query), owners.spread(tokens))
            }
            ImageTokens::Own(tokens) => (image_query, tokens.shallow_clone()),
        };
        let tokens = add(of_image.attend(&image_query, &k, &v), &tokens);
        (queries, self.norm4.forward(&tokens))
    }

    fn attend_self(&self, queries: &Tensor, query_pe: &Tensor) -> Tensor {
        let attention = &self.self_attn;
        let placed = if self.is_first { queries.shallow_clone() } else { queries + query_pe };
        let attended = attention.attend(
            &attention.q_proj.forward(&placed),
            &attention.k_proj.forward(&placed),
            &attention.v_proj.forward(queries),
        );
        if self.is_first { attended } else { queries + attended }
    }

    /// Returns the sum with its input.
    fn mlp(&self, queries: &Tensor, noise: Option<Rows>) -> Tensor {
        let drop = |x: Tensor| match noise {
            Some(others) if self.dropout > 0.0 => dropout(&x, self.dropout, others),
            _ => x,
        };
        let hidden = drop(self.lin1.forward(queries).relu());
        let out = drop(self.lin2.forward(&hidden));
        if self.double_residual { queries * 2.0 + out } else { queries + out }
    }

    /// Keys and values for the tokens, and the image's own queries: each `[K, h · w, C']`.
    fn project_image(&self, tokens: &Tensor, image_pe: &Tensor) -> [Tensor; 3] {
        let (to, from) = (&self.token_to_image, &self.image_to_token);
        let weight = [&to.k_proj.weight, &to.v_proj.weight, &from.q_proj.weight];
        let weight = Tensor::cat(&weight, 0);
        let (key_pe, query_pe) = (to.k_proj.forward(image_pe), from.q_proj.forward(image_pe));
        let value_bias = to.v_proj.bias.to_kind(key_pe.kind()).expand_as(&key_pe);
        let offset = Tensor::cat(&[key_pe, value_bias, query_pe], -1);
        let all = product(tokens, &weight, None) + offset;
        let width = all.size()[2] / 3;
        [0, 1, 2].map(|i| all.narrow(2, i * width, width))
    }
}

/// Multi-head attention whose inner width may be less than its outer one.
#[derive(Debug)]
struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    num_heads: i64,
}

impl Attention {
    fn new(vs: &nn::Path<'_>, sizes: TransformerSizes, inner: i64) -> Self {
        let dim = sizes.dim;
        Self {
            q_proj: linear(&(vs / "q_proj"), dim, inner),
            k_proj: linear(&(vs / "k_proj"), dim, inner),
            v_proj: linear(&(vs / "v_proj"), dim, inner),
            out_proj: linear(&(vs / "out_proj"), inner, dim),
            num_heads: sizes.num_heads,
        }
    }

    /// Between tokens and image: half as wide inside.
    fn cross(vs: &nn::Path<'_>, sizes: TransformerSizes) -> Self {
        Self::new(vs, sizes, sizes.dim / 2)
    }

    /// Projected `[N, Q, C']`, `[N, K, C']` twice to `[N, Q, C]`.
    fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
        self.out_proj.forward(&self.merge(&self.scaled_dot_product(q, k, v)))
    }

    /// Like [`attend`](Self::attend), with keys and values of the image. If objects share them, they are
    /// not copied: the objects' queries are concatenated instead, since they do not interact here.
    fn attend_image(&self, q: &Tensor, k: &Tensor, v: &Tensor, image: &ImageTokens<'_>) -> Tensor {
        let ImageTokens::Shared(_, owners) = image else { return self.attend(q, k, v) };
        let [_, t, width] = q.dims();
        let mut first = 0;
        let mut of_images = Vec::new();
        for (index, &count) in owners.counts().iter().enumerate().filter(|&(_, &count)| count > 0) {
            let q = q.narrow(0, first, count).reshape([1, count * t, width]);
            let one = |x: &Tensor| x.narrow(0, index as i64, 1);
            let attended = self.merge(&self.scaled_dot_product(&q, &one(k), &one(v)));
            of_images.push(attended.view([count, t, width]));
            first += count;
        }
        self.out_proj.forward(&Tensor::cat(&of_images, 0))
    }

    /// `[N, heads, Q, d]`.
    fn scaled_dot_product(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
        let heads = |x: &Tensor| {
            let [n, t, width] = x.dims();
            x.view([n, t, self.num_heads, width / self.num_heads]).transpose(1, 2)
        };
        let none = None::<Tensor>;
        let (q, k, v) = (heads(q), heads(k), heads(v));
        Tensor::scaled_dot_product_attention(&q, &k, &v, none, 0.0, false, None, false)
    }

    /// `[N, heads, Q, d]` to `[N, Q, C']`.
    fn merge(&self, x: &Tensor) -> Tensor {
        x.transpose(1, 2).flatten(2, 3)
    }

    /// `[K, h · w, C']` each; the positional encodings are added to the keys only.
    fn keys_and_values(&self, tokens: &Tensor, image_pe: &Tensor) -> [Tensor; 2] {
        let weight = Tensor::cat(&[&self.k_proj.weight, &self.v_proj.weight], 0);
        let key_pe = self.k_proj.forward(image_pe);
        let value_bias = self.v_proj.bias.to_kind(key_pe.kind()).expand_as(&key_pe);
        let both = product(tokens, &weight, None) + Tensor::cat(&[key_pe, value_bias], -1);
        let width = both.size()[2] / 2;
        [0, 1].map(|i| both.narrow(2, i * width, width))
    }
}
