//! `cargo xtask bench scaling`: what several GPUs would make of a training step, on paper.
//!
//! A bucket of gradients is sent once backward has filled it and the bucket before it has been sent. A ring of N
//! processes takes 2(N − 1) hops, in each of which every process sends an N-th of the bucket:
//! `2(N − 1)/N · bytes / bandwidth + 2(N − 1) · hop`. Whatever is left when backward ends is what the step waits
//! for, beside one exchange of the losses' values before backward, of a few bytes. Sizes of the buckets, and
//! the share of backward after which each is full, are measured (`benches/parallel.rs --buckets`, on the CPU);
//! the time of a step on one GPU is assumed, see [`Load`].

use std::{fmt::Write, fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::{process, setup, workspace};

#[derive(Debug, clap::Args)]
pub(crate) struct ScalingArgs {
    /// File with the buckets, as an earlier call wrote it [default: measure them].
    #[arg(long)]
    buckets: Option<PathBuf>,
    /// File to write the table to; the measured buckets are written beside it.
    #[arg(long, default_value = "target/bench/scaling.md")]
    out: PathBuf,
}

/// The gradients of a model.
#[derive(Debug, Deserialize)]
struct Sent {
    model: String,
    /// In the order in which they are sent.
    buckets: Vec<Bucket>,
}

#[derive(Debug, Deserialize)]
struct Bucket {
    bytes: u64,
    /// The share of backward after which it is full.
    at: f64,
}

/// Between two neighbours of the ring.
struct Link {
    name: &'static str,
    bytes_per_second: f64,
    /// Time of a message without contents.
    hop_seconds: f64,
}

/// NVLink, and Ethernet of 25 Gbit/s through TCP.
const LINKS: [Link; 2] = [
    Link { name: "100 GB/s", bytes_per_second: 100e9, hop_seconds: 5e-6 },
    Link { name: "3 GB/s", bytes_per_second: 3e9, hop_seconds: 30e-6 },
];
const PROCESSES: [u32; 2] = [8, 64];
/// Share of backward in a step; forward is the rest.
const BACKWARD: f64 = 2.0 / 3.0;

/// What one GPU has to do for a batch.
#[derive(Debug, Clone, Copy)]
struct Load {
    model: &'static str,
    /// Seconds of an image, in a batch large enough.
    image_seconds: f64,
    /// Seconds of the smallest batch: kernels times 5 µs to launch one.
    least_seconds: f64,
    images: u32,
    /// Batches per step.
    accumulate: u32,
}

const ULTRASAM: Load = Load {
    model: "UltraSam, all of it (ViT-B)",
    // 2.92 TFLOP at a fifth of the 989 TFLOP/s of an H200.
    image_seconds: 14.8e-3,
    least_seconds: 2840.0 * 5e-6,
    images: 8,
    accumulate: 1,
};
/// Without the gradients of weights, a third of the work.
const LORA: Load = Load { model: "UltraSam, LoRA", image_seconds: 14.8e-3 * 2.0 / 3.0, ..ULTRASAM };
/// 2,000 images of 256² a second; about 1,000 kernels.
const RESNET: Load = Load {
    model: "ResNet-50 classification",
    image_seconds: 0.5e-3,
    least_seconds: 1000.0 * 5e-6,
    images: 32,
    accumulate: 1,
};

const LOADS: [Load; 9] = [
    ULTRASAM,
    Load { images: 4, ..ULTRASAM },
    Load { images: 1, ..ULTRASAM },
    Load { accumulate: 4, ..ULTRASAM },
    LORA,
    Load { images: 1, ..LORA },
    RESNET,
    Load { images: 8, ..RESNET },
    Load { accumulate: 4, ..RESNET },
];

pub(super) fn run(args: &ScalingArgs) -> Result<()> {
    let out = workspace::root().join(&args.out);
    let text = match &args.buckets {
        Some(file) => {
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?
        }
        None => measured()?,
    };
    let sent: Vec<Sent> = serde_json::from_str(&text).context("the buckets are not as expected")?;
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let table = table(&sent)?;
    for (path, text) in [(&out, &table), (&out.with_extension("buckets.json"), &text)] {
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("{table}\nwritten to {}", workspace::shown(&out));
    Ok(())
}

fn measured() -> Result<String> {
    setup::ensure_libtorch()?;
    let mut build = process::cargo();
    build.args(["bench", "--package", "sonotune", "--bench", "parallel", "--no-run"]);
    let mut benches = process::cargo_executables(&mut build)?;
    benches.retain(|built| built.kind == "bench");
    let bench = benches.first().context("cargo built no bench")?;
    let mut command = Command::new(&bench.path);
    process::without_cargo_run(command.arg("--buckets").current_dir(workspace::root()));
    process::output(&mut command)
}

/// Seconds that a step waits for others.
fn waiting(buckets: &[Bucket], backward: f64, processes: u32, link: &Link) -> f64 {
    let hops = f64::from(2 * (processes - 1));
    let sent = |bytes: f64| {
        hops / f64::from(processes) * bytes / link.bytes_per_second + hops * link.hop_seconds
    };
    let end = buckets
        .iter()
        .fold(0.0, |end: f64, bucket| end.max(bucket.at * backward) + sent(bucket.bytes as f64));
    sent(0.0) + (end - backward).max(0.0)
}

impl Load {
    /// Seconds of a batch on one GPU.
    fn batch_seconds(&self) -> f64 {
        (self.image_seconds * f64::from(self.images)).max(self.least_seconds)
    }

    /// Seconds of a step on one GPU.
    fn step_seconds(&self) -> f64 {
        self.batch_seconds() * f64::from(self.accumulate)
    }

    /// Seconds that a step waits, on several GPUs. Gradients are sent with the last batch of a step, values
    /// with each.
    fn waiting(&self, buckets: &[Bucket], processes: u32, link: &Link) -> f64 {
        let of_values = waiting(&[], 0.0, processes, link);
        waiting(buckets, self.batch_seconds() * BACKWARD, processes, link)
            + f64::from(self.accumulate - 1) * of_values
    }
}

fn table(sent: &[Sent]) -> Result<String> {
    let mut text = String::from("| model | gradients | images a GPU | step of one GPU, ms |");
    for link in &LINKS {
        for processes in PROCESSES {
            let _ = write!(text, " {processes} GPUs, {} |", link.name);
        }
    }
    text.push_str("\n|---|---|---|---|---|---|---|---|\n");
    for load in LOADS {
        let model = sent.iter().find(|sent| sent.model == load.model);
        let Sent { model, buckets } =
            model.with_context(|| format!("no buckets of {}", load.model))?;
        ensure!(!buckets.is_empty(), "{model} has no gradients");
        let mib =
            buckets.iter().map(|bucket| bucket.bytes).sum::<u64>() as f64 / f64::from(1 << 20);
        let images = match load.accumulate {
            1 => load.images.to_string(),
            accumulate => format!("{accumulate} × {}", load.images),
        };
        let step = load.step_seconds();
        let count = buckets.len();
        let _ =
            write!(text, "| {model} | {mib:.1} MiB in {count} | {images} | {:.1} |", step * 1e3);
        for link in &LINKS {
            for processes in PROCESSES {
                let waits = load.waiting(buckets, processes, link);
                let share = 100.0 * step / (step + waits);
                let _ = write!(text, " {share:.0} % (waits {:.1} ms) |", waits * 1e3);
            }
        }
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(bytes_per_second: f64, hop_seconds: f64) -> Link {
        Link { name: "", bytes_per_second, hop_seconds }
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    }

    #[test]
    fn only_what_is_left_after_backward_is_waited_for() {
        // Two processes send each bucket once: 1 GB in 0.1 s.
        let fast = link(10e9, 0.0);
        let bucket = |at| Bucket { bytes: 1_000_000_000, at };
        close(waiting(&[bucket(0.5), bucket(1.0)], 1.0, 2, &fast), 0.1);
        // The second is full while the first is being sent.
        close(waiting(&[bucket(0.95), bucket(1.0)], 1.0, 2, &fast), 0.15);
        // Everything is sent before backward ends.
        close(waiting(&[bucket(0.5)], 1.0, 2, &fast), 0.0);
        // Eight send 14/8 of it.
        close(waiting(&[bucket(1.0)], 1.0, 8, &fast), 0.175);
        // Hops: 14 for the values, 14 for the bucket.
        close(waiting(&[bucket(1.0)], 1.0, 8, &link(10e9, 0.001)), 0.203);
    }

    #[test]
    fn accumulated_batches_wait_once_for_gradients_and_each_time_for_values() {
        let load =
            Load { model: "", image_seconds: 0.5, least_seconds: 1.0, images: 1, accumulate: 3 };
        close(load.step_seconds(), 3.0);
        let buckets = [Bucket { bytes: 1_000_000_000, at: 1.0 }];
        close(load.waiting(&buckets, 2, &link(10e9, 0.001)), 0.1 + 4.0 * 0.002);
    }

    #[test]
    fn the_table_has_a_row_for_each_load_and_names_a_missing_model() {
        let sent = |load: &Load| Sent {
            model: load.model.to_owned(),
            buckets: vec![Bucket { bytes: 1 << 20, at: 1.0 }],
        };
        let all: Vec<_> = [ULTRASAM, LORA, RESNET].iter().map(sent).collect();
        let text = table(&all).unwrap();
        assert_eq!(text.lines().count(), 2 + LOADS.len(), "{text}");
        assert!(
            text.contains("| ResNet-50 classification | 1.0 MiB in 1 | 4 × 32 | 64.0 |"),
            "{text}"
        );
        let error = table(&all[..2]).unwrap_err().to_string();
        assert_eq!(error, "no buckets of ResNet-50 classification");
    }
}
