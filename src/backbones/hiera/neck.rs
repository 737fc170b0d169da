//! The feature pyramid on the stages' outputs.

use tch::{Tensor, nn};

use super::config::Sizes;
use sonotune_engine::nn::{at_least_float, conv_default};

/// 1×1 convolutions of all stages; to some levels the next coarser one is added.
#[derive(Debug)]
pub(super) struct Neck {
    /// Weights `[channels, C, 1, 1]` and biases, fine to coarse. Upstream stores them coarse to fine.
    convs: Vec<(Tensor, Tensor)>,
    /// Number of levels that are handed out, the finest.
    count: usize,
    top_down: Vec<usize>,
}

impl Neck {
    pub(super) fn new(vs: &nn::Path, sizes: &Sizes, out: (i64, usize, &[usize])) -> Self {
        let (channels, count, top_down) = out;
        let stages = sizes.stages.len();
        let conv = |stage: usize| {
            let vs = vs / "convs" / (stages - 1 - stage) / "conv";
            let (width, init) = (sizes.channels(stage), conv_default(sizes.channels(stage)));
            (vs.var("weight", &[channels, width, 1, 1], init), vs.var("bias", &[channels], init))
        };
        Self { convs: (0..stages).map(conv).collect(), count, top_down: top_down.to_vec() }
    }

    /// Outputs of the stages to levels, both fine to coarse, `[B, C, H, W]`.
    pub(super) fn forward(&self, stages: &[Tensor]) -> Vec<Tensor> {
        let mut levels: Vec<Tensor> = Vec::with_capacity(stages.len());
        for (index, (x, (weight, bias))) in stages.iter().zip(&self.convs).enumerate().rev() {
            let lateral = x.conv2d(weight, Some(bias), [1, 1], [0, 0], [1, 1], 1);
            let coarser = levels.last().filter(|_| self.top_down.contains(&index));
            let level = match coarser {
                Some(coarser) => lateral + twice(&at_least_float(coarser)),
                None => lateral,
            };
            levels.push(level);
        }
        levels.reverse();
        levels.truncate(self.count);
        levels
    }
}

/// Every pixel becomes four.
fn twice(x: &Tensor) -> Tensor {
    let size = x.size();
    x.upsample_nearest2d([2 * size[2], 2 * size[3]], None, None)
}
