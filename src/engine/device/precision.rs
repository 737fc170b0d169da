//! Number formats of matrix products and convolutions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sonotune_shim::{Autocast, LowPrecision};
use tch::{Device, Kind, nn};

/// The value of the key `precision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionChoice {
    /// bf16 on a CUDA device that computes in it, else fp32.
    #[default]
    Auto,
    Fp32,
    Tf32,
    Bf16,
    Fp64,
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
    /// Images, weights, activations, gradients and optimiser state in fp64: what two runs differ by is
    /// then no rounding. For comparisons; slow.
    Fp64,
}

impl Precision {
    /// Its name in a config.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
            Self::Fp64 => "fp64",
        }
    }

    /// The format of weights, images and whatever else enters the arithmetic from outside.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::Fp32 | Self::Tf32 | Self::Bf16 => Kind::Float,
            Self::Fp64 => Kind::Double,
        }
    }

    /// Gives the variables of a model that has just been built, its buffers included, their
    /// [`kind`](Self::kind). Layers see the change: the tensors stay the same, only their values are
    /// replaced. Initial values are those of fp32, so that runs in both formats start alike.
    pub fn apply(self, vs: &mut nn::VarStore) {
        if self == Self::Fp64 {
            vs.double();
        }
    }
}

impl PrecisionChoice {
    /// The format that keeps every bit of a run's weights, whichever device they were trained on.
    #[must_use]
    pub fn of_weights(self) -> Precision {
        match self {
            Self::Fp64 => Precision::Fp64,
            Self::Auto | Self::Fp32 | Self::Tf32 | Self::Bf16 => Precision::Fp32,
        }
    }

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
            (Self::Fp64, ..) => (
                Precision::Fp64,
                note(
                    "precision = \"fp64\" is for comparisons: it takes twice the memory of fp32 and \
                     several times as long",
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
        Precision::Fp32 | Precision::Tf32 | Precision::Fp64 => None,
        Precision::Bf16 => Some(Autocast::enter(device, LowPrecision::BFloat16)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_the_format_computes_in_fp32_and_says_so() {
        use PrecisionChoice::{Auto, Bf16, Fp32, Fp64, Tf32};
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
            (Fp64, cpu, false, Precision::Fp64, Some("for comparisons")),
            (Fp64, cuda, true, Precision::Fp64, Some("for comparisons")),
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
