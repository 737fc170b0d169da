//! One block of the stages with attention: attention in windows, a depthwise convolution, an MLP.

use anyhow::Result;
use tch::{Kind, Tensor, nn};

use super::{config::TinyVitConfig, conv::depthwise};
use sonotune_engine::{
    backbone::{
        conv_norm::{ConvNorm, Statistics},
        peft::{Adapters, LoraConfig, LoraTarget},
        shared_block::{Block, residual},
    },
    nn::{
        Dims, LayerNorm, Linear,
        attention::{partition, unpartition},
        lora::{LoraPart, LoraSize},
    },
};

/// PyTorch's default, which TinyViT keeps.
const EPS: f64 = 1e-5;

/// Sizes of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockSizes {
    pub(super) embed_dim: i64,
    pub(super) num_heads: i64,
    pub(super) window_size: i64,
}

/// Attention and MLP with residual connections, and between them a 3×3 convolution without one.
#[derive(Debug)]
pub(super) struct TinyVitBlock {
    attn: Attention,
    local_conv: ConvNorm,
    mlp: NormMlp,
    adapters: Option<Adapters>,
}

impl TinyVitBlock {
    pub(super) fn new(vs: &nn::Path, sizes: BlockSizes) -> Self {
        Self {
            attn: Attention::new(&(vs / "attn"), sizes),
            local_conv: ConvNorm::new(&depthwise(&(vs / "local_conv"), sizes.embed_dim)),
            mlp: NormMlp::new(&(vs / "mlp"), sizes.embed_dim),
            adapters: None,
        }
    }

    /// Adds what is trained instead of the block's own variables.
    pub(super) fn add(&mut self, vs: &nn::Path, config: &TinyVitConfig) {
        let embed_dim = self.attn.sizes.embed_dim;
        if let Some(lora) = &config.lora {
            self.attn.add_lora(&(vs / "attn"), lora);
            if lora.has(LoraTarget::Mlp) {
                self.mlp.add_lora(&(vs / "mlp"), lora.size());
            }
        }
        self.adapters = config.adapter.as_ref().map(|config| Adapters::new(vs, config, embed_dim));
    }

    /// `[B, H, W, C]` to the same.
    pub(super) fn forward(&self, x: &Tensor, statistics: Statistics) -> Tensor {
        let mut attended = self.attn.forward(x);
        if let Some(adapters) = &self.adapters {
            attended = adapters.after_attention(attended);
        }
        let x = residual(attended, x);
        let x = self.local_conv.forward(&x.permute([0, 3, 1, 2]), statistics);
        let x = x.permute([0, 2, 3, 1]);
        let normed = self.mlp.norm.forward(&x);
        let branch = self.mlp.forward(&normed);
        let branch = match &self.adapters {
            Some(adapters) => branch + adapters.beside_mlp(&normed),
            None => branch,
        };
        residual(branch, &x)
    }
}

impl Block for TinyVitBlock {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(TinyVitBlock::forward(self, x, Statistics::Stored))
    }
}

/// Multi-head attention in windows, with a bias for each pair of positions that depends on their
/// distances along both axes (Graham et al. 2021, LeViT).
#[derive(Debug)]
struct Attention {
    norm: LayerNorm,
    /// Query, key and value of the first head, then those of the second, and so on.
    qkv: Linear,
    proj: Linear,
    /// `[heads, S²]`, by the distances `|Δy| · S + |Δx|`, for windows of S × S.
    attention_biases: Tensor,
    /// `[S⁴]` i64: the distance of each pair of positions.
    distances: Tensor,
    sizes: BlockSizes,
}

impl Attention {
    fn new(vs: &nn::Path, sizes: BlockSizes) -> Self {
        let BlockSizes { embed_dim, num_heads, window_size } = sizes;
        Self {
            norm: LayerNorm::new(&(vs / "norm"), embed_dim, EPS),
            qkv: Linear::new(&(vs / "qkv"), embed_dim, 3 * embed_dim),
            proj: Linear::new(&(vs / "proj"), embed_dim, embed_dim),
            attention_biases: vs.zeros("attention_biases", &[num_heads, window_size * window_size]),
            distances: distances(window_size).to_device(vs.device()),
            sizes,
        }
    }

    fn add_lora(&mut self, vs: &nn::Path, lora: &LoraConfig) {
        let BlockSizes { embed_dim, num_heads, .. } = self.sizes;
        let parts = lora.qkv_parts(embed_dim / num_heads);
        if !parts.is_empty() {
            self.qkv.add_lora_by_head(&(vs / "qkv"), lora.size(), (&parts, num_heads));
        }
        if lora.has(LoraTarget::Proj) {
            self.proj.add_lora(&(vs / "proj"), lora.size(), &[whole(embed_dim)]);
        }
    }

    /// `[B, H, W, C]` to the same. Windows that overhang the grid are filled with tokens of zeros before the
    /// norm, as in the reference; these take part as keys and values.
    fn forward(&self, x: &Tensor) -> Tensor {
        let [_, h, w, c] = x.dims();
        let size = self.sizes.window_size;
        let project = |x: &Tensor| self.qkv.forward(&self.norm.forward(x));
        let zeros = Tensor::zeros([1, c], (x.kind(), x.device()));
        // What a token of zeros projects to, computed once instead of for each of them.
        let windows = partition(&project(x), &project(&zeros).view([-1]), size);
        // Tokens beyond the grid need no output.
        self.proj.forward(&unpartition(&self.attend(&windows), size, (h, w)))
    }

    /// `[B', S, S, 3C]` to `[B', S, S, C]`, each window on its own.
    fn attend(&self, qkv: &Tensor) -> Tensor {
        let [b, s, _, c3] = qkv.dims();
        let (heads, n, d) = (self.sizes.num_heads, s * s, c3 / 3 / self.sizes.num_heads);
        // [B', N, heads, 3, d] -> 3 × [B', heads, N, d]
        let parts = qkv.reshape([b, n, heads, 3, d]).permute([3, 0, 2, 1, 4]).unbind(0);
        let bias = self.attention_biases.index_select(1, &self.distances).view([1, heads, n, n]);
        let bias = bias.to_kind(qkv.kind());
        let out = Tensor::scaled_dot_product_attention(
            &parts[0],
            &parts[1],
            &parts[2],
            Some(&bias),
            0.0,
            false,
            None,
            false,
        );
        out.transpose(1, 2).reshape([b, s, s, c3 / 3])
    }
}

/// `[S⁴]` i64: `|Δy| · S + |Δx|` of each pair of positions of a window, row by row.
fn distances(size: i64) -> Tensor {
    let along: Vec<(i64, i64)> = (0..size * size).map(|i| (i / size, i % size)).collect();
    let of = |a: &(i64, i64), b: &(i64, i64)| (a.0 - b.0).abs() * size + (a.1 - b.1).abs();
    let pairs: Vec<i64> = along.iter().flat_map(|a| along.iter().map(move |b| of(a, b))).collect();
    Tensor::from_slice(&pairs).to_kind(Kind::Int64)
}

/// All rows of a layer.
fn whole(rows: i64) -> LoraPart {
    LoraPart { name: "", first_row: 0, rows }
}

/// `fc2(GELU(fc1(norm(x))))`.
#[derive(Debug)]
struct NormMlp {
    norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl NormMlp {
    const EXPANSION: i64 = 4;

    fn new(vs: &nn::Path, embed_dim: i64) -> Self {
        let hidden = Self::EXPANSION * embed_dim;
        Self {
            norm: LayerNorm::new(&(vs / "norm"), embed_dim, EPS),
            fc1: Linear::new(&(vs / "fc1"), embed_dim, hidden),
            fc2: Linear::new(&(vs / "fc2"), hidden, embed_dim),
        }
    }

    fn add_lora(&mut self, vs: &nn::Path, size: LoraSize) {
        for (name, layer) in [("fc1", &mut self.fc1), ("fc2", &mut self.fc2)] {
            let rows = layer.bias.numel() as i64;
            layer.add_lora(&(vs / name), size, &[whole(rows)]);
        }
    }

    /// `[..., C]`, after the norm, to the same.
    fn forward(&self, normed: &Tensor) -> Tensor {
        let mut hidden = self.fc1.forward(normed);
        let hidden =
            if hidden.requires_grad() { hidden.gelu("none") } else { hidden.gelu_("none") };
        self.fc2.forward(&hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_numbered_as_in_the_reference() {
        // A window of 2 × 2: the reference numbers distances in the order in which the first position meets
        // them: (0, 0), (0, 1), (1, 0), (1, 1).
        let expected = [0, 1, 2, 3, 1, 0, 3, 2, 2, 3, 0, 1, 3, 2, 1, 0];
        assert_eq!(Vec::<i64>::try_from(distances(2)).unwrap(), expected);
    }
}
