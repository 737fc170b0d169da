//! Layer normalisation over channels, for tokens and for maps.

use tch::{Tensor, nn};

/// Layer norm over the last axis.
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// Starts as plain normalisation: weight one, bias zero.
    #[must_use]
    pub fn new(vs: &nn::Path, channels: i64, eps: f64) -> Self {
        Self { weight: vs.ones("weight", &[channels]), bias: vs.zeros("bias", &[channels]), eps }
    }

    /// `[..., C]` to the same.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.eps, true)
    }
}

/// Layer norm over the channel axis of a map, for each pixel on its own.
#[derive(Debug)]
pub struct LayerNorm2d(LayerNorm);

impl LayerNorm2d {
    /// As in SAM: eps 1e-6.
    #[must_use]
    pub fn new(vs: &nn::Path, channels: i64) -> Self {
        Self(LayerNorm::new(vs, channels, 1e-6))
    }

    /// `[B, C, H, W]` to the same; channels-last memory goes through without a copy.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.0.forward(&x.permute([0, 2, 3, 1])).permute([0, 3, 1, 2])
    }
}
