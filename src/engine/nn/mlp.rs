//! The feed-forward half of a transformer block.

use tch::{Tensor, nn};

use super::{
    Linear,
    lora::{LoraPart, LoraSize},
};

/// `lin2(GELU(lin1(x)))`.
#[derive(Debug)]
pub struct Mlp {
    lin1: Linear,
    lin2: Linear,
    names: [&'static str; 2],
}

impl Mlp {
    /// With the names of SAM's ViT.
    #[must_use]
    pub fn new(vs: &nn::Path, embed_dim: i64, mlp_dim: i64) -> Self {
        Self::with_names(vs, ["lin1", "lin2"], embed_dim, mlp_dim)
    }

    /// With names of another network for the two layers.
    #[must_use]
    pub fn with_names(
        vs: &nn::Path,
        names: [&'static str; 2],
        embed_dim: i64,
        mlp_dim: i64,
    ) -> Self {
        Self {
            lin1: Linear::new(&(vs / names[0]), embed_dim, mlp_dim),
            lin2: Linear::new(&(vs / names[1]), mlp_dim, embed_dim),
            names,
        }
    }

    /// Gives both layers low-rank updates; `vs` is the path of the MLP.
    pub fn add_lora(&mut self, vs: &nn::Path, size: LoraSize) {
        for (name, layer) in self.names.into_iter().zip([&mut self.lin1, &mut self.lin2]) {
            let rows = layer.bias.numel() as i64;
            layer.add_lora(&(vs / name), size, &[LoraPart { name: "", first_row: 0, rows }]);
        }
    }

    /// `[..., embed_dim]` to the same.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let mut hidden = self.lin1.forward(x);
        // Only backward needs the values before the GELU; they are four times a token's size.
        let hidden =
            if hidden.requires_grad() { hidden.gelu("none") } else { hidden.gelu_("none") };
        self.lin2.forward(&hidden)
    }
}
