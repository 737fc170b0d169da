//! Layers with PyTorch's default initialisation, as SAM's decoder uses them.

use sonotune_engine::{
    nn::{Linear, conv_default},
    prelude::*,
};

/// A linear layer, uniform within ±1/√in.
pub(crate) fn linear(vs: &nn::Path<'_>, in_features: i64, out_features: i64) -> Linear {
    Linear::with_init(vs, in_features, out_features, conv_default(in_features))
}

/// A convolution whose stride is its kernel's side: patches do not overlap.
#[derive(Debug)]
pub(crate) struct PatchConv {
    /// `[out, in, side, side]`.
    weight: Tensor,
    bias: Tensor,
    side: i64,
}

impl PatchConv {
    pub(crate) fn new(vs: &nn::Path<'_>, channels: (i64, i64), side: i64) -> Self {
        let init = conv_default(channels.0 * side * side);
        Self {
            weight: vs.var("weight", &[channels.1, channels.0, side, side], init),
            bias: vs.var("bias", &[channels.1], init),
            side,
        }
    }

    /// `[B, in, H, W]` to `[B, out, H / side, W / side]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        let stride = [self.side, self.side];
        x.conv2d(&self.weight, Some(&self.bias), stride, [0, 0], [1, 1], 1)
    }
}

/// `layers.0` … `layers.n`, ReLU in between.
#[derive(Debug)]
pub(crate) struct ReluMlp(Vec<Linear>);

impl ReluMlp {
    /// Layers with the given widths, input first.
    pub(crate) fn new(vs: &nn::Path<'_>, widths: &[i64]) -> Self {
        let vs = vs / "layers";
        let layer = |(i, pair): (usize, &[i64])| linear(&(&vs / i), pair[0], pair[1]);
        Self(widths.windows(2).enumerate().map(layer).collect())
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        let mut x = x.shallow_clone();
        for (i, layer) in self.0.iter().enumerate() {
            if i > 0 {
                x = x.relu();
            }
            x = layer.forward(&x);
        }
        x
    }
}
