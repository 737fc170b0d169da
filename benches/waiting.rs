//! What a step of a tiny run takes on an idle machine, beside as many busy loops as there are cores, and as a
//! niced process beside four times as many: with threads that sleep while they wait for each other as soon as
//! the process has to wait for processors, as Sonotune's do, and with threads that spin, as OpenMP's do by default. Protocol: `benches/peers/README.md`;
//! the peer `spinning` is the same program.

#[path = "support/measure.rs"]
mod measure;
#[path = "support/tiny.rs"]
mod tiny;

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// Steps of a run; the first, which also sets up, is not counted. Fewer where one may take many seconds.
const STEPS: usize = 11;
const FEW: usize = 4;

const IDLE: &str = "step_idle";
const BESIDE: &str = "step_beside_a_loop_per_core";
const NICED: &str = "step_niced_beside_four_loops_per_core";

/// libgomp's own choice where nothing is set.
const SPINNING: (&str, &str) = ("GOMP_SPINCOUNT", "300000");

fn main() -> Result<()> {
    measure::run(&[
        (IDLE, || beside(IDLE, 0, None)),
        (BESIDE, || beside(BESIDE, 1, None)),
        (NICED, || beside(NICED, 4, Some("10"))),
    ])
}

/// Prints the figures of threads that spin; returns those of threads as Sonotune has them.
fn beside(name: &str, loops_per_core: usize, nice: Option<&str>) -> Result<Value> {
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let home = folder.path();
    tiny::make(home)?;
    let cores = std::thread::available_parallelism()?.get();
    let _loops = Loops::start(loops_per_core * cores)?;
    let mut spinning = step(home, nice, &[SPINNING])?;
    spinning["name"] = json!(name);
    spinning["peer"] = json!("spinning");
    println!("{spinning}");
    step(home, nice, &[])
}

/// Seconds of a step.
fn step(home: &Path, nice: Option<&str>, variables: &[(&str, &str)]) -> Result<Value> {
    let steps = if nice.is_some() { FEW } else { STEPS };
    let max_steps = format!("train.max_steps={steps}");
    let all = ["loader.num_workers=1", "logging.every_steps=1", "--overwrite", &max_steps];
    run(home, nice, variables, &[&["train", "tiny.toml"][..], &all].concat())?;
    let log = fs::read_to_string(home.join("run/metrics.jsonl")).context("the log of the run")?;
    let seconds = log.lines().skip(1).map(|line| {
        let line: Value = serde_json::from_str(line)?;
        line["time/step"].as_f64().context("no time of a step")
    });
    let seconds = seconds.collect::<Result<Vec<f64>>>()?;
    ensure!(seconds.len() == steps - 1, "{} steps instead of {steps}", seconds.len() + 1);
    Ok(measure::figures(seconds))
}

fn run(
    home: &Path,
    nice: Option<&str>,
    variables: &[(&str, &str)],
    arguments: &[&str],
) -> Result<()> {
    let program = env!("CARGO_BIN_EXE_sonotune");
    let mut command = Command::new(if nice.is_some() { "nice" } else { program });
    if let Some(nice) = nice {
        command.args(["-n", nice, program]);
    }
    for name in ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"] {
        command.env_remove(name);
    }
    command.args(arguments).current_dir(home).envs(variables.iter().copied());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    ensure!(command.status().context("starting sonotune")?.success(), "`{command:?}` failed");
    Ok(())
}

/// Processes that are busy until this is dropped, or this process has ended.
struct Loops(Vec<Child>);

impl Loops {
    fn start(count: usize) -> Result<Self> {
        let mut loops = Self(Vec::new());
        let busy = format!("while kill -0 {}; do :; done", std::process::id());
        for _ in 0..count {
            let child = Command::new("sh").args(["-c", &busy]).stderr(Stdio::null()).spawn();
            loops.0.push(child.context("starting a busy loop")?);
        }
        Ok(loops)
    }
}

impl Drop for Loops {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
