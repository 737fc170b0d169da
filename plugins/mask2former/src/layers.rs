//! Layers as mmdetection builds and initialises them.

use sonotune_engine::{
    nn::{Linear, conv_default},
    prelude::*,
    tch::nn::Init,
};

/// Uniform within ±√(6 / (in + out)) (Glorot).
pub(crate) fn xavier_uniform(fan_in: i64, fan_out: i64) -> Init {
    let bound = (6.0 / (fan_in + fan_out) as f64).sqrt();
    Init::Uniform { lo: -bound, up: bound }
}

/// Normal with variance 2 / (in + out) (Glorot).
pub(crate) fn xavier_normal(fan_in: i64, fan_out: i64) -> Init {
    Init::Randn { mean: 0.0, stdev: (2.0 / (fan_in + fan_out) as f64).sqrt() }
}

/// A linear layer, uniform within ±1/√in: PyTorch's default.
pub(crate) fn linear(vs: &nn::Path<'_>, in_features: i64, out_features: i64) -> Linear {
    Linear::with_init(vs, in_features, out_features, conv_default(in_features))
}

/// A linear layer with given weights and a bias of zero.
pub(crate) fn linear_from(vs: &nn::Path<'_>, widths: (i64, i64), weights: Init) -> Linear {
    let mut layer = Linear::with_init(vs, widths.0, widths.1, Init::Const(0.0));
    sonotune_engine::tch::no_grad(|| layer.weight.init(weights));
    layer
}

/// A convolution without stride that keeps the size of its map.
#[derive(Debug)]
pub(crate) struct Conv {
    /// `[out, in, side, side]`.
    weight: Tensor,
    bias: Option<Tensor>,
    padding: i64,
}

impl Conv {
    /// A kernel with an odd `side`; the bias starts at zero.
    pub(crate) fn new(
        vs: &nn::Path<'_>,
        channels: (i64, i64),
        side: i64,
        has_bias: bool,
        init: Init,
    ) -> Self {
        Self {
            weight: vs.var("weight", &[channels.1, channels.0, side, side], init),
            bias: has_bias.then(|| vs.zeros("bias", &[channels.1])),
            padding: side / 2,
        }
    }

    /// `[B, in, H, W]` to `[B, out, H, W]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        let padding = [self.padding, self.padding];
        x.conv2d(&self.weight, self.bias.as_ref(), [1, 1], padding, [1, 1], 1)
    }
}

/// mmcv's `ConvModule` with group normalisation: `conv`, then `gn`.
#[derive(Debug)]
pub(crate) struct ConvGroupNorm {
    conv: Conv,
    weight: Tensor,
    bias: Tensor,
}

impl ConvGroupNorm {
    /// Groups of a map's channels that are normalised together.
    pub(crate) const GROUPS: i64 = 32;

    pub(crate) fn new(
        vs: &nn::Path<'_>,
        channels: (i64, i64),
        side: i64,
        has_bias: bool,
        init: Init,
    ) -> Self {
        let norm = vs / "gn";
        Self {
            conv: Conv::new(&(vs / "conv"), channels, side, has_bias, init),
            weight: norm.ones("weight", &[channels.1]),
            bias: norm.zeros("bias", &[channels.1]),
        }
    }

    /// `[B, in, H, W]` to `[B, out, H, W]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        self.conv.forward(x).group_norm(Self::GROUPS, weight, bias, 1e-5, true)
    }
}

/// mmcv's `FFN` with its residual: `x + layers.1(ReLU(layers.0.0(x)))`.
#[derive(Debug)]
pub(crate) struct FeedForward {
    hidden: Linear,
    out: Linear,
}

impl FeedForward {
    pub(crate) fn new(vs: &nn::Path<'_>, dim: i64, hidden: i64) -> Self {
        let vs = vs / "layers";
        let glorot = xavier_normal(dim, hidden);
        Self {
            hidden: linear_from(&(&vs / "0" / "0"), (dim, hidden), glorot),
            out: linear_from(&(&vs / "1"), (hidden, dim), glorot),
        }
    }

    /// `[..., C]` to the same.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        x + self.out.forward(&self.hidden.forward(x).relu())
    }
}

/// Three linear layers with ReLU in between, named `0`, `2`, `4` as in a sequence with activations.
#[derive(Debug)]
pub(crate) struct MaskEmbedding([Linear; 3]);

impl MaskEmbedding {
    pub(crate) fn new(vs: &nn::Path<'_>, dim: i64) -> Self {
        Self(["0", "2", "4"].map(|name| linear(&(vs / name), dim, dim)))
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        let [first, second, third] = &self.0;
        third.forward(&second.forward(&first.forward(x).relu()).relu())
    }
}

/// Sine position codes of an `h × w` map, `[h · w, channels]`: the first half of the channels codes
/// rows, the second columns, each running from above 0 to 2π over the map (Carion et al. 2020;
/// mmdet's `SinePositionalEncoding` with `normalize=True`).
pub(crate) fn sine_positions(size: (i64, i64), channels: i64, like: &Tensor) -> Tensor {
    const TEMPERATURE: f64 = 10_000.0;
    let options = (like.kind(), like.device());
    let half = channels / 2;
    let exponent: Vec<f64> = (0..half).map(|i| 2.0 * (i / 2) as f64 / half as f64).collect();
    let period: Vec<f64> = exponent.iter().map(|e| TEMPERATURE.powf(*e)).collect();
    let period = upload(&Tensor::from_slice(&period), like.device()).to_kind(like.kind());
    let axis = |side: i64| {
        let place = Tensor::arange_start(1, side + 1, options) / (side as f64 + 1e-6);
        let angle = (place * std::f64::consts::TAU).unsqueeze(1) / &period;
        let (even, odd) = (angle.slice(1, 0, half, 2), angle.slice(1, 1, half, 2));
        Tensor::stack(&[even.sin(), odd.cos()], 2).flatten(1, 2)
    };
    let (h, w) = size;
    let rows = axis(h).unsqueeze(1).expand([h, w, half], false);
    let columns = axis(w).unsqueeze(0).expand([h, w, half], false);
    Tensor::cat(&[rows, columns], 2).view([h * w, channels])
}

/// `[B, C, H, W]` to `[B, H · W, C]`.
pub(crate) fn to_tokens(map: &Tensor) -> Tensor {
    map.flatten(2, 3).transpose(1, 2)
}

/// `[B, H · W, C]` to `[B, C, H, W]`; channels-last memory, no copy.
pub(crate) fn to_map(tokens: &Tensor, (h, w): (i64, i64)) -> Tensor {
    let [b, _, c] = tokens.dims();
    tokens.reshape([b, h, w, c]).permute([0, 3, 1, 2])
}

/// Bilinear, pixel centres aligned; a map of that size already passes through.
pub(crate) fn resize(map: &Tensor, (h, w): (i64, i64)) -> Tensor {
    if map.size().get(2..) == Some(&[h, w]) {
        return map.shallow_clone();
    }
    map.upsample_bilinear2d([h, w], false, None, None)
}

/// `(height, width)` of a map.
pub(crate) fn size_of(map: &Tensor) -> (i64, i64) {
    let [_, _, h, w] = map.dims();
    (h, w)
}
