//! Number formats of matrix products and convolutions.

use serde::{Deserialize, Serialize};
use sonotune_shim::{Autocast, LowPrecision};
use tch::Device;

/// The value of the key `precision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionChoice {
    /// bf16 on a CUDA device that computes in it, else fp32.
    #[default]
    Auto,
    Fp32,
    Tf32,
    Bf16,
}

/// The number format that a run computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    #[default]
    Fp32,
    /// fp32 tensors, whose products on CUDA round their operands to 10 bits of mantissa.
    Tf32,
    /// bf16 autocast; weights and optimiser state stay fp32.
    Bf16,
}

impl Precision {
    /// Its name in a config.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        }
    }
}

impl PrecisionChoice {
    /// The format on `device`, and what is worth a note about it. `tensor_cores`: whether the device
    /// computes in bf16 and TF32.
    pub(super) fn on(self, device: Device, tensor_cores: bool) -> (Precision, Option<String>) {
        let note = |text: &str| Some(text.to_owned());
        match (self, device.is_cuda(), tensor_cores) {
            (Self::Bf16, ..) | (Self::Auto, true, true) => (Precision::Bf16, None),
            (Self::Tf32, true, true) => (Precision::Tf32, None),
            (Self::Tf32, true, false) => (
                Precision::Fp32,
                note(
                    "precision = \"tf32\" has no effect: this GPU computes in fp32 (TF32 needs \
                     compute capability 8.0)",
                ),
            ),
            (Self::Tf32, false, _) => (
                Precision::Fp32,
                note(
                    "precision = \"tf32\" has no effect: it is a format of GPUs, and the CPU \
                     computes in fp32",
                ),
            ),
            (Self::Fp32, true, true) => (
                Precision::Fp32,
                note(
                    "precision = \"fp32\" leaves the GPU's tensor cores idle; \"bf16\" (the default \
                     on a GPU) and \"tf32\" use them",
                ),
            ),
            (Self::Auto, true, false) => (
                Precision::Fp32,
                note(
                    "precision = \"auto\" is fp32: this GPU does not compute in bf16 (that needs \
                     compute capability 8.0)",
                ),
            ),
            (Self::Auto | Self::Fp32, ..) => (Precision::Fp32, None),
        }
    }
}

/// The autocast scope of a precision, if it has one.
///
/// # Errors
/// Propagates errors from libtorch.
pub fn autocast(precision: Precision, device: Device) -> anyhow::Result<Option<Autocast>> {
    Ok(match precision {
        Precision::Fp32 | Precision::Tf32 => None,
        Precision::Bf16 => Some(Autocast::enter(device, LowPrecision::BFloat16)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_the_format_computes_in_fp32_and_says_so() {
        use PrecisionChoice::{Auto, Bf16, Fp32, Tf32};
        let (cpu, cuda) = (Device::Cpu, Device::Cuda(0));
        for (choice, device, tensor_cores, expected, says) in [
            (Auto, cpu, false, Precision::Fp32, None),
            (Auto, cuda, true, Precision::Bf16, None),
            (Auto, cuda, false, Precision::Fp32, Some("does not compute in bf16")),
            (Fp32, cpu, false, Precision::Fp32, None),
            (Fp32, cuda, true, Precision::Fp32, Some("tensor cores idle")),
            (Fp32, cuda, false, Precision::Fp32, None),
            (Tf32, cpu, false, Precision::Fp32, Some("the CPU computes in fp32")),
            (Tf32, cuda, true, Precision::Tf32, None),
            (Tf32, cuda, false, Precision::Fp32, Some("has no effect")),
            (Bf16, cpu, false, Precision::Bf16, None),
            (Bf16, cuda, false, Precision::Bf16, None),
        ] {
            let (precision, note) = choice.on(device, tensor_cores);
            assert_eq!(precision, expected, "{choice:?} {device:?} {tensor_cores}");
            match says {
                Some(words) => assert!(note.unwrap().contains(words), "{choice:?} {device:?}"),
                None => assert_eq!(note, None, "{choice:?} {device:?}"),
            }
        }
    }
}
