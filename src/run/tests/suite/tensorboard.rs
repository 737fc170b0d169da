//! The real TensorBoard reads what we write.

use std::{path::Path, process::Command, time::SystemTime};

use image::{Rgb, RgbImage};
use serde_json::Value;
use sonotune_dataset::Split;
use sonotune_run::logging::{RunLogger, StepTime};
use sonotune_run_folder::{Existing, RunFolder};

use crate::run_folder::{options, record, report};

/// Prints what TensorBoard sees in a folder, as JSON.
const READER: &str = r#"
import base64, json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
acc = EventAccumulator(sys.argv[1], size_guidance={k: 0 for k in ("scalars", "images", "tensors")}, purge_orphaned_data=True)
acc.Reload()
tags = acc.Tags()
json.dump({
    "scalars": {t: [[e.wall_time, e.step, e.value] for e in acc.Scalars(t)] for t in tags["scalars"]},
    "images": {t: [[e.step, e.width, e.height, base64.b64encode(e.encoded_image_string).decode()]
                   for e in acc.Images(t)] for t in tags["images"]},
    "texts": {t: [[e.step, e.tensor_proto.string_val[0].decode(), acc.SummaryMetadata(t).plugin_data.plugin_name]
                  for e in acc.Tensors(t)] for t in tags["tensors"]},
}, sys.stdout)
"#;

/// `None`, with the reason printed, where the package is not installed.
fn read_back(folder: &Path) -> Option<Value> {
    let python = std::env::var_os("SONOTUNE_PYTHON")
        .or_else(|| std::env::var_os("PY"))
        .unwrap_or_else(|| "python3".into());
    let works = |code: &str| Command::new(&python).args(["-c", code]).output();
    if !works("import tensorboard").is_ok_and(|output| output.status.success()) {
        eprintln!(
            "skipped: {} has no tensorboard package (set SONOTUNE_PYTHON)",
            python.to_string_lossy()
        );
        return None;
    }
    let output = Command::new(&python).args(["-c", READER]).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// `[step, value]` of a scalar.
fn points(seen: &Value, tag: &str) -> Vec<(u64, f64)> {
    let points = seen["scalars"][tag].as_array().unwrap_or_else(|| panic!("no {tag} in {seen}"));
    points.iter().map(|p| (p[1].as_u64().unwrap(), p[2].as_f64().unwrap())).collect()
}

/// Wider than high, every pixel a different colour.
fn picture() -> RgbImage {
    RgbImage::from_fn(31, 17, |x, y| Rgb([x as u8 * 8, y as u8 * 15, (x * y) as u8]))
}

#[test]
fn tensorboard_reads_scalars_images_and_text() {
    let root = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(root.path(), Existing::Refuse).unwrap();
    let before = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let logger = RunLogger::new(&folder, options(None)).unwrap();
    logger.config("seed = 1\n");
    for step in [10, 20] {
        logger.tick(step, StepTime { step_seconds: 0.5, data_seconds: 0.25, images: 8 });
        logger.train_step(&record(step));
    }
    logger.evaluation(20, Split::Val, &report());
    logger.image("val/images/0", 20, &picture());

    // Read while the run still holds the file: nothing may remain in a buffer.
    let Some(seen) = read_back(root.path()) else { return };
    assert_eq!(points(&seen, "train/loss"), [(10, f64::from(0.1f32)), (20, f64::from(0.05f32))]);
    assert_eq!(points(&seen, "train/loss_focal")[0], (10, f64::from(0.05f32)));
    assert_eq!(points(&seen, "train/accuracy")[0], (10, 0.75));
    assert_eq!(points(&seen, "lr/head")[1], (20, f64::from(1e-3f32)));
    assert_eq!(points(&seen, "grad_norm")[1], (20, 0.5));
    assert_eq!(points(&seen, "time/step")[1], (20, 0.5));
    assert_eq!(points(&seen, "time/data")[1], (20, 0.25));
    assert!(points(&seen, "memory/peak")[0].1 > 1e6);
    assert_eq!(points(&seen, "val/f1"), [(20, f64::from(0.8f32))]);
    assert_eq!(points(&seen, "val/per_class/benign/f1").len(), 1);
    let wall_time = seen["scalars"]["train/loss"][0][0].as_f64().unwrap();
    assert!((before..before + 60.0).contains(&wall_time), "{wall_time} {before}");

    let image = &seen["images"]["val/images/0"][0];
    assert_eq!(
        (image[0].as_u64(), image[1].as_u64(), image[2].as_u64()),
        (Some(20), Some(31), Some(17))
    );
    let png = decode_base64(image[3].as_str().unwrap());
    let decoded = image::load_from_memory_with_format(&png, image::ImageFormat::Png).unwrap();
    assert_eq!(decoded.into_rgb8(), picture());

    assert!(seen["images"]["val/confusion_matrix"][0][1].as_u64().unwrap() > 144);

    let config = &seen["texts"]["config"][0];
    assert_eq!(config[1], "```toml\nseed = 1\n```");
    assert_eq!(config[2], "text");
    let table = seen["texts"]["val/Per class"][0][1].as_str().unwrap();
    assert!(table.contains("| benign | 0.9000 |"), "{table}");
}

#[test]
fn tensorboard_shows_a_resumed_run_as_one() {
    let root = tempfile::tempdir().unwrap();
    {
        let folder = RunFolder::create(root.path(), Existing::Refuse).unwrap();
        let logger = RunLogger::new(&folder, options(None)).unwrap();
        logger.config("seed = 1\n");
        for step in 1..=5 {
            logger.train_step(&record(step));
        }
    }
    // Twice within the same second, from step 3 each time.
    for last in [4, 6] {
        let folder = RunFolder::create(root.path(), Existing::Resume).unwrap();
        let logger = RunLogger::new(&folder, options(Some(3))).unwrap();
        for step in 4..=last {
            let mut record = record(step);
            record.losses[0].1 = 100.0 + step as f64;
            logger.train_step(&record);
        }
    }
    let Some(seen) = read_back(root.path()) else { return };
    let loss: Vec<_> = points(&seen, "train/loss");
    let third = f64::from((1.0f64 / 3.0) as f32);
    assert_eq!(loss, [(1, 1.0), (2, 0.5), (3, third), (4, 104.0), (5, 105.0), (6, 106.0)]);
    assert_eq!(seen["texts"]["config"].as_array().unwrap().len(), 1);
}

fn decode_base64(text: &str) -> Vec<u8> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::new();
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = group.iter().fold(0u32, |bits, &c| bits << 6 | u32::from(value(c)));
        let bits = bits << (6 * (4 - group.len()));
        bytes.extend(&bits.to_be_bytes()[1..group.len()]);
    }
    bytes
}
