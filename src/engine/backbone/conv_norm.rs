//! A convolution followed by a batch norm, computed as one convolution while the norm's statistics are
//! frozen.

use tch::{
    Tensor,
    nn::{self, Init},
};

use crate::nn::kaiming_normal_fan_out;

const EPS: f64 = 1e-5;
/// Weight of a batch in the running statistics, PyTorch's default.
const MOMENTUM: f64 = 0.1;

/// With fewer input channels oneDNN's gradient of a strided 1×1 kernel over channels-last images writes
/// past its scratchpad and damages the heap (github.com/uxlfoundation/oneDNN/issues/6035).
const ONEDNN_CHANNEL_BLOCK: i64 = 16;

/// Where the variables of a [`ConvNorm`] are, and its shape.
pub struct ConvNormSpec<'a> {
    pub conv: nn::Path<'a>,
    pub norm: nn::Path<'a>,
    pub in_channels: i64,
    pub out_channels: i64,
    pub kernel_size: i64,
    pub stride: i64,
    /// Groups of channels that are convolved apart; as many as channels: depthwise.
    pub groups: i64,
    pub init: Init,
    pub zero_init_norm: bool,
    pub norm_requires_grad: bool,
}

impl<'a> ConvNormSpec<'a> {
    /// A convolution of stride 1 whose norm starts as plain normalisation.
    pub fn new(
        (conv, norm): (nn::Path<'a>, nn::Path<'a>),
        (in_channels, out_channels): (i64, i64),
        kernel_size: i64,
    ) -> Self {
        Self {
            conv,
            norm,
            in_channels,
            out_channels,
            kernel_size,
            stride: 1,
            groups: 1,
            init: kaiming_normal_fan_out(),
            zero_init_norm: false,
            norm_requires_grad: true,
        }
    }
}

/// Whose mean and variance a batch norm uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistics {
    /// The stored ones.
    Stored,
    /// Those of the batch, which also move the stored ones; the stored ones in layers whose norm is not
    /// trained.
    OfBatch,
}

/// Convolution without bias and batch norm. With frozen statistics the norm is a fixed affine map of
/// each channel: folded into the kernel, one pass over the activations replaces three, and backward
/// keeps no activation for the norm. Gradients of weight and bias of the norm flow through the fold.
#[derive(Debug)]
pub struct ConvNorm {
    kernel: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    stride: i64,
    padding: i64,
    groups: i64,
}

impl ConvNorm {
    pub fn new(spec: &ConvNormSpec) -> Self {
        let ConvNormSpec { conv, norm, in_channels, out_channels, kernel_size, .. } = spec;
        let channels = [*out_channels];
        let shape = [*out_channels, *in_channels / spec.groups, *kernel_size, *kernel_size];
        let start = if spec.zero_init_norm { 0.0 } else { 1.0 };
        Self {
            kernel: conv.var("weight", &shape, spec.init),
            weight: norm
                .var("weight", &channels, Init::Const(start))
                .set_requires_grad(spec.norm_requires_grad),
            bias: norm.zeros("bias", &channels).set_requires_grad(spec.norm_requires_grad),
            running_mean: norm.zeros_no_train("running_mean", &channels),
            running_var: norm.ones_no_train("running_var", &channels),
            stride: spec.stride,
            padding: kernel_size / 2,
            groups: spec.groups,
        }
    }

    /// `[B, C, H, W]` to `[B, C_out, ⌈H / stride⌉, ⌈W / stride⌉]`.
    pub fn forward(&self, x: &Tensor, statistics: Statistics) -> Tensor {
        if statistics == Statistics::OfBatch && self.weight.requires_grad() {
            return self.convolve(x, &self.kernel, None).batch_norm(
                Some(&self.weight),
                Some(&self.bias),
                Some(&self.running_mean),
                Some(&self.running_var),
                true,
                MOMENTUM,
                EPS,
                true,
            );
        }
        let scale = &self.weight / (&self.running_var + EPS).sqrt();
        let bias = &self.bias - &self.running_mean * &scale;
        let kernel = &self.kernel * scale.view([-1, 1, 1, 1]);
        self.convolve(x, &kernel, Some(&bias))
    }

    fn convolve(&self, x: &Tensor, kernel: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let (x, stride) = if self.is_unsafe_when_strided() {
            // The same pixels, taken before the convolution instead of within it.
            let every = |x: &Tensor, dim| x.slice(dim, None, None, self.stride);
            (every(&every(x, 2), 3), 1)
        } else {
            (x.shallow_clone(), self.stride)
        };
        x.conv2d(kernel, bias, [stride; 2], [self.padding; 2], [1, 1], self.groups)
    }

    fn is_unsafe_when_strided(&self) -> bool {
        let size = self.kernel.size();
        self.stride > 1 && size[1] < ONEDNN_CHANNEL_BLOCK && size[2..] == [1, 1]
    }
}
