//! Random initialisation, by PyTorch's definitions. All functions draw from libtorch's generator,
//! which the caller seeds.

use tch::nn::{Init, init::FanInOut, init::NonLinearity, init::NormalOrUniform};

/// Normal with standard deviation 0.02, as every ViT since BERT initialises its linear layers.
///
/// PyTorch's `trunc_normal_(std=0.02)` cuts at ±2, a hundred standard deviations: never in practice.
#[must_use]
pub fn trunc_normal() -> Init {
    Init::Randn { mean: 0.0, stdev: 0.02 }
}

/// PyTorch's default for weights and biases of linear layers and convolutions: uniform within
/// ±1/√fan_in.
#[must_use]
pub fn conv_default(fan_in: i64) -> Init {
    let bound = 1.0 / (fan_in.max(1) as f64).sqrt();
    Init::Uniform { lo: -bound, up: bound }
}

/// He's normal initialisation for convolutions before a ReLU, by fan-out (ResNet).
#[must_use]
pub fn kaiming_normal_fan_out() -> Init {
    Init::Kaiming {
        dist: NormalOrUniform::Normal,
        fan: FanInOut::FanOut,
        non_linearity: NonLinearity::ReLU,
    }
}
