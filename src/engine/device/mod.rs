//! Which device a run computes on.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sonotune_shim::{Autocast, LowPrecision};
use tch::{Cuda, Device};

use crate::determinism::{self, Deterministic};
use sonotune_base::Error;

/// Where to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// CUDA if available, else the CPU; the choice is printed.
    #[default]
    Auto,
    Cpu,
    /// The first CUDA device; an error if there is none.
    Cuda,
}

/// Number format of matrix products and convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    #[default]
    Fp32,
    /// bf16 autocast; weights and optimiser state stay fp32.
    Bf16,
}

impl Precision {
    /// Its name in a config.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
        }
    }
}

/// A device and why it was chosen, to print.
#[derive(Debug, Clone)]
pub struct Chosen {
    pub device: Device,
    /// E.g. `cpu (no NVIDIA driver on this machine)`.
    pub reason: String,
}

/// Puts the process into a deterministic mode, then chooses a device.
///
/// # Errors
/// Same errors as [`choose`]; propagates errors from libtorch.
pub fn prepare(choice: DeviceChoice, deterministic: Deterministic) -> anyhow::Result<Chosen> {
    determinism::apply(deterministic)?;
    Ok(choose(choice)?)
}

/// Chooses a device before anything is computed.
///
/// # Errors
/// Of kind config when CUDA is requested but unavailable; says what is missing.
pub fn choose(choice: DeviceChoice) -> Result<Chosen, Error> {
    match choice {
        DeviceChoice::Cpu => {
            Ok(Chosen { device: Device::Cpu, reason: "cpu (device = \"cpu\")".to_owned() })
        }
        DeviceChoice::Cuda => match cuda() {
            Ok(chosen) => Ok(chosen),
            Err(reason) => Err(Error::config(format!(
                "device = \"cuda\", but CUDA cannot be used: {reason}. Use device = \"auto\" or \
                 \"cpu\" to run on the CPU"
            ))),
        },
        DeviceChoice::Auto => Ok(cuda().unwrap_or_else(|reason| Chosen {
            device: Device::Cpu,
            reason: format!("cpu (device = \"auto\"; {reason})"),
        })),
    }
}

fn cuda() -> Result<Chosen, String> {
    // Loading libtorch's CUDA half takes up to a second: skipped if there cannot be a device.
    // `/dev/dxg` is the driver of Linux under Windows (WSL).
    if !["/dev/nvidiactl", "/dev/dxg"].iter().any(|p| Path::new(p).exists()) {
        return Err("no NVIDIA driver on this machine".to_owned());
    }
    sonotune_shim::load_cuda().map_err(|error| {
        format!(
            "an NVIDIA driver is installed, but libtorch's CUDA libraries do not load ({error}); \
             `cargo xtask setup --cuda` downloads them, or start through the bundle's launcher"
        )
    })?;
    if !Cuda::is_available() {
        return Err("libtorch finds no usable CUDA device; see `nvidia-smi`".to_owned());
    }
    Ok(Chosen {
        device: Device::Cuda(0),
        reason: format!("cuda:0 of {} device(s)", Cuda::device_count()),
    })
}

/// The autocast scope of a precision, if it has one.
///
/// # Errors
/// Propagates errors from libtorch.
pub fn autocast(precision: Precision, device: Device) -> anyhow::Result<Option<Autocast>> {
    Ok(match precision {
        Precision::Fp32 => None,
        Precision::Bf16 => Some(Autocast::enter(device, LowPrecision::BFloat16)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuda_is_refused_with_words_where_there_is_none() {
        if Path::new("/dev/nvidiactl").exists() || Path::new("/dev/dxg").exists() {
            eprintln!("skipped: this machine has an NVIDIA driver");
            return;
        }
        let message = choose(DeviceChoice::Cuda).unwrap_err().to_string();
        assert!(message.contains("no NVIDIA driver"), "{message}");
        let chosen = choose(DeviceChoice::Auto).unwrap();
        assert_eq!(chosen.device, Device::Cpu);
        assert!(chosen.reason.contains("no NVIDIA driver"), "{}", chosen.reason);
    }
}
