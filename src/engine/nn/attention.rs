//! Self-attention over a token grid with decomposed relative positions (SAM's ViT, after MViTv2),
//! global or in windows.
//!
//! A query at (h, w) scores a key at (h', w') with
//! `q·k / √d + q·R_h[h − h' + H − 1] + q·R_w[w − w' + W − 1]`.

use std::cell::RefCell;

use crate::nn::Dims;
use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use sonotune_base::Error;

/// How to compute it. All are exact; they differ in time and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttentionKernel {
    /// The fastest that never holds a global N×N matrix, by device.
    #[default]
    Auto,
    /// The textbook form, with the whole N×N matrix: the oracle of tests.
    Explicit,
    /// One kernel over blocks of queries and keys that stay in the processor's cache; windows are
    /// read in place. CPU only.
    Fused,
    /// Positions folded into longer queries and keys, so that a flash kernel can run:
    /// `[q/√d, q·R_h, q·R_w] · [k, onehot(h'), onehot(w')]` is the score above.
    Extended,
}

/// Operands of one attention. `d` is the width of a head, `C = num_heads · d`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RelPosAttention<'a> {
    /// `[B, H, W, 3C]`: query, key, value; each head after head.
    pub qkv: &'a Tensor,
    /// `[3C]`: what a token of zeros projects to, the bias of the qkv layer. Windows that overhang the grid are filled
    /// with it: the reference pads before it projects, and such tokens do take part as keys and values.
    pub padding: &'a Tensor,
    /// `[2S − 1, d]` for an axis of S tokens (of the window, or of the grid), by `query − key + S − 1`.
    pub rel_pos_h: &'a Tensor,
    pub rel_pos_w: &'a Tensor,
    pub num_heads: i64,
    /// Side of the square windows in tokens; `None`: every token attends to every other.
    pub window_size: Option<i64>,
    /// Those of the layer.
    pub constants: &'a Constants,
}

/// Tensors of a layer that depend on sizes, dtype and device alone, kept from call to call: on a GPU,
/// making them anew takes longer to launch than to compute.
#[derive(Debug, Default)]
pub(crate) struct Constants {
    /// By size of the grid, width, dtype and device.
    positions: Kept<((i64, i64), i64, Kind, Device)>,
    /// For rows and for columns, by size and device.
    pairs: [Kept<(i64, Device)>; 2],
}

/// The tensor of the last key.
#[derive(Debug)]
pub struct Kept<K>(RefCell<Option<(K, Tensor)>>);

impl<K> Default for Kept<K> {
    fn default() -> Self {
        Self(RefCell::new(None))
    }
}

impl<K: PartialEq> Kept<K> {
    /// The tensor of `key`, made if the last one was of another.
    pub fn get(&self, key: K, make: impl FnOnce() -> Tensor) -> Tensor {
        let mut kept = self.0.borrow_mut();
        match &*kept {
            Some((of, tensor)) if *of == key => tensor.shallow_clone(),
            _ => {
                let tensor = make();
                *kept = Some((key, tensor.shallow_clone()));
                tensor
            }
        }
    }
}

impl RelPosAttention<'_> {
    /// `[B, H, W, C]`, heads merged.
    ///
    /// # Errors
    /// When the fused kernel is requested but cannot run.
    pub(crate) fn forward(&self, kernel: AttentionKernel) -> Result<Tensor> {
        let on_cpu = self.qkv.device() == Device::Cpu;
        match kernel {
            AttentionKernel::Auto if on_cpu && self.fits_fused() => self.fused(),
            AttentionKernel::Auto => Ok(self.in_windows(AttentionKernel::Extended)),
            AttentionKernel::Fused if on_cpu && self.fits_fused() => self.fused(),
            AttentionKernel::Fused => Err(Error::config(format!(
                "attention_kernel = \"fused\" runs on the CPU in fp32 or bf16, not on {:?} in {:?}; \"auto\" picks what fits",
                self.qkv.device(),
                self.qkv.kind()
            ))
            .into()),
            AttentionKernel::Explicit | AttentionKernel::Extended => Ok(self.in_windows(kernel)),
        }
    }

    fn fits_fused(&self) -> bool {
        matches!(self.qkv.kind(), Kind::Float | Kind::BFloat16)
    }

    fn fused(&self) -> Result<Tensor> {
        Ok(sonotune_shim::rel_pos_attention(&sonotune_shim::RelPosAttention {
            qkv: self.qkv,
            padding: self.padding,
            rel_pos_h: self.rel_pos_h,
            rel_pos_w: self.rel_pos_w,
            num_heads: self.num_heads,
            window_size: self.window_size,
        })?)
    }

    fn in_windows(&self, kernel: AttentionKernel) -> Tensor {
        let [_, h, w, _] = self.qkv.dims();
        match self.window_size {
            None => self.attend(self.qkv, kernel),
            Some(size) => {
                let windows = partition(self.qkv, self.padding, size);
                unpartition(&self.attend(&windows, kernel), size, (h, w))
            }
        }
    }

    /// `[B', H', W', 3C]` to `[B', H', W', C]`, each image or window on its own.
    fn attend(&self, qkv: &Tensor, kernel: AttentionKernel) -> Tensor {
        let [b, h, w, c3] = qkv.dims();
        let d = c3 / 3 / self.num_heads;
        // [B', N, 3, heads, d] -> 3 × [B', heads, N, d]
        let parts =
            qkv.reshape([b, h * w, 3, self.num_heads, d]).permute([2, 0, 3, 1, 4]).unbind(0);
        let (q, k, v) = (&parts[0], &parts[1], &parts[2]);
        let (rel_h, rel_w) = self.position_scores(q, (h, w));
        let scale = (d as f64).powf(-0.5);
        let out = if kernel == AttentionKernel::Explicit {
            // [B', heads, N, N] seen as [B', heads, N, H', W'].
            let scores = (q * scale).matmul(&k.transpose(-2, -1));
            let grid = scores.view([b, self.num_heads, h * w, h, w]);
            let scores = grid + rel_h.unsqueeze(-1) + rel_w.unsqueeze(-2);
            let weights = scores.view([b, self.num_heads, h * w, h * w]).softmax(-1, None::<Kind>);
            weights.matmul(v)
        } else {
            self.extended(&(q * scale), k, v, [&rel_h, &rel_w])
        };
        out.transpose(1, 2).reshape([b, h, w, c3 / 3])
    }

    /// `q·R_h` and `q·R_w` of every query: `[B', heads, N, H']` and `[B', heads, N, W']`.
    fn position_scores(&self, q: &Tensor, (h, w): (i64, i64)) -> (Tensor, Tensor) {
        let [b, heads, n, d] = q.dims();
        let grid = q.reshape([b * heads, h, w, d]);
        // One product for each row (column) of queries: [H', B'·heads·W', d] × [H', d, H'].
        let by_row = grid.permute([1, 0, 2, 3]).reshape([h, b * heads * w, d]);
        let [of_rows, of_columns] = &self.constants.pairs;
        let rel_h = relative(self.rel_pos_h, h, of_rows).to_kind(q.kind());
        let rel_h = by_row.bmm(&rel_h.transpose(1, 2));
        let by_column = grid.permute([2, 0, 1, 3]).reshape([w, b * heads * h, d]);
        let rel_w = relative(self.rel_pos_w, w, of_columns).to_kind(q.kind());
        let rel_w = by_column.bmm(&rel_w.transpose(1, 2));
        (
            rel_h.view([h, b * heads, w, h]).permute([1, 0, 2, 3]).reshape([b, heads, n, h]),
            rel_w.view([w, b * heads, h, w]).permute([1, 2, 0, 3]).reshape([b, heads, n, w]),
        )
    }

    /// Positions folded into the dot product; `q` is already scaled.
    fn extended(&self, q: &Tensor, k: &Tensor, v: &Tensor, [rel_h, rel_w]: [&Tensor; 2]) -> Tensor {
        let [b, heads, n, d] = k.dims();
        let (h, w) = (rel_h.size()[3], rel_w.size()[3]);
        // Flash kernels need one width for all three, on CUDA a multiple of eight.
        let width = (d + h + w + 7) / 8 * 8;
        let fill = |t: Tensor| match width - t.size()[3] {
            // Padding by nothing would copy.
            0 => t,
            missing => t.constant_pad_nd([0, missing]),
        };
        let options = (k.kind(), k.device());
        let positions = self
            .constants
            .positions
            .get(((h, w), width - d, options.0, options.1), || {
                positions((h, w), width - d, options)
            })
            .expand([b, heads, n, width - d], false);
        let q = fill(Tensor::cat(&[q, &rel_h.to_kind(q.kind()), &rel_w.to_kind(q.kind())], -1));
        let k = Tensor::cat(&[k, &positions], -1);
        let v = fill(v.shallow_clone());
        let (mask, scale) = (None::<Tensor>, Some(1.0));
        let out = Tensor::scaled_dot_product_attention(&q, &k, &v, mask, 0.0, false, scale, false);
        out.narrow(-1, 0, d)
    }
}

/// `[2S − 1, d]` to `[S, S, d]`: the vector of each (query, key) pair along an axis.
fn relative(table: &Tensor, size: i64, pairs: &Kept<(i64, Device)>) -> Tensor {
    let index = pairs.get((size, table.device()), || {
        let at = Tensor::arange(size, (Kind::Int64, table.device()));
        let index: Tensor = at.unsqueeze(1) - at.unsqueeze(0) + (size - 1);
        index.flatten(0, 1)
    });
    table.index_select(0, &index).view([size, size, -1])
}

/// `[1, 1, H·W, width]`: the one-hot row and column of each token, then zeros.
fn positions((h, w): (i64, i64), width: i64, options: (Kind, Device)) -> Tensor {
    let row = Tensor::eye(h, options).unsqueeze(1).expand([h, w, h], false);
    let column = Tensor::eye(w, options).unsqueeze(0).expand([h, w, w], false);
    let zeros = Tensor::zeros([h, w, width - h - w], options);
    Tensor::cat(&[row, column, zeros], -1).view([1, 1, h * w, width])
}

/// `[B, H, W, C']` to `[B · windows, size, size, C']`; what overhangs the grid becomes `padding`.
pub fn partition(x: &Tensor, padding: &Tensor, size: i64) -> Tensor {
    let [b, h, w, c] = x.dims();
    let (rows, columns) = ((h + size - 1) / size, (w + size - 1) / size);
    let (pad_h, pad_w) = (rows * size - h, columns * size - w);
    let padding = padding.to_kind(x.kind());
    let mut x = x.shallow_clone();
    if pad_w > 0 {
        x = Tensor::cat(&[&x, &padding.expand([b, h, pad_w, c], false)], 2);
    }
    if pad_h > 0 {
        x = Tensor::cat(&[&x, &padding.expand([b, pad_h, w + pad_w, c], false)], 1);
    }
    x.view([b, rows, size, columns, size, c]).permute([0, 1, 3, 2, 4, 5]).reshape([
        b * rows * columns,
        size,
        size,
        c,
    ])
}

/// The inverse of [`partition`], without the overhang.
pub fn unpartition(windows: &Tensor, size: i64, (h, w): (i64, i64)) -> Tensor {
    let [count, _, _, c] = windows.dims();
    let (rows, columns) = ((h + size - 1) / size, (w + size - 1) / size);
    windows
        .view([count / (rows * columns), rows, columns, size, size, c])
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([-1, rows * size, columns * size, c])
        .narrow(1, 0, h)
        .narrow(2, 0, w)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An attention over `[2, h, w, 3 · 2 · 8]` from the seed, in the extended form.
    fn extended((h, w): (i64, i64), kind: Kind, constants: &Constants) -> Tensor {
        tch::manual_seed(3);
        let normal = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu));
        let (qkv, padding) = (normal(&[2, h, w, 48]).to_kind(kind), normal(&[48]));
        let (rel_pos_h, rel_pos_w) = (normal(&[2 * h - 1, 8]), normal(&[2 * w - 1, 8]));
        let attention = RelPosAttention {
            qkv: &qkv,
            padding: &padding,
            rel_pos_h: &rel_pos_h,
            rel_pos_w: &rel_pos_w,
            num_heads: 2,
            window_size: None,
            constants,
        };
        attention.forward(AttentionKernel::Extended).unwrap()
    }

    #[test]
    fn constants_are_those_of_the_call() {
        let kept = Constants::default();
        // A grid with its sides exchanged has the same number of tokens; then another dtype, then a
        // constant that was replaced in between.
        let calls = [
            ((4, 6), Kind::Float),
            ((6, 4), Kind::Float),
            ((6, 4), Kind::BFloat16),
            ((4, 6), Kind::Float),
        ];
        for (grid, kind) in calls {
            let expected = extended(grid, kind, &Constants::default());
            assert!(extended(grid, kind, &kept).equal(&expected), "{grid:?} {kind:?}");
            assert!(extended(grid, kind, &kept).equal(&expected), "{grid:?} {kind:?} again");
        }
        let before = kept.positions.0.borrow().as_ref().unwrap().1.data_ptr();
        let _ = extended((4, 6), Kind::Float, &kept);
        assert_eq!(kept.positions.0.borrow().as_ref().unwrap().1.data_ptr(), before);
    }
}
