//! Exports a run: only the trained variables, or the whole model in one file.

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
};

use anyhow::{Context, Result};
use serde::Serialize;
use tch::{Device, Tensor};

use super::model::{Model, ModelSource};
use crate::config::{Loaded, RunConfig};
use sonotune_base::Error;
use sonotune_engine::{
    checkpoint::{self, Progress, Restored},
    device::Place,
    optim::groups,
};
use sonotune_weights as weights;
use sonotune_weights::{
    BaseFile, ConvertOptions, ConvertReport, OverlayInfo, WeightsConfig, addition, save_overlay,
};

/// What to export, and where.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    pub source: ModelSource,
    pub output: PathBuf,
    pub what: Export,
    /// Replace an existing output.
    pub overwrite: bool,
}

/// Which tensors are written.
#[derive(Debug, Clone)]
pub enum Export {
    /// The trained variables, and everything else that the pretrained weights do not contain.
    TrainedOnly,
    /// The whole model, with LoRA merged into the layers it belongs to. `from` and `overwrite` of the
    /// options are ignored.
    Merged(ConvertOptions),
}

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct ExportRecord {
    pub checkpoint: PathBuf,
    /// Optimiser steps of the checkpoint.
    pub step: u64,
    /// Whether the weights are the moving average over the run's steps.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub averaged: bool,
    pub output: PathBuf,
    pub output_bytes: u64,
    pub tensors: usize,
    /// Layers that an update was merged into.
    pub merged_layers: usize,
    /// The weights that the written ones go on top of; absent if the output is a whole model.
    pub base: Option<BaseFile>,
    /// Naming convention of the output.
    pub convention: String,
    /// Parts that the convention has no names for, and keys dropped on request.
    pub left_out: Vec<String>,
}

/// Exports from the run whose config is `loaded`.
///
/// # Errors
/// An error of kind weights if there is no checkpoint, the pretrained weights are missing or changed, or
/// the model cannot be written in this form.
pub fn export(loaded: &Loaded, options: &ExportOptions) -> Result<ExportRecord> {
    let config = &loaded.config;
    let checkpoint = options.source.resolve(config)?;
    if options.output.exists() && !options.overwrite {
        return Err(Error::weights(format!(
            "{} already exists; choose another name or pass --overwrite",
            options.output.display()
        ))
        .into());
    }
    let (model, Restored { progress, averaged }) =
        Model::from_checkpoint(config, place(config), &checkpoint)?;
    let record = ExportRecord {
        checkpoint,
        step: progress.step,
        averaged,
        output: options.output.clone(),
        output_bytes: 0,
        tensors: 0,
        merged_layers: 0,
        base: None,
        convention: "sonotune".to_owned(),
        left_out: Vec::new(),
    };
    match &options.what {
        Export::TrainedOnly => trained_only(&model, progress, record),
        Export::Merged(convert) => merged(&model, &progress, convert, record),
    }
}

/// The CPU, in the format that keeps every bit of the run's weights.
fn place(config: &RunConfig) -> Place {
    Place { device: Device::Cpu, precision: config.precision.of_weights() }
}

fn trained_only(
    model: &Model,
    progress: Progress,
    mut record: ExportRecord,
) -> Result<ExportRecord> {
    let config = model.config;
    let output = &record.output;
    if output.extension().is_none_or(|ending| ending != "safetensors") {
        return Err(Error::config(format!(
            "{}: the trained variables are written as .safetensors, which can record their base",
            output.display()
        ))
        .into());
    }
    let source = config.weights.as_ref().ok_or_else(|| {
        Error::config(
            "--trained-only: this run did not start from pretrained weights, so there is no base for \
             the trained variables; export the whole model with --merge",
        )
    })?;
    // As in training: groups can also freeze variables.
    groups::group(&model.vs, &config.optimizer.groups)?;
    let tensors = beyond_base(source, model)?;
    let base = BaseFile::of(&source.path)?;
    let info = OverlayInfo {
        base: base.clone(),
        backbone: serde_json::to_value(&*config.backbone)?,
        task: serde_json::to_value(&*config.task)?,
        categories: progress.categories,
        step: progress.step,
    };
    save_overlay(output, &tensors, &info)?;
    record.tensors = tensors.len();
    record.output_bytes = std::fs::metadata(output)?.len();
    record.base = Some(base);
    Ok(record)
}

/// The variables that were trained or that the base does not fill, by name. What is frozen must be
/// identical to the base: the two files together are then the model, bit for bit. The base is only
/// the main file; what came from parts of the weights is exported like trained variables.
fn beyond_base(source: &WeightsConfig, model: &Model) -> Result<Vec<(String, Tensor)>> {
    let base = Model::build(model.config, model.place(), model.categories.clone())?;
    let anything = vec!["*".to_owned()];
    let alone = WeightsConfig {
        overlay: None,
        parts: Vec::new(),
        allow_missing: anything.clone(),
        allow_unexpected: anything.clone(),
        allow_misshapen: anything,
        ..source.clone()
    };
    let report = weights::load(&base.vs, &alone)?;
    let filled = report.loaded.into_iter().map(|loaded| loaded.variable);
    let filled: HashSet<_> = filled.filter(|v| !weights::is_claimed(&source.parts, v)).collect();
    // A run that started from an overlay also exports its variables.
    let overlay = source.overlay.as_deref().map(weights::Overlay::open).transpose()?;
    let overlaid = |name: &str| overlay.as_ref().is_some_and(|overlay| overlay.has(name));
    let mut theirs = base.vs.variables();
    let mut beyond = Vec::new();
    for (name, variable) in model.vs.variables() {
        if variable.requires_grad() || !filled.contains(&name) || overlaid(&name) {
            beyond.push((name, variable));
            continue;
        }
        let theirs = theirs.remove(&name).context("two models of a config differ")?;
        if !variable.equal(&theirs) {
            return Err(Error::weights(format!(
                "`{name}` is frozen, but differs between the checkpoint and {}: that file has \
                 changed since the run started",
                source.path.display()
            ))
            .into());
        }
    }
    beyond.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(beyond)
}

fn merged(
    model: &Model,
    progress: &Progress,
    convert: &ConvertOptions,
    mut record: ExportRecord,
) -> Result<ExportRecord> {
    let mut variables: BTreeMap<String, Tensor> = model.vs.variables().into_iter().collect();
    record.merged_layers = model.config.backbone.merge(&mut variables)?;
    let left = variables.keys().find_map(|name| addition(name).map(|kind| (name, kind)));
    if let (Some((name, kind)), Some(to)) = (left, convert.to.as_deref())
        && to != "sonotune"
    {
        return Err(Error::weights(format!(
            "{kind} cannot be merged into the layers of the pretrained model (they are not linear), \
             and models in the `{to}` convention have no place for them (`{name}`); leave out --to \
             to write the whole model under our names"
        ))
        .into());
    }
    let tensors: Vec<_> = variables.into_iter().collect();
    // First into a file with our names, which is then converted like any other.
    let folder = record.output.parent().filter(|p| !p.as_os_str().is_empty());
    let folder = tempfile::Builder::new()
        .prefix(".export.")
        .tempdir_in(folder.unwrap_or(std::path::Path::new(".")))
        .with_context(|| format!("cannot write next to {}", record.output.display()))?;
    let whole = folder.path().join("model.safetensors");
    checkpoint::save_tensors(&whole, &tensors, progress)?;
    let options =
        ConvertOptions { from: Some("sonotune".to_owned()), overwrite: true, ..convert.clone() };
    let ConvertReport { to, tensors, output_bytes, left_out, .. } =
        weights::convert(&whole, &record.output, &options)?;
    record.tensors = tensors;
    record.output_bytes = output_bytes;
    record.left_out = left_out;
    record.convention = to.map_or(record.convention, |to| to.name.to_owned());
    Ok(record)
}

impl ExportRecord {
    /// The record as text for a terminal.
    #[must_use]
    pub fn words(&self) -> String {
        let Self { output, tensors, .. } = self;
        let size = sonotune_base::words::bytes(self.output_bytes);
        let average = if self.averaged { ", moving average" } else { "" };
        let step = self.step;
        let mut text =
            format!("checkpoint  {} (step {step}{average})\n", self.checkpoint.display());
        if self.merged_layers > 0 {
            text += &format!("merged      LoRA into {} layers\n", self.merged_layers);
        }
        if !self.left_out.is_empty() {
            text += &format!("left out    {}\n", self.left_out.join(", "));
        }
        text += &match &self.base {
            Some(base) => format!(
                "on top of   {} (SHA-256 {})\nuse         [weights] path = \".../{}\", overlay = \"{}\"\n",
                base.name,
                base.sha256,
                base.name,
                output.display()
            ),
            None => format!("written as  `{}`\n", self.convention),
        };
        text + &format!("{}: {tensors} tensors, {size}\n", output.display())
    }
}
