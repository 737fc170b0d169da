//! How far the answers of two programs are apart.

use anyhow::{Result, ensure};
use sonotune_base::{Error, Rle};
use tch::{Kind, Tensor};

use crate::record::CheckRecord;

/// Scores may differ by rounding.
pub(crate) const SCORE_TOLERANCE: f64 = 1e-4;
/// A pixel may be in one mask only if its logit is this close to 0.
pub(crate) const LOGIT_TOLERANCE: f64 = 1e-3;
/// Between tensors without a meaning of their own, as a part of the largest absolute value.
pub(crate) const TENSOR_TOLERANCE: f64 = 1e-3;

/// The largest absolute difference.
///
/// # Errors
/// If their shapes differ, or one holds what is not a number.
pub(crate) fn difference(a: &Tensor, b: &Tensor) -> Result<f64> {
    ensure!(a.size() == b.size(), "the shapes {:?} and {:?}", a.size(), b.size());
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    let difference = f64::try_from((a - b).abs().max())?;
    ensure!(difference.is_finite(), "values that are not finite");
    Ok(difference)
}

impl CheckRecord {
    /// Adds scores.
    pub(crate) fn scores(&mut self, theirs: &Tensor, ours: &Tensor) -> Result<()> {
        self.comparisons += 1;
        self.max_score_difference = self.max_score_difference.max(difference(theirs, ours)?);
        Ok(())
    }

    /// Adds tensors without a meaning of their own.
    pub(crate) fn tensors(&mut self, theirs: &Tensor, ours: &Tensor) -> Result<()> {
        self.comparisons += 1;
        let largest = f64::try_from(ours.to_kind(Kind::Double).abs().max())?.max(1e-6);
        let relative = difference(theirs, ours)? / largest;
        let most = self.max_relative_difference.unwrap_or(0.0).max(relative);
        self.max_relative_difference = Some(most);
        Ok(())
    }

    /// Adds a mask: logits of another program, `[..., H, W]`, and ours.
    pub(crate) fn mask(&mut self, logits: &Tensor, ours: &Rle) -> Result<()> {
        self.comparisons += 1;
        let expected = Tensor::from_slice(&ours.to_mask()).to_kind(Kind::Bool);
        ensure!(
            logits.numel() == expected.numel(),
            "a mask of the shape {:?} for an image of {} pixels",
            logits.size(),
            expected.numel()
        );
        self.inside(logits, &expected)
    }

    /// Adds logits of another program, and ours.
    pub(crate) fn logits(&mut self, theirs: &Tensor, ours: &Tensor) -> Result<()> {
        self.comparisons += 1;
        ensure!(
            theirs.size() == ours.size(),
            "the shapes {:?} and {:?}",
            theirs.size(),
            ours.size()
        );
        self.inside(theirs, &ours.gt(0.0).view(-1))
    }

    /// `expected`: `[N]` bool.
    fn inside(&mut self, logits: &Tensor, expected: &Tensor) -> Result<()> {
        let logits = logits.reshape(-1).to_kind(Kind::Double);
        ensure!(bool::try_from(logits.isfinite().all())?, "logits that are not finite");
        let differs = logits.gt(0.0).ne_tensor(expected);
        let count = i64::try_from(differs.sum(Kind::Int64))?;
        self.pixels += logits.numel() as u64;
        self.differing_pixels += u64::try_from(count)?;
        if count > 0 {
            let farthest = f64::try_from(logits.abs().masked_select(&differs).max())?;
            self.max_differing_logit = self.max_differing_logit.max(farthest);
        }
        Ok(())
    }

    /// Whether all differences are rounding.
    ///
    /// # Errors
    /// Of kind weights if one is larger; names `file`.
    pub(crate) fn require(&self, file: &str) -> Result<()> {
        let relative = self.max_relative_difference.unwrap_or(0.0);
        let fits = self.comparisons > 0
            && self.max_score_difference <= SCORE_TOLERANCE
            && self.max_differing_logit <= LOGIT_TOLERANCE
            && relative <= TENSOR_TOLERANCE;
        if fits {
            return Ok(());
        }
        Err(Error::weights(format!(
            "{file} does not predict what this program predicts, and was not kept: {}; allowed are scores within \
             {SCORE_TOLERANCE:.0e}, masks that differ only where logits are within {LOGIT_TOLERANCE:.0e} of 0, tensors \
             within {TENSOR_TOLERANCE:.0e} of their largest value",
            self.words()
        ))
        .into())
    }
}

/// Intersection over union of a mask of logits and ours; 1 if both are empty.
pub(crate) fn iou(logits: &Tensor, ours: &Rle) -> Result<f64> {
    let expected = Tensor::from_slice(&ours.to_mask()).to_kind(Kind::Bool);
    ensure!(logits.numel() == expected.numel(), "masks of different sizes");
    let inside = logits.reshape(-1).gt(0.0);
    let count = |mask: &Tensor| i64::try_from(mask.sum(Kind::Int64));
    let union = count(&inside.logical_or(&expected))?;
    let both = count(&inside.logical_and(&expected))?;
    Ok(if union == 0 { 1.0 } else { both as f64 / union as f64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rle(pixels: &[u8], size: (u32, u32)) -> Rle {
        Rle::from_mask(pixels, size).unwrap()
    }

    #[test]
    fn pixels_may_differ_only_next_to_zero() {
        let logits = Tensor::from_slice(&[1f32, -1.0, 5e-4, -2.0]).view([1, 1, 2, 2]);
        let mut check = CheckRecord::default();
        check.mask(&logits, &rle(&[1, 0, 0, 0], (2, 2))).unwrap();
        assert_eq!((check.differing_pixels, check.pixels), (1, 4));
        assert!((check.max_differing_logit - 5e-4).abs() < 1e-9);
        assert!(check.require("decoder.onnx").is_ok());
        check.mask(&logits, &rle(&[1, 0, 1, 1], (2, 2))).unwrap();
        let error = check.require("decoder.onnx").unwrap_err().to_string();
        assert!(error.contains("decoder.onnx does not predict"), "{error}");
        assert!(check.mask(&logits, &rle(&[1, 0], (1, 2))).is_err());
    }

    #[test]
    fn nothing_compared_and_numbers_that_are_none_are_no_success() {
        assert!(CheckRecord::default().require("x").is_err());
        let nan = Tensor::from_slice(&[f32::NAN]);
        assert!(CheckRecord::default().scores(&nan, &nan).is_err());
        let mut check = CheckRecord::default();
        check.scores(&Tensor::from_slice(&[0.5f32]), &Tensor::from_slice(&[0.51f32])).unwrap();
        assert!(check.require("x").is_err());
    }

    #[test]
    fn overlap_is_counted_in_pixels() {
        let logits = Tensor::from_slice(&[1f32, 1.0, -1.0, -1.0]).view([2, 2]);
        assert_eq!(iou(&logits, &rle(&[1, 0, 1, 0], (2, 2))).unwrap(), 1.0 / 3.0);
        assert_eq!(iou(&logits.neg().abs().neg(), &rle(&[0; 4], (2, 2))).unwrap(), 1.0);
    }
}
