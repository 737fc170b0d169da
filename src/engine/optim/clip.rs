//! Gradient clipping by the norm of all gradients together.

use anyhow::Result;
use tch::Tensor;

/// The 2-norm of all `gradients` together; 0-d on their device, fp32 or, if one of them is, fp64. No
/// host sync.
///
/// # Errors
/// Propagates errors from libtorch.
pub fn grad_norm(gradients: &[Tensor]) -> Result<Tensor> {
    Ok(sonotune_shim::total_norm(gradients)?)
}

/// Scales `gradients` in place so that their common 2-norm `norm` does not exceed `max_norm`, as
/// `torch.nn.utils.clip_grad_norm_` does (including its 1e-6). No host sync.
///
/// # Errors
/// Propagates errors from libtorch.
pub fn clip_grad_norm(gradients: &[Tensor], norm: &Tensor, max_norm: f64) -> Result<()> {
    let factor = ((norm + 1e-6).reciprocal() * max_norm).clamp_max(1.0);
    Ok(sonotune_shim::scale(gradients, &factor)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_in_fp64_are_clipped_in_fp64() {
        let gradients = [Tensor::from_slice(&[0.1f64, 0.2]), Tensor::from_slice(&[0.3f64])];
        let expected = 0.14f64.sqrt();
        let norm = grad_norm(&gradients).unwrap();
        assert_eq!(norm.kind(), tch::Kind::Double);
        assert!((norm.double_value(&[]) - expected).abs() < 1e-15);
        clip_grad_norm(&gradients, &norm, 0.1).unwrap();
        let scaled = 0.2 * 0.1 / (expected + 1e-6);
        assert!((gradients[0].double_value(&[1]) - scaled).abs() < 1e-16);
    }

    #[test]
    fn scales_to_the_norm_and_leaves_small_gradients_alone() {
        let gradients = [Tensor::from_slice(&[3f32, 0.0]), Tensor::from_slice(&[4f32])];
        let norm = grad_norm(&gradients).unwrap();
        assert!((norm.double_value(&[]) - 5.0).abs() < 1e-6);
        clip_grad_norm(&gradients, &norm, 10.0).unwrap();
        assert_eq!(gradients[1].double_value(&[0]), 4.0);
        clip_grad_norm(&gradients, &norm, 0.5).unwrap();
        assert!((grad_norm(&gradients).unwrap().double_value(&[]) - 0.5).abs() < 1e-6);
    }
}
