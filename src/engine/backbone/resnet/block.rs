//! Residual blocks.

use tch::{Tensor, nn};

use crate::backbone::conv_norm::{ConvNorm, ConvNormSpec, Statistics};

/// Shape of a residual block.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockSizes {
    pub(super) bottleneck: bool,
    pub(super) in_channels: i64,
    /// Channels of the 3×3 convolution.
    pub(super) width: i64,
    pub(super) stride: i64,
    pub(super) norm_requires_grad: bool,
    pub(super) zero_init_residual: bool,
}

impl BlockSizes {
    pub(super) fn out_channels(&self) -> i64 {
        if self.bottleneck { 4 * self.width } else { self.width }
    }

    pub(super) fn has_downsample(&self) -> bool {
        self.stride != 1 || self.in_channels != self.out_channels()
    }

    /// Kernel side, output channels and stride of each convolution on the branch.
    fn branch(&self) -> Vec<(i64, i64, i64)> {
        let (width, out) = (self.width, self.out_channels());
        if self.bottleneck {
            vec![(1, width, 1), (3, width, self.stride), (1, out, 1)]
        } else {
            vec![(3, width, self.stride), (3, out, 1)]
        }
    }
}

/// Basic block (two 3×3) or bottleneck (1×1, 3×3, 1×1), with a projected shortcut where shapes
/// change.
#[derive(Debug)]
pub(super) struct Block {
    branch: Vec<ConvNorm>,
    downsample: Option<ConvNorm>,
}

impl Block {
    pub(super) fn new(vs: &nn::Path, sizes: BlockSizes) -> Self {
        let layers = sizes.branch();
        let last = layers.len() - 1;
        let mut in_channels = sizes.in_channels;
        let mut branch = Vec::with_capacity(layers.len());
        for (index, (kernel_size, out_channels, stride)) in layers.into_iter().enumerate() {
            let paths = (vs / format!("conv{}", index + 1), vs / format!("bn{}", index + 1));
            branch.push(ConvNorm::new(&ConvNormSpec {
                stride,
                zero_init_norm: sizes.zero_init_residual && index == last,
                norm_requires_grad: sizes.norm_requires_grad,
                ..ConvNormSpec::new(paths, (in_channels, out_channels), kernel_size)
            }));
            in_channels = out_channels;
        }
        let downsample = sizes.has_downsample().then(|| {
            let paths = (vs / "downsample" / 0, vs / "downsample" / 1);
            let channels = (sizes.in_channels, sizes.out_channels());
            ConvNorm::new(&ConvNormSpec {
                stride: sizes.stride,
                norm_requires_grad: sizes.norm_requires_grad,
                ..ConvNormSpec::new(paths, channels, 1)
            })
        });
        Self { branch, downsample }
    }

    /// `[B, C, H, W]` to `[B, C_out, ⌈H / stride⌉, ⌈W / stride⌉]`.
    pub(super) fn forward(&self, x: &Tensor, statistics: Statistics) -> Tensor {
        let last = self.branch.len() - 1;
        let mut y = self.branch[0].forward(x, statistics).relu_();
        for layer in &self.branch[1..last] {
            y = layer.forward(&y, statistics).relu_();
        }
        // In place: the backward passes of the convolution and the sum do not read the values.
        let mut y = self.branch[last].forward(&y, statistics);
        let _ = match &self.downsample {
            Some(layer) => y.g_add_(&layer.forward(x, statistics)),
            None => y.g_add_(x),
        };
        y.relu_()
    }
}
