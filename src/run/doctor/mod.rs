//! Whether this machine can execute a run: facts that [`probe`] gathers, and checks that are pure
//! functions of them, each with what to do.

mod cpu;
mod disk;
mod gpu;
mod libtorch;
pub mod probe;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::Serialize;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The subject, in a word or two.
    pub name: &'static str,
    pub status: Status,
    /// What the check found.
    pub found: String,
    /// What to do about it; empty if nothing needs to be done.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    /// Runs work, but not as well as they could.
    Warn,
    /// Runs fail.
    Fail,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, found: found.into(), remedy: String::new() }
    }

    fn warn(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, status: Status::Warn, found: found.into(), remedy: remedy.into() }
    }

    fn fail(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, status: Status::Fail, found: found.into(), remedy: remedy.into() }
    }
}

/// All facts that the checks use. `None`: the system does not report it.
#[derive(Debug, Clone)]
pub struct Facts {
    pub libtorch: LibtorchFacts,
    pub gpu: GpuFacts,
    pub cpu: CpuFacts,
    pub memory: MemoryFacts,
    pub folders: Vec<FolderFacts>,
    /// `ulimit -n`.
    pub open_files: Option<u64>,
    /// Seconds since 1970 by this machine's clock.
    pub clock_seconds: u64,
    /// Names of linked-in backbones, tasks and datasets, or why they cannot be listed.
    pub plugins: Result<Vec<String>, String>,
}

/// Which libtorch this is.
#[derive(Debug, Clone, Default)]
pub struct LibtorchFacts {
    /// Version that the program was compiled against, e.g. `2.11.0`.
    pub built_for: String,
    /// Folder that it was linked against.
    pub linked_folder: Option<PathBuf>,
    /// The `libtorch_cpu` in this process; several if more than one was loaded.
    pub loaded: Vec<PathBuf>,
    /// Version by the loaded library's own files, e.g. `2.11.0+cu130`.
    pub loaded_version: Option<String>,
    /// CUDA that the loaded one was compiled for, e.g. `13.0`; `None` for a CPU build.
    pub cuda_version: Option<String>,
    pub ld_library_path: Option<String>,
}

/// NVIDIA hardware and software.
#[derive(Debug, Clone, Default)]
pub struct GpuFacts {
    /// NVIDIA devices on the PCI bus, as `vendor:device`.
    pub pci_devices: Vec<String>,
    /// Whether the driver's device files exist.
    pub device_files: bool,
    /// Driver version, e.g. `580.82.07`.
    pub driver: Option<String>,
    /// Whether libtorch's CUDA half loaded, or the loader's message; `None`: not tried.
    pub cuda_half: Option<Result<(), String>>,
    /// Whether libtorch can compute on it.
    pub usable: bool,
    /// The CUDA device that runs use, by libtorch's number.
    pub device: Option<usize>,
    /// Its name, as the driver's own tool reports it.
    pub name: Option<String>,
    /// E.g. `9.0`.
    pub compute_capability: Option<String>,
    pub memory_free_bytes: Option<u64>,
    pub memory_total_bytes: Option<u64>,
    /// Other processes that compute on it, with their memory.
    pub processes: Vec<String>,
    /// Whether the config or the command line asks for CUDA.
    pub wanted: bool,
    /// Why the device that it asks for cannot be used.
    pub refused: Option<String>,
}

/// Processors and threads.
#[derive(Debug, Clone, Default)]
pub struct CpuFacts {
    pub cores: usize,
    /// Processors' worth of time that a container may use.
    pub cgroup_cores: Option<f64>,
    /// Threads of libtorch's operators.
    pub threads: usize,
    pub omp_num_threads: Option<String>,
    /// Variables that say how these threads wait for each other, as `NAME=VALUE`.
    pub waiting: Vec<String>,
    /// A matrix product on the device: its largest relative errors (fp32, bf16), or why it failed.
    pub products: Option<Result<(f64, f64), String>>,
}

/// Bytes of main memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryFacts {
    pub total: Option<u64>,
    pub available: Option<u64>,
    pub swap_total: Option<u64>,
    pub swap_free: Option<u64>,
    /// Limit of the container, if there is one, and what it uses.
    pub cgroup_limit: Option<u64>,
    pub cgroup_used: Option<u64>,
}

/// A folder that runs write to.
#[derive(Debug, Clone, Default)]
pub struct FolderFacts {
    /// What it is for.
    pub role: &'static str,
    pub path: PathBuf,
    pub free_bytes: Option<u64>,
    /// Error in writing a file, if any; the next fields are for renaming, syncing and locking it.
    pub write: Option<String>,
    pub rename: Option<String>,
    pub sync: Option<String>,
    pub lock: Option<String>,
    /// By how many seconds a new file's time differs from this machine's clock.
    pub clock_skew_seconds: Option<i64>,
}

/// Every check, in the order to print.
#[must_use]
pub fn checks(facts: &Facts) -> Vec<Check> {
    let mut checks = libtorch::checks(&facts.libtorch);
    checks.extend(gpu::checks(&facts.gpu, &facts.libtorch));
    checks.extend(cpu::checks(&facts.cpu, &facts.memory));
    checks.extend(disk::checks(facts));
    checks.push(plugins(&facts.plugins));
    checks
}

fn plugins(plugins: &Result<Vec<String>, String>) -> Check {
    match plugins {
        Ok(names) => Check::ok("plugins", names.join(", ")),
        Err(message) => Check::fail("plugins", message, "fix what is linked into this program"),
    }
}
