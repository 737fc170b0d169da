//! Where and how a run was made.

use std::{fs, time::SystemTime};

use tch::Device;

use crate::gpus::{self, value_of};
use sonotune_engine::device::{AttentionBackend, Place};
use sonotune_run_folder::Environment;

/// Looks around. What this machine does not tell stays `None`.
#[must_use]
pub fn environment(place: Place, attention: AttentionBackend, seed: u64) -> Environment {
    let Place { device, precision } = place;
    let cpu_model = cpu_model();
    Environment {
        sonotune: env!("CARGO_PKG_VERSION"),
        git_commit: option_env!("SONOTUNE_GIT_COMMIT"),
        libtorch: sonotune_shim::torch_version(),
        device: device_label(device),
        device_name: match device {
            Device::Cuda(index) => gpus::model(index),
            _ => cpu_model.clone(),
        },
        precision: precision.name().to_owned(),
        attention_backend: device.is_cuda().then(|| attention.name()),
        seed,
        threads: tch::get_num_threads(),
        cpu_model,
        hostname: read_line("/proc/sys/kernel/hostname"),
        os: operating_system(),
        start_time: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        after_step: None,
        command_line: std::env::args_os()
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect(),
        working_directory: std::env::current_dir().ok(),
    }
}

/// `cpu` or `cuda:0`.
pub(crate) fn device_label(device: Device) -> String {
    match device {
        Device::Cpu => "cpu".to_owned(),
        Device::Cuda(index) => format!("cuda:{index}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn read_line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.lines().next()?.trim().to_owned()).filter(|line| !line.is_empty())
}

fn cpu_model() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let value = |key| value_of(&text, key, ':').map(str::to_owned);
    value("model name").or_else(|| value("CPU part"))
}

fn operating_system() -> String {
    let distribution = fs::read_to_string("/etc/os-release")
        .ok()
        .and_then(|text| value_of(&text, "PRETTY_NAME", '=').map(str::to_owned));
    let kernel = read_line("/proc/sys/kernel/osrelease");
    let kernel = kernel.map(|version| format!("{} {version}", std::env::consts::OS));
    [distribution, kernel, Some(std::env::consts::ARCH.to_owned())]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use sonotune_engine::device::Precision;

    use super::*;

    #[test]
    fn what_this_machine_tells_is_recorded() {
        let place = Place { device: Device::Cpu, precision: Precision::Bf16 };
        let value = serde_json::to_value(environment(place, AttentionBackend::Math, 7)).unwrap();
        assert_eq!(value["precision"], "bf16");
        assert_eq!(value["seed"], 7);
        assert_eq!(value["device"], "cpu");
        assert_eq!(value.get("attention_backend"), None);
        let on_gpu = environment(Place::from(Device::Cuda(1)), AttentionBackend::Math, 7);
        assert_eq!((on_gpu.device.as_str(), on_gpu.precision.as_str()), ("cuda:1", "fp32"));
        assert_eq!(on_gpu.attention_backend, Some("math"));
        assert_eq!(value["libtorch"], sonotune_shim::torch_version());
        assert!(value["threads"].as_i64().unwrap() >= 1);
        assert!(value["start_time"].as_str().unwrap().ends_with('Z'));
        assert!(!value["command_line"].as_array().unwrap().is_empty());
        assert!(value["os"].as_str().unwrap().contains("linux"));
    }
}
