//! Absolute positions, and how they are resized to the input's grid.

use anyhow::Result;
use tch::{Kind, Tensor, nn};

use super::{architecture::Architecture, config::PosEmbedKind};
use crate::nn::{Dims, trunc_normal};

/// Bicubic, corners not aligned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Interpolation {
    pub(super) antialias: bool,
    /// DINOv2 scales by `(side + offset) / stored side`, which samples at slightly other places than the
    /// sides alone do.
    pub(super) offset: f64,
}

/// A vector per patch of a square grid, and one for the class token if that has a position.
#[derive(Debug)]
pub(super) struct PosEmbed {
    /// `[1, prefix + S · S, C]`.
    pos_embed: Tensor,
    /// 0 or 1.
    prefix: i64,
    grid_size: i64,
    interpolation: Interpolation,
}

impl PosEmbed {
    pub(super) fn new(vs: &nn::Path, architecture: &Architecture) -> Option<Self> {
        let &Architecture { grid_size, embed_dim, interpolation, .. } = architecture;
        let prefix = i64::from(architecture.class_token && !architecture.no_embed_class);
        let shape = [1, prefix + grid_size * grid_size, embed_dim];
        let pos_embed = match architecture.pos_embed {
            PosEmbedKind::None => return None,
            PosEmbedKind::Learned => vs.var("pos_embed", &shape, trunc_normal()),
            PosEmbedKind::Sincos => {
                let fixed = vs.zeros_no_train("pos_embed", &shape);
                let table = sincos(grid_size, embed_dim).to_device(vs.device());
                fixed.narrow(1, prefix, grid_size * grid_size).copy_(&table);
                fixed
            }
        };
        Some(Self { pos_embed, prefix, grid_size, interpolation })
    }

    /// Adds each patch its position, and the class token its own.
    ///
    /// `class_token` is `[B, 1, C]`, `patches` `[B, h · w, C]`.
    pub(super) fn add(
        &self,
        class_token: Option<Tensor>,
        patches: &Tensor,
        grid: (i64, i64),
    ) -> Result<(Option<Tensor>, Tensor)> {
        let positions = self.resized(grid)?;
        let class_token = match (class_token, self.prefix) {
            (Some(token), 1) => Some(token + self.pos_embed.narrow(1, 0, 1)),
            (token, _) => token,
        };
        Ok((class_token, patches + positions))
    }

    /// `[1, h · w, C]`.
    fn resized(&self, (h, w): (i64, i64)) -> Result<Tensor> {
        let side = self.grid_size;
        let stored = self.pos_embed.narrow(1, self.prefix, side * side);
        if (h, w) == (side, side) {
            return Ok(stored);
        }
        let [_, _, c] = stored.dims();
        let map = stored.view([1, side, side, c]).permute([0, 3, 1, 2]);
        let Interpolation { antialias, offset } = self.interpolation;
        let scale = |to: i64| (offset != 0.0).then(|| (to as f64 + offset) / side as f64);
        let resized = if antialias {
            map.f_internal_upsample_bicubic2d_aa([h, w], false, scale(h), scale(w))?
        } else {
            map.f_upsample_bicubic2d([h, w], false, scale(h), scale(w))?
        };
        Ok(resized.permute([0, 2, 3, 1]).reshape([1, h * w, c]))
    }
}

/// MAE's fixed positions, `[1, S · S, C]`: the first half of the channels encodes the column, the second
/// the row, each as sines, then cosines.
fn sincos(side: i64, channels: i64) -> Tensor {
    let options = (Kind::Double, tch::Device::Cpu);
    let quarter = channels / 4;
    let exponent = Tensor::arange(quarter, options) / quarter as f64;
    let omega = (exponent * -(10_000f64.ln())).exp();
    let along = (Tensor::arange(side, options).unsqueeze(1) * omega).view([side, quarter]);
    let along = Tensor::cat(&[along.sin(), along.cos()], 1);
    let half = 2 * quarter;
    let column = along.unsqueeze(0).expand([side, side, half], false);
    let row = along.unsqueeze(1).expand([side, side, half], false);
    Tensor::cat(&[column, row], 2).view([1, side * side, channels]).to_kind(Kind::Float)
}
