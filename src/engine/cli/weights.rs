//! `sonotune weights`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::{
    Error,
    weights::{self, ConvertOptions, Dtype, Inspection},
};

#[derive(Debug, Subcommand)]
pub(super) enum WeightsVerb {
    /// Show what a .pth or .safetensors file holds, and whose names it uses; runs nothing in it.
    Inspect(InspectArgs),
    /// Write the model's tensors to another file: container, names, number format.
    Convert(ConvertArgs),
}

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    file: PathBuf,
    /// One line per tensor instead of one per group.
    #[arg(long)]
    all: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ConvertArgs {
    /// A .pth or .safetensors file.
    input: PathBuf,
    /// Ends in .safetensors, .pth or .pt.
    output: PathBuf,
    /// Naming convention of the input; recognised when absent.
    #[arg(long, value_name = "CONVENTION")]
    from: Option<String>,
    /// Naming convention of the output (docs/weights.md lists them); absent: names stay.
    #[arg(long, value_name = "CONVENTION")]
    to: Option<String>,
    /// Number format of floating-point tensors: float32, float16, bfloat16 or float64.
    #[arg(long)]
    dtype: Option<String>,
    /// Leave out keys that match (`*` stands for any run of characters); may be repeated.
    #[arg(long, value_name = "PATTERN")]
    drop: Vec<String>,
    /// Replace the output if it exists.
    #[arg(long)]
    overwrite: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(verb: WeightsVerb) -> Result<()> {
    match verb {
        WeightsVerb::Inspect(args) => inspect(&args),
        WeightsVerb::Convert(args) => convert(args),
    }
}

fn inspect(args: &InspectArgs) -> Result<()> {
    let inspection = Inspection::of(&weights::open(&args.file)?);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&inspection)?);
    } else {
        print!("{}", inspection.words(args.all));
    }
    Ok(())
}

fn convert(args: ConvertArgs) -> Result<()> {
    let options = ConvertOptions {
        from: args.from,
        to: args.to,
        dtype: args.dtype.as_deref().map(float_dtype).transpose()?,
        drop: args.drop,
        overwrite: args.overwrite,
    };
    let report = weights::convert(&args.input, &args.output, &options)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.words());
    }
    Ok(())
}

fn float_dtype(name: &str) -> Result<Dtype> {
    match Dtype::from_torch_name(name) {
        Some(dtype @ (Dtype::F32 | Dtype::F16 | Dtype::Bf16 | Dtype::F64)) => Ok(dtype),
        _ => Err(Error::config(format!(
            "--dtype {name}: expected float32, float16, bfloat16 or float64"
        ))
        .into()),
    }
}
