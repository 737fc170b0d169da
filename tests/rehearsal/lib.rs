//! A CUDA device made of host memory: [`Device`] starts a program with it, and [`Statistics`] reads what
//! the program made it do. The device itself is C++ in `device/`; docs/gpu.md says what it models.

// Clippy treats only functions marked #[test] as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod inside;
mod places;
mod statistics;

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
};

pub use inside::{Outcome, inside};
pub use places::places;
pub use statistics::{Event, Phase, Statistics};

/// What `build.rs` compiled.
fn folder() -> &'static Path {
    Path::new(concat!(env!("OUT_DIR"), "/device"))
}

/// An empty `libtorch_cuda.so`.
fn broken() -> &'static Path {
    Path::new(concat!(env!("OUT_DIR"), "/broken"))
}

/// A machine with NVIDIA's driver, as a program sees it.
#[derive(Debug, Clone)]
pub struct Device {
    settings: Vec<(&'static str, OsString)>,
    /// Where `libtorch_cuda.so` is found.
    cuda_half: &'static Path,
}

impl Default for Device {
    fn default() -> Self {
        Self { settings: Vec::new(), cuda_half: folder() }
    }
}

impl Device {
    /// One device of 24 GiB, all of it free.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The driver is there, but libtorch's CUDA half does not load.
    #[must_use]
    pub fn with_broken_cuda_half() -> Self {
        Self { cuda_half: broken(), ..Self::default() }
    }

    /// How many devices the driver reports.
    #[must_use]
    pub fn devices(self, count: usize) -> Self {
        self.set("REHEARSAL_DEVICES", count.to_string())
    }

    /// The driver is older than libtorch's CUDA, which then finds no device and warns.
    #[must_use]
    pub fn old_driver(self) -> Self {
        self.set("REHEARSAL_OLD_DRIVER", "1")
    }

    /// Memory of each device, in bytes.
    #[must_use]
    pub fn memory_bytes(self, bytes: u64) -> Self {
        self.set("REHEARSAL_MEMORY_BYTES", bytes.to_string())
    }

    /// How much of it another process holds, in bytes.
    #[must_use]
    pub fn held_bytes(self, bytes: u64) -> Self {
        self.set("REHEARSAL_HELD_BYTES", bytes.to_string())
    }

    /// From this phase on freed memory is not used again, as if it lay in pieces too small.
    #[must_use]
    pub fn fragmented_from_phase(self, phase: u64) -> Self {
        self.set("REHEARSAL_FRAGMENTED_FROM_PHASE", phase.to_string())
    }

    /// Keeps the stack of each wait and copy. Takes time.
    #[must_use]
    pub fn places(self) -> Self {
        self.set("REHEARSAL_PLACES", "1")
    }

    /// Writes the statistics to this file when the program ends.
    #[must_use]
    pub fn statistics(self, file: &Path) -> Self {
        self.set("REHEARSAL_STATISTICS", file)
    }

    /// A variable for the program itself.
    #[must_use]
    pub fn variable(self, name: &'static str, value: impl AsRef<OsStr>) -> Self {
        self.set(name, value)
    }

    fn set(mut self, name: &'static str, value: impl AsRef<OsStr>) -> Self {
        self.settings.push((name, value.as_ref().to_owned()));
        self
    }

    /// A command that runs `program` on this machine.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("LD_PRELOAD", folder().join("nvidia_files.so"));
        command.env("LD_LIBRARY_PATH", library_path(self.cuda_half));
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// The folder, then whatever was there.
fn library_path(first: &Path) -> OsString {
    let others = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let others = std::env::split_paths(&others).filter(|path| !path.as_os_str().is_empty());
    let all: Vec<PathBuf> = std::iter::once(first.to_owned()).chain(others).collect();
    std::env::join_paths(all).expect("no path of a library has a colon")
}

/// The program of `device/checks.cpp`, which checks what tch cannot express.
#[must_use]
pub fn checks() -> PathBuf {
    folder().join("checks")
}
