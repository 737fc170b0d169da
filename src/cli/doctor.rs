//! `sonotune doctor`: what this machine offers, whether it computes as it should, and what to fix.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use sonotune_engine::device::{self, AttentionBackend, DeviceChoice, Local, Precision, autocast};
use sonotune_run::logging::environment;
use sonotune_run::{
    doctor::{self, Check, Status, probe::Probe},
    logging::peak_memory,
};
use sonotune_run_folder::Environment;

use crate::progress::Busy;

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Device to examine.
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// Folder that runs will be written to.
    #[arg(long, value_name = "FOLDER", default_value = "runs")]
    run_dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Findings {
    /// The worst of the checks.
    status: Status,
    checks: Vec<Check>,
    device: String,
    environment: Environment,
    speed: Option<Speed>,
    peak_memory_bytes: Option<u64>,
    cuda_memory_free_bytes: Option<i64>,
}

/// Matrix products.
#[derive(Debug, Clone, Serialize)]
struct Speed {
    /// Rows and columns of the matrices.
    side: i64,
    fp32_gflops: f64,
    bf16_gflops: f64,
    /// Largest relative difference of an fp32 product on the device from fp64 on the CPU.
    fp32_error: f64,
    bf16_error: f64,
}

pub(super) fn run(args: &DoctorArgs) -> Result<()> {
    let busy = Busy::new("measuring");
    let findings = examine(args);
    drop(busy);
    crate::present(args.json, &findings, print_findings)?;
    let failed = findings.checks.iter().filter(|check| check.status == Status::Fail).count();
    anyhow::ensure!(failed == 0, "{failed} of {} checks failed", findings.checks.len());
    Ok(())
}

fn examine(args: &DoctorArgs) -> Findings {
    // An unavailable device is one of the findings; everything else is then checked on the CPU.
    let (device, words, refused) = match device::choose(args.device, Local::default()) {
        Ok(chosen) => (chosen.device, chosen.reason, false),
        Err(error) => (Device::Cpu, error.to_string(), true),
    };
    let speed = speed(device);
    let errors = match &speed {
        Ok(speed) => Ok((speed.fp32_error, speed.bf16_error)),
        Err(error) => Err(format!("{error:#}")),
    };
    let wants_cuda = args.device.is_cuda();
    let refused = refused.then_some(words.as_str());
    let probe = Probe { device, wants_cuda, refused, run_dir: &args.run_dir };
    let checks = doctor::checks(&doctor::probe::facts(&probe, errors));
    let cuda_memory = match device {
        Device::Cuda(index) => sonotune_shim::cuda_memory(index).ok(),
        _ => None,
    };
    Findings {
        status: checks.iter().map(|check| check.status).max().unwrap_or(Status::Ok),
        checks,
        device: words,
        environment: environment(device.into(), AttentionBackend::default(), 0),
        speed: speed.ok(),
        peak_memory_bytes: peak_memory(device),
        cuda_memory_free_bytes: cuda_memory.map(|m| m.free),
    }
}

fn print_findings(findings: &Findings) {
    let Environment { sonotune, cpu_model, .. } = &findings.environment;
    println!("sonotune {sonotune}, on {}", cpu_model.as_deref().unwrap_or("an unknown processor"));
    println!("device: {}", findings.device);
    if let Some(speed) = &findings.speed {
        println!(
            "speed: fp32 {:.1}, bf16 {:.1} GFLOP/s in products of {}²",
            speed.fp32_gflops, speed.bf16_gflops, speed.side
        );
    }
    let width = findings.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    for Check { name, status, found, remedy } in &findings.checks {
        let word = match status {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail => "FAIL",
        };
        println!("{word:4}  {name:width$}  {found}");
        if !remedy.is_empty() {
            println!("      {:width$}  -> {remedy}", "");
        }
    }
}

fn speed(device: Device) -> Result<Speed> {
    let fp32_error = error(device, Precision::Fp32)?;
    let bf16_error = error(device, Precision::Bf16)?;
    let (side, fp32_gflops) = fastest(device)?;
    let bf16_gflops = gflops(side, device, Kind::BFloat16)?;
    Ok(Speed { side, fp32_gflops, bf16_gflops, fp32_error, bf16_error })
}

/// Largest difference of a matrix product from fp64, over the largest value.
fn error(device: Device, precision: Precision) -> Result<f64> {
    const SIDE: i64 = 512;
    tch::manual_seed(0);
    let [a, b] = [(); 2].map(|()| Tensor::randn([SIDE, SIDE], (Kind::Float, Device::Cpu)));
    let expected = a.to_kind(Kind::Double).f_matmul(&b.to_kind(Kind::Double))?;
    let (a, b) = (a.f_to_device(device)?, b.f_to_device(device)?);
    let _scope = autocast(precision, device)?;
    let got = a.f_matmul(&b).context("multiplying matrices")?;
    let got = got.f_to_kind(Kind::Double)?.f_to_device(Device::Cpu)?;
    Ok(f64::try_from((&got - &expected).abs().max() / expected.abs().max())?)
}

/// Side of the matrices and speed in GFLOP/s in fp32. A GPU is done with small ones before the host has
/// asked for the next, so they grow until a product takes long enough or memory is scarce.
fn fastest(device: Device) -> Result<(i64, f64)> {
    const LARGEST: i64 = 8192;
    // A processor without instructions for bf16 is about fifty times slower in it.
    let Device::Cuda(index) = device else { return Ok((512, gflops(512, device, Kind::Float)?)) };
    let fits = |side: i64| {
        let free = sonotune_shim::cuda_memory(index).map_or(0, |memory| memory.free);
        // Two factors and two products of four bytes, and as much again for the library.
        side * side * 32 < free
    };
    let (mut side, mut speed) = (1024, gflops(1024, device, Kind::Float)?);
    while side < LARGEST && operations(side) / speed < 0.01 && fits(2 * side) {
        side *= 2;
        speed = gflops(side, device, Kind::Float)?;
    }
    Ok((side, speed))
}

/// Billions of operations of a product.
fn operations(side: i64) -> f64 {
    2.0 * (side as f64).powi(3) / 1e9
}

/// Speed of matrix products in GFLOP/s.
fn gflops(side: i64, device: Device, kind: Kind) -> Result<f64> {
    const REPEATS: i32 = 10;
    const ENOUGH: Duration = Duration::from_secs(1);
    let [a, b] = [(); 2].map(|()| Tensor::f_randn([side, side], (Kind::Float, device)));
    let (a, b) = (a?.f_to_kind(kind)?, b?.f_to_kind(kind)?);
    let product = || a.f_matmul(&b).context("multiplying matrices");
    // Reading a value waits for the device.
    let wait = |result: &Tensor| -> Result<()> {
        f64::try_from(result.f_get(0)?.f_get(0)?.f_to_kind(Kind::Double)?)?;
        Ok(())
    };
    let mut last = product()?;
    wait(&last)?;
    let begin = Instant::now();
    let mut repeats = 0;
    while repeats < REPEATS && begin.elapsed() < ENOUGH {
        last = product()?;
        repeats += 1;
    }
    wait(&last)?;
    Ok(operations(side) * f64::from(repeats) / begin.elapsed().as_secs_f64())
}
