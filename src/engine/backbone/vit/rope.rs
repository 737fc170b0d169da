//! DINOv3's rotary positions: axial, of coordinates normalised to -1..1 by the grid's sides.

use tch::{Device, Kind, Tensor};

use crate::nn::{attention::Kept, wide_kind};

/// Rotates queries and keys by the position of their patch. DINOv3's training also shifted and scaled
/// the coordinates at random; that is an augmentation of its pretraining and left out.
#[derive(Debug)]
pub(super) struct Rope {
    base: f64,
    /// Tokens before the patches, which are not rotated.
    prefix: i64,
    /// By grid, dtype and device.
    angles: Kept<((i64, i64), Kind, Device)>,
}

impl Rope {
    pub(super) fn new(base: f64, prefix: i64) -> Self {
        Self { base, prefix, angles: Kept::default() }
    }

    /// `[B, heads, N, d]` of queries and keys to the same, in their dtype.
    pub(super) fn rotate(&self, [q, k]: [&Tensor; 2], grid: (i64, i64)) -> [Tensor; 2] {
        let (kind, d) = (wide_kind(q), q.size()[3]);
        let angles = self.angles.get((grid, kind, q.device()), || {
            self.angles(grid, d).to_device(q.device()).to_kind(kind)
        });
        let parts = angles.unbind(0);
        let (cos, sin) = (&parts[0], &parts[1]);
        [q, k].map(|x| (x * cos + turned(x) * sin).to_kind(x.kind()))
    }

    /// Cosine and sine of every token and channel, `[2, N, d]`: 1 and 0 before the patches.
    fn angles(&self, (h, w): (i64, i64), d: i64) -> Tensor {
        let options = (Kind::Double, Device::Cpu);
        let quarter = d / 4;
        let exponent = Tensor::arange(quarter, options) * (2.0 / (d as f64 / 2.0));
        let frequencies = (exponent * -self.base.ln()).exp() * std::f64::consts::TAU;
        // Centres of patches from -1 to 1.
        let along = |side: i64| -> Tensor {
            let centre = (Tensor::arange(side, options) + 0.5) * (2.0 / side as f64) - 1.0;
            centre.unsqueeze(1) * &frequencies
        };
        let rows = along(h).unsqueeze(1).expand([h, w, quarter], false);
        let columns = along(w).unsqueeze(0).expand([h, w, quarter], false);
        let patches = Tensor::cat(&[rows, columns], 2).view([h * w, 2 * quarter]).repeat([1, 2]);
        let all = Tensor::cat(&[Tensor::zeros([self.prefix, d], options), patches], 0);
        Tensor::stack(&[all.cos(), all.sin()], 0)
    }
}

/// `[a, b]` of each head's channels to `[-b, a]`.
fn turned(x: &Tensor) -> Tensor {
    let halves = x.chunk(2, -1);
    Tensor::cat(&[&-&halves[1], &halves[0]], -1)
}
