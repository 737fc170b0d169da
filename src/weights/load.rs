//! Loads files into a model's variables, strictly.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use tch::{Tensor, nn::VarStore};

use super::{WeightsConfig, WeightsPartConfig};
use super::{
    WeightsFile,
    finite::check_finite,
    keymap::{Place, Recognised, recognise},
    open_state_dict,
    overlay::{Overlay, refuse_as_base},
    parts::{Source, check_claims},
    plan::compare,
    report::LoadReport,
};

/// Loads pretrained weights into the variables of a model, in place and strictly.
///
/// Every variable, buffers included, must be found in the file with its shape, and every tensor
/// of the file must have a place, unless the config's patterns or the convention's table say
/// otherwise. Position embeddings for another input size are resized. All values must be finite. Variables keep their number
/// format and device. On an error no variable is changed.
///
/// Variables that a part of the config claims come from the part's file, under the same rules, and
/// not from the main one; in either file, tensors for the other's variables are skipped.
///
/// With an overlay, the files and the overlay together must hold every variable; what both have is
/// taken from the overlay. Variables of LoRA and adapters keep their start values if the file has none.
///
/// # Errors
/// When a file cannot be read, follows no known convention, or does not fit; lists what does
/// not fit, or is not finite. The error is of kind config if a part claims what the model does not have,
/// or what another part claims.
pub fn load(vs: &VarStore, config: &WeightsConfig) -> Result<LoadReport> {
    let file = open_state_dict(&config.path, config.state_dict.as_deref())?;
    let recognised = recognise(&file, config.convention.as_deref())?;
    load_file(vs, &file, recognised, config)
}

/// Same as [`load`], from a main file that is already open.
///
/// # Errors
/// Same errors as [`load`].
pub fn load_file(
    vs: &VarStore,
    file: &WeightsFile,
    recognised: Recognised,
    config: &WeightsConfig,
) -> Result<LoadReport> {
    refuse_as_base(file)?;
    let variables: BTreeMap<String, Tensor> = vs.variables().into_iter().collect();
    check_claims(&config.parts, &variables)?;
    let overlay = config.overlay.as_deref().map(Overlay::open).transpose()?;
    if let Some(overlay) = &overlay {
        overlay.check_base(file.path())?;
    }
    let parts = config.parts.iter().enumerate().map(open_part).collect::<Result<Vec<_>>>()?;
    let main = Source::main(file, &recognised, config);
    let mut plan = compare(&variables, &main, overlay.as_ref())?;
    for ((file, recognised), config) in parts.iter().zip(&config.parts) {
        let part = compare(&variables, &Source::part(file, recognised, config), overlay.as_ref())?;
        plan.copies.extend(part.copies);
        plan.report.parts.push(part.report);
    }
    plan.report.check()?;
    check_finite(&plan.copies, &variables, &plan.report)?;
    for copy in &plan.copies {
        copy.make(&variables)?;
    }
    Ok(plan.report)
}

/// Shapes of the main file's tensors, by the model's variables that they are for.
///
/// # Errors
/// When the file cannot be read or follows no known convention.
pub fn shapes(config: &WeightsConfig) -> Result<BTreeMap<String, Vec<i64>>> {
    let file = open_state_dict(&config.path, config.state_dict.as_deref())?;
    let recognised = recognise(&file, config.convention.as_deref())?;
    let mut shapes = BTreeMap::new();
    for entry in file.entries() {
        if let (_, Place::Ours(pieces), _) = recognised.place(&entry.name) {
            shapes.extend(pieces.into_iter().map(|piece| (piece.name, entry.shape.clone())));
        }
    }
    Ok(shapes)
}

fn open_part((i, part): (usize, &WeightsPartConfig)) -> Result<(WeightsFile, Recognised)> {
    let opened = || -> Result<_> {
        let file = open_state_dict(&part.path, part.state_dict.as_deref())?;
        let recognised = recognise(&file, part.convention.as_deref())?;
        Ok((file, recognised))
    };
    opened().with_context(|| format!("weights.parts.{i}"))
}
