//! That all processes of a run train the same model on the same data.

use anyhow::Result;
use sonotune_base::Error;
use sonotune_dataset::sha256;
use sonotune_engine::{
    checkpoint::Progress,
    optim::{Ema, Optimizer},
    parallel::Ranks,
};
use tch::Tensor;

use crate::{config::Loaded, data_record::DataRecord, model::Model};

/// Compares what the processes found before the first step.
///
/// # Errors
/// Of kind config: says what differs between which ranks.
pub(super) fn require(
    ranks: &Ranks,
    loaded: &Loaded,
    model: &Model<'_>,
    data: &DataRecord,
) -> Result<()> {
    if ranks.is_alone() {
        return Ok(());
    }
    if let Some(key) = loaded.config.backbone.batch_statistics() {
        return Err(Error::config(format!(
            "{key}: the statistics of batch norms would be those of each process's own images, and the \
             processes would drift apart; keep them (backbone.norm_eval = true), or train in one process"
        ))
        .into());
    }
    let libtorch = sonotune_shim::torch_version();
    let version = format!("Sonotune {} with libtorch {libtorch}", env!("CARGO_PKG_VERSION"));
    ranks.require_same("program", &version)?;
    ranks.require_same("config (SHA-256)", &sha256(loaded.resolved.as_bytes()))?;
    ranks.require_same("annotations and images", &data.digest()?)?;
    let device = if model.device().is_cuda() { "CUDA" } else { "CPU" };
    ranks.require_same("kind of device", &format!("{device}, {}", model.precision.name()))?;
    // As long as the model; the rank that differs says where.
    let mut variables: Vec<String> = model
        .vs
        .variables()
        .into_iter()
        .map(|(name, v)| format!("{name} {:?} {:?} {}", v.size(), v.kind(), v.requires_grad()))
        .collect();
    variables.sort();
    ranks.require_same_lines("variables of the model", &variables)
}

/// Gives all processes the values of rank 0, after comparing them: pretrained weights or a checkpoint that one
/// of them read differently would otherwise go unnoticed.
///
/// # Errors
/// Of kind config if they differ.
pub(super) fn state(
    ranks: &Ranks,
    model: &Model<'_>,
    optimizer: &Optimizer,
    ema: Option<&Ema>,
    progress: &Progress,
) -> Result<()> {
    if ranks.is_alone() {
        return Ok(());
    }
    ranks.require_same("step to start from", &progress.step.to_string())?;
    let mut variables: Vec<(String, Tensor)> = model.vs.variables().into_iter().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    let averages = ema.map(Ema::state).unwrap_or_default();
    let all = variables.into_iter().chain(optimizer.state()).chain(averages);
    let all: Vec<Tensor> = all.map(|(_, tensor)| tensor).collect();
    let values = Ranks::fingerprint(&all)?;
    ranks.require_same("values to start from (weights or checkpoint)", &format!("{values:?}"))?;
    ranks.broadcast(&all)
}
