//! Losses of one layer's predictions (mmdet's `Mask2FormerHead._loss_by_feat_single`).

use sonotune_engine::{nn::deformable::point_sample, prelude::*, tch::Reduction};

use crate::{
    head::LayerOutput,
    layers::size_of,
    matcher::{Assigned, Objects},
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
    /// Losses of layer `layer`, whose queries are matched to objects as `assigned` says.
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
        assigned: &Assigned,
        layer: usize,
        draw: &mut Draw<'_>,
    ) -> Result<LayerLosses> {
        let class = self.class_loss(&output.classes, assigned)?;
        if assigned.images().next().is_none() {
            // As if there were masks: every variable has a gradient, which is zero.
            let zero = || {
                let all = at_least_float(&output.embeddings).sum(None::<Kind>)
                    + at_least_float(mask_features).sum(None::<Kind>);
                all * 0.0
            };
            return Ok(LayerLosses { class, mask: zero(), dice: zero() });
        }
        let logits = matched_masks(output, mask_features, assigned);
        let points = uncertain_points(&logits, self.points, layer, draw)?;
        let logits = point_sample(&logits, &points)?;
        let truth = truths(objects, assigned, &points)?.to_kind(logits.kind());
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
    fn class_loss(&self, classes: &Tensor, assigned: &Assigned) -> Result<Tensor> {
        let (b, q, k) = classes.size3()?;
        let weights = Tensor::ones([k], (classes.kind(), classes.device()));
        let _ = weights.get(k - 1).fill_(self.no_object_weight);
        let logits = classes.view([b * q, k]);
        // "Mean" divides by the sum of the weights.
        Ok(logits.cross_entropy_loss(
            &assigned.classes.view([b * q]),
            Some(&weights),
            Reduction::Mean,
            -100,
            0.0,
        ))
    }
}

/// `[N, h, w]` logits of the matched queries, image after image. Only these are computed: the other
/// masks do not enter the loss.
fn matched_masks(output: &LayerOutput, mask_features: &Tensor, assigned: &Assigned) -> Tensor {
    let (h, w) = size_of(mask_features);
    let of_image = |(image, first, count): (usize, i64, i64)| {
        let image = image as i64;
        let queries = assigned.queries.narrow(0, first, count);
        let embeddings = output.embeddings.get(image).index_select(0, &queries);
        let masks = embeddings.matmul(&mask_features.get(image).flatten(1, 2));
        at_least_float(&masks).view([-1, h, w])
    };
    Tensor::cat(&assigned.images().map(of_image).collect::<Vec<_>>(), 0)
}

/// `[N, P]`: masks of the matched objects at `[N, P, 2]` points.
fn truths(objects: &[Objects], assigned: &Assigned, points: &Tensor) -> Result<Tensor> {
    let of_image = |(image, first, count): (usize, i64, i64)| {
        let objects = &objects[image];
        let points = objects.in_masks(&points.narrow(0, first, count));
        let matched = assigned.objects.narrow(0, first, count);
        Ok(point_sample(&objects.masks().index_select(0, &matched), &points)?)
    };
    Ok(Tensor::cat(&assigned.images().map(of_image).collect::<Result<Vec<_>>>()?, 0))
}
