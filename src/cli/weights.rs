//! `sonotune weights`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};

use sonotune_base::Error;
use sonotune_run as run;
use sonotune_run::{Export, ExportOptions, ModelSource};
use sonotune_run_folder::RunFiles;
use sonotune_weights as weights;
use sonotune_weights::{ConvertOptions, Dtype, Inspection};

use crate::progress::Busy;

#[derive(Debug, Subcommand)]
pub(super) enum WeightsVerb {
    /// Show what a .pth or .safetensors file contains, and whose names it uses; executes none of it.
    Inspect(InspectArgs),
    /// Convert a model's tensors to another container, naming convention or number format.
    Convert(ConvertArgs),
    /// Export a run's model: only the variables it trained, or the whole model in one file.
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// A .pth or .safetensors file, a folder with one, also of the Hugging Face cache, or hf:ORG/NAME.
    file: PathBuf,
    /// Path of the state dict within the file, such as `model_ema`; found automatically if omitted.
    #[arg(long, value_name = "PATH")]
    state_dict: Option<String>,
    /// One line per tensor instead of one per group.
    #[arg(long)]
    all: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ConvertArgs {
    /// A .pth or .safetensors file, a folder with one, also of the Hugging Face cache, or hf:ORG/NAME.
    input: PathBuf,
    /// Output file, ending in .safetensors, .pth or .pt.
    output: PathBuf,
    /// Path of the state dict within the input, such as `model_ema`; found automatically if omitted.
    #[arg(long, value_name = "PATH")]
    state_dict: Option<String>,
    /// Naming convention of the input; recognised automatically if omitted.
    #[arg(long, value_name = "CONVENTION")]
    from: Option<String>,
    /// Naming convention of the output (docs/weights.md lists them); if omitted, names stay.
    #[arg(long, value_name = "CONVENTION")]
    to: Option<String>,
    /// Number format of floating-point tensors: float32, float16, bfloat16 or float64.
    #[arg(long)]
    dtype: Option<String>,
    /// Leave out keys that match (`*` matches any characters); may be repeated.
    #[arg(long, value_name = "PATTERN")]
    drop: Vec<String>,
    /// Replace the output if it exists.
    #[arg(long)]
    overwrite: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(super) struct ExportArgs {
    /// A run folder (its best checkpoint is used, else the last), or one of its
    /// checkpoints.
    #[arg(value_name = "RUN_OR_CHECKPOINT")]
    source: PathBuf,
    /// Output file, ending in .safetensors, or with --merge also in .pth or .pt.
    output: PathBuf,
    /// Only the variables that were trained (LoRA, adapters, decoder, head), for use on top of the
    /// pretrained weights as `[weights] overlay`.
    #[arg(long, group = "what")]
    trained_only: bool,
    /// The whole model, with LoRA merged into the layers it belongs to.
    #[arg(long, group = "what")]
    merge: bool,
    /// Naming convention of the merged model (docs/weights.md lists them); if omitted, Sonotune's.
    #[arg(long, value_name = "CONVENTION", conflicts_with = "trained_only")]
    to: Option<String>,
    /// Number format of the merged model: float32, float16, bfloat16 or float64.
    #[arg(long, conflicts_with = "trained_only")]
    dtype: Option<String>,
    /// Leave out variables that match; may be repeated.
    #[arg(long, value_name = "PATTERN", conflicts_with = "trained_only")]
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
        WeightsVerb::Export(args) => export(args),
    }
}

fn inspect(args: &InspectArgs) -> Result<()> {
    let inspection =
        Inspection::of(&weights::open_state_dict(&args.file, args.state_dict.as_deref())?);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&inspection)?);
    } else {
        print!("{}", inspection.words(args.all));
    }
    Ok(())
}

fn convert(args: ConvertArgs) -> Result<()> {
    let options = ConvertOptions {
        state_dict: args.state_dict,
        from: args.from,
        to: args.to,
        dtype: args.dtype.as_deref().map(float_dtype).transpose()?,
        drop: args.drop,
        overwrite: args.overwrite,
    };
    let busy = Busy::new("converting");
    let report = weights::convert(&args.input, &args.output, &options)?;
    drop(busy);
    crate::present(args.json, &report, |report| print!("{}", report.words()))
}

fn export(args: ExportArgs) -> Result<()> {
    let (run_dir, source) = if args.source.is_dir() {
        (args.source, ModelSource::BestOrLast)
    } else {
        (run_of(&args.source)?, ModelSource::File(args.source))
    };
    let what = if args.merge {
        Export::Merged(ConvertOptions {
            to: args.to,
            dtype: args.dtype.as_deref().map(float_dtype).transpose()?,
            drop: args.drop,
            ..ConvertOptions::default()
        })
    } else {
        Export::TrainedOnly
    };
    let options = ExportOptions { source, output: args.output, what, overwrite: args.overwrite };
    let busy = Busy::new("exporting");
    let record = run::export(&super::load_run(&run_dir, &[])?, &options)?;
    drop(busy);
    crate::present(args.json, &record, |record| print!("{}", record.words()))
}

/// The run folder that a checkpoint is in.
fn run_of(checkpoint: &Path) -> Result<PathBuf> {
    let folder = checkpoint.parent().and_then(Path::parent).map(|folder| {
        if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() }
    });
    match folder.filter(|folder| RunFiles::open(folder).is_ok()) {
        Some(folder) => Ok(folder),
        None => Err(Error::config(format!(
            "{} is neither a run folder nor a checkpoint in one (RUN/checkpoints/best.safetensors): \
             what was trained, and how, is in the run's config.toml",
            checkpoint.display()
        ))
        .into()),
    }
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
