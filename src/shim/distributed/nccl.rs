//! NCCL at run time: a library of its own, which needs libtorch's CUDA half.

use std::{path::PathBuf, sync::OnceLock};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use super::ffi::Backend;
use crate::{ShimError, load_cuda};

const NAME: &str = "libsonotune_nccl.so";
const FUNCTION: &[u8] = b"sonotune_nccl_backend\0";
/// Where this build put it, if libtorch's CUDA half and NCCL's header were there.
const BUILT: Option<&str> = option_env!("SONOTUNE_NCCL_LIBRARY");

/// The function that makes the backend; opens the library once.
pub(super) fn backend() -> Result<Backend, ShimError> {
    static FOUND: OnceLock<Result<Backend, String>> = OnceLock::new();
    load_cuda()?;
    FOUND.get_or_init(open).clone().map_err(ShimError)
}

fn open() -> Result<Backend, String> {
    let mut failures = Vec::new();
    // Tests put another one on the library path; a bundle brings it beside the program.
    let program = std::env::current_exe().ok();
    let beside = program.and_then(|program| Some(program.parent()?.join(NAME)));
    let built = BUILT.map(PathBuf::from);
    let there = [beside, built].into_iter().flatten().filter(|path| path.exists());
    for path in std::iter::once(PathBuf::from(NAME)).chain(there) {
        // SAFETY: the project's own library, of this interface. It has no initialisers of its own.
        match unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) } {
            Ok(library) => {
                return function(library).map_err(|error| format!("{}: {error}", path.display()));
            }
            Err(error) => failures.push(error.to_string()),
        }
    }
    let advice = if BUILT.is_some() {
        "build Sonotune again on this machine"
    } else {
        "this program was built without NCCL: run `cargo xtask setup --cuda`, then build it again"
    };
    Err(format!("NCCL cannot be used: {}; {advice}", failures.join("; ")))
}

fn function(library: Library) -> Result<Backend, String> {
    // SAFETY: the library defines the function with this signature (nccl/backend.cpp).
    let function =
        unsafe { library.get::<Backend>(FUNCTION) }.map_err(|error| error.to_string())?;
    let function = *function;
    // Never unloaded: its threads run until the process ends.
    std::mem::forget(library);
    Ok(function)
}
