//! The model card: what the files are, what they were scored on, what goes in and out.

use std::{fmt::Write as _, path::Path};

use anyhow::Result;
use sonotune_base::words;
use sonotune_dataset::{Split, sha256};
use sonotune_engine::task::{Part, Parts};
use sonotune_run::{Model, ModelSource, config::RunConfig};
use sonotune_run_folder::{EvalRecord, RunFiles, Summary};

use crate::{
    export::ExportOptions,
    layout::Layout,
    onnx::PROMPT_SIDE,
    prepare::Preparation,
    record::ExportRecord,
    recorded::{all, method},
};

/// Its name in the folder.
pub(crate) const NAME: &str = "README.md";

/// Writes the card.
pub(crate) fn card(
    config: &RunConfig,
    model: &Model<'_>,
    (parts, preparation): (&Parts<'_>, &Preparation),
    record: &ExportRecord,
    options: &ExportOptions,
) -> Result<String> {
    let mut text = String::new();
    let task = config.task.typetag_name();
    writeln!(text, "# Model card\n")?;
    if !record.checked {
        writeln!(
            text,
            "> **Not checked.** No other program has run these files (`--unchecked`). Compare their predictions \
             with `sonotune predict` before you rely on them.\n"
        )?;
    }
    writeln!(
        text,
        "Task `{task}` on the backbone `{}`, exported by Sonotune {}.\n",
        config.backbone.typetag_name(),
        env!("CARGO_PKG_VERSION")
    )?;
    files(&mut text, record)?;
    checks(&mut text, record)?;
    inputs(&mut text, parts, preparation)?;
    training(&mut text, config, model, record)?;
    scores(&mut text, config, options)?;
    uses(&mut text, options)?;
    Ok(text)
}

fn files(text: &mut String, record: &ExportRecord) -> Result<()> {
    writeln!(text, "## Files\n\n| file | what | size | sha256 |\n|---|---|---|---|")?;
    for file in &record.files {
        let size = words::bytes(file.bytes);
        let about = cell(&file.about);
        writeln!(text, "| `{}` | {about} | {size} | `{}` |", file.name, file.sha256)?;
    }
    writeln!(text)?;
    Ok(())
}

fn checks(text: &mut String, record: &ExportRecord) -> Result<()> {
    writeln!(text, "## Checks\n")?;
    if record.checked {
        writeln!(
            text,
            "The fp32 files were run with {} on {} image(s), and their predictions compared with this program's:\n",
            record.checked_with.join(", "),
            record.check_images
        )?;
        for file in &record.files {
            if let Some(check) = &file.check {
                writeln!(text, "- `{}`: {}", file.name, check.words())?;
            }
        }
    } else {
        writeln!(text, "None. TorchScript files were loaded back and run by Sonotune itself.")?;
    }
    if record.precision != "fp32" {
        let cost = match &record.loss {
            Some(loss) => loss.words(),
            None => "not measured (`--unchecked`)".to_owned(),
        };
        writeln!(text, "\nWhat {} costs against fp32: {cost}.", record.precision)?;
    }
    for note in &record.notes {
        writeln!(text, "\nNote: {note}.")?;
    }
    writeln!(text)?;
    Ok(())
}

fn inputs(text: &mut String, parts: &Parts<'_>, preparation: &Preparation) -> Result<()> {
    writeln!(text, "## Inputs and outputs\n\nHow an image is prepared, in this order:\n")?;
    for (index, step) in (1..).zip(preparation.words()) {
        writeln!(text, "{index}. {step}")?;
    }
    match parts {
        Parts::Whole(_) => writeln!(text, "\nThe ONNX file takes what these steps give.")?,
        Parts::Promptable(promptable) => onnx_pair(text, Layout::of(promptable))?,
    }
    writeln!(text, "\n### TorchScript, by method\n")?;
    for part in all(parts) {
        writeln!(text, "`{}`:\n", method(parts, part))?;
        tensors(text, part)?;
    }
    Ok(())
}

fn onnx_pair(text: &mut String, layout: Layout) -> Result<()> {
    match layout {
        Layout::SegmentAnything => writeln!(
            text,
            "\nThe ONNX encoder takes `input_image`, `[height, width, 3]` RGB in float32, 0 to 255, of any size, and \
             resizes, normalises and pads it itself. The ONNX decoder takes `point_coords` in pixels of the image \
             with its longest side scaled to {PROMPT_SIDE} (whatever the network's input), `point_labels` \
             (0 background, 1 foreground, 2 and 3 corners of a box, -1 filler), `mask_input`, `has_mask_input` and \
             `orig_im_size` (height, width), and gives `masks` (logits of the original image, inside where above 0), \
             `iou_predictions` and `low_res_masks`."
        )?,
        Layout::SegmentAnything2 => writeln!(
            text,
            "\nThe ONNX encoder takes what these steps give. The ONNX decoder takes prompts in input pixels and gives \
             `masks` (logits; resize them to the image, inside where above 0) and `iou_predictions`."
        )?,
    }
    Ok(())
}

fn tensors(text: &mut String, part: &Part<'_>) -> Result<()> {
    for input in &part.inputs {
        let (name, kind) = (input.name, input.example.kind());
        writeln!(text, "- in `{name}` {kind:?}, e.g. {:?}: {}", input.example.size(), input.about)?;
    }
    for output in &part.outputs {
        writeln!(text, "- out `{}`: {}", output.name, output.about)?;
    }
    writeln!(text)?;
    Ok(())
}

fn training(
    text: &mut String,
    config: &RunConfig,
    model: &Model<'_>,
    record: &ExportRecord,
) -> Result<()> {
    writeln!(text, "## Weights and data\n")?;
    let average = if record.averaged { ", moving average over the steps" } else { "" };
    match record.step {
        0 => writeln!(text, "- weights: pretrained, not trained further")?,
        step => writeln!(text, "- weights: after {step} training steps{average}")?,
    }
    for path in std::iter::once(&record.checkpoint).chain(&record.beside) {
        writeln!(text, "- file of weights: `{}`", name(path))?;
    }
    if let Some(weights) = config.weights.as_ref().filter(|_| record.step > 0) {
        writeln!(text, "- trained from: `{}`", name(&weights.path))?;
    }
    let names: Vec<_> = model.categories.iter().map(|category| category.name.as_str()).collect();
    writeln!(text, "- categories: {}", names.join(", "))?;
    if let Some(dataset) = &config.dataset {
        for split in dataset.splits() {
            if let Some(source) = dataset.source(split) {
                let digest = std::fs::read(&source).map(|bytes| sha256(&bytes));
                let digest = digest.map_or(String::new(), |digest| format!(", sha256 `{digest}`"));
                writeln!(text, "- {} data: `{}`{digest}", split.name(), name(&source))?;
            }
        }
    }
    writeln!(text)?;
    Ok(())
}

fn scores(text: &mut String, config: &RunConfig, options: &ExportOptions) -> Result<()> {
    writeln!(text, "## Scores\n")?;
    let mut any = false;
    if options.source != ModelSource::Pretrained {
        let files = RunFiles::of(&config.run_dir);
        for split in Split::ALL {
            let Ok(bytes) = std::fs::read(files.scores(split)) else { continue };
            let Ok(record) = serde_json::from_slice::<EvalRecord>(&bytes) else { continue };
            any = true;
            evaluated(text, split, &record)?;
        }
    }
    if any {
        return Ok(());
    }
    let summary = match options.source {
        ModelSource::Pretrained => None,
        _ => std::fs::read(RunFiles::of(&config.run_dir).summary()).ok(),
    };
    let summary = summary.and_then(|bytes| serde_json::from_slice::<Summary>(&bytes).ok());
    match summary.filter(|summary| !summary.metrics.is_empty()) {
        Some(summary) => {
            writeln!(
                text,
                "Last evaluation during training, on the validation split, without intervals (step {}):\n\n\
                 | metric | value |\n|---|---|",
                summary.steps
            )?;
            for metric in &summary.metrics {
                writeln!(text, "| {} | {} |", cell(&metric.name), words::score(metric.value))?;
            }
            writeln!(text)?;
        }
        None => writeln!(
            text,
            "Not evaluated: the run folder holds no scores. `sonotune eval --run RUN` writes them; export again \
             afterwards.\n"
        )?,
    }
    Ok(())
}

fn evaluated(text: &mut String, split: Split, record: &EvalRecord) -> Result<()> {
    writeln!(
        text,
        "{} split, {} images, checkpoint `{}` (step {}):\n\n| metric | value |\n|---|---|",
        split.name(),
        record.num_images,
        name(&record.checkpoint),
        record.step
    )?;
    for metric in &record.report.metrics {
        writeln!(text, "| {} | {} |", cell(&metric.name), words::score(metric.value))?;
    }
    for (name, value) in &record.report.conditions {
        writeln!(text, "\n{name}: {value}")?;
    }
    for note in &record.report.notes {
        writeln!(text, "\n{note}")?;
    }
    writeln!(text)?;
    Ok(())
}

fn uses(text: &mut String, options: &ExportOptions) -> Result<()> {
    let license = options.license.as_deref().unwrap_or(
        "unknown. The licence of fine-tuned weights follows from that of the pretrained ones and of the data",
    );
    writeln!(
        text,
        "## Intended use and limits\n\n\
         For research, on ultrasound images like those of the training data. Not a medical device: predictions are no \
         diagnosis, and scores on one hospital's images say little about another's.\n\n\
         - Images of other organs, devices, settings or with overlays may be predicted wrongly with high scores.\n\
         - Scores are the model's own; they are calibrated only if that was checked.\n\
         - The files predict one image at a time.\n\n\
         ## Licence of the weights\n\n{license}\n"
    )?;
    Ok(())
}

/// Without the folders, whose names may be nobody else's business.
fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Text that keeps to its cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
