//! `sonotune doctor`: what this machine offers, and whether it computes as it should.

use std::time::Instant;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::{
    config::{DeviceChoice, Precision},
    device,
    logging::{Environment, peak_memory},
    trainer::autocast,
};

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Device to examine.
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Findings {
    device: String,
    environment: Environment,
    /// 1024² matrix products.
    fp32_gflops: f64,
    bf16_gflops: f64,
    /// Largest relative difference of an fp32 product on the device from fp64 on the CPU.
    fp32_error: f64,
    bf16_error: f64,
    peak_memory_bytes: Option<u64>,
    cuda_memory_free_bytes: Option<i64>,
}

const SIDE: i64 = 1024;

pub(super) fn run(args: &DoctorArgs) -> Result<()> {
    let chosen = device::choose(args.device)?;
    let device = chosen.device;
    let (fp32_gflops, fp32_error) = matrix_product(device, Precision::Fp32)?;
    let (bf16_gflops, bf16_error) = matrix_product(device, Precision::Bf16)?;
    let cuda_memory = match device {
        Device::Cuda(index) => Some(torch_shim_sys::cuda_memory(index)?),
        _ => None,
    };
    let findings = Findings {
        device: chosen.reason,
        environment: Environment::collect(device, Precision::Fp32, 0),
        fp32_gflops,
        bf16_gflops,
        fp32_error,
        bf16_error,
        peak_memory_bytes: peak_memory(device),
        cuda_memory_free_bytes: cuda_memory.map(|m| m.free),
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        print_findings(&findings);
    }
    // 1024 products of fp32 rounding 6e-8, of bf16 rounding 4e-3: an order of magnitude to spare.
    anyhow::ensure!(
        findings.fp32_error < 1e-3 && findings.bf16_error < 5e-2,
        "this device does not multiply matrices as it should"
    );
    Ok(())
}

fn print_findings(findings: &Findings) {
    let Environment { sonotune, libtorch, threads, cpu_model, device_name, .. } =
        &findings.environment;
    println!("sonotune {sonotune}, libtorch {libtorch}");
    println!("device: {}", findings.device);
    println!("processor: {}, {threads} threads", cpu_model.as_deref().unwrap_or("unknown"));
    if let (Some(name), Some(_)) = (device_name, findings.cuda_memory_free_bytes) {
        println!("accelerator: {name}");
    }
    let line = |name: &str, gflops: f64, error: f64| {
        println!("{name}: {gflops:.0} GFLOP/s in products of {SIDE}², largest error {error:.1e}");
    };
    line("fp32", findings.fp32_gflops, findings.fp32_error);
    line("bf16", findings.bf16_gflops, findings.bf16_error);
}

/// Speed in GFLOP/s, and the largest difference from fp64 over the largest value.
fn matrix_product(device: Device, precision: Precision) -> Result<(f64, f64)> {
    tch::manual_seed(0);
    let [a, b] = [(); 2].map(|()| Tensor::randn([SIDE, SIDE], (Kind::Float, Device::Cpu)));
    let expected = a.to_kind(Kind::Double).matmul(&b.to_kind(Kind::Double));
    let (a, b) = (a.to_device(device), b.to_device(device));
    let _scope = autocast(precision, device)?;
    let product = || a.matmul(&b);
    let got = product().to_kind(Kind::Double).to_device(Device::Cpu);
    let difference = (&got - &expected).abs().max() / expected.abs().max();

    const REPEATS: i32 = 10;
    let begin = Instant::now();
    let mut last = product();
    for _ in 1..REPEATS {
        last = product();
    }
    // Reading a value waits for the device.
    let _ = last.double_value(&[0, 0]);
    let operations = 2.0 * (SIDE as f64).powi(3) * f64::from(REPEATS);
    Ok((operations / begin.elapsed().as_secs_f64() / 1e9, difference.double_value(&[])))
}
