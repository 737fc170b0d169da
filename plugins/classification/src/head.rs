//! Average over the token grid, then a linear layer.

use sonotune_engine::prelude::*;

/// `head.fc` of the reference's classifiers.
#[derive(Debug)]
pub(crate) struct LinearHead {
    /// `[K, C]`.
    weight: Tensor,
    /// `[K]`.
    bias: Tensor,
}

impl LinearHead {
    /// Weights from N(0, 0.01²), bias zero, as mmpretrain's `LinearClsHead`.
    pub(crate) fn new(vs: &nn::Path<'_>, channels: i64, num_classes: i64) -> Self {
        let init = nn::Init::Randn { mean: 0.0, stdev: 0.01 };
        Self {
            weight: vs.var("weight", &[num_classes, channels], init),
            bias: vs.zeros("bias", &[num_classes]),
        }
    }

    /// Where its weights are.
    pub(crate) fn device(&self) -> Device {
        self.weight.device()
    }

    /// `[B, C, H, W]` features to `[B, K]` logits, f32 or f64.
    pub(crate) fn forward(&self, features: &Tensor) -> Result<Tensor> {
        // Under autocast features are bf16: a mean over 4096 tokens needs fp32.
        let tokens = features.f_mean_dim([2i64, 3].as_slice(), false, wide_kind(features))?;
        Ok(at_least_float(&tokens.f_linear(&self.weight, Some(&self.bias))?))
    }
}
