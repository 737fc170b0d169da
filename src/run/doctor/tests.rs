//! Made-up machines.

use super::*;

const GIB: u64 = 1 << 30;

/// A machine with a GPU and nothing wrong.
fn healthy() -> Facts {
    let folder = |role, path: &str| FolderFacts {
        role,
        path: path.into(),
        free_bytes: Some(100 * GIB),
        clock_skew_seconds: Some(0),
        ..FolderFacts::default()
    };
    Facts {
        libtorch: LibtorchFacts {
            built_for: "2.11.0".into(),
            linked_folder: Some("/opt/torch/lib".into()),
            loaded: vec!["/opt/torch/lib/libtorch_cpu.so".into()],
            loaded_version: Some("2.11.0+cu130".into()),
            cuda_version: Some("13.0".into()),
            ld_library_path: None,
        },
        gpu: GpuFacts {
            pci_devices: vec!["10de:2330".into()],
            device_files: true,
            driver: Some("580.82.07".into()),
            cuda_half: Some(Ok(())),
            usable: true,
            device: Some(1),
            name: Some("NVIDIA H100".into()),
            compute_capability: Some("9.0".into()),
            memory_free_bytes: Some(79 * GIB),
            memory_total_bytes: Some(80 * GIB),
            processes: vec![],
            wanted: false,
            refused: None,
        },
        cpu: CpuFacts {
            cores: 16,
            cgroup_cores: None,
            threads: 16,
            omp_num_threads: None,
            waiting: vec!["OMP_WAIT_POLICY=passive".to_owned()],
            products: Some(Ok((1e-6, 1e-3))),
        },
        memory: MemoryFacts {
            total: Some(64 * GIB),
            available: Some(60 * GIB),
            swap_total: Some(8 * GIB),
            swap_free: Some(8 * GIB),
            cgroup_limit: None,
            cgroup_used: None,
        },
        folders: vec![folder("run folders", "/data/runs"), folder("temporary files", "/tmp")],
        open_files: Some(1024),
        clock_seconds: 1_800_000_000,
        plugins: Ok(vec!["classification".into()]),
    }
}

/// The one check that is not ok after a change: name, status, found and remedy.
#[track_caller]
fn only(change: impl FnOnce(&mut Facts)) -> Check {
    let mut facts = healthy();
    change(&mut facts);
    let mut unwell = checks(&facts);
    unwell.retain(|check| check.status != Status::Ok);
    assert_eq!(unwell.len(), 1, "{unwell:?}");
    unwell.remove(0)
}

#[track_caller]
fn assert_says(check: &Check, status: Status, name: &str, parts: &[&str]) {
    assert_eq!((check.status, check.name), (status, name), "{check:?}");
    let text = format!("{} | {}", check.found, check.remedy);
    for part in parts {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
    assert!(!check.remedy.is_empty(), "{check:?}");
}

#[test]
fn a_healthy_machine_has_nothing_to_mend() {
    let all = checks(&healthy());
    assert!(all.iter().all(|c| c.status == Status::Ok && c.remedy.is_empty()), "{all:?}");
    let names: Vec<_> = all.iter().map(|check| check.name).collect();
    assert_eq!(
        names,
        [
            "libtorch",
            "libtorch's place",
            "GPU",
            "driver",
            "GPU memory",
            "processors",
            "arithmetic",
            "memory",
            "run folders",
            "temporary files",
            "open files",
            "clock",
            "plugins"
        ]
    );
    let mut facts = healthy();
    facts.gpu = GpuFacts::default();
    assert!(checks(&facts).iter().all(|c| c.status == Status::Ok));
}

#[test]
fn an_old_driver_is_named_with_the_one_it_takes() {
    let check = only(|facts| {
        facts.gpu.driver = Some("570.124.06".into());
        facts.gpu.usable = false;
        facts.gpu.wanted = true;
    });
    let parts = ["570.124.06 is too old", "CUDA 13.0 needs 580 or newer", "update"];
    assert_says(&check, Status::Fail, "GPU", &parts);
    let check = only(|facts| {
        facts.gpu.driver = Some("520.61".into());
        facts.libtorch.cuda_version = Some("12.8".into());
    });
    assert_says(&check, Status::Fail, "driver", &["needs 525"]);
    let mut unknown = healthy();
    unknown.libtorch.cuda_version = None;
    unknown.gpu.driver = Some("1.2".into());
    assert!(checks(&unknown).iter().all(|c| c.status == Status::Ok), "nothing to compare with");
}

#[test]
fn a_device_without_driver_is_seen() {
    let without = |facts: &mut Facts| {
        let pci_devices = facts.gpu.pci_devices.clone();
        facts.gpu = GpuFacts { pci_devices, wanted: facts.gpu.wanted, ..GpuFacts::default() };
    };
    let check = only(without);
    assert_says(&check, Status::Warn, "GPU", &["10de:2330", "no driver", "use the CPU"]);
    let check = only(|facts| {
        facts.gpu.wanted = true;
        without(facts);
    });
    assert_says(&check, Status::Fail, "GPU", &["no driver", "--gpus all"]);
    let check = only(|facts| facts.gpu = GpuFacts { wanted: true, ..GpuFacts::default() });
    assert_says(&check, Status::Fail, "GPU", &["none on this machine", "device = \"auto\""]);
}

#[test]
fn a_cuda_half_that_does_not_load_gives_the_loaders_words() {
    let check = only(|facts| {
        facts.gpu.cuda_half = Some(Err("libtorch_cuda.so: cannot open".into()));
        facts.gpu.usable = false;
    });
    let parts = ["libtorch_cuda.so: cannot open", "cargo xtask setup --cuda"];
    assert_says(&check, Status::Warn, "GPU", &parts);
    let check = only(|facts| facts.gpu.usable = false);
    assert_says(&check, Status::Warn, "GPU", &["no device", "nvidia-smi"]);
}

#[test]
fn a_device_that_is_not_there_fails() {
    let check = only(|facts| facts.gpu.refused = Some("device = \"cuda:7\", but …".into()));
    assert_says(&check, Status::Fail, "GPU", &["cuda:7", "nvidia-smi -L"]);
}

#[test]
fn the_device_that_runs_use_is_named() {
    let checks = checks(&healthy());
    let check = checks.iter().find(|check| check.name == "GPU").unwrap();
    assert_eq!(check.found, "cuda:1, NVIDIA H100, compute capability 9.0");
}

#[test]
fn who_else_uses_the_device_is_named() {
    let check = only(|facts| {
        facts.gpu.memory_free_bytes = Some(20 * GIB);
        facts.gpu.processes = vec!["process 812, python, 61440".into()];
    });
    let parts = ["20.0 GiB of 80.0 GiB free", "process 812", "CUDA_VISIBLE_DEVICES"];
    assert_says(&check, Status::Warn, "GPU memory", &parts);
}

#[test]
fn another_libtorch_is_refused_and_one_that_shadows_is_said() {
    let check = only(|facts| facts.libtorch.loaded_version = Some("2.10.1".into()));
    assert_says(&check, Status::Fail, "libtorch", &["2.10.1 is loaded", "built for 2.11.0"]);
    let check = only(|facts| {
        facts.libtorch.loaded = vec!["/home/me/torch/lib/libtorch_cpu.so".into()];
        facts.libtorch.ld_library_path = Some("/usr/lib:/home/me/torch/lib".into());
    });
    let parts = ["/home/me/torch/lib, by LD_LIBRARY_PATH", "/opt/torch/lib", "unset"];
    assert_says(&check, Status::Warn, "libtorch's place", &parts);
    let check = only(|facts| {
        facts.libtorch.loaded.push("/usr/lib/libtorch_cpu.so".into());
    });
    assert_says(&check, Status::Fail, "libtorch's place", &["2 copies of libtorch", "LD_PRELOAD"]);
    // A bundle finds it elsewhere than where it was linked; its launcher says so.
    let mut bundle = healthy();
    bundle.libtorch.loaded = vec!["/venv/torch/lib/libtorch_cpu.so".into()];
    assert!(checks(&bundle).iter().all(|c| c.status == Status::Ok));
}

#[test]
fn threads_beyond_the_cores_are_said() {
    let check = only(|facts| facts.cpu.threads = 32);
    assert_says(
        &check,
        Status::Warn,
        "processors",
        &["16 cores, 32 libtorch threads", "OMP_NUM_THREADS=16"],
    );
    let check = only(|facts| facts.cpu.cgroup_cores = Some(2.0));
    assert_says(&check, Status::Warn, "processors", &["limited to 2.0 cores", "OMP_NUM_THREADS=2"]);
    let check = only(|facts| {
        facts.cpu.threads = 1;
        facts.cpu.omp_num_threads = Some("1".into());
    });
    assert_says(&check, Status::Warn, "processors", &["(OMP_NUM_THREADS=1)", "unset"]);
}

#[test]
fn how_threads_wait_is_said() {
    for (waiting, expected) in [
        (&[][..], "threads that sleep when they wait beside other work"),
        (&["OMP_WAIT_POLICY=PASSIVE"], "threads that sleep when they wait"),
        (&["OMP_WAIT_POLICY=active"], "as the environment says (OMP_WAIT_POLICY=active)"),
        (&["GOMP_SPINCOUNT=0"], "as the environment says (GOMP_SPINCOUNT=0)"),
    ] {
        let mut facts = healthy();
        facts.cpu.waiting = waiting.iter().map(|&set| set.to_owned()).collect();
        let checks = checks(&facts);
        let check = checks.iter().find(|check| check.name == "processors").unwrap();
        assert!(check.status == Status::Ok && check.found.contains(expected), "{}", check.found);
    }
}

#[test]
fn wrong_products_fail() {
    let check = only(|facts| facts.cpu.products = Some(Ok((0.5, 1e-3))));
    assert_says(&check, Status::Fail, "arithmetic", &["wrong by 5.0e-1"]);
    let check = only(|facts| facts.cpu.products = Some(Ok((f64::NAN, 1e-3))));
    assert_says(&check, Status::Fail, "arithmetic", &["NaN"]);
    let message = "no kernel image is available".to_owned();
    let check = only(|facts| facts.cpu.products = Some(Err(message)));
    assert_says(&check, Status::Fail, "arithmetic", &["no kernel image"]);
}

#[test]
fn a_containers_limit_counts_as_memory() {
    let check = only(|facts| {
        facts.memory.cgroup_limit = Some(2 * GIB);
        facts.memory.cgroup_used = Some(GIB / 2);
    });
    let parts = ["limit is 2.0 GiB", "512.0 MiB of it used", "--dry-run"];
    assert_says(&check, Status::Warn, "memory", &parts);
    let mut wide = healthy();
    wide.memory.cgroup_limit = Some(1 << 62);
    wide.memory.swap_total = Some(0);
    let all = checks(&wide);
    let memory = all.iter().find(|check| check.name == "memory").unwrap();
    assert_eq!(memory.status, Status::Ok);
    assert!(memory.found.ends_with("no swap: a process that does not fit is killed"), "{memory:?}");
}

#[test]
fn folders_that_cannot_keep_a_run_fail() {
    let readonly = "Read-only file system (os error 30)".to_owned();
    let check = only(|facts| facts.folders[0].write = Some(readonly.clone()));
    let parts = ["/data/runs is not writable: Read-only file system", "run_dir"];
    assert_says(&check, Status::Fail, "run folders", &parts);
    let check = only(|facts| facts.folders[1].write = Some(readonly));
    assert_says(&check, Status::Fail, "temporary files", &["TMPDIR"]);
    let check = only(|facts| facts.folders[0].lock = Some("Function not implemented".into()));
    assert_says(&check, Status::Fail, "run folders", &["locking a file fails"]);
    let check = only(|facts| facts.folders[0].free_bytes = Some(GIB));
    assert_says(&check, Status::Warn, "run folders", &["1.0 GiB free", "--dry-run"]);
}

#[test]
fn files_and_clock() {
    let check = only(|facts| facts.open_files = Some(64));
    assert_says(&check, Status::Warn, "open files", &["64 at most", "ulimit -n"]);
    let check = only(|facts| facts.clock_seconds = 1000);
    assert_says(&check, Status::Warn, "clock", &["1970-01-01", "in the past"]);
    let check = only(|facts| facts.folders[0].clock_skew_seconds = Some(-3600));
    assert_says(&check, Status::Warn, "clock", &["/data/runs are -3600 s off"]);
    let message = "two [task] types are named \"a\"".to_owned();
    let check = only(|facts| facts.plugins = Err(message));
    assert_says(&check, Status::Fail, "plugins", &["two [task] types"]);
}
