//! Patches and their positions, before the first block.

use sonotune_engine::nn::Dims;
use tch::{Tensor, nn};

use super::config::Sizes;
use sonotune_engine::nn::{conv_default, trunc_normal};

/// Pixels per token of the first stage; patches of 7×7 pixels overlap.
pub(super) const PATCH_STRIDE: i64 = 4;
const PATCH_SIZE: i64 = 7;

/// Images to tokens with positions.
#[derive(Debug)]
pub(super) struct Stem {
    /// `[C, 3, 7, 7]`.
    weight: Tensor,
    bias: Tensor,
    /// `[1, C, h, w]`: of the whole image, interpolated.
    pos_embed: Tensor,
    /// `[1, C, window, window]`: of a place within a window, repeated.
    pos_embed_window: Tensor,
}

impl Stem {
    pub(super) fn new(vs: &nn::Path, sizes: &Sizes) -> Self {
        let (dim, window) = (sizes.embed_dim, sizes.window_spec[0]);
        let [h, w] = sizes.background;
        let proj = vs / "patch_embed" / "proj";
        let init = conv_default(3 * PATCH_SIZE * PATCH_SIZE);
        Self {
            weight: proj.var("weight", &[dim, 3, PATCH_SIZE, PATCH_SIZE], init),
            bias: proj.var("bias", &[dim], init),
            pos_embed: vs.var("pos_embed", &[1, dim, h, w], trunc_normal()),
            pos_embed_window: vs.var("pos_embed_window", &[1, dim, window, window], trunc_normal()),
        }
    }

    /// `[B, 3, H, W]` to `[B, H / 4, W / 4, C]`.
    pub(super) fn forward(&self, images: &Tensor) -> Tensor {
        let (stride, padding) = ([PATCH_STRIDE; 2], [PATCH_SIZE / 2; 2]);
        let x = images.conv2d(&self.weight, Some(&self.bias), stride, padding, [1, 1], 1);
        let [_, _, h, w] = x.dims();
        let [_, _, window, _] = self.pos_embed_window.dims();
        // Interpolated even to its own size, as upstream does: that changes nothing.
        let positions = self.pos_embed.upsample_bicubic2d([h, w], false, None, None)
            + self.pos_embed_window.tile([1, 1, h / window, w / window]);
        (x + positions).permute([0, 2, 3, 1]).contiguous()
    }
}
