//! Encodes prompts as embeddings (Kirillov et al. 2023, `modeling/prompt_encoder.py`).

use std::f64::consts::TAU;

use sonotune_engine::{nn::LayerNorm2d, prelude::*};

use crate::layers::PatchConv;

/// Meaning of a prompt token; the values are rows of the encoder's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// Fills the place of the second corner if there is no box.
    NotAPoint = 0,
    Negative = 1,
    Positive = 2,
    /// Top left.
    BoxCornerA = 3,
    /// Bottom right.
    BoxCornerB = 4,
}

/// Prompts of N objects, with the same number of tokens each.
#[derive(Debug)]
pub struct Prompts {
    /// `[N, T, 2]` (x, y), f32 or f64, input pixels, including the half pixel that a convention may add.
    pub coords: Tensor,
    /// `[N, T]` i64, [`Label`] as numbers.
    pub labels: Tensor,
    /// `[N, 1, 4h, 4w]` logits of an earlier mask, for a feature grid of h×w.
    pub masks: Option<Tensor>,
}

/// SAM's prompt encoder.
#[derive(Debug)]
pub struct PromptEncoder {
    /// `[2, C / 2]`: frequencies for x and y. Not trained.
    gaussian: Tensor,
    /// `[1, C]`: negative, positive, corner A, corner B.
    point_embeddings: [Tensor; 4],
    not_a_point: Tensor,
    no_mask: Tensor,
    mask_downscaling: MaskDownscaling,
}

impl PromptEncoder {
    /// With embeddings of width `dim`, which must be even.
    #[must_use]
    pub fn new(vs: &nn::Path<'_>, dim: i64) -> Self {
        let embedding = |vs: nn::Path<'_>| vs.randn_standard("weight", &[1, dim]);
        let points = vs / "point_embeddings";
        let positions = vs / "pe_layer";
        let device = vs.device();
        let gaussian = positions.add(
            "positional_encoding_gaussian_matrix",
            Tensor::randn([2, dim / 2], (Kind::Float, device)),
            false,
        );
        Self {
            gaussian,
            point_embeddings: [0, 1, 2, 3].map(|i| embedding(&points / i)),
            not_a_point: embedding(vs / "not_a_point_embed"),
            no_mask: embedding(vs / "no_mask_embed"),
            mask_downscaling: MaskDownscaling::new(&(vs / "mask_downscaling"), dim),
        }
    }

    /// Embeddings of points and corners: `[N, T, C]`. `image_size` is the size of the padded input.
    pub fn sparse(&self, prompts: &Prompts, image_size: Size) -> Tensor {
        let [negative, positive, corner_a, corner_b] = &self.point_embeddings;
        let table = Tensor::cat(&[&self.not_a_point, negative, positive, corner_a, corner_b], 0);
        let [n, t] = prompts.labels.dims();
        let contents = table.index_select(0, &prompts.labels.flatten(0, 1));
        let contents = contents.view([n, t, table.size()[1]]);
        let unit = &prompts.coords / side_lengths(image_size, &prompts.coords);
        let is_point = prompts.labels.ne(Label::NotAPoint as i64).unsqueeze(-1);
        contents + self.encode(&unit) * is_point
    }

    /// Embeddings of masks, one per object: `[N, C, h, w]`; without masks `[1, C, 1, 1]`, the same
    /// for all positions and objects.
    pub fn dense(&self, prompts: &Prompts) -> Tensor {
        match &prompts.masks {
            Some(masks) => self.mask_downscaling.forward(masks),
            None => self.no_mask.view([1, -1, 1, 1]),
        }
    }

    /// Same as [`dense`](Self::dense) of the prompts' masks where `has_masks`, `[N, 1, 1, 1]`, is 1, and as without
    /// masks where it is 0.
    pub(crate) fn dense_if(&self, prompts: &Prompts, has_masks: &Tensor) -> Tensor {
        let none = self.no_mask.view([1, -1, 1, 1]);
        match &prompts.masks {
            Some(masks) => {
                self.mask_downscaling.forward(masks) * has_masks + none * (1.0 - has_masks)
            }
            None => none,
        }
    }

    /// Where its weights are.
    pub(crate) fn device(&self) -> Device {
        self.no_mask.device()
    }

    /// Positional encoding of every cell of a feature grid, at its centre: `[h · w, C]`.
    pub fn grid(&self, (h, w): Size) -> Tensor {
        let options = (self.gaussian.kind(), self.gaussian.device());
        let centres = |n: i64| (Tensor::arange(n, options) + 0.5) / n;
        let y = centres(h).unsqueeze(1).expand([h, w], false);
        let x = centres(w).unsqueeze(0).expand([h, w], false);
        self.encode(&Tensor::stack(&[x, y], -1)).flatten(0, 1)
    }

    /// Random Fourier features of positions in [0, 1]²: `[..., 2]` (x, y) to `[..., C]`.
    fn encode(&self, unit: &Tensor) -> Tensor {
        let centred: Tensor = (unit * 2.0 - 1.0).unsqueeze(-1);
        // Written out: as a matrix product, autocast would round coordinates to three digits.
        let phase = centred.select(-2, 0) * self.gaussian.get(0)
            + centred.select(-2, 1) * self.gaussian.get(1);
        let phase = phase * TAU;
        Tensor::cat(&[phase.sin(), phase.cos()], -1)
    }
}

/// `[2]`: width, height; in the number format and on the device of `like`.
fn side_lengths((height, width): Size, like: &Tensor) -> Tensor {
    let lengths = Tensor::from_slice(&[width as f64, height as f64]).to_kind(like.kind());
    upload(&lengths, like.device())
}

/// Mask logits to embeddings at a quarter of their size.
#[derive(Debug)]
struct MaskDownscaling {
    conv0: PatchConv,
    norm1: LayerNorm2d,
    conv3: PatchConv,
    norm4: LayerNorm2d,
    conv6: PatchConv,
}

impl MaskDownscaling {
    /// With SAM's sixteen channels in between.
    const HIDDEN: i64 = 16;

    fn new(vs: &nn::Path<'_>, dim: i64) -> Self {
        let hidden = Self::HIDDEN;
        Self {
            conv0: PatchConv::new(&(vs / 0), (1, hidden / 4), 2),
            norm1: LayerNorm2d::new(&(vs / 1), hidden / 4),
            conv3: PatchConv::new(&(vs / 3), (hidden / 4, hidden), 2),
            norm4: LayerNorm2d::new(&(vs / 4), hidden),
            conv6: PatchConv::new(&(vs / 6), (hidden, dim), 1),
        }
    }

    /// `[N, 1, 4h, 4w]` to `[N, C, h, w]`.
    fn forward(&self, masks: &Tensor) -> Tensor {
        let x = self.norm1.forward(&self.conv0.forward(masks)).gelu("none");
        let x = self.norm4.forward(&self.conv3.forward(&x)).gelu("none");
        self.conv6.forward(&x)
    }
}
