//! The losses of a classifier.

use sonotune_engine::{prelude::*, tch::Reduction};

use crate::config::LossConfig;

#[derive(Debug)]
pub(crate) struct ClassificationLoss {
    pub(crate) config: LossConfig,
    /// `[K]` floating point; `None`: all weigh 1.
    pub(crate) class_weights: Option<Tensor>,
    pub(crate) multi_label: bool,
}

impl ClassificationLoss {
    /// Name in the log, the same as upstream.
    pub(crate) fn name(&self) -> &'static str {
        match self.config {
            LossConfig::SigmoidFocal { .. } | LossConfig::SoftmaxFocal { .. } => "loss_focal",
            LossConfig::BinaryCrossEntropy {} => "loss_bce",
            LossConfig::CrossEntropy { .. } => "loss_ce",
        }
    }

    /// 0-d loss of `[B, K]` logits, f32 or f64, against targets `[B, K]` of 0 and 1.
    pub(crate) fn forward(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
        let targets = &targets.to_kind(logits.kind());
        let per_image = match self.config {
            LossConfig::SigmoidFocal { gamma, alpha } => {
                self.sum_classes(&sigmoid_focal(logits, targets, gamma, alpha)?, targets)
            }
            LossConfig::BinaryCrossEntropy {} => {
                self.sum_classes(&binary_cross_entropy(logits, targets)?, targets)
            }
            LossConfig::SoftmaxFocal { gamma } => softmax_focal(logits, targets, gamma)?,
            LossConfig::CrossEntropy { label_smoothing } => {
                // PyTorch's own loss, so that smoothing and weights combine as users expect.
                let indices = targets.argmax(1, false);
                return Ok(logits.f_cross_entropy_loss(
                    &indices,
                    self.weights(logits),
                    Reduction::Mean,
                    -100,
                    label_smoothing,
                )?);
            }
        };
        Ok(self.mean_images(&per_image, targets))
    }

    /// What the loss of these targets is a mean over.
    pub(crate) fn over(&self, targets: &Tensor) -> Over {
        match &self.class_weights {
            Some(weights) if !self.multi_label => {
                let weights = weights.to_kind(targets.kind());
                Over::Weights(targets.matmul(&weights).sum(None))
            }
            _ => Over::Images,
        }
    }

    /// The classes' weights in the number format of `like`.
    fn weights(&self, like: &Tensor) -> Option<Tensor> {
        self.class_weights.as_ref().map(|weights| weights.to_kind(like.kind()))
    }

    /// `[B, K]` to `[B]`.
    fn sum_classes(&self, loss: &Tensor, targets: &Tensor) -> Tensor {
        let kind = wide_kind(loss);
        let summed = |loss: &Tensor| loss.sum_dim_intlist([1i64].as_slice(), false, kind);
        match self.weights(loss) {
            Some(weights) if self.multi_label => {
                summed(&(loss * (targets * (weights - 1.0) + 1.0)))
            }
            _ => summed(loss),
        }
    }

    /// `[B]` to 0-d. Divided by the sum of the images' weights, as PyTorch does, so that weights
    /// shift attention without changing the size of the step.
    fn mean_images(&self, loss: &Tensor, targets: &Tensor) -> Tensor {
        let kind = wide_kind(loss);
        match self.weights(loss) {
            Some(weights) if !self.multi_label => {
                let weights = targets.matmul(&weights);
                (loss * &weights).sum(kind) / weights.sum(kind)
            }
            _ => loss.mean(kind),
        }
    }
}

fn binary_cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    Ok(logits.f_binary_cross_entropy_with_logits::<Tensor>(targets, None, None, Reduction::None)?)
}

/// `[B, K]`: `BCE · (α t + (1 − α)(1 − t)) · miss^γ`, where `miss` is the probability given to the
/// wrong answer; the gradient also flows through the factor (mmpretrain's `sigmoid_focal_loss`).
fn sigmoid_focal(logits: &Tensor, targets: &Tensor, gamma: f64, alpha: f64) -> Result<Tensor> {
    let probabilities = logits.f_sigmoid()?;
    let negatives: Tensor = 1.0 - targets;
    let miss = (1.0 - &probabilities) * targets + &probabilities * &negatives;
    let weight = targets * alpha + negatives * (1.0 - alpha);
    Ok(binary_cross_entropy(logits, targets)? * weight * focus(&miss, gamma))
}

/// `[B]`: `−(1 − p)^γ log p` of the true category's softmax probability `p`.
fn softmax_focal(logits: &Tensor, targets: &Tensor, gamma: f64) -> Result<Tensor> {
    let kind = wide_kind(logits);
    let log_p = logits.f_log_softmax(1, kind)?;
    let log_p = (log_p * targets).sum_dim_intlist([1i64].as_slice(), false, kind);
    let miss = 1.0 - log_p.exp();
    Ok(-log_p * focus(&miss, gamma))
}

/// `miss^γ` with a finite slope everywhere: for γ below 1 the slope of the power is infinite at 0, the
/// value of a saturated sigmoid.
fn focus(miss: &Tensor, gamma: f64) -> Tensor {
    let least = if gamma > 0.0 && gamma < 1.0 { f64::from(f32::EPSILON) } else { 0.0 };
    miss.clamp_min(least).pow_tensor_scalar(gamma)
}

#[cfg(test)]
mod tests {
    use sonotune_engine::prelude::*;

    use super::*;

    fn loss(config: LossConfig, weights: Option<&[f32]>, multi_label: bool) -> ClassificationLoss {
        let class_weights = weights.map(Tensor::from_slice);
        ClassificationLoss { config, class_weights, multi_label }
    }

    fn value(loss: &ClassificationLoss, logits: &[f32], targets: &[f32]) -> f64 {
        let shape = [-1, 2];
        let logits = Tensor::from_slice(logits).view(shape);
        loss.forward(&logits, &Tensor::from_slice(targets).view(shape)).unwrap().double_value(&[])
    }

    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-6, "{got} {expected}");
    }

    const LOGITS: [f32; 4] = [2.0, -1.0, 0.5, 0.25];
    const TARGETS: [f32; 4] = [1.0, 0.0, 0.0, 1.0];

    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    #[test]
    fn sigmoid_focal_is_the_sum_by_hand() {
        let positive = |x: f64| 0.25 * (1.0 - sigmoid(x)).powi(2) * -sigmoid(x).ln();
        let negative = |x: f64| 0.75 * sigmoid(x).powi(2) * -(1.0 - sigmoid(x)).ln();
        let by_hand = [positive(2.0) + negative(-1.0), negative(0.5) + positive(0.25)];
        close(
            value(&loss(LossConfig::default(), None, false), &LOGITS, &TARGETS),
            (by_hand[0] + by_hand[1]) / 2.0,
        );
        // Images of the second category count three times.
        let weighted = loss(LossConfig::default(), Some(&[1.0, 3.0]), false);
        close(value(&weighted, &LOGITS, &TARGETS), (by_hand[0] + 3.0 * by_hand[1]) / 4.0);
        // Positives of the second category count three times.
        let weighted = loss(LossConfig::default(), Some(&[1.0, 3.0]), true);
        let sum = by_hand[0] + negative(0.5) + 3.0 * positive(0.25);
        close(value(&weighted, &LOGITS, &TARGETS), sum / 2.0);
    }

    #[test]
    fn focal_losses_without_focus_are_plain_ones() {
        let plain = loss(LossConfig::BinaryCrossEntropy {}, None, true);
        let focal = LossConfig::SigmoidFocal { gamma: 0.0, alpha: 0.5 };
        let focal = value(&loss(focal, None, true), &LOGITS, &TARGETS);
        close(2.0 * focal, value(&plain, &LOGITS, &TARGETS));

        let weights: Option<&[f32]> = Some(&[1.0, 3.0]);
        let plain = loss(LossConfig::CrossEntropy { label_smoothing: 0.0 }, weights, false);
        let focal = loss(LossConfig::SoftmaxFocal { gamma: 0.0 }, weights, false);
        close(value(&focal, &LOGITS, &TARGETS), value(&plain, &LOGITS, &TARGETS));
    }

    #[test]
    fn smoothing_spreads_the_target() {
        let smooth = loss(LossConfig::CrossEntropy { label_smoothing: 0.2 }, None, false);
        let log_p = |x: f64, y: f64| x - (x.exp() + y.exp()).ln();
        let expected = -(0.9 * log_p(2.0, -1.0) + 0.1 * log_p(-1.0, 2.0));
        close(value(&smooth, &LOGITS[..2], &TARGETS[..2]), expected);
    }

    #[test]
    fn extreme_logits_keep_loss_and_gradient_finite() {
        for config in [
            LossConfig::default(),
            LossConfig::SigmoidFocal { gamma: 0.5, alpha: 0.25 },
            LossConfig::SoftmaxFocal { gamma: 0.5 },
            LossConfig::SoftmaxFocal { gamma: 2.0 },
        ] {
            let logits = Tensor::from_slice(&[300f32, -300.0, -300.0, 300.0]).view([2, 2]);
            let logits = logits.set_requires_grad(true);
            let targets = Tensor::from_slice(&[1f32, 0.0, 1.0, 0.0]).view([2, 2]);
            let loss = loss(config, None, false).forward(&logits, &targets).unwrap();
            loss.backward();
            assert!(loss.double_value(&[]).is_finite());
            assert_eq!(logits.grad().isfinite().all().int64_value(&[]), 1, "{logits}");
            assert_eq!(logits.device(), Device::Cpu);
        }
    }
}
