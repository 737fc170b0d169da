//! Decodes embeddings to masks and their predicted quality (Kirillov et al. 2023,
//! `modeling/mask_decoder.py`).

use sonotune_engine::{
    nn::{LayerNorm, conv_default, linear as product},
    prelude::*,
};

use crate::{
    image_tokens::{ImageTokens, Owners},
    layers::ReluMlp,
    transformer::{TransformerSizes, TwoWayTransformer},
};

/// Mask tokens: one for an unambiguous prompt, three for an ambiguous one.
const NUM_MASK_TOKENS: i64 = 4;

/// Which masks to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MaskTokens {
    /// Token 0.
    Single,
    /// Tokens 1 to 3: whole, part, subpart.
    Multi,
}

/// Masks of N objects, M each.
#[derive(Debug)]
pub struct Masks {
    /// `[N, M, 4h, 4w]`, f32 or f64, for a feature grid of h×w.
    pub logits: Tensor,
    /// `[N, M]`, f32 or f64, raw.
    pub iou: Tensor,
}

/// SAM's mask decoder.
#[derive(Debug)]
pub struct MaskDecoder {
    transformer: TwoWayTransformer,
    iou_token: Tensor,
    mask_tokens: Tensor,
    upscaling: Upscaling,
    hypernetworks: Vec<ReluMlp>,
    iou_head: ReluMlp,
}

impl MaskDecoder {
    /// Widths must be divisible as the config checks.
    #[must_use]
    pub fn new(vs: &nn::Path<'_>, sizes: TransformerSizes) -> Self {
        let dim = sizes.dim;
        let hypernetworks = vs / "output_hypernetworks_mlps";
        let hypernetwork = |i| ReluMlp::new(&(&hypernetworks / i), &[dim, dim, dim, dim / 8]);
        // SAM's own width, whatever the transformer's width.
        const IOU_HIDDEN: i64 = 256;
        let iou_widths = [dim, IOU_HIDDEN, IOU_HIDDEN, NUM_MASK_TOKENS];
        Self {
            transformer: TwoWayTransformer::new(&(vs / "transformer"), sizes),
            iou_token: (vs / "iou_token").randn_standard("weight", &[1, dim]),
            mask_tokens: (vs / "mask_tokens").randn_standard("weight", &[NUM_MASK_TOKENS, dim]),
            upscaling: Upscaling::new(&(vs / "output_upscaling"), dim),
            hypernetworks: (0..NUM_MASK_TOKENS).map(hypernetwork).collect(),
            iou_head: ReluMlp::new(&(vs / "iou_prediction_head"), &iou_widths),
        }
    }

    /// Masks of the objects of `owners`.
    ///
    /// `image`: `[B, C, h, w]`; `image_pe`: `[h · w, C]`; `sparse`: `[N, T, C]`; `dense`:
    /// `[N, C, h, w]`, or `[1, C, 1, 1]` if all objects share it.
    pub fn forward(
        &self,
        image: &Tensor,
        owners: &Owners,
        image_pe: &Tensor,
        (sparse, dense): (&Tensor, &Tensor),
        wanted: MaskTokens,
        train: bool,
    ) -> Masks {
        let [_, _, h, w] = image.dims();
        let [n, _, dim] = sparse.dims();
        let as_tokens = |x: &Tensor| x.flatten(2, 3).transpose(1, 2);
        let is_shared = dense.size()[2] != h || dense.size()[3] != w;
        let image = if is_shared {
            ImageTokens::Shared(as_tokens(&(image + dense)), owners)
        } else {
            ImageTokens::Own(as_tokens(&(owners.spread(image) + dense)))
        };
        let output = Tensor::cat(&[&self.iou_token, &self.mask_tokens], 0);
        let output = output.unsqueeze(0).expand([n, 1 + NUM_MASK_TOKENS, dim], false);
        let tokens = Tensor::cat(&[output, sparse.shallow_clone()], 1);
        let (tokens, image) =
            self.transformer.forward(&tokens, image, image_pe, train.then(|| owners.others()));

        let (first, count) = match wanted {
            MaskTokens::Single => (0, 1),
            MaskTokens::Multi => (1, NUM_MASK_TOKENS - 1),
        };
        let weights: Vec<_> = (first..first + count)
            .map(|i| self.hypernetworks[i as usize].forward(&tokens.select(1, 1 + i)))
            .collect();
        let logits = self.upscaling.masks(&image, &Tensor::stack(&weights, 1), (h, w));
        let iou = self.iou_head.forward(&tokens.select(1, 0)).narrow(1, first, count);
        Masks { logits: at_least_float(&logits), iou: at_least_float(&iou) }
    }
}

/// Two transposed convolutions of stride 2 and a scalar product with each mask's weights.
///
/// A transposed convolution whose stride is its kernel is a linear layer from a token to its four
/// subpixels. Features thus stay tokens, and only the masks are rearranged to image order.
#[derive(Debug)]
struct Upscaling {
    /// `[in, out, 2, 2]`, as PyTorch stores transposed convolutions.
    weight0: Tensor,
    bias0: Tensor,
    norm1: LayerNorm,
    weight3: Tensor,
    bias3: Tensor,
}

impl Upscaling {
    fn new(vs: &nn::Path<'_>, dim: i64) -> Self {
        // PyTorch computes the fan of a transposed convolution from its output channels.
        let conv = |name: i64, from: i64, to: i64| {
            let (vs, init) = (vs / name, conv_default(to * 4));
            (vs.var("weight", &[from, to, 2, 2], init), vs.var("bias", &[to], init))
        };
        let (weight0, bias0) = conv(0, dim, dim / 4);
        let (weight3, bias3) = conv(3, dim / 4, dim / 8);
        Self { weight0, bias0, norm1: LayerNorm::new(&(vs / 1), dim / 4, 1e-6), weight3, bias3 }
    }

    /// Image tokens `[N, h · w, C]` and weights `[N, M, C / 8]` to logits `[N, M, 4h, 4w]`.
    fn masks(&self, image: &Tensor, weights: &Tensor, (h, w): Size) -> Tensor {
        let x = subpixels(image, &self.weight0, &self.bias0);
        let x = gelu(self.norm1.forward(&x));
        // [N, h·w, 4, 4, C / 8]
        let x = gelu(subpixels(&x, &self.weight3, &self.bias3));
        let [n, m, channels] = weights.dims();
        let logits = x.reshape([n, h * w * 16, channels]).bmm(&weights.transpose(1, 2));
        logits
            .view([n, h, w, 2, 2, 2, 2, m].as_slice())
            .permute([0, 7, 1, 3, 5, 2, 4, 6])
            .reshape([n, m, 4 * h, 4 * w])
    }
}

/// In place if no gradient is recorded: these are the largest tensors of the decoder, 8 MiB per object.
fn gelu(mut x: Tensor) -> Tensor {
    if x.requires_grad() { x.gelu("none") } else { x.gelu_("none") }
}

/// `[..., in]` to `[..., 4, out]`: the four subpixels of each position, row by row.
fn subpixels(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    let [from, to, _, _] = weight.dims();
    let weight = weight.permute([2, 3, 1, 0]).reshape([4 * to, from]);
    let y = product(x, &weight, Some(&bias.repeat([4])));
    let mut shape = x.size();
    shape.pop();
    shape.extend([4, to]);
    y.view(shape.as_slice())
}
