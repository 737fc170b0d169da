//! Settings for masks: from prompts, or found by the model.

use super::{Facts, length, network, running, table};
use crate::{Task, line::Line};

/// Images of a batch.
const BATCH: i64 = 8;
/// Sides of the small network's input, pixels.
const SIZES: [i64; 2] = [128, 192];
/// Pixels that a small object should have along each side.
const FEWEST_PIXELS: f64 = 12.0;
/// Billions of multiply-adds of a forward pass at 128 pixels: small encoder and decoder.
const PROMPT_GMAC: f64 = 0.5;
const INSTANCES_GMAC: f64 = 1.5;
/// Rounds through the images from a random start.
const EPOCHS: f64 = 150.0;

pub(super) fn lines(facts: Facts<'_>) -> Vec<Line> {
    let (size, why_size) = size(facts);
    let mut lines = vec![
        Line::guess("preprocess", "image_size", size.into(), why_size),
        Line::new("preprocess", "resample", "antialias".into(), "averages when it shrinks images"),
        Line::guess(
            "augment",
            "flip_probability",
            0.5.into(),
            "every other image is mirrored; set it to 0 if left and right differ in meaning",
        ),
    ];
    lines.extend(network(facts, || small(facts, size)));
    lines.extend(if facts.task == Task::Prompt { prompt(facts) } else { instances(facts) });
    let batch = batch(facts);
    lines.push(Line::new(
        "loader",
        "batch_size",
        batch.into(),
        "fits, and is a small part of the images",
    ));
    let (gmac, metric) = match (facts.task, facts.model) {
        (_, Some(model)) => (model.gmac, metric(facts.task)),
        (Task::Prompt, None) => (PROMPT_GMAC * scale(size), metric(facts.task)),
        (_, None) => (INSTANCES_GMAC * scale(size), metric(facts.task)),
    };
    let length = length(facts, batch, gmac, EPOCHS);
    let lr = if facts.model.is_some() { 1e-4 } else { 1e-3 };
    lines.extend(running(facts, &length, metric, lr));
    lines
}

fn metric(task: Task) -> &'static str {
    if task == Task::Prompt { "box/dice" } else { "segm_mAP_50" }
}

fn scale(size: i64) -> f64 {
    (size as f64 / 128.0).powi(2)
}

fn batch(facts: Facts<'_>) -> i64 {
    let by_memory = match facts.model {
        None => BATCH,
        Some(model) => ((facts.machine.gib() - 2.0).max(0.0) / model.gib_per_image) as i64,
    };
    BATCH.min(by_memory).min(facts.train as i64 / 4).max(1)
}

fn size(facts: Facts<'_>) -> (i64, String) {
    if let Some(model) = facts.model {
        return (model.image_size, format!("what {} was pretrained with", model.name));
    }
    let small = facts.print.objects.as_ref().map_or(1.0, |objects| objects.small_side);
    let size = SIZES.into_iter().find(|&size| size as f64 * small >= FEWEST_PIXELS);
    let size = size.unwrap_or(SIZES[1]);
    let pixels = size as f64 * small;
    let why = if pixels >= FEWEST_PIXELS {
        format!("nine of ten objects are then {pixels:.0} pixels wide or more")
    } else {
        format!(
            "a tenth of the objects are then below {pixels:.0} pixels wide, which is little; larger costs time that this \
             machine lacks"
        )
    };
    (size, why)
}

fn small(facts: Facts<'_>, size: i64) -> Vec<Line> {
    let list =
        |values: &[i64]| values.iter().map(|&v| toml::Value::Integer(v)).collect::<Vec<_>>().into();
    let neck = if facts.task == Task::Prompt { 96 } else { 0 };
    vec![
        Line::new(
            "backbone",
            "type",
            "sam_vit".into(),
            "no pretrained weights: SAM's encoder in miniature, which the task can use",
        ),
        Line::new(
            "backbone",
            "embed_dim",
            96.into(),
            "an eighth of SAM's: few images teach no more",
        ),
        Line::new("backbone", "depth", 4.into(), "a third of SAM's blocks"),
        Line::new("backbone", "num_heads", 3.into(), "32 channels each"),
        Line::new(
            "backbone",
            "global_attn_indexes",
            list(&[1, 3]),
            "every other block sees the whole image",
        ),
        Line::new("backbone", "window_size", 8.into(), "the others see windows of 64 pixels"),
        Line::new(
            "backbone",
            "patch_size",
            8.into(),
            "half of SAM's: small images need finer patches",
        ),
        Line::new("backbone", "image_size", size.into(), "as in [preprocess]"),
        Line::new(
            "backbone",
            "out_channels",
            neck.into(),
            if neck > 0 {
                "as wide as the encoder"
            } else {
                "the last block's output, without a neck"
            },
        ),
    ]
}

fn prompt(facts: Facts<'_>) -> Vec<Line> {
    let mut lines = vec![Line::guess(
        "task",
        "type",
        "sam_prompt".into(),
        "masks from a box or a click; `--task mask2former` finds objects without being asked",
    )];
    if facts.model.is_none() {
        lines.extend([
            Line::new(
                "task",
                "convention",
                "segment_anything".into(),
                "without a second pass, which takes twice the time",
            ),
            Line::new(
                "task",
                "decoder",
                table(&[("num_heads", 4), ("mlp_dim", 256)]),
                "as small as the encoder",
            ),
        ]);
    }
    lines
}

fn instances(facts: Facts<'_>) -> Vec<Line> {
    let mut lines = vec![Line::guess(
        "task",
        "type",
        "mask2former".into(),
        "finds objects, outlines and names them; `--task sam_prompt` outlines what a box or a click shows",
    )];
    if facts.model.is_some_and(|model| model.is_sam) || facts.model.is_none() {
        let why = "makes levels of several sizes of the encoder's one";
        lines.push(Line::new("task", "neck", "simple_feature_pyramid".into(), why));
    }
    if facts.model.is_none() {
        lines.extend([
            Line::new(
                "task",
                "num_queries",
                20.into(),
                "most objects of an image; the published model has 100",
            ),
            Line::new("task", "feat_channels", 64.into(), "a quarter of the published model's"),
            Line::new("task", "num_heads", 4.into(), "16 channels each"),
            Line::new(
                "task",
                "pixel_decoder",
                table(&[("num_layers", 2), ("feedforward_channels", 128)]),
                "a third of the published model's layers",
            ),
            Line::new(
                "task",
                "transformer_decoder",
                table(&[("num_layers", 3), ("feedforward_channels", 128)]),
                "a third of the published model's layers",
            ),
            Line::new("task", "training", table(&[("num_points", 1024)]), "masks are small"),
        ]);
    }
    lines
}
