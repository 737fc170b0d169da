//! Checks of a model that is one function of images.

use anyhow::{Context, Result};
use sonotune_engine::task::{Meaning, Part};
use sonotune_run::Model;
use tch::{Kind, Tensor, no_grad};

use crate::{
    check::{Arrays, FileCheck, onnx_step, torchscript_step},
    images::{Fitted, Images},
    python::Python,
    record::{CheckRecord, LossRecord},
};

/// Runs a file on the images and compares its outputs with the model's.
pub(crate) fn check(
    python: &Python,
    file: &FileCheck<'_>,
    part: &Part<'_>,
    (model, images): (&Model<'_>, &Images),
) -> Result<CheckRecord> {
    let mut arrays = Arrays::new()?;
    let mut steps = Vec::new();
    let mut outputs = Vec::new();
    for image in &images.fitted {
        let input = arrays.write(&image.batch.images)?;
        let paths: Vec<_> = part.outputs.iter().map(|_| arrays.fresh()).collect();
        let input = [(part.inputs[0].name, input)];
        steps.push(match file.method {
            Some(method) => torchscript_step(file.path, method, &input, &paths),
            None => onnx_step(file.path, &input, &paths),
        });
        outputs.push(paths);
    }
    python.run(&steps)?;
    let mut record = CheckRecord::default();
    for (image, paths) in images.fitted.iter().zip(outputs) {
        let theirs = paths.iter().map(Tensor::read_npy).collect::<Result<Vec<_>, _>>()?;
        compare(&mut record, part, (model, image), &theirs)?;
    }
    Ok(record)
}

/// Adds the outputs for one image, by what they mean.
pub(crate) fn compare(
    record: &mut CheckRecord,
    part: &Part<'_>,
    (model, image): (&Model<'_>, &Fitted),
    theirs: &[Tensor],
) -> Result<()> {
    let ours = no_grad(|| (part.forward)(&[image.batch.images.shallow_clone()]))?;
    for ((output, ours), theirs) in part.outputs.iter().zip(&ours).zip(theirs) {
        let context = || format!("the output `{}`", output.name);
        match output.meaning {
            Meaning::Scores => record.scores(theirs, ours).with_context(context)?,
            Meaning::MaskLogits => record.logits(theirs, ours).with_context(context)?,
            Meaning::Internal => record.tensors(theirs, ours).with_context(context)?,
        }
    }
    // For a classifier, also with what the program itself says of the image.
    let scores = image.predict(model, None)?.scores;
    if let ([Meaning::Scores], [theirs]) = (meanings(part).as_slice(), theirs)
        && theirs.numel() == scores.len()
    {
        record.scores(&theirs.to_kind(Kind::Double).view(-1), &Tensor::from_slice(&scores))?;
    }
    Ok(())
}

fn meanings(part: &Part<'_>) -> Vec<Meaning> {
    part.outputs.iter().map(|output| output.meaning).collect()
}

/// What a smaller precision costs.
pub(crate) fn loss(
    python: &Python,
    file: &FileCheck<'_>,
    part: &Part<'_>,
    images: &Images,
) -> Result<LossRecord> {
    let mut arrays = Arrays::new()?;
    let mut loss = LossRecord {
        images: images.fitted.len(),
        source: images.source.clone(),
        ..LossRecord::default()
    };
    let (mut differences, mut changed, mut overlaps) = (Vec::new(), 0, Vec::new());
    for image in &images.fitted {
        let input = [(part.inputs[0].name, arrays.write(&image.batch.images)?)];
        let paths: Vec<_> = part.outputs.iter().map(|_| arrays.fresh()).collect();
        python.run(&[onnx_step(file.path, &input, &paths)])?;
        let ours = no_grad(|| (part.forward)(&[image.batch.images.shallow_clone()]))?;
        for ((output, ours), path) in part.outputs.iter().zip(&ours).zip(&paths) {
            let theirs = Tensor::read_npy(path)?;
            match output.meaning {
                Meaning::Scores => {
                    differences.push(crate::compare::difference(&theirs, ours)?);
                    let best = |x: &Tensor| x.argmax(-1, false);
                    changed += usize::from(!best(&theirs).equal(&best(ours)));
                }
                Meaning::MaskLogits => overlaps.push(overlap(&theirs, ours)?),
                Meaning::Internal => {}
            }
        }
    }
    loss.set_scores(&differences);
    loss.set_overlaps(&overlaps);
    loss.changed_decisions = Some(changed).filter(|_| overlaps.is_empty());
    Ok(loss)
}

/// Intersection over union of all masks of an image together.
fn overlap(theirs: &Tensor, ours: &Tensor) -> Result<f64> {
    let (a, b) = (theirs.gt(0.0), ours.gt(0.0));
    let count = |mask: &Tensor| i64::try_from(mask.sum(Kind::Int64));
    let union = count(&a.logical_or(&b))?;
    Ok(if union == 0 { 1.0 } else { count(&a.logical_and(&b))? as f64 / union as f64 })
}
