//! Examines this machine. What it does not report stays `None`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use tch::{Cuda, Device};

use super::{CpuFacts, Facts, FolderFacts, GpuFacts, LibtorchFacts, MemoryFacts};
use crate::{config, gpus};

/// What to examine besides the machine.
#[derive(Debug, Clone)]
pub struct Probe<'a> {
    /// Device that runs would use; libtorch's CUDA half has been loaded if possible.
    pub device: Device,
    /// Whether CUDA was requested.
    pub wants_cuda: bool,
    /// Why the requested device cannot be used.
    pub refused: Option<&'a str>,
    /// Folder of runs.
    pub run_dir: &'a Path,
}

/// Gathers the facts; `products` is the result of a matrix product on the device.
#[must_use]
pub fn facts(probe: &Probe<'_>, products: Result<(f64, f64), String>) -> Facts {
    let plugins = config::registered()
        .map(|all| all.into_iter().map(|one| one.name).collect())
        .map_err(|error| format!("{error:#}"));
    let temporary = std::env::temp_dir();
    Facts {
        libtorch: libtorch(),
        gpu: gpu(probe),
        cpu: CpuFacts { products: Some(products), ..cpu() },
        memory: memory(),
        folders: vec![folder("run folders", probe.run_dir), folder("temporary files", &temporary)],
        open_files: read("/proc/self/limits").as_deref().and_then(open_files),
        clock_seconds: since_1970(SystemTime::now()),
        plugins,
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn since_1970(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn libtorch() -> LibtorchFacts {
    let loaded = read("/proc/self/maps").map(|maps| mapped(&maps, "libtorch_cpu.so"));
    let loaded = loaded.unwrap_or_default();
    // A wheel has `torch/version.py` next to `torch/lib/`; an archive has `build-version`.
    let root = loaded.first().and_then(|file| file.parent()?.parent()).map(Path::to_owned);
    let file = |name: &str| fs::read_to_string(root.as_ref()?.join(name)).ok();
    let (python, archive) = (file("version.py"), file("build-version"));
    LibtorchFacts {
        built_for: sonotune_shim::torch_version(),
        linked_folder: option_env!("SONOTUNE_LIBTORCH_LIB").map(PathBuf::from),
        loaded_version: python
            .as_deref()
            .and_then(|text| assigned(text, "__version__"))
            .or_else(|| archive.map(|text| text.trim().to_owned())),
        cuda_version: python.as_deref().and_then(|text| assigned(text, "cuda")),
        loaded,
        ld_library_path: std::env::var("LD_LIBRARY_PATH").ok().filter(|paths| !paths.is_empty()),
    }
}

/// Files with this name that are mapped into a process, by its `/proc/…/maps`.
fn mapped(maps: &str, name: &str) -> Vec<PathBuf> {
    let paths = maps.lines().filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])));
    let files = paths.filter(|path| path.file_name().is_some_and(|file| file == name));
    files.map(Path::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
}

/// `2.11.0` from a line `__version__ = '2.11.0'`, with or without a type.
fn assigned(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (left, right) = line.split_once('=')?;
        let own = left.split(':').next()?.trim();
        let value = right.trim().strip_prefix('\'')?.strip_suffix('\'')?;
        (own == name).then(|| value.to_owned())
    })
}

fn gpu(probe: &Probe<'_>) -> GpuFacts {
    let device_files = ["/dev/nvidiactl", "/dev/dxg"].iter().any(|path| Path::new(path).exists());
    let mut facts = GpuFacts {
        pci_devices: pci_devices(Path::new("/sys/bus/pci/devices")),
        device_files,
        wanted: probe.wants_cuda,
        refused: probe.refused.map(str::to_owned),
        ..GpuFacts::default()
    };
    if !device_files {
        return facts;
    }
    facts.cuda_half = Some(sonotune_shim::load_cuda().map_err(|error| error.to_string()));
    facts.usable = facts.cuda_half == Some(Ok(())) && Cuda::is_available();
    let index = if let Device::Cuda(index) = probe.device { index } else { 0 };
    facts.device = facts.usable.then_some(index);
    let named = gpus::of_device(index);
    // Some drivers do not know every name that CUDA takes.
    let id = named.map(|name| format!("--id={name}"));
    let of_device = id.as_deref().and_then(|id| nvidia_smi(&[id, QUERY]));
    let id = id.filter(|_| of_device.is_some());
    let answer = of_device.or_else(|| nvidia_smi(&[QUERY]));
    if let Some(line) = answer.as_deref().and_then(|text| line_of(text, id.is_some())) {
        facts = described(facts, &line);
    }
    facts.driver = facts.driver.or_else(|| {
        read("/proc/driver/nvidia/version").as_deref().and_then(driver_of_kernel_module)
    });
    if let Device::Cuda(index) = probe.device
        && let Ok(memory) = sonotune_shim::cuda_memory(index)
    {
        facts.memory_free_bytes = memory.free.try_into().ok();
        facts.memory_total_bytes = memory.total.try_into().ok();
    }
    let own = std::process::id().to_string();
    let query = "--query-compute-apps=pid,process_name,used_memory";
    let apps = nvidia_smi(&id.as_deref().into_iter().chain([query]).collect::<Vec<_>>());
    let others = apps.iter().flat_map(|text| text.lines()).filter(|line| {
        line.split(',').next().is_some_and(|pid| !pid.trim().is_empty() && pid.trim() != own)
    });
    facts.processes = others.map(|line| format!("process {}", line.trim())).collect();
    facts
}

const QUERY: &str = "--query-gpu=name,driver_version,compute_cap,memory.free,memory.total";

/// The line of the device among those of all GPUs, one each. If it is not known which of several it is,
/// only the driver is known, which is the same for all.
fn line_of(text: &str, is_device: bool) -> Option<String> {
    let mut lines = text.lines();
    let first = lines.next()?;
    if is_device || lines.next().is_none() {
        return Some(first.to_owned());
    }
    let driver = first.split(',').nth(1)?.trim();
    Some(format!(", {driver}, , , "))
}

/// A line of `nvidia-smi` for [`QUERY`].
fn described(facts: GpuFacts, line: &str) -> GpuFacts {
    let cells: Vec<&str> = line.split(',').map(str::trim).collect();
    let cell = |i: usize| cells.get(i).filter(|c| !c.is_empty() && !c.starts_with('[')).copied();
    let bytes = |i: usize| cell(i).and_then(|c| Some(c.parse::<u64>().ok()? << 20));
    GpuFacts {
        name: cell(0).map(str::to_owned),
        driver: cell(1).map(str::to_owned),
        compute_capability: cell(2).map(str::to_owned),
        memory_free_bytes: bytes(3),
        memory_total_bytes: bytes(4),
        ..facts
    }
}

fn nvidia_smi(query: &[&str]) -> Option<String> {
    let output = Command::new("nvidia-smi")
        .args(query)
        .arg("--format=csv,noheader,nounits")
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.82.07  Release Build`.
fn driver_of_kernel_module(text: &str) -> Option<String> {
    let line = text.lines().next()?;
    let is_version = |word: &&str| word.contains('.') && word.split('.').all(is_number);
    line.split_whitespace().find(is_version).map(str::to_owned)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// NVIDIA display controllers and accelerators.
fn pci_devices(folder: &Path) -> Vec<String> {
    let mut devices: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?.path();
            let read =
                |name: &str| Some(fs::read_to_string(entry.join(name)).ok()?.trim().to_owned());
            let (vendor, device, class) = (read("vendor")?, read("device")?, read("class")?);
            let computes = class.starts_with("0x03") || class.starts_with("0x12");
            (vendor == "0x10de" && computes)
                .then(|| format!("{}:{}", &vendor[2..], device.trim_start_matches("0x")))
        })
        .collect();
    devices.sort();
    devices
}

fn cpu() -> CpuFacts {
    let own = read("/proc/cpuinfo")
        .map_or(0, |text| text.lines().filter(|line| line.starts_with("processor")).count());
    let parallel = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    CpuFacts {
        cores: own.max(parallel),
        cgroup_cores: cgroup("cpu.max").as_deref().and_then(cores_of_quota),
        threads: tch::get_num_threads().try_into().unwrap_or(1),
        omp_num_threads: std::env::var("OMP_NUM_THREADS").ok(),
        waiting: ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"]
            .into_iter()
            .filter_map(|name| Some(format!("{name}={}", std::env::var(name).ok()?)))
            .collect(),
        products: None,
    }
}

/// The file of this process's control group (version 2), or of the root that a container sees.
fn cgroup(file: &str) -> Option<String> {
    let own = read("/proc/self/cgroup")?;
    let folder = own.lines().find_map(|line| line.strip_prefix("0::"))?.trim().to_owned();
    let root = Path::new("/sys/fs/cgroup");
    let below = root.join(folder.trim_start_matches('/')).join(file);
    fs::read_to_string(below).or_else(|_| fs::read_to_string(root.join(file))).ok()
}

/// `cpu.max`: `200000 100000`, microseconds of CPU time per period in microseconds, or `max 100000`.
fn cores_of_quota(text: &str) -> Option<f64> {
    let mut numbers = text.split_whitespace();
    let quota: f64 = numbers.next()?.parse().ok()?;
    let period: f64 = numbers.next()?.parse().ok()?;
    (period > 0.0).then(|| quota / period)
}

/// Main memory, as reported by the kernel and the container's control group.
#[must_use]
pub fn memory() -> MemoryFacts {
    let info = read("/proc/meminfo").unwrap_or_default();
    let number = |name: &str| cgroup(name).and_then(|text| text.trim().parse().ok());
    MemoryFacts {
        total: kibibytes(&info, "MemTotal"),
        available: kibibytes(&info, "MemAvailable"),
        swap_total: kibibytes(&info, "SwapTotal"),
        swap_free: kibibytes(&info, "SwapFree"),
        cgroup_limit: number("memory.max"),
        cgroup_used: number("memory.current"),
    }
}

/// Bytes in a line `MemTotal:  1234 kB`.
fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Bytes of main memory that this process holds.
#[must_use]
pub fn resident() -> Option<u64> {
    kibibytes(&read("/proc/self/status")?, "VmRSS")
}

fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Tries what saving a checkpoint does, in the nearest folder that exists, and cleans up.
fn folder(role: &'static str, path: &Path) -> FolderFacts {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let nearest = path.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let mut facts = FolderFacts {
        role,
        path: nearest.to_owned(),
        free_bytes: sonotune_base::fs::free_space(nearest),
        ..FolderFacts::default()
    };
    if let Err(error) = try_files(nearest, &mut facts) {
        facts.write = Some(error.to_string());
    }
    facts
}

fn try_files(folder: &Path, facts: &mut FolderFacts) -> std::io::Result<()> {
    use std::io::Write;
    let said = |result: std::io::Result<()>| result.err().map(|error| error.to_string());
    let mut file = tempfile::Builder::new().prefix(".sonotune-doctor-").tempfile_in(folder)?;
    let other = tempfile::Builder::new().prefix(".sonotune-doctor-").tempfile_in(folder)?;
    file.write_all(&[0; 4096])?;
    facts.sync = said(file.as_file().sync_all());
    facts.lock = match file.as_file().try_lock() {
        Ok(()) => said(file.as_file().unlock()),
        Err(error) => Some(error.to_string()),
    };
    if let Ok(modified) = file.as_file().metadata().and_then(|m| m.modified()) {
        let (file, now) = (since_1970(modified) as i64, since_1970(SystemTime::now()) as i64);
        facts.clock_skew_seconds = Some(file - now);
    }
    let target = other.into_temp_path();
    facts.rename = said(file.persist(&target).map(drop).map_err(|error| error.error));
    // Dropping the path removes the file, whichever of the two it is now.
    drop(target);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_writes_is_read() {
        let maps = "7f00-7f01 r-xp 0 08:01 7   /opt/torch/lib/libtorch_cpu.so\n\
                    7f01-7f02 r--p 0 08:01 7   /opt/torch/lib/libtorch_cpu.so\n\
                    7f02-7f03 r--p 0 00:00 0\n7f03-7f04 r--p 0 08:01 8   /lib/libc.so.6\n";
        assert_eq!(
            mapped(maps, "libtorch_cpu.so"),
            [PathBuf::from("/opt/torch/lib/libtorch_cpu.so")]
        );
        let python = "from typing import Optional\n__version__ = '2.11.0+cu130'\n\
                      cuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n";
        assert_eq!(assigned(python, "__version__").as_deref(), Some("2.11.0+cu130"));
        assert_eq!(assigned(python, "cuda").as_deref(), Some("13.0"));
        assert_eq!(assigned(python, "hip"), None);
        let module = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.82.07  Release \
                      Build  (dvs-builder@U22)  Wed\nGCC version:  gcc version 12.3.0";
        assert_eq!(driver_of_kernel_module(module).as_deref(), Some("580.82.07"));
        assert_eq!(cores_of_quota("150000 100000\n"), Some(1.5));
        assert_eq!(cores_of_quota("max 100000\n"), None);
        assert_eq!(kibibytes("MemTotal:  10 kB\nMemFree: 3 kB\n", "MemFree"), Some(3072));
        let limits =
            "Limit          Soft Limit   Hard Limit  Units\nMax open files   1024  4096  files\n";
        assert_eq!(open_files(limits), Some(1024));
    }

    #[test]
    fn a_line_of_the_drivers_tool_is_read() {
        let line = "NVIDIA H100 80GB HBM3, 580.82.07, 9.0, 80000, 81559";
        let facts = described(GpuFacts::default(), line);
        assert_eq!(facts.name.as_deref(), Some("NVIDIA H100 80GB HBM3"));
        assert_eq!(facts.compute_capability.as_deref(), Some("9.0"));
        assert_eq!(facts.memory_total_bytes, Some(81559 << 20));
        let silent = described(GpuFacts::default(), "GRID, 580.1, [N/A], [N/A], [N/A]");
        assert_eq!((silent.compute_capability, silent.memory_free_bytes), (None, None));

        let two = format!("T1000, 580.82.07, 7.5, 1, 2\n{line}\n");
        let unknown = described(GpuFacts::default(), &line_of(&two, false).unwrap());
        assert_eq!((unknown.name, unknown.driver.as_deref()), (None, Some("580.82.07")));
        assert_eq!((unknown.compute_capability, unknown.memory_total_bytes), (None, None));
        for (text, is_device) in [(line, false), (line, true)] {
            assert_eq!(line_of(text, is_device).as_deref(), Some(line));
        }
    }

    #[test]
    fn devices_on_the_bus_are_those_of_nvidia_that_compute() {
        let bus = tempfile::tempdir().unwrap();
        for (name, vendor, device, class) in [
            ("0000:01:00.0", "0x10de", "0x2330", "0x030200"),
            ("0000:01:00.1", "0x10de", "0x22a3", "0x068000"),
            ("0000:02:00.0", "0x8086", "0x56a0", "0x030000"),
        ] {
            let folder = bus.path().join(name);
            fs::create_dir(&folder).unwrap();
            for (file, text) in [("vendor", vendor), ("device", device), ("class", class)] {
                fs::write(folder.join(file), format!("{text}\n")).unwrap();
            }
        }
        assert_eq!(pci_devices(bus.path()), ["10de:2330"]);
        assert!(pci_devices(&bus.path().join("none")).is_empty());
    }

    #[test]
    fn trying_a_folder_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let facts = folder("run folders", &place.path().join("runs/deep"));
        assert_eq!(facts.path, place.path());
        let FolderFacts { write, rename, sync, lock, .. } = &facts;
        assert_eq!([write, rename, sync, lock], [&None; 4]);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
