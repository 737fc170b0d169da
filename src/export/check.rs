//! Runs exported files of a promptable model as their loaders do, and compares the masks with this program's own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sonotune_dataset::ObjectPrompt;
use sonotune_engine::task::{Instance, Promptable};
use sonotune_run::Model;
use tch::{Kind, Tensor, no_grad};

use crate::{
    compare::iou,
    images::{Fitted, Images},
    layout::Layout,
    onnx::PROMPT_SIDE,
    python::{Python, Step, StepInput},
    record::{CheckRecord, LossRecord},
};

/// A file to run, and its method if it is TorchScript.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileCheck<'a> {
    pub(crate) path: &'a Path,
    pub(crate) method: Option<&'static str>,
}

/// Arrays in files of a temporary folder.
#[derive(Debug)]
pub(crate) struct Arrays {
    folder: tempfile::TempDir,
    count: usize,
}

impl Arrays {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { folder: tempfile::tempdir().context("a temporary folder")?, count: 0 })
    }

    pub(crate) fn fresh(&mut self) -> PathBuf {
        self.count += 1;
        self.folder.path().join(format!("{}.npy", self.count))
    }

    pub(crate) fn write(&mut self, tensor: &Tensor) -> Result<PathBuf> {
        let path = self.fresh();
        tensor.contiguous().write_npy(&path)?;
        Ok(path)
    }
}

pub(crate) fn onnx_step(file: &Path, inputs: &[(&str, PathBuf)], outputs: &[PathBuf]) -> Step {
    torchscript_step(file, "onnx", inputs, outputs)
}

pub(crate) fn torchscript_step(
    file: &Path,
    method: &str,
    inputs: &[(&str, PathBuf)],
    outputs: &[PathBuf],
) -> Step {
    let input =
        |(name, npy): &(&str, PathBuf)| StepInput { name: (*name).to_owned(), npy: npy.clone() };
    Step {
        file: file.to_owned(),
        method: method.to_owned(),
        inputs: inputs.iter().map(input).collect(),
        outputs: outputs.to_vec(),
    }
}

/// A pair of ONNX files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair<'a> {
    pub(crate) encoder: &'a Path,
    pub(crate) decoder: &'a Path,
    pub(crate) layout: Layout,
    pub(crate) side: i64,
}

/// The answer of a pair to one prompt.
struct Answer {
    masks: Tensor,
    iou: f64,
    low: Tensor,
}

impl Pair<'_> {
    /// Compares the pair's answers with this program's.
    pub(crate) fn check(
        &self,
        python: &Python,
        promptable: &Promptable<'_>,
        (model, images): (&Model<'_>, &Images),
    ) -> Result<CheckRecord> {
        let mut record = CheckRecord::default();
        for (image, answers) in images.fitted.iter().zip(self.answers(python, promptable, images)?)
        {
            let prompts = image.prompts();
            let ours = own_answers(model, image, &prompts)?;
            for ((answer, ours), prompt) in answers.iter().zip(&ours).zip(&prompts) {
                let theirs = Tensor::from_slice(&[answer.iou]);
                record.scores(&theirs, &Tensor::from_slice(&[ours.score]))?;
                match self.layout {
                    Layout::SegmentAnything => {
                        let mask = ours.mask.as_ref().context("an answer without a mask")?;
                        record.mask(&answer.masks, mask)?;
                    }
                    // The loader enlarges the logits.
                    Layout::SegmentAnything2 => {
                        let ours = low_res(promptable, image, prompt, self.side)?;
                        record.logits(&answer.low, &ours)?;
                    }
                }
            }
        }
        Ok(record)
    }

    /// What the pair, whose encoder has a smaller precision, loses against this program's masks.
    pub(crate) fn loss(
        &self,
        python: &Python,
        promptable: &Promptable<'_>,
        (model, images): (&Model<'_>, &Images),
    ) -> Result<LossRecord> {
        let (mut overlaps, mut differences) = (Vec::new(), Vec::new());
        for (image, answers) in images.fitted.iter().zip(self.answers(python, promptable, images)?)
        {
            let ours = own_answers(model, image, &image.prompts())?;
            for (answer, ours) in answers.iter().zip(&ours) {
                let mask = ours.mask.as_ref().context("an answer without a mask")?;
                let masks = match self.layout {
                    Layout::SegmentAnything => answer.masks.shallow_clone(),
                    Layout::SegmentAnything2 => {
                        let (h, w) = image.size();
                        answer.low.f_upsample_bilinear2d([h, w], false, None, None)?
                    }
                };
                overlaps.push(iou(&masks, mask)?);
                differences.push((answer.iou - ours.score).abs());
            }
        }
        let mut loss = LossRecord {
            images: images.fitted.len(),
            source: images.source.clone(),
            ..LossRecord::default()
        };
        loss.set_scores(&differences);
        loss.set_overlaps(&overlaps);
        Ok(loss)
    }

    /// For each image, the answers to its prompts.
    fn answers(
        &self,
        python: &Python,
        promptable: &Promptable<'_>,
        images: &Images,
    ) -> Result<Vec<Vec<Answer>>> {
        let mut arrays = Arrays::new()?;
        let (mut steps, mut places) = (Vec::new(), Vec::new());
        for image in &images.fitted {
            let pixels = match self.layout {
                Layout::SegmentAnything => ("input_image", arrays.write(&image.pixels)?),
                Layout::SegmentAnything2 => ("image", arrays.write(&image.batch.images)?),
            };
            let encoded: Vec<_> =
                promptable.encoder.outputs.iter().map(|o| (o.name, arrays.fresh())).collect();
            let outputs: Vec<_> = encoded.iter().map(|(_, path)| path.clone()).collect();
            steps.push(onnx_step(self.encoder, &[pixels], &outputs));
            let mut of_image = Vec::new();
            for prompt in image.prompts() {
                let mut inputs = encoded.clone();
                inputs.extend(self.prompt_inputs(&mut arrays, image, &prompt, promptable)?);
                let outputs = [arrays.fresh(), arrays.fresh(), arrays.fresh()];
                steps.push(onnx_step(self.decoder, &inputs, &outputs));
                of_image.push(outputs);
            }
            places.push(of_image);
        }
        python.run(&steps)?;
        let read = |[masks, iou, low]: &[PathBuf; 3]| -> Result<Answer> {
            let iou = f64::try_from(Tensor::read_npy(iou)?.to_kind(Kind::Double).view(-1).get(0))?;
            Ok(Answer { masks: Tensor::read_npy(masks)?, iou, low: Tensor::read_npy(low)? })
        };
        places.iter().map(|of_image| of_image.iter().map(read).collect()).collect()
    }

    /// As loaders pass a prompt: with a filler, and without a mask.
    fn prompt_inputs(
        &self,
        arrays: &mut Arrays,
        image: &Fitted,
        prompt: &ObjectPrompt,
        promptable: &Promptable<'_>,
    ) -> Result<Vec<(&'static str, PathBuf)>> {
        let (height, width) = image.size();
        let longest = height.max(width) as f64;
        // samexporter's frame: the longest side is 1024, both sides rounded.
        let scaled =
            |side: i64| (side as f64 * PROMPT_SIDE as f64 / longest + 0.5).floor() / side as f64;
        let (x, y) = match self.layout {
            Layout::SegmentAnything => (scaled(width), scaled(height)),
            Layout::SegmentAnything2 => {
                (self.side as f64 / width as f64, self.side as f64 / height as f64)
            }
        };
        let (mut coords, mut labels) = plain_tokens(prompt);
        if self.layout == Layout::SegmentAnything {
            coords.push([0.0, 0.0]);
            labels.push(-1.0);
        }
        let count = labels.len() as i64;
        let coords: Vec<f32> =
            coords.iter().flat_map(|c| [(c[0] * x) as f32, (c[1] * y) as f32]).collect();
        let labels: Vec<f32> = labels.iter().map(|&label| label as f32).collect();
        let inputs = &promptable.decoder.inputs;
        let mask = match self.layout {
            Layout::SegmentAnything => vec![1, 1, 256, 256],
            Layout::SegmentAnything2 => inputs[inputs.len() - 2].example.size(),
        };
        let mask = Tensor::zeros(&mask, (Kind::Float, tch::Device::Cpu));
        let mut all = vec![
            ("point_coords", arrays.write(&Tensor::from_slice(&coords).view([1, count, 2]))?),
            ("point_labels", arrays.write(&Tensor::from_slice(&labels).view([1, count]))?),
            ("mask_input", arrays.write(&mask)?),
            ("has_mask_input", arrays.write(&Tensor::from_slice(&[0f32]))?),
        ];
        if self.layout == Layout::SegmentAnything {
            let size = Tensor::from_slice(&[height as f32, width as f32]);
            all.push(("orig_im_size", arrays.write(&size)?));
        }
        Ok(all)
    }
}

/// Coordinates in pixels of the image, and labels, without fillers.
fn plain_tokens(prompt: &ObjectPrompt) -> (Vec<[f64; 2]>, Vec<f64>) {
    let mut coords: Vec<_> = prompt.points.iter().map(|p| [p.x, p.y]).collect();
    let mut labels: Vec<_> =
        prompt.points.iter().map(|p| f64::from(u8::from(p.positive))).collect();
    if let Some([x0, y0, x1, y1]) = prompt.bbox {
        coords.extend([[x0, y0], [x1, y1]]);
        labels.extend([2.0, 3.0]);
    }
    (coords, labels)
}

fn own_answers(
    model: &Model<'_>,
    image: &Fitted,
    prompts: &[ObjectPrompt],
) -> Result<Vec<Instance>> {
    let mut answers = image.predict(model, Some(prompts))?.instances;
    answers.sort_by_key(|instance| instance.answers.map(|answer| answer.object));
    ensure!(
        answers.len() == prompts.len(),
        "{} answers to {} prompts",
        answers.len(),
        prompts.len()
    );
    Ok(answers)
}

/// What the encoder's part gives for an image.
pub(crate) fn encoded(promptable: &Promptable<'_>, image: &Fitted) -> Result<Vec<Tensor>> {
    no_grad(|| (promptable.encoder.forward)(&[image.batch.images.shallow_clone()]))
}

/// The inputs of the decoder's part for a prompt: those of the image, then tokens with the fillers that the model
/// was trained with, and no mask.
pub(crate) fn decoder_inputs(
    promptable: &Promptable<'_>,
    (image, encoded): (&Fitted, &[Tensor]),
    prompt: &ObjectPrompt,
    side: i64,
) -> Result<Vec<Tensor>> {
    let rules = &promptable.prompts;
    let mut inputs: Vec<_> = encoded.iter().map(Tensor::shallow_clone).collect();
    let (mut coords, mut labels) = plain_tokens(prompt);
    let target = image.batch.targets.first().context("no target")?;
    let (input_height, input_width) = target.input_size;
    ensure!(input_height.max(input_width) <= side, "an image larger than the input");
    let (height, width) = image.size();
    let scale = [input_width as f64 / width as f64, input_height as f64 / height as f64];
    for place in &mut coords {
        *place = [place[0] * scale[0] + rules.offset, place[1] * scale[1] + rules.offset];
    }
    if prompt.bbox.is_none() || rules.filler_with_box {
        coords.push([0.0, 0.0]);
        labels.push(-1.0);
    }
    let count = labels.len() as i64;
    let coords: Vec<f32> = coords.iter().flatten().map(|&v| v as f32).collect();
    let labels: Vec<i64> = labels.iter().map(|&v| v as i64).collect();
    let of_decoder = &promptable.decoder.inputs;
    inputs.extend([
        Tensor::from_slice(&coords).view([1, count, 2]),
        Tensor::from_slice(&labels).view([1, count]),
        of_decoder[of_decoder.len() - 2].example.zeros_like(),
        Tensor::from_slice(&[0f32]),
    ]);
    Ok(inputs)
}

/// The logits of the first pass.
fn low_res(
    promptable: &Promptable<'_>,
    image: &Fitted,
    prompt: &ObjectPrompt,
    side: i64,
) -> Result<Tensor> {
    let encoded = encoded(promptable, image)?;
    let inputs = decoder_inputs(promptable, (image, &encoded), prompt, side)?;
    let outputs = no_grad(|| (promptable.decoder.forward)(&inputs))?;
    outputs.into_iter().next().context("a decoder without outputs")
}
