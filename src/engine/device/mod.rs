//! Which device a run computes on, in which number format, and with which of its kernels.

mod choice;
mod precision;

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sonotune_shim::SdpBackend;
use tch::{Cuda, Device};

pub use self::{
    choice::DeviceChoice,
    precision::{Precision, PrecisionChoice, autocast},
};
use crate::determinism::{self, Deterministic};
use sonotune_base::Error;

/// The kernel that computes attention on CUDA where it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AttentionBackend {
    /// FlashAttention; fp32 and attention with a mask use the memory-efficient kernel.
    #[default]
    Flash,
    /// cuDNN's, which builds a graph for each new shape; else as [`Flash`](Self::Flash).
    Cudnn,
    /// The memory-efficient kernel for everything.
    Efficient,
    /// Matrix products, which hold every score.
    Math,
}

impl AttentionBackend {
    /// Its name in a config.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Flash => "flash",
            Self::Cudnn => "cudnn",
            Self::Efficient => "efficient",
            Self::Math => "math",
        }
    }
}

/// What a config says about the device.
#[derive(Debug, Clone, Copy, Default)]
pub struct Compute {
    pub device: DeviceChoice,
    pub precision: PrecisionChoice,
    pub attention: AttentionBackend,
    pub deterministic: Deterministic,
    /// Which of the machine's processes this is.
    pub local: Local,
}

/// The place of a process among those of its machine that share its devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Local {
    pub rank: usize,
    pub world_size: usize,
}

impl Default for Local {
    /// The only process.
    fn default() -> Self {
        Self { rank: 0, world_size: 1 }
    }
}

/// Where and in which number format a model computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub device: Device,
    pub precision: Precision,
}

impl From<Device> for Place {
    /// In fp32.
    fn from(device: Device) -> Self {
        Self { device, precision: Precision::Fp32 }
    }
}

/// A device and why it was chosen, to print.
#[derive(Debug, Clone)]
pub struct Chosen {
    pub device: Device,
    /// E.g. `cpu (no NVIDIA driver on this machine)`.
    pub reason: String,
}

/// A device that is ready to compute.
#[derive(Debug, Clone)]
pub struct Ready {
    pub place: Place,
    /// See [`Chosen::reason`].
    pub reason: String,
    /// What is worth a note, one sentence each.
    pub notes: Vec<String>,
}

impl Ready {
    /// E.g. `cuda:0 of 2 device(s), bf16`.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{}, {}", self.reason, self.place.precision.name())
    }
}

/// Puts the process into a deterministic mode, chooses a device, and sets which of its kernels compute.
/// None of that changes results on the CPU.
///
/// # Errors
/// Same errors as [`choose`]; propagates errors from libtorch.
pub fn prepare(compute: Compute) -> anyhow::Result<Ready> {
    determinism::apply(compute.deterministic)?;
    let Chosen { device, reason } = choose(compute.device, compute.local)?;
    let on_cuda = device.is_cuda();
    let tensor_cores = on_cuda && sonotune_shim::cuda_has_bf16()?;
    let (precision, note) = compute.precision.on(device, tensor_cores);
    set_attention(compute, on_cuda)?;
    if on_cuda {
        // libtorch would use TF32 for convolutions of fp32 tensors: fp32 is to mean fp32.
        sonotune_shim::set_tf32(precision == Precision::Tf32)?;
    }
    let place = Place { device, precision };
    Ok(Ready { place, reason, notes: note.into_iter().collect() })
}

fn set_attention(compute: Compute, on_cuda: bool) -> anyhow::Result<()> {
    let Compute { attention, deterministic, .. } = compute;
    let backend = match attention {
        AttentionBackend::Flash => SdpBackend::Flash,
        AttentionBackend::Cudnn => SdpBackend::Cudnn,
        AttentionBackend::Efficient => SdpBackend::Efficient,
        AttentionBackend::Math => SdpBackend::Math,
    };
    sonotune_shim::set_sdp_backend(on_cuda.then_some(backend))?;
    if on_cuda && attention == AttentionBackend::Cudnn && deterministic == Deterministic::Warn {
        // Unlike other kernels without a deterministic form, it does not report itself.
        sonotune_shim::record_nondeterministic("_scaled_dot_product_cudnn_attention_backward")?;
    }
    Ok(())
}

/// Chooses a device before anything is computed: of several processes of a machine, each takes the
/// CUDA device of its local rank.
///
/// # Errors
/// Of kind config when CUDA is requested but unavailable, or has too few devices; says what is missing.
pub fn choose(choice: DeviceChoice, local: Local) -> Result<Chosen, Error> {
    let cpu = |reason: String| Chosen { device: Device::Cpu, reason };
    match choice {
        DeviceChoice::Cpu => Ok(cpu("cpu (device = \"cpu\")".to_owned())),
        DeviceChoice::Cuda(index) => {
            let refused = |reason: String| {
                Error::config(format!(
                    "device = \"{choice}\", but CUDA cannot be used: {reason}. Use device = \"auto\" or \
                     \"cpu\" to run on the CPU"
                ))
            };
            if let Some(index) = index.filter(|_| local.world_size > 1) {
                return Err(Error::config(format!(
                    "device = \"{choice}\" names one device for {} processes of this machine; use device = \
                     \"cuda\", which gives each one of its own (CUDA_VISIBLE_DEVICES={index} hides the others)",
                    local.world_size
                )));
            }
            let count = load().map_err(refused)?;
            let index = match index {
                Some(index) => index,
                None => own_device(count, local)?,
            };
            if index >= count {
                return Err(missing(choice, count));
            }
            select(index, count).map_err(refused)
        }
        DeviceChoice::Auto => {
            let without = |reason| Ok(cpu(format!("cpu (device = \"auto\"; {reason})")));
            match load() {
                Ok(count) => select(own_device(count, local)?, count).or_else(without),
                Err(reason) => without(reason),
            }
        }
    }
}

/// The device of a process among `count`. Where a scheduler shows each process one device of its own, that
/// one.
fn own_device(count: usize, Local { rank, world_size }: Local) -> Result<usize, Error> {
    if count <= 1 {
        return Ok(0);
    }
    if world_size > count {
        return Err(Error::config(format!(
            "{world_size} processes on this machine, but libtorch finds {count} CUDA devices: each process needs \
             one of its own. Start {count} processes, or set device = \"cpu\""
        )));
    }
    Ok(rank)
}

/// Loads libtorch's CUDA half and counts the devices.
fn load() -> Result<usize, String> {
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
    Ok(usize::try_from(Cuda::device_count()).unwrap_or(0))
}

fn select(index: usize, count: usize) -> Result<Chosen, String> {
    sonotune_shim::select_cuda_device(index).map_err(|error| format!("cuda:{index}: {error}"))?;
    let reason = format!("cuda:{index} of {count} device(s)");
    Ok(Chosen { device: Device::Cuda(index), reason })
}

/// The error for a device that is not there.
fn missing(choice: DeviceChoice, count: usize) -> Error {
    const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";
    let found = match count {
        1 => "one CUDA device, cuda:0".to_owned(),
        _ => format!("{count} CUDA devices, cuda:0 to cuda:{}", count.saturating_sub(1)),
    };
    let hidden = std::env::var(VISIBLE).map_or_else(
        |_| String::new(),
        |list| format!(" ({VISIBLE}={list} may hide others, and numbers those it names from 0)"),
    );
    Error::config(format!(
        "device = \"{choice}\", but libtorch finds {found}{hidden}; choose one that is there"
    ))
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::*;

    #[test]
    fn cuda_is_refused_with_words_where_there_is_none() {
        if Path::new("/dev/nvidiactl").exists() || Path::new("/dev/dxg").exists() {
            eprintln!("skipped: this machine has an NVIDIA driver");
            return;
        }
        let message =
            choose(DeviceChoice::Cuda(Some(1)), Local::default()).unwrap_err().to_string();
        assert!(
            message.contains("device = \"cuda:1\"") && message.contains("no NVIDIA driver"),
            "{message}"
        );
        let chosen = choose(DeviceChoice::Auto, Local::default()).unwrap();
        assert_eq!(chosen.device, Device::Cpu);
        assert!(chosen.reason.contains("no NVIDIA driver"), "{}", chosen.reason);
    }

    #[test]
    fn a_device_that_is_not_there_is_refused_with_those_that_are() {
        let choice = DeviceChoice::Cuda(Some(3));
        let message = missing(choice, 1).to_string();
        assert!(
            message.starts_with("device = \"cuda:3\", but libtorch finds one CUDA device, cuda:0"),
            "{message}"
        );
        let message = missing(choice, 2).to_string();
        assert!(message.contains("2 CUDA devices, cuda:0 to cuda:1"), "{message}");
    }

    #[test]
    fn kernels_of_cuda_change_nothing_on_the_cpu() {
        tch::manual_seed(1);
        let [q, k, v] = [(); 3].map(|()| Tensor::randn([1, 2, 33, 8], (Kind::Float, Device::Cpu)));
        let attend = || {
            let (mask, scale) = (None::<Tensor>, None::<f64>);
            Tensor::scaled_dot_product_attention(&q, &k, &v, mask, 0.0, false, scale, false)
        };
        let (expected, kernels) = (attend(), sonotune_shim::allowed_sdp_backends());
        for attention in
            [AttentionBackend::Math, AttentionBackend::Cudnn, AttentionBackend::Efficient]
        {
            let device = DeviceChoice::Cpu;
            let ready = prepare(Compute { device, attention, ..Compute::default() }).unwrap();
            assert_eq!(ready.place, Place::from(Device::Cpu));
            assert_eq!(sonotune_shim::allowed_sdp_backends(), kernels, "{attention:?}");
            assert!(attend().equal(&expected), "{attention:?}");
        }
    }

    #[test]
    fn a_format_of_gpus_is_fp32_on_the_cpu_and_noted() {
        let (device, precision) = (DeviceChoice::Cpu, PrecisionChoice::Tf32);
        let ready = prepare(Compute { device, precision, ..Compute::default() }).unwrap();
        assert_eq!(ready.place.precision, Precision::Fp32);
        assert_eq!(ready.describe(), "cpu (device = \"cpu\"), fp32");
        assert!(ready.notes.len() == 1 && ready.notes[0].contains("tf32"), "{:?}", ready.notes);
    }
}
