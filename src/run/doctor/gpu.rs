//! Checks the GPU from the PCI bus to a kernel that runs.

use sonotune_base::words::bytes;

use super::{Check, GpuFacts, LibtorchFacts};

const NAME: &str = "GPU";

pub(super) fn checks(gpu: &GpuFacts, libtorch: &LibtorchFacts) -> Vec<Check> {
    if let Some(check) = missing(gpu, libtorch) {
        return vec![check];
    }
    let mut checks = vec![device(gpu)];
    checks.extend(driver(gpu, libtorch));
    checks.extend(memory(gpu));
    checks
}

/// What is missing for a usable device, or that there is none.
fn missing(gpu: &GpuFacts, libtorch: &LibtorchFacts) -> Option<Check> {
    // Only a run that asks for a GPU fails without one.
    let trouble = |found: String, remedy: String| {
        if gpu.wanted {
            Check::fail(NAME, found, remedy)
        } else {
            Check::warn(NAME, format!("{found}; runs use the CPU"), remedy)
        }
    };
    if !gpu.device_files {
        return Some(match (gpu.pci_devices.as_slice(), gpu.wanted) {
            ([], false) => Check::ok(NAME, "none on this machine: runs use the CPU"),
            ([], true) => Check::fail(
                NAME,
                "none on this machine, but CUDA was requested",
                "use device = \"auto\" or \"cpu\"; in a container, start it with its GPUs \
                 (`--gpus all`)",
            ),
            (devices, _) => trouble(
                format!("NVIDIA device {} on the PCI bus, but no driver", devices.join(", ")),
                "install NVIDIA's driver, or load it (`modprobe nvidia`); in a container, start it \
                 with its GPUs (`--gpus all`)"
                    .to_owned(),
            ),
        });
    }
    if let Some(Err(message)) = &gpu.cuda_half {
        return Some(trouble(
            format!("a driver is installed, but libtorch's CUDA half does not load: {message}"),
            "`cargo xtask setup --cuda` installs it, or start through the bundle's launcher"
                .to_owned(),
        ));
    }
    let old = driver(gpu, libtorch).into_iter().find(|check| check.status != super::Status::Ok);
    if !gpu.usable {
        return Some(old.map_or_else(
            || {
                trouble(
                    "libtorch finds no device that it can use".to_owned(),
                    "see `nvidia-smi`; is CUDA_VISIBLE_DEVICES empty, or the device from a \
                     generation that this libtorch was not compiled for?"
                        .to_owned(),
                )
            },
            |old| trouble(old.found, old.remedy),
        ));
    }
    let refused = gpu.refused.as_ref()?;
    Some(Check::fail(NAME, refused, "`nvidia-smi -L` lists this machine's devices"))
}

fn device(gpu: &GpuFacts) -> Check {
    let name = gpu.name.as_deref().unwrap_or("a device whose name the driver does not report");
    let capability = gpu.compute_capability.as_deref();
    let capability = capability.map_or_else(String::new, |c| format!(", compute capability {c}"));
    let device = gpu.device.map_or_else(String::new, |index| format!("cuda:{index}, "));
    Check::ok(NAME, format!("{device}{name}{capability}"))
}

/// Oldest driver on Linux for each major version of CUDA (NVIDIA's "CUDA Compatibility", minor version
/// compatibility).
const OLDEST_DRIVERS: [(u32, u32); 3] = [(13, 580), (12, 525), (11, 450)];

fn driver(gpu: &GpuFacts, libtorch: &LibtorchFacts) -> Option<Check> {
    const NAME: &str = "driver";
    let driver = gpu.driver.as_deref()?;
    let major = |version: &str| version.split('.').next()?.parse::<u32>().ok();
    let needs = libtorch.cuda_version.as_deref().and_then(|cuda| {
        let (_, oldest) = OLDEST_DRIVERS.into_iter().find(|(m, _)| Some(*m) == major(cuda))?;
        Some((cuda, oldest))
    });
    Some(match needs {
        Some((cuda, oldest)) if major(driver).is_some_and(|own| own < oldest) => Check::fail(
            NAME,
            format!("{driver} is too old: libtorch's CUDA {cuda} needs {oldest} or newer"),
            format!(
                "update NVIDIA's driver to {oldest} or newer, or use a libtorch for an older CUDA"
            ),
        ),
        Some((cuda, _)) => Check::ok(NAME, format!("{driver}, for CUDA {cuda}")),
        None => Check::ok(NAME, driver),
    })
}

fn memory(gpu: &GpuFacts) -> Option<Check> {
    const NAME: &str = "GPU memory";
    let (free, total) = (gpu.memory_free_bytes?, gpu.memory_total_bytes?);
    let found = format!("{} of {} free", bytes(free), bytes(total));
    if free * 10 >= total * 9 {
        return Some(Check::ok(NAME, found));
    }
    let by = match gpu.processes.as_slice() {
        [] => "; used by another process, which the driver does not name".to_owned(),
        processes => format!("; used by {}", processes.join(", ")),
    };
    Some(Check::warn(
        NAME,
        found + &by,
        "wait for that process, end it, or choose another device (device = \"cuda:1\", or \
         CUDA_VISIBLE_DEVICES)",
    ))
}
