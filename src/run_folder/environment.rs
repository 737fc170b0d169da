//! Where and how a run was made.

use std::path::PathBuf;

use serde::Serialize;

/// Content of `env.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Environment {
    /// This program's version.
    pub sonotune: &'static str,
    /// Commit of the source it was built from, if the build knew it.
    pub git_commit: Option<&'static str>,
    /// Version of libtorch.
    pub libtorch: String,
    /// `cpu` or `cuda:0`.
    pub device: String,
    /// Product name of the GPU, or of the CPU on a CPU run.
    pub device_name: Option<String>,
    /// Number format that is computed in; with `precision = "auto"`, what that was.
    pub precision: String,
    /// As configured, on CUDA; the CPU has only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention_backend: Option<&'static str>,
    /// As configured.
    pub seed: u64,
    /// Threads of libtorch's CPU operators.
    pub threads: i32,
    /// As the kernel names it.
    pub cpu_model: Option<String>,
    /// This machine's name.
    pub hostname: Option<String>,
    /// Distribution and kernel.
    pub os: String,
    /// UTC, RFC 3339.
    pub start_time: String,
    /// For a resumed run: the step of the checkpoint that it continued from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_step: Option<u64>,
    /// Program and arguments.
    pub command_line: Vec<String>,
    /// Relative paths of the config start here.
    pub working_directory: Option<PathBuf>,
}
