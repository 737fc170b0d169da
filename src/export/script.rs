//! Checks of the TorchScript file: every method, on the images, against the model's own functions.

use std::path::Path;

use anyhow::{Result, bail};
use sonotune_base::Error;
use sonotune_engine::task::{Meaning, Part, Parts};
use tch::{CModule, IValue, Tensor, no_grad};

use crate::{
    check::{Arrays, decoder_inputs, encoded, torchscript_step},
    images::Images,
    python::Python,
    record::CheckRecord,
    recorded::{all, method},
};

/// A call of a method, with what the model's function gives.
struct Case<'p, 'a> {
    part: &'p Part<'a>,
    method: &'static str,
    inputs: Vec<Tensor>,
    expected: Vec<Tensor>,
}

fn cases<'p, 'a>(parts: &'p Parts<'a>, images: &Images, side: i64) -> Result<Vec<Case<'p, 'a>>> {
    let mut cases = Vec::new();
    for part in all(parts) {
        let mut all_inputs = Vec::new();
        for image in &images.fitted {
            match parts {
                Parts::Promptable(promptable) if part.name != promptable.encoder.name => {
                    let encoded = encoded(promptable, image)?;
                    for prompt in image.prompts() {
                        let image = (image, encoded.as_slice());
                        all_inputs.push(decoder_inputs(promptable, image, &prompt, side)?);
                    }
                }
                _ => all_inputs.push(vec![image.batch.images.shallow_clone()]),
            }
        }
        for inputs in all_inputs {
            let expected = no_grad(|| (part.forward)(&inputs))?;
            cases.push(Case { part, method: method(parts, part), inputs, expected });
        }
    }
    Ok(cases)
}

impl Case<'_, '_> {
    fn compare(&self, record: &mut CheckRecord, outputs: &[Tensor]) -> Result<()> {
        anyhow::ensure!(outputs.len() == self.expected.len(), "{} outputs", outputs.len());
        for ((output, theirs), ours) in self.part.outputs.iter().zip(outputs).zip(&self.expected) {
            match output.meaning {
                Meaning::Scores => record.scores(theirs, ours)?,
                Meaning::MaskLogits => record.logits(theirs, ours)?,
                Meaning::Internal => record.tensors(theirs, ours)?,
            }
        }
        Ok(())
    }
}

/// Loads the file back with libtorch and runs it.
///
/// # Errors
/// Of kind weights if it does not load, or predicts something else.
pub(crate) fn check_here(
    path: &Path,
    parts: &Parts<'_>,
    images: &Images,
    side: i64,
) -> Result<CheckRecord> {
    let fault = |error| Error::weights(format!("the TorchScript file does not load: {error}"));
    let module = CModule::load(path).map_err(fault)?;
    let mut record = CheckRecord::default();
    for case in cases(parts, images, side)? {
        let inputs: Vec<_> =
            case.inputs.iter().map(|input| IValue::Tensor(input.shallow_clone())).collect();
        let outputs = no_grad(|| module.method_is(case.method, &inputs))?;
        case.compare(&mut record, &tensors(outputs)?)?;
    }
    Ok(record)
}

fn tensors(value: IValue) -> Result<Vec<Tensor>> {
    let tensor = |value: IValue| match value {
        IValue::Tensor(tensor) => Ok(tensor),
        other => bail!("an output that is not a tensor: {other:?}"),
    };
    match value {
        IValue::Tuple(values) => values.into_iter().map(tensor).collect(),
        other => Ok(vec![tensor(other)?]),
    }
}

/// Runs it with the user's torch.
///
/// # Errors
/// Of kind weights if it does not run.
pub(crate) fn check_in(
    python: &Python,
    path: &Path,
    parts: &Parts<'_>,
    (images, side): (&Images, i64),
) -> Result<CheckRecord> {
    let mut arrays = Arrays::new()?;
    let cases = cases(parts, images, side)?;
    let (mut steps, mut places) = (Vec::new(), Vec::new());
    for case in &cases {
        let mut inputs = Vec::new();
        for input in &case.inputs {
            inputs.push(("", arrays.write(input)?));
        }
        let outputs: Vec<_> = case.expected.iter().map(|_| arrays.fresh()).collect();
        steps.push(torchscript_step(path, case.method, &inputs, &outputs));
        places.push(outputs);
    }
    python.run(&steps)?;
    let mut record = CheckRecord::default();
    for (case, outputs) in cases.iter().zip(places) {
        let outputs = outputs.iter().map(Tensor::read_npy).collect::<Result<Vec<_>, _>>()?;
        case.compare(&mut record, &outputs)?;
    }
    Ok(record)
}
