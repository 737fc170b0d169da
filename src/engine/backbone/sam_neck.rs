//! The convolutional neck of SAM's image encoders.

use tch::{Tensor, nn};

use crate::nn::{LayerNorm2d, kaiming_normal_fan_out};

/// 1×1 convolution, norm, 3×3 convolution, norm.
#[derive(Debug)]
pub struct Neck {
    reduce: Tensor,
    norm1: LayerNorm2d,
    mix: Tensor,
    norm3: LayerNorm2d,
}

impl Neck {
    pub fn new(vs: &nn::Path, embed_dim: i64, out_channels: i64) -> Self {
        let conv =
            |name: &str, shape: &[i64]| (vs / name).var("weight", shape, kaiming_normal_fan_out());
        Self {
            reduce: conv("0", &[out_channels, embed_dim, 1, 1]),
            norm1: LayerNorm2d::new(&(vs / "1"), out_channels),
            mix: conv("2", &[out_channels, out_channels, 3, 3]),
            norm3: LayerNorm2d::new(&(vs / "3"), out_channels),
        }
    }

    /// `[B, C, H, W]` to `[B, out_channels, H, W]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let conv = |x: &Tensor, weight: &Tensor, padding: i64| {
            x.conv2d(weight, None::<Tensor>, [1, 1], [padding, padding], [1, 1], 1)
        };
        let x = self.norm1.forward(&conv(x, &self.reduce, 0));
        self.norm3.forward(&conv(&x, &self.mix, 1))
    }
}
