//! Resizes position embeddings to grids of another size than the stored one.

use crate::nn::Dims;
use tch::Tensor;

/// `[1, S, S, C]` to `[1, H, W, C]`, bicubic without antialiasing, as in the reference.
pub(super) fn resize_pos_embed(pos_embed: &Tensor, (h, w): (i64, i64)) -> Tensor {
    let [_, stored_h, stored_w, _] = pos_embed.dims();
    if (stored_h, stored_w) == (h, w) {
        return pos_embed.shallow_clone();
    }
    pos_embed
        .permute([0, 3, 1, 2])
        .upsample_bicubic2d([h, w], false, None, None)
        .permute([0, 2, 3, 1])
}

/// `[2S − 1, d]` to `[2 size − 1, d]`, linear, as in the reference.
pub(super) fn resize_rel_pos(table: &Tensor, size: i64) -> Tensor {
    let wanted = 2 * size - 1;
    if table.size()[0] == wanted {
        return table.shallow_clone();
    }
    table.tr().unsqueeze(0).upsample_linear1d([wanted], false, None).squeeze_dim(0).tr()
}
