//! Converts paired 512² PNGs to COCO with the program: reading, components, writing, syncing. Protocol
//! and input are those of `benches/peers/convert.py`, which draws the pairs.

#[path = "support/measure.rs"]
mod measure;

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const SPEC: &str = include_str!("../tests/fixtures/curation/pairs.toml");

fn main() -> Result<()> {
    measure::run(&[("convert_pairs_512", convert)])
}

fn convert() -> Result<Value> {
    let count = std::env::var("SONOTUNE_BENCH_IMAGES").unwrap_or_else(|_| "10000".to_owned());
    let count: usize = count.parse().context("SONOTUNE_BENCH_IMAGES is a number")?;
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-pairs");
    let source = all.join(count.to_string());
    if !source.is_dir() {
        let skipped = "the pairs are drawn by `python benches/peers/convert.py --list`";
        return Ok(json!({ "skipped": skipped }));
    }
    // Beside the source: the same disk as the peer writes to.
    let folder = tempfile::tempdir_in(&all).context("a temporary folder")?;
    let (spec, out) = (folder.path().join("pairs.toml"), folder.path().join("out"));
    fs::write(&spec, SPEC).context("writing the spec")?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_sonotune"));
    command.args(["data", "convert", "--json"]).args([&spec, &source, &out]);
    if let Some(threads) = measure::threads()? {
        command.args(["--threads", &threads.to_string()]);
    }
    let run = measure::process(&mut command)?;
    let written = fs::read_dir(out.join("images"))?.count();
    ensure!(written == count, "{written} images of {count}");
    eprintln!("{count} images, processor time {:.3} s", run.processor_seconds);
    let mut figures = measure::figures(vec![run.seconds]);
    figures["images_per_second"] = json!(count as f64 / run.seconds);
    figures["peak_mib"] = json!(run.peak_mib);
    figures["aim"] = json!({ "time_ratio": 0.2 });
    Ok(figures)
}
