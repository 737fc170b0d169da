//! Position embeddings for another input size, resized as the reference does on loading.

use anyhow::Result;
use tch::{Kind, Tensor};

/// How a stored tensor is resized to another shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resize {
    /// `pos_embed`, `[1, H, W, C]`: bicubic over H and W.
    Bicubic,
    /// `pos_embed`, `[1, prefix + S · S, C]`: bicubic over the square grid; the tokens before it stay.
    Tokens { prefix: i64 },
    /// `rel_pos_h` and `rel_pos_w`, `[2 · side − 1, C]`: linear over the distance.
    Linear,
}

impl Resize {
    /// Whether and how the variable may be resized from shape `from` to shape `to`.
    pub(super) fn of(variable: &str, from: &[i64], to: &[i64]) -> Option<Self> {
        let last = variable.rsplit('.').next().unwrap_or_default();
        // Hiera's, `[1, C, H, W]`, is part of the architecture and does not depend on the input size.
        if variable.ends_with("trunk.pos_embed") {
            return None;
        }
        match (last, from, to) {
            ("pos_embed", &[1, h, w, c], &[1, _, _, c2]) if c == c2 && h * w > 0 => {
                Some(Self::Bicubic)
            }
            ("pos_embed", &[1, n, c], &[1, m, c2]) if c == c2 => {
                prefix(n, m).map(|prefix| Self::Tokens { prefix })
            }
            ("rel_pos_h" | "rel_pos_w", &[n, c], &[_, c2]) if c == c2 && n > 0 => {
                Some(Self::Linear)
            }
            _ => None,
        }
    }

    /// The name in reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bicubic | Self::Tokens { .. } => "bicubic",
            Self::Linear => "linear",
        }
    }

    /// Resizes in `kind`, that of the variable, corners not aligned, without antialiasing.
    pub(super) fn apply(self, tensor: &Tensor, to: &[i64], kind: Kind) -> Result<Tensor> {
        let tensor = tensor.f_to_kind(kind)?;
        Ok(match (self, to) {
            (Self::Bicubic, &[_, h, w, _]) => tensor
                .f_permute([0, 3, 1, 2])?
                .f_upsample_bicubic2d([h, w], false, None, None)?
                .f_permute([0, 2, 3, 1])?,
            (Self::Tokens { prefix }, &[_, m, c]) => {
                let n = tensor.size3()?.1;
                let (from, to) = ((n - prefix).isqrt(), (m - prefix).isqrt());
                let grid = tensor.f_narrow(1, prefix, from * from)?;
                let grid = grid.f_reshape([1, from, from, c])?.f_permute([0, 3, 1, 2])?;
                let grid = grid.f_upsample_bicubic2d([to, to], false, None, None)?;
                let grid = grid.f_permute([0, 2, 3, 1])?.f_reshape([1, to * to, c])?;
                Tensor::f_cat(&[tensor.f_narrow(1, 0, prefix)?, grid], 1)?
            }
            (Self::Linear, &[n, _]) => tensor
                .f_transpose(0, 1)?
                .f_unsqueeze(0)?
                .f_upsample_linear1d([n], false, None)?
                .f_squeeze_dim(0)?
                .f_transpose(0, 1)?,
            _ => anyhow::bail!("{self:?} does not lead to shape {to:?}"),
        })
    }
}

/// Most tokens before the patches that may have a position.
const MAX_PREFIX: i64 = 8;

/// The tokens before two square grids of `n` and `m` tokens in all; the fewest that fit both.
fn prefix(n: i64, m: i64) -> Option<i64> {
    let is_square = |count: i64| count > 0 && count.isqrt().pow(2) == count;
    (0..=MAX_PREFIX).find(|&prefix| is_square(n - prefix) && is_square(m - prefix))
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn what_comes_before_two_grids_is_found() {
        assert_eq!(prefix(197, 1370), Some(1));
        assert_eq!(prefix(196, 1369), Some(0));
        assert_eq!(prefix(201, 1374), Some(5));
        assert_eq!(prefix(197, 196), None);
        assert_eq!(prefix(0, 1), None);
    }

    #[test]
    fn positions_of_patches_are_resized_and_the_class_token_s_stays() {
        let stored = Tensor::randn([1, 1 + 9, 4], (Kind::Float, Device::Cpu));
        let resize = Resize::of("backbone.pos_embed", &[1, 10, 4], &[1, 26, 4]).unwrap();
        let got = resize.apply(&stored, &[1, 26, 4], Kind::Float).unwrap();
        assert_eq!(got.size(), [1, 26, 4]);
        assert!(got.narrow(1, 0, 1).equal(&stored.narrow(1, 0, 1)));
        let map = stored.narrow(1, 1, 9).view([1, 3, 3, 4]).permute([0, 3, 1, 2]);
        let map = map.upsample_bicubic2d([5, 5], false, None, None);
        assert!(got.narrow(1, 1, 25).equal(&map.flatten(2, 3).transpose(1, 2)));
        assert_eq!(Resize::of("backbone.pos_embed", &[1, 10, 4], &[1, 25, 4]), None);
    }
}
