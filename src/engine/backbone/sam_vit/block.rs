//! One transformer block.

use crate::nn::Dims;
use anyhow::Result;
use tch::{Tensor, nn};

use super::{config::SamVitConfig, positions::resize_rel_pos};
use crate::backbone::{
    peft::{Adapters, LoraConfig, LoraTarget},
    shared_block::{self, residual},
};
use crate::nn::{
    LayerNorm, Linear, Mlp,
    attention::{AttentionKernel, Constants, RelPosAttention},
    lora::LoraPart,
};

/// Sizes of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockSizes {
    pub(super) embed_dim: i64,
    pub(super) num_heads: i64,
    pub(super) mlp_dim: i64,
    /// `None`: global attention.
    pub(super) window_size: Option<i64>,
    /// Side of the token grid whose relative positions are stored: the window's, or the image's.
    pub(super) stored_size: i64,
    pub(super) kernel: AttentionKernel,
}

/// Attention and MLP, each after a layer norm and with a residual connection.
#[derive(Debug)]
pub(super) struct Block {
    norm1: LayerNorm,
    attn: Attention,
    norm2: LayerNorm,
    mlp: Mlp,
    adapters: Option<Adapters>,
}

impl Block {
    pub(super) fn new(vs: &nn::Path, sizes: BlockSizes) -> Self {
        Self {
            norm1: LayerNorm::new(&(vs / "norm1"), sizes.embed_dim, 1e-6),
            attn: Attention::new(&(vs / "attn"), sizes),
            norm2: LayerNorm::new(&(vs / "norm2"), sizes.embed_dim, 1e-6),
            mlp: Mlp::new(&(vs / "mlp"), sizes.embed_dim, sizes.mlp_dim),
            adapters: None,
        }
    }

    /// Adds what is trained instead of the block's own variables.
    pub(super) fn add(&mut self, vs: &nn::Path, config: &SamVitConfig) {
        let embed_dim = self.attn.sizes.embed_dim;
        if let Some(lora) = &config.lora {
            self.attn.add_lora(&(vs / "attn"), lora);
            if lora.has(LoraTarget::Mlp) {
                self.mlp.add_lora(&(vs / "mlp"), lora.size());
            }
        }
        self.adapters = config.adapter.as_ref().map(|config| Adapters::new(vs, config, embed_dim));
    }
}

impl shared_block::Block for Block {
    /// `[B, H, W, C]` to the same.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut attended = self.attn.forward(&self.norm1.forward(x))?;
        if let Some(adapters) = &self.adapters {
            attended = adapters.after_attention(attended);
        }
        let x = residual(attended, x);
        let normed = self.norm2.forward(&x);
        let branch = self.mlp.forward(&normed);
        let branch = match &self.adapters {
            Some(adapters) => branch + adapters.beside_mlp(&normed),
            None => branch,
        };
        Ok(residual(branch, &x))
    }
}

/// Multi-head attention with decomposed relative positions.
#[derive(Debug)]
struct Attention {
    qkv: Linear,
    proj: Linear,
    rel_pos_h: Tensor,
    rel_pos_w: Tensor,
    sizes: BlockSizes,
    constants: Constants,
}

impl Attention {
    fn new(vs: &nn::Path, sizes: BlockSizes) -> Self {
        let table = [2 * sizes.stored_size - 1, sizes.embed_dim / sizes.num_heads];
        Self {
            qkv: Linear::new(&(vs / "qkv"), sizes.embed_dim, 3 * sizes.embed_dim),
            proj: Linear::new(&(vs / "proj"), sizes.embed_dim, sizes.embed_dim),
            rel_pos_h: vs.zeros("rel_pos_h", &table),
            rel_pos_w: vs.zeros("rel_pos_w", &table),
            sizes,
            constants: Constants::default(),
        }
    }

    fn add_lora(&mut self, vs: &nn::Path, lora: &LoraConfig) {
        let embed_dim = self.sizes.embed_dim;
        let parts = lora.qkv_parts(embed_dim);
        if !parts.is_empty() {
            self.qkv.add_lora(&(vs / "qkv"), lora.size(), &parts);
        }
        if lora.has(LoraTarget::Proj) {
            let whole = LoraPart { name: "", first_row: 0, rows: embed_dim };
            self.proj.add_lora(&(vs / "proj"), lora.size(), &[whole]);
        }
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [_, h, w, _] = x.dims();
        let (span_h, span_w) = self.sizes.window_size.map_or((h, w), |size| (size, size));
        let attention = RelPosAttention {
            qkv: &self.qkv.forward(x),
            padding: &self.qkv.bias,
            rel_pos_h: &resize_rel_pos(&self.rel_pos_h, span_h),
            rel_pos_w: &resize_rel_pos(&self.rel_pos_w, span_w),
            num_heads: self.sizes.num_heads,
            window_size: self.sizes.window_size,
            constants: &self.constants,
        };
        let merged = attention.forward(self.sizes.kernel)?;
        Ok(self.proj.forward(&merged))
    }
}
