//! Turns queries into instances in original pixels (mmdet's `MaskFormerFusionHead`).

use sonotune_engine::prelude::*;

use crate::layers::resize;

/// Masks enlarged at a time: a hundred at full size would take gigabytes.
const MASKS_AT_A_TIME: i64 = 16;

/// The three frames between a mask of the head and its image, `(height, width)` each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Size of the network's input, with padding.
    pub padded: (i64, i64),
    /// Size of the image in it, which is its top left part.
    pub input: (i64, i64),
    /// Size of the image file.
    pub original: (i64, i64),
}

impl Frame {
    pub(crate) fn of(target: &Target, padded: (i64, i64)) -> Self {
        Self { padded, input: target.input_size, original: target.original_size }
    }
}

/// Instances of an image, by descending score.
///
/// `classes`: `[Q, K + 1]` logits; `embeddings`: `[Q, C]`; `mask_features`: `[C, h, w]`. The best
/// `max_per_image` of all queries in all categories; a query may thus appear in several. Masks are
/// enlarged to the input, cropped, resized to the original size, and only then cut at 0. The score is
/// the probability of the category times the mean of the mask's own pixel probabilities. Instances
/// without a pixel are left out.
///
/// # Errors
/// When libtorch refuses the shapes.
pub fn instances(
    classes: &Tensor,
    embeddings: &Tensor,
    mask_features: &Tensor,
    frame: Frame,
    max_per_image: i64,
) -> Result<Vec<Instance>> {
    let (q, k) = classes.size2()?;
    let k = k - 1;
    let probability = at_least_float(classes).softmax(-1, None).narrow(1, 0, k).reshape([q * k]);
    let (best, index) = probability.topk(max_per_image.min(q * k), 0, true, true);
    let best = Vec::<f64>::try_from(best.to_kind(Kind::Double))?;
    let index = Vec::<i64>::try_from(index)?;
    let mut queries: Vec<i64> = index.iter().map(|i| i / k).collect();
    queries.sort_unstable();
    queries.dedup();
    let masks = masks(&queries, embeddings, mask_features, frame)?;
    let mut instances: Vec<Instance> = Vec::new();
    for (probability, i) in best.iter().zip(&index) {
        let Ok(at) = queries.binary_search(&(i / k)) else { continue };
        let (mask, certainty) = &masks[at];
        if mask.area() == 0 {
            continue;
        }
        let [x, y, width, height] = mask.bbox();
        instances.push(Instance {
            category: (i % k) as usize,
            score: probability * certainty,
            bbox: [x, y, x + width, y + height],
            mask: Some(mask.clone()),
            answers: None,
        });
    }
    instances.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(instances)
}

/// For each query, its mask in original pixels and the mean probability of the mask's pixels.
fn masks(
    queries: &[i64],
    embeddings: &Tensor,
    mask_features: &Tensor,
    frame: Frame,
) -> Result<Vec<(Rle, f64)>> {
    let (_, h, w) = mask_features.size3()?;
    let index = upload(&Tensor::from_slice(queries), embeddings.device());
    let logits =
        at_least_float(&embeddings.index_select(0, &index).matmul(&mask_features.flatten(1, 2)));
    let size = (u32::try_from(frame.original.0)?, u32::try_from(frame.original.1)?);
    let pixels = (frame.original.0 * frame.original.1).max(1) as usize;
    let mut found = Vec::with_capacity(queries.len());
    for portion in logits.split(MASKS_AT_A_TIME, 0) {
        let padded = resize(&portion.view([1, -1, h, w]), frame.padded);
        let input = padded.narrow(2, 0, frame.input.0).narrow(3, 0, frame.input.1);
        let original = resize(&input, frame.original).squeeze_dim(0).flatten(1, 2);
        let inside = original.gt(0.0);
        let kind = wide_kind(&original);
        let total = |x: &Tensor| x.sum_dim_intlist([1].as_slice(), false, kind);
        let certainty = total(&(original.sigmoid() * &inside)) / (total(&inside) + 1e-6);
        let certainty = Vec::<f64>::try_from(certainty.to_kind(Kind::Double))?;
        let bytes = Vec::<u8>::try_from(inside.to_kind(Kind::Uint8).view(-1))?;
        for (mask, certainty) in bytes.chunks_exact(pixels).zip(certainty) {
            found.push((Rle::from_mask(mask, size)?, certainty));
        }
    }
    Ok(found)
}
