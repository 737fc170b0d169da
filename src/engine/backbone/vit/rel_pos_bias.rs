//! BEiT's relative positions: a bias per head for each offset between two patches, and three for the
//! class token.

use anyhow::Result;
use tch::{Device, Kind, Tensor, nn};

use crate::nn::{Dims, attention::Kept};

/// The entries of the class token: to a patch, from a patch, to itself.
const OF_CLASS_TOKEN: i64 = 3;

/// A table, and how to look up the bias of an attention in it.
#[derive(Debug)]
pub(super) struct RelPosBias {
    /// `[(2S − 1)² + 3, heads]`.
    table: Tensor,
    grid_size: i64,
    /// By grid and device.
    index: Kept<((i64, i64), Device)>,
}

impl RelPosBias {
    /// The table below `vs`, zero at the start.
    pub(super) fn new(vs: &nn::Path, grid_size: i64, num_heads: i64) -> Self {
        let side = 2 * grid_size - 1;
        let shape = [side * side + OF_CLASS_TOKEN, num_heads];
        Self::of(vs.zeros("relative_position_bias_table", &shape), grid_size)
    }

    /// The same table for another block.
    pub(super) fn shared(&self) -> Self {
        Self::of(self.table.shallow_clone(), self.grid_size)
    }

    fn of(table: Tensor, grid_size: i64) -> Self {
        Self { table, grid_size, index: Kept::default() }
    }

    /// `[1, heads, N, N]` for a class token and the patches of a grid.
    ///
    /// For a grid of another size than the stored one, the part for patches is resized bilinearly, as
    /// transformers' BEiT does.
    pub(super) fn bias(&self, grid: (i64, i64)) -> Result<Tensor> {
        let (h, w) = grid;
        let table = self.resized(grid)?;
        let index =
            self.index.get((grid, table.device()), || index(grid).to_device(table.device()));
        let n = h * w + 1;
        Ok(table.f_index_select(0, &index)?.view([n, n, -1]).permute([2, 0, 1]).unsqueeze(0))
    }

    fn resized(&self, (h, w): (i64, i64)) -> Result<Tensor> {
        if (h, w) == (self.grid_size, self.grid_size) {
            return Ok(self.table.shallow_clone());
        }
        let [rows, heads] = self.table.dims();
        let side = 2 * self.grid_size - 1;
        let patches = self.table.narrow(0, 0, rows - OF_CLASS_TOKEN);
        let map = patches.view([1, side, side, heads]).permute([0, 3, 1, 2]);
        let map = map.f_upsample_bilinear2d([2 * h - 1, 2 * w - 1], false, None, None)?;
        let patches = map.permute([0, 2, 3, 1]).reshape([-1, heads]);
        let class_token = self.table.narrow(0, rows - OF_CLASS_TOKEN, OF_CLASS_TOKEN);
        Ok(Tensor::f_cat(&[patches, class_token], 0)?)
    }
}

/// The row of the table of each pair (query, key), class token first: `[N · N]`.
fn index((h, w): (i64, i64)) -> Tensor {
    let at = |side: i64| Tensor::arange(side, (Kind::Int64, Device::Cpu));
    let rows = at(h).unsqueeze(1).expand([h, w], false).reshape([h * w]);
    let columns = at(w).unsqueeze(0).expand([h, w], false).reshape([h * w]);
    let offsets =
        |x: &Tensor, side: i64| -> Tensor { x.unsqueeze(1) - x.unsqueeze(0) + (side - 1) };
    let patches = offsets(&rows, h) * (2 * w - 1) + offsets(&columns, w);
    let of_patches = (2 * h - 1) * (2 * w - 1);
    let index = patches.constant_pad_nd([1, 0, 1, 0]);
    let _ = index.narrow(0, 0, 1).fill_(of_patches);
    let _ = index.narrow(1, 0, 1).fill_(of_patches + 1);
    let _ = index.narrow(0, 0, 1).narrow(1, 0, 1).fill_(of_patches + 2);
    index.flatten(0, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_has_the_row_of_its_offset() {
        let index = Vec::<i64>::try_from(index((1, 2))).unwrap();
        // Three offsets of columns, then class to patch, patch to class, class to class.
        assert_eq!(index, [5, 3, 3, 4, 1, 0, 4, 2, 1]);
    }
}
