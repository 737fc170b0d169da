//! Passes the folder of libtorch on to whoever links a binary (`DEP_*` reaches direct dependents
//! only), and lets this crate's own tests find it.
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Ok(lib) = std::env::var("DEP_TORCH_SHIM_LIBTORCH_LIB") {
        println!("cargo::metadata=LIBTORCH_LIB={lib}");
        println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
    }
}
