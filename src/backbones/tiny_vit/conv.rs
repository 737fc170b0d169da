//! The convolutional parts: patch embedding, inverted bottlenecks, patch merging. All maps are
//! `[B, C, H, W]` in channels-last memory.

use anyhow::Result;
use tch::{Tensor, nn};

use sonotune_engine::{
    backbone::{
        conv_norm::{ConvNorm, ConvNormSpec, Statistics},
        shared_block::{Block, residual},
    },
    nn::conv_default,
};

/// A convolution `c` and its norm `bn` below `vs`, started as PyTorch starts convolutions.
pub(super) fn spec<'a>(
    vs: &nn::Path<'a>,
    channels: (i64, i64),
    kernel_size: i64,
) -> ConvNormSpec<'a> {
    ConvNormSpec {
        init: conv_default(channels.0 * kernel_size * kernel_size),
        ..ConvNormSpec::new((vs / "c", vs / "bn"), channels, kernel_size)
    }
}

/// The same, each channel convolved on its own with a 3×3 kernel.
pub(super) fn depthwise<'a>(vs: &nn::Path<'a>, channels: i64) -> ConvNormSpec<'a> {
    ConvNormSpec { groups: channels, init: conv_default(9), ..spec(vs, (channels, channels), 3) }
}

/// In place if no gradient is recorded.
fn gelu(mut x: Tensor) -> Tensor {
    if x.requires_grad() { x.gelu("none") } else { x.gelu_("none") }
}

/// Two convolutions with a GELU between them.
#[derive(Debug)]
pub(super) struct PatchEmbed {
    first: ConvNorm,
    second: ConvNorm,
}

impl PatchEmbed {
    pub(super) fn new(vs: &nn::Path, patch_size: i64, embed_dim: i64) -> Self {
        let (kernel_size, stride) = if patch_size == 1 { (1, 1) } else { (3, 2) };
        let conv = |index: i64, channels| {
            let vs = vs / "seq" / index;
            ConvNorm::new(&ConvNormSpec { stride, ..spec(&vs, channels, kernel_size) })
        };
        Self { first: conv(0, (3, embed_dim / 2)), second: conv(2, (embed_dim / 2, embed_dim)) }
    }

    /// `[B, 3, H, W]` to `[B, C, H / patch, W / patch]`.
    pub(super) fn forward(&self, images: &Tensor, statistics: Statistics) -> Tensor {
        let x = gelu(self.first.forward(images, statistics));
        self.second.forward(&x, statistics)
    }
}

/// Inverted bottleneck of four times the channels with a residual connection (Sandler et al. 2018).
#[derive(Debug)]
pub(super) struct MbConv {
    expand: ConvNorm,
    mix: ConvNorm,
    reduce: ConvNorm,
}

impl MbConv {
    const EXPANSION: i64 = 4;

    pub(super) fn new(vs: &nn::Path, channels: i64) -> Self {
        let hidden = Self::EXPANSION * channels;
        let reduce = vs / "conv3";
        Self {
            expand: ConvNorm::new(&spec(&(vs / "conv1"), (channels, hidden), 1)),
            mix: ConvNorm::new(&depthwise(&(vs / "conv2"), hidden)),
            reduce: ConvNorm::new(&ConvNormSpec {
                zero_init_norm: true,
                ..spec(&reduce, (hidden, channels), 1)
            }),
        }
    }

    /// `[B, C, H, W]` to the same.
    pub(super) fn forward(&self, x: &Tensor, statistics: Statistics) -> Tensor {
        let hidden = gelu(self.expand.forward(x, statistics));
        let hidden = gelu(self.mix.forward(&hidden, statistics));
        gelu(residual(self.reduce.forward(&hidden, statistics), x))
    }
}

impl Block for MbConv {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(MbConv::forward(self, x, Statistics::Stored))
    }
}

/// What is between two stages: other channels, and half the resolution with a stride of 2.
#[derive(Debug)]
pub(super) struct PatchMerging {
    expand: ConvNorm,
    mix: ConvNorm,
    last: ConvNorm,
}

impl PatchMerging {
    pub(super) fn new(vs: &nn::Path, (from, to): (i64, i64), stride: i64) -> Self {
        let mix = vs / "conv2";
        Self {
            expand: ConvNorm::new(&spec(&(vs / "conv1"), (from, to), 1)),
            mix: ConvNorm::new(&ConvNormSpec { stride, ..depthwise(&mix, to) }),
            last: ConvNorm::new(&spec(&(vs / "conv3"), (to, to), 1)),
        }
    }

    /// `[B, C, H, W]` to `[B, C_out, ⌈H / stride⌉, ⌈W / stride⌉]`.
    pub(super) fn forward(&self, x: &Tensor, statistics: Statistics) -> Tensor {
        let x = gelu(self.expand.forward(x, statistics));
        let x = gelu(self.mix.forward(&x, statistics));
        self.last.forward(&x, statistics)
    }
}
