//! Losses of one layer's predictions (mmdet's `Mask2FormerHead._loss_by_feat_single`).

use sonotune_engine::{nn::deformable::point_sample, prelude::*, tch::Reduction};

use crate::{
    head::LayerOutput,
    layers::{at_least_float, size_of},
    matcher::{Objects, Pairs},
    points::{Draw, PointRules, uncertain_points},
};

/// The three terms of a layer, unweighted, 0-d.
#[derive(Debug)]
pub struct LayerLosses {
    pub class: Tensor,
    pub mask: Tensor,
    pub dice: Tensor,
}

/// How the loss of a layer is computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Criterion {
    /// Weight of "no object" among the classes; an object's class weighs 1.
    pub no_object_weight: f64,
    pub points: PointRules,
}

impl Criterion {
    /// Losses of layer `layer`, whose queries are matched to objects by `pairs`, image by image.
    ///
    /// Class: cross-entropy over all queries, divided by the sum of the classes' weights. Masks: binary
    /// cross-entropy and dice of the matched queries at uncertain points, mean over objects; zero
    /// if no image has any.
    ///
    /// # Errors
    /// When libtorch refuses the shapes.
    pub fn losses(
        &self,
        output: &LayerOutput,
        mask_features: &Tensor,
        objects: &[Objects],
        pairs: &[Pairs],
        layer: usize,
        draw: &mut Draw<'_>,
    ) -> Result<LayerLosses> {
        let class = self.class_loss(&output.classes, objects, pairs)?;
        if pairs.iter().all(Vec::is_empty) {
            // As if there were masks: every variable has a gradient, which is zero.
            let zero = || {
                let all = at_least_float(&output.embeddings).sum(None::<Kind>)
                    + at_least_float(mask_features).sum(None::<Kind>);
                all * 0.0
            };
            return Ok(LayerLosses { class, mask: zero(), dice: zero() });
        }
        let logits = matched_masks(output, mask_features, pairs);
        let points = uncertain_points(&logits, self.points, layer, draw)?;
        let logits = point_sample(&logits, &points)?;
        let truth = truths(objects, pairs, &points)?.to_kind(logits.kind());
        let count = logits.size()[0] as f64;
        let num_points = self.points.num_points as f64;
        let none = None::<Tensor>;
        let mask = logits.binary_cross_entropy_with_logits(
            &truth,
            none.as_ref(),
            none.as_ref(),
            Reduction::Sum,
        ) / (count * num_points);
        let inside = logits.sigmoid();
        let total = |x: &Tensor| x.sum_dim_intlist([1].as_slice(), false, None);
        let overlap = total(&(&inside * &truth));
        let dice: Tensor = 1.0 - (overlap * 2.0 + 1.0) / (total(&inside) + total(&truth) + 1.0);
        Ok(LayerLosses { class, mask, dice: dice.sum(None::<Kind>) / count })
    }

    /// `classes`: `[B, Q, K + 1]`.
    fn class_loss(&self, classes: &Tensor, objects: &[Objects], pairs: &[Pairs]) -> Result<Tensor> {
        let (b, q, k) = classes.size3()?;
        let labels = Tensor::full([b, q], k - 1, (Kind::Int64, classes.device()));
        for (i, (objects, pairs)) in objects.iter().zip(pairs).enumerate() {
            if !pairs.is_empty() {
                let (queries, matched) = indices(pairs, classes);
                let of_pairs = objects.labels.index_select(0, &matched);
                let _ = labels.get(i as i64).index_copy_(0, &queries, &of_pairs);
            }
        }
        let weights = Tensor::ones([k], (classes.kind(), classes.device()));
        let _ = weights.get(k - 1).fill_(self.no_object_weight);
        let logits = classes.view([b * q, k]);
        // "Mean" divides by the sum of the weights.
        Ok(logits.cross_entropy_loss(
            &labels.view([b * q]),
            Some(&weights),
            Reduction::Mean,
            -100,
            0.0,
        ))
    }
}

/// Queries and objects of a list of pairs.
fn indices(pairs: &Pairs, like: &Tensor) -> (Tensor, Tensor) {
    let (queries, objects): (Vec<i64>, Vec<i64>) = pairs.iter().copied().unzip();
    let to_device = |v: &[i64]| Tensor::from_slice(v).to_device(like.device());
    (to_device(&queries), to_device(&objects))
}

/// `[N, h, w]` logits of the matched queries, image after image. Only these are computed: the other
/// masks do not enter the loss.
fn matched_masks(output: &LayerOutput, mask_features: &Tensor, pairs: &[Pairs]) -> Tensor {
    let (h, w) = size_of(mask_features);
    let of_image = |(i, pairs): (usize, &Pairs)| {
        let (queries, _) = indices(pairs, mask_features);
        let embeddings = output.embeddings.get(i as i64).index_select(0, &queries);
        let masks = embeddings.matmul(&mask_features.get(i as i64).flatten(1, 2));
        at_least_float(&masks).view([-1, h, w])
    };
    let matched = pairs.iter().enumerate().filter(|(_, pairs)| !pairs.is_empty());
    Tensor::cat(&matched.map(of_image).collect::<Vec<_>>(), 0)
}

/// `[N, P]`: masks of the matched objects at `[N, P, 2]` points.
fn truths(objects: &[Objects], pairs: &[Pairs], points: &Tensor) -> Result<Tensor> {
    let mut truths = Vec::new();
    let mut first = 0;
    for (objects, pairs) in objects.iter().zip(pairs).filter(|(_, pairs)| !pairs.is_empty()) {
        let count = pairs.len() as i64;
        let points = objects.in_masks(&points.narrow(0, first, count));
        let (_, matched) = indices(pairs, &points);
        truths.push(point_sample(&objects.masks.index_select(0, &matched), &points)?);
        first += count;
    }
    Ok(Tensor::cat(&truths, 0))
}
