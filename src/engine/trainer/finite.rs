//! Losses and gradients that are not finite never reach the weights.

use std::path::PathBuf;

use anyhow::Result;
use tch::{Device, Kind, Tensor};

use sonotune_base::Error;

/// Watches named values of each step. Observing costs a few device operations and no wait; only
/// [`check`](Self::check) waits for the device.
#[derive(Debug, Default)]
pub(super) struct FiniteGuard {
    pending: Vec<Observation>,
    /// 0-d fp32: 1 once anything observed was not finite.
    found_inf: Option<Tensor>,
}

#[derive(Debug)]
struct Observation {
    step: u64,
    images: Vec<PathBuf>,
    names: Vec<String>,
    /// `[names]` fp32, or fp64 if a value is: it may be finite in fp64 alone.
    values: Tensor,
}

impl FiniteGuard {
    /// Observes the 0-d `values` that the images of `step` gave.
    pub(super) fn observe(&mut self, step: u64, images: Vec<PathBuf>, values: &[(String, Tensor)]) {
        let names = values.iter().map(|(name, _)| name.clone()).collect();
        let is_double = values.iter().any(|(_, v)| v.kind() == Kind::Double);
        let kind = if is_double { Kind::Double } else { Kind::Float };
        let stacked: Vec<_> = values.iter().map(|(_, v)| v.to_kind(kind)).collect();
        let values = Tensor::stack(&stacked, 0);
        let bad = values.isfinite().logical_not().any().to_kind(Kind::Float);
        self.found_inf = Some(match self.found_inf.take() {
            Some(found) => found.maximum(&bad),
            None => bad,
        });
        self.pending.push(Observation { step, images, names, values });
    }

    /// The flag for the fused optimiser. `None` on the CPU, where [`check`](Self::check) has
    /// already run: its fused kernels take no flag.
    pub(super) fn found_inf(&self, device: Device) -> Option<&Tensor> {
        if device == Device::Cpu { None } else { self.found_inf.as_ref() }
    }

    /// Reports the first observation since the last check that was not finite. `of_step` completes the images of
    /// its step: other processes have found the same.
    pub(super) fn check(
        &mut self,
        of_step: impl FnOnce(Vec<PathBuf>) -> Result<Vec<PathBuf>>,
    ) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        if self.found_inf.as_ref().is_none_or(|found| found.double_value(&[]) == 0.0) {
            return Ok(());
        }
        for mut observation in pending {
            let values = observation.values.to_device(Device::Cpu).to_kind(Kind::Double);
            let values: Vec<f64> = Vec::try_from(&values)?;
            // The terms say more than their sum, which comes first.
            let culprit = (0..values.len()).rev().find(|&i| !values[i].is_finite());
            if let Some(index) = culprit {
                observation.images = of_step(observation.images)?;
                return Err(observation.error(index, values[index]).into());
            }
        }
        Ok(())
    }
}

impl Observation {
    fn error(&self, index: usize, value: f64) -> Error {
        let images: Vec<_> = self.images.iter().map(|p| p.display().to_string()).collect();
        Error::non_finite(format!(
            "step {}: `{}` is {value}, so training stopped before the update and the weights are \
             as they were before this step. Images of the step: {}. Look at them and their \
             annotations; then try a lower optimizer.lr, a longer warm-up, train.clip_grad_norm, \
             or precision = \"fp32\"",
            self.step,
            self.names[index],
            images.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonotune_base::ErrorKind;

    fn observe(guard: &mut FiniteGuard, step: u64, values: &[(&str, f64)]) {
        let values: Vec<_> =
            values.iter().map(|(n, v)| ((*n).to_owned(), Tensor::from(*v))).collect();
        guard.observe(step, vec![PathBuf::from(format!("{step}.png"))], &values);
    }

    #[test]
    fn the_first_bad_step_is_named_with_term_and_images() {
        let mut guard = FiniteGuard::default();
        observe(&mut guard, 0, &[("loss", 1.0), ("loss_dice", 1.0)]);
        guard.check(Ok).unwrap();
        observe(&mut guard, 1, &[("loss", 1.0), ("loss_dice", 1.0)]);
        observe(&mut guard, 2, &[("loss", f64::NAN), ("loss_dice", f64::NAN), ("loss_iou", 1.0)]);
        observe(&mut guard, 3, &[("loss", f64::INFINITY), ("loss_dice", 1.0)]);
        let error = guard.check(Ok).unwrap_err();
        assert_eq!(error.downcast_ref::<Error>().unwrap().kind, ErrorKind::NonFinite);
        let text = error.to_string();
        for part in ["step 2", "`loss_dice` is NaN", "2.png", "optimizer.lr"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn what_fits_into_fp64_alone_is_finite() {
        let mut guard = FiniteGuard::default();
        observe(&mut guard, 0, &[("loss", 1e300), ("grad_norm", 1e300)]);
        guard.check(Ok).unwrap();
        assert_eq!(guard.found_inf(Device::Cuda(0)).unwrap().kind(), Kind::Float);
    }

    #[test]
    fn the_flag_stays_up() {
        let mut guard = FiniteGuard::default();
        observe(&mut guard, 0, &[("loss", f64::INFINITY)]);
        observe(&mut guard, 1, &[("loss", 1.0)]);
        assert_eq!(guard.found_inf(Device::Cuda(0)).unwrap().double_value(&[]), 1.0);
        assert!(guard.found_inf(Device::Cpu).is_none());
    }
}
