//! From the start of the process to the end of the first training step of a tiny run: the time before
//! a set-up error would show. Protocol: `benches/peers/README.md`; there is no
//! peer, but a limit.

#[path = "support/measure.rs"]
mod measure;
#[path = "support/tiny.rs"]
mod tiny;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const LIMIT_SECONDS: f64 = 2.0;
const REPEATS: usize = 5;

fn main() -> Result<()> {
    measure::run(&[("startup_to_first_step", startup)])
}

fn startup() -> Result<Value> {
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let home = folder.path();
    tiny::make(home)?;
    // The first run fills the page cache with libtorch.
    first_step(home)?;
    let seconds = (0..REPEATS).map(|_| Ok(first_step(home)?.as_secs_f64()));
    let mut figures = measure::figures(seconds.collect::<Result<_>>()?);
    figures["aim"] = json!({ "seconds": LIMIT_SECONDS });
    Ok(figures)
}

/// Time until the first step is in `metrics.jsonl`.
fn first_step(home: &Path) -> Result<Duration> {
    let log = home.join("run/metrics.jsonl");
    let _ = fs::remove_dir_all(home.join("run"));
    let started = Instant::now();
    let mut run = sonotune(home, &["train", "tiny.toml"]).spawn().context("starting sonotune")?;
    let mut took = None;
    loop {
        let logged = fs::read_to_string(&log).is_ok_and(|text| text.contains('\n'));
        if logged && took.is_none() {
            took = Some(started.elapsed());
        }
        if let Some(status) = run.try_wait().context("waiting for sonotune")? {
            ensure!(status.success(), "`sonotune train` failed");
            return took.with_context(|| format!("{} holds no step", log.display()));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn sonotune(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sonotune"));
    command.args(args).current_dir(home).stdout(Stdio::null());
    command
}
