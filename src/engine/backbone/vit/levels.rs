//! From the tokens to feature levels.

use tch::{Kind, Tensor, nn};

use super::{architecture::Architecture, config::Output};
use crate::{
    backbone::Level,
    nn::{Dims, LayerNorm},
};

/// The final norm, and what is made of the tokens.
#[derive(Debug)]
pub(super) struct Levels {
    norm: Option<LayerNorm>,
    fc_norm: Option<LayerNorm>,
    output: Output,
    prefix: i64,
}

impl Levels {
    /// Creates only the norms that are used.
    pub(super) fn new(vs: &nn::Path, architecture: &Architecture) -> Self {
        let norm = |name: &str| {
            LayerNorm::new(&(vs / name), architecture.embed_dim, architecture.norm_eps)
        };
        Self {
            norm: architecture.has_norm().then(|| norm("norm")),
            fc_norm: architecture.has_fc_norm().then(|| norm("fc_norm")),
            output: architecture.output,
            prefix: architecture.prefix(),
        }
    }

    /// What [`map`](Self::map) and [`last`](Self::last) will give.
    pub(super) fn spec(architecture: &Architecture) -> Vec<Level> {
        let channels = architecture.embed_dim;
        let map = Level { channels, stride: architecture.patch_size };
        if let Some(indices) = &architecture.out_indices {
            return vec![map; indices.len()];
        }
        vec![match architecture.output {
            Output::PatchTokens => map,
            Output::ClassToken | Output::Mean => Level::pooled(channels),
            Output::ClassAndMean => Level::pooled(2 * channels),
        }]
    }

    /// `[B, N, C]` after a block to `[B, C, h, w]`, normalised if there is a norm of tokens.
    pub(super) fn map(&self, tokens: &Tensor, (h, w): (i64, i64)) -> Tensor {
        let [b, _, c] = tokens.dims();
        let patches = self.patches(&self.normed(tokens), h * w);
        patches.reshape([b, h, w, c]).permute([0, 3, 1, 2])
    }

    /// `[B, N, C]` after the last block to the level that `output` names.
    pub(super) fn last(&self, tokens: &Tensor, grid: (i64, i64)) -> Tensor {
        if self.output == Output::PatchTokens {
            return self.map(tokens, grid);
        }
        let tokens = self.normed(tokens);
        let mean = || {
            let patches = self.patches(&tokens, grid.0 * grid.1);
            self.pooled(patches.mean_dim([1i64].as_slice(), false, None::<Kind>))
        };
        let class_token = || self.pooled(tokens.select(1, 0));
        let vector = match self.output {
            Output::PatchTokens | Output::Mean => mean(),
            Output::ClassToken => class_token(),
            Output::ClassAndMean => Tensor::cat(&[class_token(), mean()], 1),
        };
        vector.unsqueeze(-1).unsqueeze(-1)
    }

    fn normed(&self, tokens: &Tensor) -> Tensor {
        self.norm.as_ref().map_or_else(|| tokens.shallow_clone(), |norm| norm.forward(tokens))
    }

    fn patches(&self, tokens: &Tensor, count: i64) -> Tensor {
        tokens.narrow(1, self.prefix, count)
    }

    fn pooled(&self, vector: Tensor) -> Tensor {
        match &self.fc_norm {
            Some(norm) => norm.forward(&vector),
            None => vector,
        }
    }
}
