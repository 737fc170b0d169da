//! Compiles the shim against the headers of the libtorch that torch-sys found.
use std::{env, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=shim.cpp");
    println!("cargo::rerun-if-changed=shim.h");
    println!("cargo::rerun-if-changed=attention.cpp");
    println!("cargo::rerun-if-changed=checkpoint.cpp");
    println!("cargo::rerun-if-changed=deformable.cpp");
    println!("cargo::rerun-if-changed=determinism.cpp");
    println!("cargo::rerun-if-changed=point_sample.cpp");
    for file in ["guard.h", "vectorized.h", "bilinear.h", "deformable_kernel.h"] {
        println!("cargo::rerun-if-changed={file}");
    }
    let lib = env::var("DEP_TCH_LIBTORCH_LIB")
        .expect("torch-sys says where libtorch lies (run `cargo xtask setup`, or set LIBTORCH)");
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
        // Of the versions that `vectorized.h` has compiled only some have fused multiply-add: all are to
        // round alike, whatever the processor. Where one rounding matters the code says `fma`.
        .flag("-ffp-contract=off")
        // The kernels are slow without it, in every profile of ours.
        .opt_level(2)
        // Of libtorch's headers it takes longer to write than all the code takes to compile.
        .debug(false)
        .file("shim.cpp")
        .file("attention.cpp")
        .file("checkpoint.cpp")
        .file("deformable.cpp")
        .file("determinism.cpp")
        .file("point_sample.cpp")
        .compile("torch_shim");
    println!("cargo::rustc-link-search=native={lib}");
    println!("cargo::rustc-link-lib=torch_cpu");
    println!("cargo::rustc-link-lib=c10");
    // By its soname the one that libtorch_cpu has loaded: one pool of threads for both.
    println!("cargo::rustc-link-lib=gomp");
    // For this crate's own tests.
    println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
}
