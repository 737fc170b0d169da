//! Compiles the device with the headers of the libtorch that torch-sys found, and what is preloaded.
use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

const OPERATORS: &str = "cuda_operators.txt";
/// Its C++ parts of data parallel, which what stands in for NCCL uses as well.
const SHIM: &str = "../../src/shim/distributed";

fn main() -> Result<(), Box<dyn Error>> {
    for path in ["device", OPERATORS, "build.rs", SHIM] {
        println!("cargo::rerun-if-changed={path}");
    }
    let lib = env::var("DEP_TCH_LIBTORCH_LIB")
        .map_err(|_| "torch-sys does not say where libtorch is; run `cargo xtask setup`")?;
    let lib = PathBuf::from(lib);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // A folder of its own: it goes into LD_LIBRARY_PATH.
    let folder = out.join("device");
    fs::create_dir_all(&folder)?;
    list_operators(&out)?;
    // A CUDA half that does not load.
    fs::create_dir_all(out.join("broken"))?;
    fs::write(out.join("broken/libtorch_cuda.so"), "")?;
    let mut preloaded = compiler(false).get_compiler().to_command();
    preloaded.args(["-shared", "device/nvidia_files.c", "-ldl", "-o"]);
    run(preloaded.arg(folder.join("nvidia_files.so")))?;
    let mut checks = cpp(&lib, &out);
    checks.arg("device/checks.cpp").arg("-o").arg(folder.join("checks"));
    // As a run path, which LD_LIBRARY_PATH precedes: the device goes before libtorch's own CUDA half.
    checks.arg(format!("-Wl,--enable-new-dtags,-rpath,{}", lib.display()));
    link(&mut checks, &lib);
    let objects = ["device", "nccl"].map(|name| out.join(name).with_extension("o"));
    let [mut device, mut nccl] =
        [("device", &objects[0]), ("nccl", &objects[1])].map(|(name, object)| {
            let mut command = cpp(&lib, &out);
            command.arg("-c").arg(format!("device/{name}.cpp")).arg("-o").arg(object);
            command
        });
    nccl.arg("-I").arg(format!("{SHIM}/headers")).arg("-I").arg(format!("{SHIM}/.."));
    nccl.args(["-DUSE_DISTRIBUTED", "-DUSE_C10D", "-DUSE_C10D_GLOO"]);
    thread::scope(|scope| {
        let beside = [&mut checks, &mut nccl].map(|command| scope.spawn(|| run(command)));
        run(&mut device)?;
        for compiler in beside {
            compiler.join().map_err(|_| "the compiler's thread panicked".to_owned())??;
        }
        Ok::<_, String>(())
    })?;
    let library = folder.join("libtorch_cuda.so");
    let mut linker = compiler(true).get_compiler().to_command();
    linker.args(&objects).args(["-shared", "-Wl,-soname,libtorch_cuda.so", "-o"]).arg(&library);
    link(&mut linker, &lib);
    run(&mut linker)?;
    // One library under both names, so that there is one device.
    let nccl = folder.join("libsonotune_nccl.so");
    if fs::symlink_metadata(&nccl).is_err() {
        std::os::unix::fs::symlink("libtorch_cuda.so", nccl)?;
    }
    // For this crate's own tests.
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
    Ok(())
}

/// The list as the lines of a C++ array.
fn list_operators(out: &Path) -> std::io::Result<()> {
    let names = fs::read_to_string(OPERATORS)?;
    let names = names.lines().filter(|line| !line.starts_with('#'));
    let lines: String = names.map(|name| format!("\"{name}\",\n")).collect();
    fs::write(out.join("cuda_operators.inc"), lines)
}

fn compiler(cpp: bool) -> cc::Build {
    let mut build = cc::Build::new();
    // The device's own work is small; that of its kernels is in libtorch.
    build.cpp(cpp).opt_level(1).debug(false).warnings(false).pic(true).cargo_metadata(false);
    build
}

fn cpp(lib: &Path, out: &Path) -> Command {
    let include = lib.join("../include");
    compiler(true)
        .std("c++20")
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .include(out)
        .get_compiler()
        .to_command()
}

fn link(command: &mut Command, lib: &Path) {
    command.arg("-L").arg(lib).args(["-Wl,--no-as-needed", "-ltorch_cpu", "-lc10", "-ldl"]);
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().display().to_string();
    let status = command.status().map_err(|error| format!("{program}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{program} failed, see above")) }
}
