//! Compiles the shim with the headers of the libtorch that torch-sys found.
use std::{env, path::PathBuf};

fn main() {
    for file in [
        "unit.cpp",
        "attention.cpp",
        "backends.cpp",
        "checkpoint.cpp",
        "deformable.cpp",
        "determinism.cpp",
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
    println!("cargo::rustc-link-search=native={lib}");
    println!("cargo::rustc-link-lib=torch_cpu");
    println!("cargo::rustc-link-lib=c10");
    // Same soname as the library that libtorch_cpu has loaded, so both share one thread pool.
    println!("cargo::rustc-link-lib=gomp");
    // For this crate's own tests.
    println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
}
