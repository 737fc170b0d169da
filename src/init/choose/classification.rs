//! Settings for telling classes of images apart.

use super::{Facts, Length, length, network, running, small_size};
use crate::line::Line;

/// Images of a batch.
const BATCH: i64 = 16;
/// Channels of the stem of the small network; ResNet-18 has 64.
const CHANNELS: i64 = 32;
/// Longest side of its input, on a CPU and on a GPU.
const SIZES: (i64, i64) = (128, 224);
/// Rounds through the images from a random start, and from pretrained weights.
const EPOCHS: (f64, f64) = (30.0, 20.0);
/// Largest ratio of two classes that needs no weights.
const BALANCED: f64 = 1.5;

pub(super) fn lines(facts: Facts<'_>) -> Vec<Line> {
    let (size, why_size) = size(facts);
    let mut lines = preprocess(size, why_size);
    lines.extend(network(facts, || small(facts)));
    lines.push(Line::new(
        "task",
        "type",
        "classification".into(),
        "tells classes of whole images apart",
    ));
    lines.extend(loss(facts));
    let batch = batch(facts);
    lines.push(Line::new(
        "loader",
        "batch_size",
        batch.into(),
        "as many as statistics of a batch need, and fit",
    ));
    let length = steps(facts, batch, size);
    let lr = if facts.model.is_some() { 1e-4 } else { 1e-3 };
    let metric = if facts.multi_label { "map" } else { "auroc" };
    lines.extend(running(facts, &length, metric, lr));
    lines
}

fn size(facts: Facts<'_>) -> (i64, String) {
    if let Some(model) = facts.model {
        return (model.image_size, format!("what {} was pretrained with", model.name));
    }
    let most = if facts.machine.has_gpu() { SIZES.1 } else { SIZES.0 };
    let size = small_size(facts, most);
    let [_, middle, _] = facts.print.longer_side;
    let why = if size < most {
        format!("the images are about {middle} pixels long")
    } else {
        format!(
            "the images are about {middle} pixels long; more than {most} costs time that this machine lacks"
        )
    };
    (size, why)
}

fn preprocess(size: i64, why: String) -> Vec<Line> {
    vec![
        Line::guess("preprocess", "image_size", size.into(), why),
        Line::new(
            "preprocess",
            "resample",
            "antialias".into(),
            "averages when it shrinks images so much",
        ),
        Line::new(
            "preprocess",
            "pad_order",
            "pad_then_normalize".into(),
            "the border is black, like that of a scan",
        ),
        Line::guess(
            "augment",
            "flip_probability",
            0.5.into(),
            "every other image is mirrored; set it to 0 if left and right differ in meaning",
        ),
    ]
}

fn small(facts: Facts<'_>) -> Vec<Line> {
    let why = format!(
        "no pretrained weights, and {} images: a small convolutional network learns from few, transformers do not",
        facts.train
    );
    let last = toml::Value::Array(vec![3.into()]);
    let mut lines = vec![
        Line::new("backbone", "type", "resnet".into(), why),
        Line::new("backbone", "depth", 18.into(), "the smallest"),
    ];
    if !facts.machine.has_gpu() {
        lines.push(Line::new(
            "backbone",
            "base_channels",
            CHANNELS.into(),
            "half of ResNet-18's: a quarter of the time",
        ));
    }
    lines.extend([
        Line::new("backbone", "out_indices", last, "the last stage says what the image shows"),
        Line::new(
            "backbone",
            "norm_eval",
            false.into(),
            "a random start has no statistics for batch norms, so that they learn them",
        ),
    ]);
    lines
}

fn loss(facts: Facts<'_>) -> Vec<Line> {
    let table = |pairs: &[(&str, toml::Value)]| {
        toml::Value::Table(
            pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        )
    };
    let mut lines = Vec::new();
    if facts.multi_label {
        lines.push(Line::new(
            "task",
            "multi_label",
            true.into(),
            "some images have several classes, or none",
        ));
        let loss = table(&[("type", "binary_cross_entropy".into())]);
        lines.push(Line::new("task", "loss", loss, "each class on its own"));
    } else {
        let loss = table(&[("type", "cross_entropy".into())]);
        lines.push(Line::new("task", "loss", loss, "each image has exactly one class"));
    }
    let counts = facts.print.classes.iter().filter(|(_, count)| *count > 0);
    let (fewest, most) =
        counts.fold((usize::MAX, 0), |(low, high), (_, count)| (low.min(*count), high.max(*count)));
    if facts.print.of_images && most as f64 > BALANCED * fewest as f64 {
        let weight = |count: usize| {
            // The square root: full weights make a few images decide.
            let weight = (most as f64 / count.max(1) as f64).sqrt();
            toml::Value::Float((100.0 * weight).round() / 100.0)
        };
        let classes =
            facts.print.classes.iter().map(|(name, count)| (name.clone(), weight(*count)));
        let counts: Vec<String> =
            facts.print.classes.iter().map(|(name, count)| format!("{count} {name}")).collect();
        lines.push(Line::new(
            "task",
            "class_weights",
            toml::Value::Table(classes.collect()),
            format!(
                "rare classes count more, by the square root of how rare: {}",
                counts.join(", ")
            ),
        ));
    }
    lines
}

fn batch(facts: Facts<'_>) -> i64 {
    let by_memory = match facts.model {
        None => BATCH,
        Some(model) => ((facts.machine.gib() - 2.0).max(0.0) / model.gib_per_image) as i64,
    };
    let by_images = facts.train as i64 / 4;
    BATCH.min(by_memory).min(by_images).max(1)
}

fn steps(facts: Facts<'_>, batch: i64, size: i64) -> Length {
    match facts.model {
        Some(model) => length(facts, batch, model.gmac, EPOCHS.1),
        None => {
            let channels = if facts.machine.has_gpu() { 64.0 } else { CHANNELS as f64 };
            // ResNet-18 takes 1.8 at 224 pixels and 64 channels.
            let gmac = 1.8 * (size as f64 / 224.0).powi(2) * (channels / 64.0).powi(2);
            length(facts, batch, gmac, EPOCHS.0)
        }
    }
}
