//! Decodes embeddings to masks and their predicted quality (Kirillov et al. 2023,
//! `modeling/mask_decoder.py`).

use sonotune_engine::{
    nn::{LayerNorm, conv_default, linear as product},
    prelude::*,
};

use crate::{
    image_tokens::{ImageTokens, Owners},
    layers::ReluMlp,
    sam2::{Finer, ObjectScore, stable_or_best},
    transformer::{TransformerSizes, TwoWayTransformer},
};

/// Mask tokens: one for an unambiguous prompt, three for an ambiguous one.
const NUM_MASK_TOKENS: i64 = 4;

/// Which masks to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MaskTokens {
    /// Token 0. With SAM 2's decoder, outside training, the best of the others if it is unstable.
    Single,
    /// Tokens 1 to 3: whole, part, subpart.
    Multi,
}

/// Masks of N objects, M each.
#[derive(Debug)]
pub struct Masks {
    /// `[N, M, 4h, 4w]`, f32 or f64, for a feature grid of h×w.
    pub logits: Tensor,
    /// `[N, M]`, f32 or f64, raw; with SAM 2's decoder in [0, 1].
    pub iou: Tensor,
    /// `[N, 1]`, f32 or f64: logits of the object being in the image, with SAM 2's decoder only.
    pub object_score: Option<Tensor>,
}

/// SAM's mask decoder, or SAM 2's.
#[derive(Debug)]
pub struct MaskDecoder {
    transformer: TwoWayTransformer,
    iou_token: Tensor,
    mask_tokens: Tensor,
    upscaling: Upscaling,
    hypernetworks: Vec<ReluMlp>,
    iou_head: ReluMlp,
    /// SAM 2's.
    object_score: Option<ObjectScore>,
}

impl MaskDecoder {
    /// SAM 2's; widths must be divisible as the config checks.
    #[must_use]
    pub fn sam2(vs: &nn::Path<'_>, sizes: TransformerSizes) -> Self {
        let object_score = Some(ObjectScore::new(vs, sizes.dim));
        Self { object_score, ..Self::new(vs, sizes) }
    }

    /// SAM's; widths must be divisible as the config checks.
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
            object_score: None,
        }
    }

    /// Masks of the objects of `owners`.
    ///
    /// `image`: `[B, C, h, w]`, with the finer features of SAM 2; `image_pe`: `[h · w, C]`; `sparse`:
    /// `[N, T, C]`; `dense`: `[N, C, h, w]`, or `[1, C, 1, 1]` if all objects share it.
    pub fn forward(
        &self,
        (image, finer): (&Tensor, Option<&Finer>),
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
        let own = self.object_score.iter().map(|score| &score.token);
        let own: Vec<_> = own.chain([&self.iou_token, &self.mask_tokens]).collect();
        let output = Tensor::cat(&own, 0).unsqueeze(0);
        let output = output.expand([n, output.size()[1], dim], false);
        let tokens = Tensor::cat(&[output, sparse.shallow_clone()], 1);
        let (tokens, image) =
            self.transformer.forward(&tokens, image, image_pe, train.then(|| owners.others()));

        let chooses = self.object_score.is_some() && !train && wanted == MaskTokens::Single;
        let (first, count) = match wanted {
            _ if chooses => (0, NUM_MASK_TOKENS),
            MaskTokens::Single => (0, 1),
            MaskTokens::Multi => (1, NUM_MASK_TOKENS - 1),
        };
        // The object score's token comes first, the IoU's next.
        let iou_token = own.len() as i64 - 2;
        let weights: Vec<_> = (first..first + count)
            .map(|i| self.hypernetworks[i as usize].forward(&tokens.select(1, iou_token + 1 + i)))
            .collect();
        let finer = finer.map(|finer| finer.spread(owners));
        let upscaled = self.upscaling.forward(&image, finer.as_ref());
        let logits = product_with(&upscaled, &Tensor::stack(&weights, 1), (h, w));
        let iou = self.iou_head.forward(&tokens.select(1, iou_token)).narrow(1, first, count);
        let object_score =
            self.object_score.as_ref().map(|score| score.forward(&tokens.select(1, 0)));
        let iou = at_least_float(&iou);
        let masks = Masks {
            logits: at_least_float(&logits),
            iou: if object_score.is_some() { iou.sigmoid() } else { iou },
            object_score: object_score.map(|score| at_least_float(&score)),
        };
        if chooses { stable_or_best(&masks) } else { masks }
    }
}

/// Two transposed convolutions of stride 2.
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

    /// Image tokens `[N, h · w, C]` to `[N, h · w, 4, 4, C / 8]`, with the finer features of each object's
    /// image if there are any.
    fn forward(&self, image: &Tensor, finer: Option<&Finer>) -> Tensor {
        let with = |x: Tensor, finer: Option<&Tensor>| match finer {
            Some(finer) => x + finer,
            None => x,
        };
        let x = subpixels(image, &self.weight0, &self.bias0);
        let x = with(x, finer.map(|finer| &finer.twice));
        let x = gelu(self.norm1.forward(&x));
        let x = subpixels(&x, &self.weight3, &self.bias3);
        gelu(with(x, finer.map(|finer| &finer.fourfold)))
    }
}

/// Upscaled tokens `[N, h · w, 4, 4, C / 8]` and the weights of masks `[N, M, C / 8]` to logits
/// `[N, M, 4h, 4w]`.
fn product_with(upscaled: &Tensor, weights: &Tensor, (h, w): Size) -> Tensor {
    let [n, m, channels] = weights.dims();
    let logits = upscaled.reshape([n, h * w * 16, channels]).bmm(&weights.transpose(1, 2));
    logits.view([n, h, w, 2, 2, 2, 2, m].as_slice()).permute([0, 7, 1, 3, 5, 2, 4, 6]).reshape([
        n,
        m,
        4 * h,
        4 * w,
    ])
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
