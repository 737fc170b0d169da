//! What SAM 2 adds to SAM's decoder (Ravi et al. 2024, `modeling/sam/mask_decoder.py`): finer features
//! beside the embedding, a score that says whether the object is there at all, predicted IoU in [0, 1], and a
//! choice between the single mask and the three.

use sonotune_engine::prelude::*;

use crate::{
    image_tokens::Owners,
    layers::{PatchConv, ReluMlp},
    mask_decoder::Masks,
};

/// Feature levels that SAM 2 decodes masks from.
const NUM_LEVELS: usize = 3;

/// Checks that a backbone has the levels that SAM 2 decodes masks from: three of one width, each of half the
/// resolution of the one before.
///
/// # Errors
/// Of kind config if it has others.
pub(crate) fn check_levels(levels: &[Level]) -> Result<()> {
    let fits = |pair: &[Level]| {
        pair[1].stride == 2 * pair[0].stride && pair[1].channels == pair[0].channels
    };
    if levels.len() == NUM_LEVELS && levels.windows(2).all(fits) {
        return Ok(());
    }
    let found: Vec<_> =
        levels.iter().map(|l| format!("{} channels at stride {}", l.channels, l.stride)).collect();
    Err(Error::config(format!(
        "task.convention = \"sam2\" decodes masks from three levels of one width, each of half the \
         resolution of the one before; the backbone gives {}. Use [backbone] type = \"hiera\" with its neck \
         (out_channels = 256, scalp = 1), or task.convention = \"segment_anything\"",
        if found.is_empty() { "none".to_owned() } else { found.join(", ") }
    ))
    .into())
}

/// Finer features of images, in the order of the decoder's upscaled tokens.
#[derive(Debug)]
pub struct Finer {
    /// `[B, h · w, 4, C / 4]`: the four subpixels of each token.
    pub(crate) twice: Tensor,
    /// `[B, h · w, 4, 4, C / 8]`: their four subpixels each.
    pub(crate) fourfold: Tensor,
}

impl Finer {
    /// Those of one image.
    pub(crate) fn of_image(&self, index: i64) -> Self {
        let one = |x: &Tensor| x.narrow(0, index, 1);
        Self { twice: one(&self.twice), fourfold: one(&self.fourfold) }
    }

    /// Those of each object's image.
    pub(crate) fn spread(&self, owners: &Owners) -> Self {
        Self { twice: owners.spread(&self.twice), fourfold: owners.spread(&self.fourfold) }
    }
}

/// Makes of a backbone's levels what the decoder needs of an image.
#[derive(Debug)]
pub struct ImageFeatures {
    /// `[1, 1, C]`: stands for the memory of earlier frames, which a single image does not have.
    no_mem_embed: Tensor,
    conv_s0: PatchConv,
    conv_s1: PatchConv,
}

impl ImageFeatures {
    /// Below the path of the whole model, for levels of width `dim`.
    #[must_use]
    pub fn new(vs: &nn::Path<'_>, dim: i64) -> Self {
        let decoder = vs / "mask_decoder";
        Self {
            no_mem_embed: vs.randn("no_mem_embed", &[1, 1, dim], 0.0, 0.02),
            conv_s0: PatchConv::new(&(&decoder / "conv_s0"), (dim, dim / 8), 1),
            conv_s1: PatchConv::new(&(&decoder / "conv_s1"), (dim, dim / 4), 1),
        }
    }

    /// Levels `[B, C, 4h, 4w]`, `[B, C, 2h, 2w]` and `[B, C, h, w]` to the embedding `[B, C, h, w]` and the
    /// finer features.
    ///
    /// # Errors
    /// If there are not three levels.
    pub fn forward(&self, levels: &[Tensor]) -> Result<(Tensor, Finer)> {
        let [finest, finer, coarse] = levels else {
            bail!("SAM 2's decoder needs three feature levels, got {}", levels.len());
        };
        let [b, _, h, w] = coarse.dims();
        let [s0, s1] = [self.conv_s0.forward(finest), self.conv_s1.forward(finer)];
        let twice = s1.view([b, -1, h, 2, w, 2].as_slice()).permute([0, 2, 4, 3, 5, 1]).reshape([
            b,
            h * w,
            4,
            s1.size()[1],
        ]);
        let fourfold = s0
            .view([b, -1, h, 2, 2, w, 2, 2].as_slice())
            .permute([0, 2, 5, 3, 6, 4, 7, 1])
            .reshape([b, h * w, 4, 4, s0.size()[1]].as_slice());
        let embedding = coarse + self.no_mem_embed.view([1, -1, 1, 1]);
        Ok((embedding, Finer { twice, fourfold }))
    }
}

/// Token and head that say whether the object is in the image.
#[derive(Debug)]
pub(crate) struct ObjectScore {
    /// `[1, C]`.
    pub(crate) token: Tensor,
    head: ReluMlp,
}

impl ObjectScore {
    /// Below the path of the decoder.
    pub(crate) fn new(vs: &nn::Path<'_>, dim: i64) -> Self {
        Self {
            token: (vs / "obj_score_token").randn_standard("weight", &[1, dim]),
            head: ReluMlp::new(&(vs / "pred_obj_score_head"), &[dim, dim, dim, 1]),
        }
    }

    /// The token's output `[N, C]` to logits `[N, 1]`.
    pub(crate) fn forward(&self, token: &Tensor) -> Tensor {
        self.head.forward(token)
    }
}

/// By how much the cut moves, in logits, and how little a mask may change to be stable.
const STABILITY_DELTA: f64 = 0.05;
const STABILITY_THRESH: f64 = 0.98;

/// Keeps one of all four masks of each object: the first if it is stable, else the one of the others with the
/// highest predicted IoU.
pub(crate) fn stable_or_best(all: &Masks) -> Masks {
    let [n, _, h, w] = all.logits.dims();
    let first = all.logits.select(1, 0);
    let area = |cut: f64| {
        let kind = wide_kind(&all.logits);
        first.gt(cut).sum_dim_intlist([1i64, 2].as_slice(), false, kind)
    };
    let (inner, outer) = (area(STABILITY_DELTA), area(-STABILITY_DELTA));
    // A mask without any pixel is stable.
    let is_stable = inner.ge_tensor(&(&outer * STABILITY_THRESH)).logical_or(&outer.eq(0.0));
    let best = all.iou.narrow(1, 1, all.iou.size()[1] - 1).argmax(1, false) + 1;
    let chosen = best * is_stable.logical_not();
    let index = chosen.view([n, 1, 1, 1]).expand([n, 1, h, w], false);
    Masks {
        logits: all.logits.gather(1, &index, false),
        iou: all.iou.gather(1, &chosen.unsqueeze(1), false),
        object_score: all.object_score.as_ref().map(Tensor::shallow_clone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unstable_mask_gives_way_to_the_best_of_the_three() {
        let masks = |first: [f32; 2]| {
            let rest = [1f32, -1.0, 2.0, -2.0, 3.0, -3.0];
            let logits: Vec<f32> = first.into_iter().chain(rest).collect();
            Tensor::from_slice(&logits).view([1, 4, 1, 2])
        };
        // Stable; one pixel within the margin; no pixel at all.
        let logits = [masks([9.0, -9.0]), masks([9.0, 0.01]), masks([-9.0, -9.0])];
        let all = Masks {
            logits: Tensor::cat(&logits, 0),
            iou: Tensor::from_slice(&[0.1f32, 0.5, 0.9, 0.3]).repeat([3, 1]),
            object_score: None,
        };
        let chosen = stable_or_best(&all);
        assert_eq!(Vec::<f32>::try_from(chosen.iou.flatten(0, -1)).unwrap(), [0.1, 0.9, 0.1]);
        let of_second = Vec::<f32>::try_from(chosen.logits.get(1).flatten(0, -1)).unwrap();
        assert_eq!(of_second, [2.0, -2.0]);
    }

    #[test]
    fn levels_of_another_network_are_refused_with_a_remedy() {
        let level = |channels, stride| Level { channels, stride };
        let three = [level(256, 4), level(256, 8), level(256, 16)];
        assert!(check_levels(&three).is_ok());
        let four: Vec<_> = three.into_iter().chain([level(256, 32)]).collect();
        for levels in [&[level(256, 16)][..], &four, &[level(96, 4), level(192, 8), level(384, 16)]]
        {
            let message = check_levels(levels).unwrap_err().to_string();
            assert!(message.contains("type = \"hiera\""), "{message}");
        }
    }
}
