//! Repeats a bench, measures time and memory, and prints them as `benches/peers/README.md` specifies.

use std::{fs, time::Instant};

use anyhow::{Context, Result, bail};
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
    if let Ok(threads) = std::env::var("SONOTUNE_BENCH_THREADS") {
        tch::set_num_threads(threads.parse().context("SONOTUNE_BENCH_THREADS is a number")?);
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

/// Runs `body` once to warm up, then `repeats` times.
pub(crate) fn seconds(repeats: usize, mut body: impl FnMut() -> Result<()>) -> Result<Value> {
    let before = memory_mib("VmRSS")?;
    // The peak of building the model does not belong to this case: 5 resets VmHWM.
    fs::write("/proc/self/clear_refs", "5").context("resetting the memory peak")?;
    body()?;
    let mut seconds = Vec::with_capacity(repeats);
    let started = processor_seconds()?;
    for _ in 0..repeats {
        let start = Instant::now();
        body()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    let peak = memory_mib("VmHWM")?;
    eprintln!(
        "peak of the entire process: {peak:.0} MiB; processor time {:.3} s per repetition",
        (processor_seconds()? - started) / repeats as f64
    );
    seconds.sort_by(f64::total_cmp);
    Ok(json!({
        "seconds_min": seconds[0],
        "seconds_median": seconds[repeats / 2],
        "peak_mib": peak - before,
    }))
}

fn memory_mib(key: &str) -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status").context("memory is read on Linux")?;
    let line = status.lines().find(|l| l.starts_with(key)).context("no such line")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib / 1024.0)
}

/// User and system time of the process so far, all threads: more stable than the clock on a busy
/// machine.
fn processor_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().context("no name in stat")?;
    let fields: Vec<f64> =
        after_name.split_whitespace().skip(11).take(2).filter_map(|f| f.parse().ok()).collect();
    Ok(fields.iter().sum::<f64>() / 100.0)
}
