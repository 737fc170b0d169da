//! The feed-forward half of a block.

use tch::{Tensor, nn};

use super::config::MlpKind;
use crate::nn::{
    Linear,
    lora::{LoraPart, LoraSize},
};

/// GELU: `fc1`, `fc2`. SwiGLU: `w12`, `w3`.
#[derive(Debug)]
pub(super) struct Mlp {
    first: Linear,
    second: Linear,
    kind: MlpKind,
}

/// Names of the two layers.
fn names(kind: MlpKind) -> [&'static str; 2] {
    match kind {
        MlpKind::Gelu | MlpKind::QuickGelu => ["fc1", "fc2"],
        MlpKind::Swiglu => ["w12", "w3"],
    }
}

impl Mlp {
    pub(super) fn new(vs: &nn::Path, embed_dim: i64, mlp_dim: i64, kind: MlpKind) -> Self {
        let [first, second] = names(kind);
        let width = if kind == MlpKind::Swiglu { 2 * mlp_dim } else { mlp_dim };
        Self {
            first: Linear::new(&(vs / first), embed_dim, width),
            second: Linear::new(&(vs / second), mlp_dim, embed_dim),
            kind,
        }
    }

    /// Gives both layers low-rank updates; `vs` is the path of the MLP.
    pub(super) fn add_lora(&mut self, vs: &nn::Path, size: LoraSize) {
        let [first, second] = names(self.kind);
        for (name, layer) in [(first, &mut self.first), (second, &mut self.second)] {
            let rows = layer.bias.numel() as i64;
            layer.add_lora(&(vs / name), size, &[LoraPart { name: "", first_row: 0, rows }]);
        }
    }

    /// `[..., embed_dim]` to the same.
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        let mut hidden = self.first.forward(x);
        let hidden = match self.kind {
            // Only backward needs the values before the GELU; they are four times a token's size.
            MlpKind::Gelu if hidden.requires_grad() => hidden.gelu("none"),
            MlpKind::Gelu => hidden.gelu_("none"),
            MlpKind::QuickGelu => &hidden * (&hidden * 1.702).sigmoid(),
            MlpKind::Swiglu => {
                let halves = hidden.chunk(2, -1);
                halves[0].silu() * &halves[1]
            }
        };
        self.second.forward(&hidden)
    }
}
