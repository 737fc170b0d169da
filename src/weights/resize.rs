//! Position embeddings for another input size, resized as the reference does on loading.

use anyhow::Result;
use tch::{Kind, Tensor};

/// How a stored tensor is resized to another shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resize {
    /// `pos_embed`, `[1, H, W, C]`: bicubic over H and W.
    Bicubic,
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
            ("rel_pos_h" | "rel_pos_w", &[n, c], &[_, c2]) if c == c2 && n > 0 => {
                Some(Self::Linear)
            }
            _ => None,
        }
    }

    /// The name in reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bicubic => "bicubic",
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
