//! Losses of masks and of their predicted quality (UltraSam's `SAMHead`).

use sonotune_engine::{prelude::*, tch::Reduction};

use crate::mask_decoder::Masks;

/// `[task.loss]`: weights of the three terms, and how they are computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "sonotune_engine::serde", deny_unknown_fields, default)]
#[schemars(crate = "sonotune_engine::schemars")]
pub struct LossConfig {
    /// Weight of the focal loss.
    pub focal: f64,
    /// Weight of the dice loss.
    pub dice: f64,
    /// Weight of the loss of the predicted IoU.
    pub iou: f64,
    /// `mse` as in the published code, `l1` as in the paper.
    pub iou_loss: IouLoss,
    /// Which of the three masks learns: the one with the best IoU (`iou`, the published code), or with the
    /// `lowest_loss` (SAM).
    pub mask_choice: MaskChoice,
}

impl Default for LossConfig {
    /// The values of the reference's code.
    fn default() -> Self {
        Self {
            focal: 20.0,
            dice: 1.0,
            iou: 1.0,
            iou_loss: IouLoss::Mse,
            mask_choice: MaskChoice::Iou,
        }
    }
}

/// Distance between predicted and true IoU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "sonotune_engine::serde", rename_all = "snake_case")]
#[schemars(crate = "sonotune_engine::schemars")]
pub enum IouLoss {
    /// As in the reference's code.
    Mse,
    /// As in the UltraSam paper.
    L1,
}

/// Which of an object's masks learns; the others receive no gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "sonotune_engine::serde", rename_all = "snake_case")]
#[schemars(crate = "sonotune_engine::schemars")]
pub enum MaskChoice {
    /// The one with the best IoU, as in the reference.
    Iou,
    /// The one with the lowest focal and dice loss, as in SAM.
    LowestLoss,
}

impl LossConfig {
    pub(crate) fn check(&self) -> Result<()> {
        for (key, weight) in [("focal", self.focal), ("dice", self.dice), ("iou", self.iou)] {
            if !weight.is_finite() || weight < 0.0 {
                return Err(Error::config(format!(
                    "`task.loss.{key}`: expected a number of at least 0, got {weight:?}"
                ))
                .into());
            }
        }
        Ok(())
    }
}

/// Unweighted terms, means over objects.
#[derive(Debug)]
pub struct MaskLosses {
    pub focal: Tensor,
    pub dice: Tensor,
    pub iou: Tensor,
    /// `[N]` i64: which mask of each object learnt.
    pub chosen: Tensor,
    /// `[N]`: its IoU, thresholded at 0.
    pub true_iou: Tensor,
}

/// Losses of N objects against `targets` `[N, H, W]` of 0 and 1, in the masks' frame.
///
/// # Errors
/// If shapes do not fit each other.
pub fn mask_losses(masks: &Masks, targets: &Tensor, config: &LossConfig) -> Result<MaskLosses> {
    let (n, _, h, w) = masks.logits.size4()?;
    let kind = wide_kind(&masks.logits);
    let targets = &targets.to_kind(kind);
    let ious = no_grad(|| mask_ious(&masks.logits, targets));
    let chosen = match config.mask_choice {
        MaskChoice::Iou => ious.argmax(1, false),
        MaskChoice::LowestLoss => no_grad(|| {
            let targets = targets.unsqueeze(1).expand_as(&masks.logits);
            let per_mask =
                focal(&masks.logits, &targets)?.mean_dim([2i64, 3].as_slice(), false, kind)
                    * config.focal
                    + dice(&masks.logits, &targets) * config.dice;
            Ok::<_, sonotune_engine::anyhow::Error>(per_mask.argmin(1, false))
        })?,
    };
    let index = chosen.view([n, 1, 1, 1]).expand([n, 1, h, w], false);
    let logits = masks.logits.gather(1, &index, false).squeeze_dim(1);
    let of_chosen = |values: &Tensor| values.gather(1, &chosen.unsqueeze(1), false).squeeze_dim(1);
    let (predicted, true_iou) = (of_chosen(&masks.iou), of_chosen(&ious));
    let difference = predicted - &true_iou;
    Ok(MaskLosses {
        focal: focal(&logits, targets)?.mean(kind),
        dice: dice(&logits, targets).mean(kind),
        iou: match config.iou_loss {
            IouLoss::Mse => difference.square().mean(kind),
            IouLoss::L1 => difference.abs().mean(kind),
        },
        chosen,
        true_iou,
    })
}

/// `[N, M]`: IoU of each mask, thresholded at 0, with its object's target `[N, H, W]`.
fn mask_ious(logits: &Tensor, targets: &Tensor) -> Tensor {
    let targets = targets.unsqueeze(1);
    let kind = wide_kind(logits);
    let predicted = logits.gt(0.0).to_kind(kind);
    let area = |x: &Tensor| x.sum_dim_intlist([2i64, 3].as_slice(), false, kind);
    let intersection = area(&(&predicted * &targets));
    let union = area(&predicted) + area(&targets) - &intersection;
    intersection / union.clamp_min(1e-6)
}

/// Per pixel: `BCE · (α t + (1 − α)(1 − t)) · miss²`, α 0.25, `miss` the probability given to the
/// wrong answer (Lin et al. 2017; mmdetection's `FocalLoss`).
fn focal(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let cross_entropy = logits.f_binary_cross_entropy_with_logits::<Tensor>(
        targets,
        None,
        None,
        Reduction::None,
    )?;
    // p on negatives, 1 − p on positives: σ(x (1 − 2 t)).
    let sign: Tensor = 1.0 - targets * 2.0;
    let miss = (logits * sign).sigmoid();
    Ok(cross_entropy * (0.75 - targets * 0.5) * miss.square())
}

/// Per mask: `1 − 2 Σ p t / ((Σ p² + 1) + (Σ t² + 1))` over the last two axes (mmdetection's
/// `DiceLoss`).
fn dice(logits: &Tensor, targets: &Tensor) -> Tensor {
    let p = logits.sigmoid();
    let kind = wide_kind(logits);
    let sum = |x: Tensor| x.sum_dim_intlist([-2i64, -1].as_slice(), false, kind);
    let intersection = sum(&p * targets);
    let total = sum(p.square()) + sum(targets.square()) + 2.0;
    1.0 - intersection * 2.0 / total
}
