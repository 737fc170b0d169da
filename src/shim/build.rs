//! Compiles the shim with the headers of the libtorch that torch-sys found.
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

fn main() {
    for file in [
        "unit.cpp",
        "attention.cpp",
        "backends.cpp",
        "checkpoint.cpp",
        "deformable.cpp",
        "determinism.cpp",
        "graph.cpp",
        "point_sample.cpp",
        "shim.cpp",
        "threads.cpp",
        "transfer.cpp",
        "bilinear.h",
        "deformable_kernel.h",
        "guard.h",
        "shim.h",
        "vectorized.h",
        // A folder: any of its files.
        "distributed",
        "nccl",
    ] {
        println!("cargo::rerun-if-changed={file}");
    }
    let lib = env::var("DEP_TCH_LIBTORCH_LIB")
        .expect("torch-sys reports where libtorch is (run `cargo xtask setup`, or set LIBTORCH)");
    let include = PathBuf::from(&lib).join("../include");
    println!("cargo::metadata=LIBTORCH_LIB={lib}");
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .warnings(false)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        // libtorch's parallel_for is a template over OpenMP.
        .flag("-fopenmp")
        // Only some of the versions compiled by `vectorized.h` have fused multiply-add, but all must
        // round the same way on every processor. Where a single rounding matters, the code uses `fma`.
        .flag("-ffp-contract=off")
        // The kernels are slow without it, in all our profiles.
        .opt_level(2)
        // Debug information for libtorch's headers takes longer to write than all the code to compile.
        .debug(false)
        .define("USE_DISTRIBUTED", None)
        .define("USE_C10D", None)
        .define("USE_C10D_GLOO", None)
        .include("distributed/headers")
        .file("unit.cpp")
        .file("distributed/unit.cpp")
        .compile("torch_shim");
    nccl(Path::new(&lib));
    println!("cargo::rustc-link-search=native={lib}");
    println!("cargo::rustc-link-lib=torch_cpu");
    println!("cargo::rustc-link-lib=c10");
    // Same soname as the library that libtorch_cpu has loaded, so both share one thread pool.
    println!("cargo::rustc-link-lib=gomp");
    // For this crate's own tests.
    println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
}

/// Compiles the part with NCCL to a shared object of its own, if this libtorch has its CUDA half and NVIDIA's headers, as
/// the one of `cargo xtask setup --cuda` and that of a Python with CUDA have. The program opens it at run time.
fn nccl(lib: &Path) {
    let torch = lib.join("..");
    // Replaced with all the rest.
    let version = ["version.py", "build-version"].map(|name| torch.join(name));
    if let Some(version) = version.iter().find(|path| path.exists()) {
        println!("cargo::rerun-if-changed={}", version.display());
    }
    let nvidia = torch.join("../nvidia");
    let (cuda, nccl) = (nvidia.join("cu13"), nvidia.join("nccl"));
    let needed = [
        lib.join("libtorch_cuda.so"),
        nccl.join("include/nccl.h"),
        cuda.join("include/cusolverDn.h"),
        cuda.join("lib/libcudart.so.13"),
    ];
    if !needed.iter().all(|path| path.exists()) {
        return;
    }
    let out =
        PathBuf::from(env::var("OUT_DIR").expect("Cargo sets it")).join("libsonotune_nccl.so");
    let include = torch.join("include");
    let mut command: Command = cc::Build::new()
        .cpp(true)
        .std("c++20")
        .warnings(false)
        .define("USE_DISTRIBUTED", None)
        .define("USE_C10D", None)
        .define("USE_C10D_NCCL", None)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .include(cuda.join("include"))
        .include(nccl.join("include"))
        // Only for what NVIDIA's package lacks.
        .flag("-idirafternccl/headers")
        .flag("-fvisibility=hidden")
        .pic(true)
        .opt_level(1)
        .debug(false)
        .cargo_metadata(false)
        .get_compiler()
        .to_command();
    // The wheel links the object anew, for older machines.
    let object = out.with_extension("o");
    let mut linker = Command::new(command.get_program());
    run(command.args(["-c", "nccl/backend.cpp", "-o"]).arg(&object));
    linker.args(["-shared"]).arg(&object).args(["-Wl,-z,defs", "-Wl,--as-needed", "-o"]).arg(&out);
    for folder in [lib, &cuda.join("lib")] {
        linker.arg("-L").arg(folder);
    }
    linker.args(["-ltorch_cuda", "-ltorch_cpu", "-lc10_cuda", "-lc10", "-l:libcudart.so.13"]);
    run(&mut linker);
    println!("cargo::rustc-env=SONOTUNE_NCCL_LIBRARY={}", out.display());
    println!("cargo::metadata=NCCL_LIBRARY={}", out.display());
}

fn run(compiler: &mut Command) {
    let status = compiler.status().expect("the C++ compiler starts, as it has before");
    assert!(status.success(), "the part with NCCL does not compile, see above");
}
