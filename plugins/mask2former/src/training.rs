//! One training step: every layer's predictions, concurrent matching, losses.

use sonotune_engine::prelude::*;

use crate::{
    criterion::Criterion,
    head::{LayerOutput, Mask2FormerHead},
    matcher::{Assigned, MatchCosts, Matcher, Objects, Pairs, match_costs},
    pixel_decoder::PixelFeatures,
    points::{Draw, PointRules},
    preparation::{ChosenInstances, InstancePreparation},
};

/// `[task.training]`: matching and losses. The defaults are the reference's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "sonotune_engine::serde", deny_unknown_fields, default)]
#[schemars(crate = "sonotune_engine::schemars")]
pub struct TrainingConfig {
    /// Points at which masks are compared, both to match and to learn.
    pub num_points: i64,
    /// Candidates for each point to learn at.
    pub oversample_ratio: f64,
    /// Share of the points that are the most uncertain candidates; the others lie anywhere.
    pub importance_sample_ratio: f64,
    /// Weight of "no object"; each category has weight 1.
    pub no_object_weight: f64,
    /// Weight of the category, both in the loss and in the matching cost.
    pub class_weight: f64,
    /// Weight of the mask's cross-entropy, in both.
    pub mask_weight: f64,
    /// Weight of the mask's dice, in both.
    pub dice_weight: f64,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            num_points: 12_544,
            oversample_ratio: 3.0,
            importance_sample_ratio: 0.75,
            no_object_weight: 0.1,
            class_weight: 2.0,
            mask_weight: 5.0,
            dice_weight: 5.0,
        }
    }
}

impl TrainingConfig {
    pub(crate) fn check(&self) -> Result<()> {
        let fault = |key: &str, got: &dyn std::fmt::Debug, expected: &str| {
            Err(Error::config(format!("task.training.{key} = {got:?}: expected {expected}")).into())
        };
        if self.num_points < 1 {
            return fault("num_points", &self.num_points, "at least 1");
        }
        if !(1.0..=100.0).contains(&self.oversample_ratio) {
            return fault("oversample_ratio", &self.oversample_ratio, "1 to 100");
        }
        if !(0.0..=1.0).contains(&self.importance_sample_ratio) {
            return fault("importance_sample_ratio", &self.importance_sample_ratio, "0 to 1");
        }
        // At 0 the class loss of images without objects would divide by 0.
        if !(self.no_object_weight.is_finite() && self.no_object_weight > 0.0) {
            return fault("no_object_weight", &self.no_object_weight, "a number above 0");
        }
        for (key, weight) in [
            ("class_weight", self.class_weight),
            ("mask_weight", self.mask_weight),
            ("dice_weight", self.dice_weight),
        ] {
            if !(weight.is_finite() && weight >= 0.0) {
                return fault(key, &weight, "a number of at least 0");
            }
        }
        Ok(())
    }

    pub(crate) fn points(&self) -> PointRules {
        PointRules {
            num_points: self.num_points,
            oversample_ratio: self.oversample_ratio,
            importance_sample_ratio: self.importance_sample_ratio,
        }
    }
}

/// Losses of a batch.
pub(crate) fn step(
    head: &Mask2FormerHead,
    pixels: &PixelFeatures,
    config: &TrainingConfig,
    preparation: &InstancePreparation,
    batch: &Batch,
) -> Result<StepOutput> {
    let chosen = batch.prepared::<ChosenInstances>(preparation)?;
    let (device, kind) = (batch.images.device(), wide_kind(&pixels.mask_features));
    let mut draw = |purpose, shape: &[i64]| chosen.points(purpose, shape, device).to_kind(kind);
    let Learnt { mut output, .. } = learn(head, pixels, config, &chosen.objects, &mut draw)?;
    for (i, name) in (0..).zip(["objects", "objects_not_learnt_from", "objects_beyond_queries"]) {
        output.log(name, chosen.counters.get(i), Over::Sum);
    }
    Ok(output)
}

/// Losses, and the pairs of `[layer][image]` that they were computed from.
#[derive(Debug)]
pub struct Learnt {
    pub output: StepOutput,
    pub pairs: Vec<Vec<Pairs>>,
}

/// Losses of every layer, named as mmdet names them: `d<i>.loss_…` before the last, whose names have
/// no prefix.
///
/// # Errors
/// If the cost of a match is not finite; names image and layer.
pub fn learn(
    head: &Mask2FormerHead,
    pixels: &PixelFeatures,
    config: &TrainingConfig,
    objects: &[Objects],
    draw: &mut Draw<'_>,
) -> Result<Learnt> {
    let costs = MatchCosts {
        class: config.class_weight,
        mask: config.mask_weight,
        dice: config.dice_weight,
    };
    let how = (costs, config.points());
    let mut layers: Vec<LayerOutput> = Vec::new();
    let pairs = std::thread::scope(|scope| {
        let mut matcher = Matcher::start(scope, objects);
        head.decode(pixels, &mut |layer, output| {
            for (image, objects) in objects.iter().enumerate().filter(|(_, o)| !o.is_empty()) {
                let features = &pixels.mask_features;
                let costs = match_costs(&output, features, objects, (layer, image), how, draw)?;
                matcher.submit(layer, image, costs);
            }
            layers.push(output);
            Ok(())
        })?;
        matcher.finish(layers.len(), objects.len())
    })?;
    let classes = layers.first().map_or([0; 3], |output| output.classes.dims());
    let sizes = (classes[1], classes[2] - 1);
    let assigned = Assigned::of_layers(&pairs, objects, sizes, pixels.mask_features.device());
    let criterion =
        Criterion { no_object_weight: config.no_object_weight, points: config.points() };
    let mut output = StepOutput::default();
    for (i, layer) in layers.iter().enumerate() {
        let prefix = if i + 1 < layers.len() { format!("d{i}.") } else { String::new() };
        let losses =
            criterion.losses(layer, &pixels.mask_features, objects, &assigned[i], i, draw)?;
        let pairs: i64 = assigned[i].counts.iter().sum();
        let queries = (classes[0] * classes[1] - pairs) as f64;
        let class_weights = pairs as f64 + queries * config.no_object_weight;
        for (name, value, weight, over) in [
            ("loss_cls", losses.class, config.class_weight, class_weights),
            ("loss_mask", losses.mask, config.mask_weight, pairs as f64),
            ("loss_dice", losses.dice, config.dice_weight, pairs as f64),
        ] {
            let (name, over) = (format!("{prefix}{name}"), Over::Count(over));
            output.losses.push(Loss { name, value, weight, over });
        }
    }
    Ok(Learnt { output, pairs })
}
