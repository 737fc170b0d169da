//! One transformer block, which may begin a stage.

use anyhow::Result;
use sonotune_engine::nn::Dims;
use tch::{Tensor, nn};

use super::config::HieraConfig;
use sonotune_engine::{
    backbone::{
        peft::{Adapters, LoraConfig, LoraTarget},
        shared_block::{self, residual},
    },
    nn::{LayerNorm, Linear, Mlp, lora::LoraPart},
};

/// Sizes of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockSizes {
    pub(super) dim: i64,
    /// Twice as wide if the block begins a stage; the map then has half the side.
    pub(super) dim_out: i64,
    pub(super) num_heads: i64,
    /// Side of a window in tokens before pooling; `None`: global attention.
    pub(super) window_size: Option<i64>,
}

impl BlockSizes {
    fn pools(&self) -> bool {
        self.dim != self.dim_out
    }
}

/// Attention within windows and MLP, each after a layer norm and with a residual connection.
#[derive(Debug)]
pub(super) struct Block {
    norm1: LayerNorm,
    attn: Attention,
    /// Widens the shortcut of a block that begins a stage.
    proj: Option<Linear>,
    norm2: LayerNorm,
    mlp: Mlp,
    adapters: Option<Adapters>,
    sizes: BlockSizes,
}

impl Block {
    pub(super) fn new(vs: &nn::Path, sizes: BlockSizes) -> Self {
        let BlockSizes { dim, dim_out, .. } = sizes;
        let names = ["0", "1"];
        Self {
            norm1: LayerNorm::new(&(vs / "norm1"), dim, 1e-6),
            attn: Attention::new(&(vs / "attn"), sizes),
            proj: sizes.pools().then(|| Linear::new(&(vs / "proj"), dim, dim_out)),
            norm2: LayerNorm::new(&(vs / "norm2"), dim_out, 1e-6),
            mlp: Mlp::with_names(&(vs / "mlp" / "layers"), names, dim_out, 4 * dim_out),
            adapters: None,
            sizes,
        }
    }

    /// Adds what is trained instead of the block's own variables.
    pub(super) fn add(&mut self, vs: &nn::Path, config: &HieraConfig) {
        if let Some(lora) = &config.lora {
            self.attn.add_lora(&(vs / "attn"), lora);
            if lora.has(LoraTarget::Mlp) {
                self.mlp.add_lora(&(vs / "mlp" / "layers"), lora.size());
            }
        }
        let adapter = config.adapter.as_ref();
        self.adapters = adapter.map(|config| Adapters::new(vs, config, self.sizes.dim_out));
    }

    fn attend(&self, normed: &Tensor) -> Tensor {
        let Some(side) = self.sizes.window_size else { return self.attn.forward(normed) };
        let [_, h, w, _] = normed.dims();
        let attended = self.attn.forward(&windows(normed, side));
        let scale = if self.sizes.pools() { 2 } else { 1 };
        merge_windows(&attended, side / scale, (h / scale, w / scale))
    }
}

impl shared_block::Block for Block {
    /// `[B, H, W, C]` to the same, or to `[B, H / 2, W / 2, 2 C]` if the block begins a stage.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let normed = self.norm1.forward(x);
        let mut attended = self.attend(&normed);
        if let Some(adapters) = &self.adapters {
            attended = adapters.after_attention(attended);
        }
        // Upstream's shortcut of a block that pools starts after the norm.
        let x = match &self.proj {
            Some(proj) => residual(attended, &pool(&proj.forward(&normed))),
            None => residual(attended, x),
        };
        let normed = self.norm2.forward(&x);
        let branch = self.mlp.forward(&normed);
        let branch = match &self.adapters {
            Some(adapters) => branch + adapters.beside_mlp(&normed),
            None => branch,
        };
        Ok(residual(branch, &x))
    }
}

/// Multi-head attention whose queries are pooled if the block begins a stage.
#[derive(Debug)]
struct Attention {
    qkv: Linear,
    proj: Linear,
    sizes: BlockSizes,
}

impl Attention {
    fn new(vs: &nn::Path, sizes: BlockSizes) -> Self {
        let BlockSizes { dim, dim_out, .. } = sizes;
        Self {
            qkv: Linear::new(&(vs / "qkv"), dim, 3 * dim_out),
            proj: Linear::new(&(vs / "proj"), dim_out, dim_out),
            sizes,
        }
    }

    fn add_lora(&mut self, vs: &nn::Path, lora: &LoraConfig) {
        let dim = self.sizes.dim_out;
        let parts = lora.qkv_parts(dim);
        if !parts.is_empty() {
            self.qkv.add_lora(&(vs / "qkv"), lora.size(), &parts);
        }
        if lora.has(LoraTarget::Proj) {
            let whole = LoraPart { name: "", first_row: 0, rows: dim };
            self.proj.add_lora(&(vs / "proj"), lora.size(), &[whole]);
        }
    }

    /// `[N, H, W, C]` to `[N, H', W', C']`; every map attends within itself.
    fn forward(&self, x: &Tensor) -> Tensor {
        let [n, h, w, _] = x.dims();
        let BlockSizes { dim_out, num_heads, .. } = self.sizes;
        let qkv = self.qkv.forward(x);
        let [q, k, v] = [0, 1, 2].map(|i| qkv.narrow(-1, i * dim_out, dim_out));
        let (q, h_out, w_out) =
            if self.sizes.pools() { (pool(&q), h / 2, w / 2) } else { (q, h, w) };
        let heads = |x: &Tensor, tokens: i64| {
            x.reshape([n, tokens, num_heads, dim_out / num_heads]).transpose(1, 2)
        };
        let (q, k, v) = (heads(&q, h_out * w_out), heads(&k, h * w), heads(&v, h * w));
        let none = None::<Tensor>;
        let attended =
            Tensor::scaled_dot_product_attention(&q, &k, &v, none, 0.0, false, None, false);
        self.proj.forward(&attended.transpose(1, 2).reshape([n, h_out, w_out, dim_out]))
    }
}

/// Largest value of each 2×2 of tokens: `[N, H, W, C]` to `[N, H / 2, W / 2, C]`.
fn pool(x: &Tensor) -> Tensor {
    let map = x.permute([0, 3, 1, 2]);
    map.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false).permute([0, 2, 3, 1])
}

/// `[B, H, W, C]` to `[B · windows, side, side, C]`. Windows at the border are filled up with zeros, which
/// attention does not leave out: upstream was trained with them.
fn windows(x: &Tensor, side: i64) -> Tensor {
    let [b, h, w, c] = x.dims();
    let (rows, columns) = ((h + side - 1) / side, (w + side - 1) / side);
    let padding = [0, 0, 0, columns * side - w, 0, rows * side - h];
    let padded = if padding == [0; 6] { x.shallow_clone() } else { x.constant_pad_nd(padding) };
    padded
        .reshape([b, rows, side, columns, side, c].as_slice())
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([b * rows * columns, side, side, c])
}

/// The inverse of [`windows`], for a map of that size.
fn merge_windows(windows: &Tensor, side: i64, (h, w): (i64, i64)) -> Tensor {
    let [n, _, _, c] = windows.dims();
    let (rows, columns) = ((h + side - 1) / side, (w + side - 1) / side);
    windows
        .view([n / (rows * columns), rows, columns, side, side, c].as_slice())
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([n / (rows * columns), rows * side, columns * side, c])
        .narrow(1, 0, h)
        .narrow(2, 0, w)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn windows_are_merged_to_the_map_they_came_from() {
        let x = Tensor::randn([2, 5, 7, 3], (Kind::Float, Device::Cpu));
        let parts = windows(&x, 4);
        assert_eq!(parts.size(), [2 * 2 * 2, 4, 4, 3]);
        assert!(merge_windows(&parts, 4, (5, 7)).equal(&x));
    }
}
