//! Repeats a bench, measures time and memory, and prints them as `benches/peers/README.md` specifies.

// Each bench uses a part.
#![allow(dead_code)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// A case's name and the function that measures it.
pub(crate) type Case = (&'static str, fn() -> Result<Value>);

/// Lists the cases, or measures the one named on the command line (all if none is named).
pub(crate) fn run(cases: &[Case]) -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|a| a == "--list") {
        cases.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(());
    }
    let wanted = arguments.iter().find(|a| !a.starts_with("--"));
    if let Some(threads) = threads()? {
        tch::set_num_threads(threads);
    }
    let mut measured = 0;
    for (name, case) in cases.iter().filter(|(name, _)| wanted.is_none_or(|w| w == name)) {
        let mut figures = case()?;
        figures["name"] = json!(name);
        println!("{figures}");
        measured += 1;
    }
    if measured == 0 {
        bail!("no such case; --list shows them");
    }
    Ok(())
}

/// The number of threads that the driver asks for.
pub(crate) fn threads() -> Result<Option<i32>> {
    let Ok(threads) = std::env::var("SONOTUNE_BENCH_THREADS") else { return Ok(None) };
    threads.parse().map(Some).context("SONOTUNE_BENCH_THREADS is a number")
}

/// Runs `body` once to warm up, then `repeats` times.
pub(crate) fn seconds(repeats: usize, mut body: impl FnMut() -> Result<()>) -> Result<Value> {
    let own = Path::new("/proc/self");
    let before = memory_mib(own, "VmRSS")?;
    // The peak of building the model does not belong to this case: 5 resets VmHWM.
    fs::write("/proc/self/clear_refs", "5").context("resetting the memory peak")?;
    body()?;
    let mut seconds = Vec::with_capacity(repeats);
    let started = processor_seconds(own)?;
    for _ in 0..repeats {
        let start = Instant::now();
        body()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    let peak = memory_mib(own, "VmHWM")?;
    eprintln!(
        "peak of the entire process: {peak:.0} MiB; processor time {:.3} s per repetition",
        (processor_seconds(own)? - started) / repeats as f64
    );
    let mut figures = figures(seconds);
    figures["peak_mib"] = json!(peak - before);
    Ok(figures)
}

/// Minimum and median.
pub(crate) fn figures(mut seconds: Vec<f64>) -> Value {
    seconds.sort_by(f64::total_cmp);
    json!({ "seconds_min": seconds[0], "seconds_median": seconds[seconds.len() / 2] })
}

/// What one run of a program took.
pub(crate) struct Run {
    pub(crate) seconds: f64,
    pub(crate) peak_mib: f64,
    pub(crate) processor_seconds: f64,
}

/// Runs `command` to its end, without its output.
pub(crate) fn process(command: &mut Command) -> Result<Run> {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn().context("starting sonotune")?;
    let proc = PathBuf::from(format!("/proc/{}", child.id()));
    let mut run = Run { seconds: 0.0, peak_mib: 0.0, processor_seconds: 0.0 };
    loop {
        // The peak only grows; a process that has ended does not report one.
        run.peak_mib = run.peak_mib.max(memory_mib(&proc, "VmHWM").unwrap_or(0.0));
        run.processor_seconds = processor_seconds(&proc).unwrap_or(run.processor_seconds);
        if let Some(status) = child.try_wait().context("waiting for sonotune")? {
            run.seconds = started.elapsed().as_secs_f64();
            ensure!(status.success(), "`{command:?}` failed");
            return Ok(run);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A line of a process's `status`.
pub(crate) fn memory_mib(proc: &Path, key: &str) -> Result<f64> {
    let status = fs::read_to_string(proc.join("status")).context("memory is read on Linux")?;
    let line = status.lines().find(|l| l.starts_with(key)).context("no such line")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib / 1024.0)
}

/// User and system time of a process so far, all threads: more stable than the clock on a busy
/// machine.
fn processor_seconds(proc: &Path) -> Result<f64> {
    let stat = fs::read_to_string(proc.join("stat"))?;
    let after_name = stat.rsplit(')').next().context("no name in stat")?;
    let fields = after_name.split_whitespace().skip(11).take(2);
    Ok(fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0)
}
