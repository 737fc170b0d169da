//! `sonotune export`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{ArgGroup, Args, ValueEnum};

use sonotune_export::{self as export, ExportOptions, ExportRecord};

use crate::{OneModelArgs, progress::Busy};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("model").args(["run", "config"]).required(true))]
pub(super) struct ExportArgs {
    #[command(flatten)]
    model: OneModelArgs,
    /// Folder for the files and their model card.
    #[arg(long)]
    out: PathBuf,
    /// Changes to the config, e.g. `preprocess.eval_pad_to=square`.
    #[arg(value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Formats to write.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Format::Torchscript, Format::Onnx])]
    format: Vec<Format>,
    /// Weights of the ONNX encoder, or of a model without a decoder: smaller ones lose a little, which is
    /// measured and stated.
    #[arg(long, value_enum, default_value_t)]
    precision: Precision,
    /// Python with onnxruntime, torch and numpy, which runs the files to check them. Default: SONOTUNE_PYTHON,
    /// or python3.
    #[arg(long, value_name = "PYTHON", conflicts_with = "unchecked")]
    python: Option<PathBuf>,
    /// Write files that no other program has run; they and their card say so.
    #[arg(long)]
    unchecked: bool,
    /// Images to check with and to measure losses on. Default: the validation split.
    #[arg(long, value_name = "FOLDER")]
    images: Option<PathBuf>,
    /// Licence of the weights, for the model card.
    #[arg(long, value_name = "TEXT")]
    license: Option<String>,
    /// Replace an earlier export in --out.
    #[arg(long)]
    overwrite: bool,
    /// Print a record of what was written, as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Torchscript,
    Onnx,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Precision {
    #[default]
    Fp32,
    /// 16-bit weights, computed in fp32: half the size.
    Fp16,
    /// Matrix products in 8-bit integers: a quarter of the size.
    Int8,
}

pub(super) fn run(args: &ExportArgs) -> Result<()> {
    let (loaded, source) = args.model.load(&args.overrides)?;
    let format = |format: &Format| match format {
        Format::Torchscript => export::Format::TorchScript,
        Format::Onnx => export::Format::Onnx,
    };
    let options = ExportOptions {
        source,
        out: args.out.clone(),
        formats: args.format.iter().map(format).collect(),
        precision: match args.precision {
            Precision::Fp32 => export::Precision::Fp32,
            Precision::Fp16 => export::Precision::Fp16,
            Precision::Int8 => export::Precision::Int8,
        },
        python: args.python.clone(),
        unchecked: args.unchecked,
        images: args.images.clone(),
        license: args.license.clone(),
        overwrite: args.overwrite,
    };
    let busy = Busy::new("writing and checking");
    let record = export::export(&loaded, &options)?;
    drop(busy);
    crate::present(args.json, &record, print)
}

fn print(record: &ExportRecord) {
    print!("{}", record.words());
}
