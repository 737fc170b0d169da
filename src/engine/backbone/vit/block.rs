//! One transformer block.

use anyhow::Result;
use tch::{
    Tensor,
    nn::{self, Init},
};

use super::{architecture::Architecture, attention::Attention, mlp::Mlp, rel_pos_bias::RelPosBias};
use crate::{
    backbone::{
        peft::{AdapterConfig, Adapters, LoraConfig, LoraTarget},
        shared_block::residual,
    },
    nn::LayerNorm,
};

/// Attention and MLP, each after a layer norm, scaled per channel if the model does that, and with a
/// residual connection.
#[derive(Debug)]
pub(super) struct Block {
    norm1: LayerNorm,
    attn: Attention,
    ls1: Option<Tensor>,
    norm2: LayerNorm,
    mlp: Mlp,
    ls2: Option<Tensor>,
    adapters: Option<Adapters>,
}

impl Block {
    pub(super) fn new(
        vs: &nn::Path,
        architecture: &Architecture,
        rel_pos_bias: Option<RelPosBias>,
    ) -> Self {
        let &Architecture { embed_dim, mlp_dim, mlp, norm_eps, layer_scale, .. } = architecture;
        let norm = |name: &str| LayerNorm::new(&(vs / name), embed_dim, norm_eps);
        let scale = |name: &str| {
            let start = layer_scale?;
            Some((vs / name).var("gamma", &[embed_dim], Init::Const(start)))
        };
        Self {
            norm1: norm("norm1"),
            attn: Attention::new(&(vs / "attn"), architecture, rel_pos_bias),
            ls1: scale("ls1"),
            norm2: norm("norm2"),
            mlp: Mlp::new(&(vs / "mlp"), embed_dim, mlp_dim, mlp),
            ls2: scale("ls2"),
            adapters: None,
        }
    }

    pub(super) fn add_lora(&mut self, vs: &nn::Path, lora: &LoraConfig) {
        self.attn.add_lora(&(vs / "attn"), lora);
        if lora.has(LoraTarget::Mlp) {
            self.mlp.add_lora(&(vs / "mlp"), lora.size());
        }
    }

    pub(super) fn add_adapters(&mut self, vs: &nn::Path, config: &AdapterConfig, embed_dim: i64) {
        self.adapters = Some(Adapters::new(vs, config, embed_dim));
    }

    /// `[B, N, C]` to the same; the last `h · w` tokens are the patches of the grid.
    ///
    /// Adapters see what enters the residual stream, after the scale, which can be as small as 1e-5.
    pub(super) fn forward(&self, x: &Tensor, grid: (i64, i64)) -> Result<Tensor> {
        let mut attended = scaled(self.attn.forward(&self.norm1.forward(x), grid)?, &self.ls1);
        if let Some(adapters) = &self.adapters {
            attended = adapters.after_attention(attended);
        }
        let x = residual(attended, x);
        let normed = self.norm2.forward(&x);
        let branch = scaled(self.mlp.forward(&normed), &self.ls2);
        let branch = match &self.adapters {
            Some(adapters) => branch + adapters.beside_mlp(&normed),
            None => branch,
        };
        Ok(residual(branch, &x))
    }
}

fn scaled(branch: Tensor, factors: &Option<Tensor>) -> Tensor {
    match factors {
        Some(factors) => branch * factors,
        None => branch,
    }
}
