//! Converts paired 512² PNGs to COCO with the program: reading, components, writing, syncing. Protocol
//! and input are those of `benches/peers/convert.py`, which draws the pairs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const CASE: &str = "convert_pairs_512";

const SPEC: &str = r#"
name = "Pairs"
title = "Pairs"
application = "breast"
url = "https://example.org"
licence = "CC0"
access = "open"
source = ["pairs"]
categories = [{ id = 1, name = "lesion", supercategory = "lesion" }]

[rasters.images]
files = "img/*.png"
key = '([^/]+)\.png$'

[[rasters.masks]]
files = "seg/*.png"
key = '([^/]+)\.png$'
decode = { at_least = 128 }
category = 1
"#;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        println!("{CASE}");
        return Ok(());
    }
    let wanted = arguments.iter().find(|argument| !argument.starts_with("--"));
    if wanted.is_some_and(|name| name != CASE) {
        return Ok(());
    }
    let count = std::env::var("SONOTUNE_BENCH_IMAGES").unwrap_or_else(|_| "10000".to_owned());
    let count: usize = count.parse().context("SONOTUNE_BENCH_IMAGES is a number")?;
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-pairs");
    let source = all.join(count.to_string());
    if !source.is_dir() {
        let skipped = "the pairs are drawn by `python benches/peers/convert.py --list`";
        println!("{}", json!({ "name": CASE, "skipped": skipped }));
        return Ok(());
    }
    // Beside the source: the same disk as the peer writes to.
    let folder = tempfile::tempdir_in(&all).context("a temporary folder")?;
    let mut figures = measure(&source, folder.path(), count)?;
    figures["name"] = json!(CASE);
    figures["aim"] = json!({ "time_ratio": 0.2 });
    println!("{figures}");
    Ok(())
}

fn measure(source: &Path, folder: &Path, count: usize) -> Result<Value> {
    let spec = folder.join("pairs.toml");
    fs::write(&spec, SPEC).context("writing the spec")?;
    let out = folder.join("out");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sonotune"));
    command.args(["data", "convert", "--json"]).args([&spec, &source.to_owned(), &out]);
    if let Ok(threads) = std::env::var("SONOTUNE_BENCH_THREADS") {
        command.args(["--threads", &threads]);
    }
    let before = processor_seconds_of_children()?;
    let start = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn().context("starting sonotune")?;
    let status_file = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut peak_mib = 0.0;
    let status = loop {
        // The peak only grows; the last reading is recent enough.
        peak_mib = peak(&status_file).unwrap_or(peak_mib);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let seconds = start.elapsed().as_secs_f64();
    ensure!(status.success(), "the conversion failed");
    let written = fs::read_dir(out.join("images"))?.count();
    ensure!(written == count, "{written} images of {count}");
    let processor = processor_seconds_of_children()? - before;
    eprintln!("{count} images, processor time {processor:.3} s");
    Ok(json!({
        "seconds_min": seconds,
        "seconds_median": seconds,
        "images_per_second": count as f64 / seconds,
        "peak_mib": peak_mib,
    }))
}

/// Peak memory of the process so far; none once it has ended.
fn peak(status: &Path) -> Option<f64> {
    let status = fs::read_to_string(status).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

/// User and system time of processes that have ended.
fn processor_seconds_of_children() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().context("no name in stat")?;
    let fields = after_name.split_whitespace().skip(13).take(2);
    Ok(fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0)
}
