//! Decode, resize the longest side to 1024, normalise, pad to a square, through the loader:
//! images per second. Protocol and images are those of `benches/peers`.

#[path = "support/measure.rs"]
mod measure;

use std::{path::PathBuf, sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use measure::Case;
use serde_json::{Value, json};
use sonotune_base::ImageId;
use sonotune_dataset::{
    Dataset, InputSpec, Record, TargetNeeds,
    transforms::{AugmentConfig, PreprocessConfig, Resample},
};
use sonotune_engine::loader::{LoadPlan, Loader, LoaderConfig};

const REPEATS: usize = 5;
/// Divides the number of images, so that a repetition is a complete pass over them.
const BATCH_SIZE: usize = 4;
const CASES: [Case; 6] = [
    ("decode_png_reference", || measure("png", Resample::Reference)),
    ("decode_png_reference_float", || measure("png", Resample::ReferenceFloat)),
    ("decode_png_antialias", || measure("png", Resample::Antialias)),
    ("decode_jpeg_reference", || measure("jpeg", Resample::Reference)),
    ("decode_jpeg_reference_float", || measure("jpeg", Resample::ReferenceFloat)),
    ("decode_jpeg_antialias", || measure("jpeg", Resample::Antialias)),
];

fn main() -> Result<()> {
    // The same as the command line.
    sonotune_shim::keep_freed_memory();
    measure::run(&CASES)
}

fn measure(format: &str, resample: Resample) -> Result<Value> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench-images").join(format);
    if !folder.is_dir() {
        let skipped = "the images are drawn by `python benches/peers/decode.py --list`";
        return Ok(json!({ "skipped": skipped }));
    }
    let threads = match measure::threads()? {
        Some(threads) => usize::try_from(threads)?,
        None => std::thread::available_parallelism()?.get(),
    };
    let dataset = Arc::new(dataset(folder)?);
    let batches = dataset.records.len() / BATCH_SIZE;
    ensure!(batches > 0, "too few images");
    let mut loader = Loader::train(dataset, plan(resample, threads), 0)?;
    let mut seconds = Vec::new();
    for _ in 0..=REPEATS {
        let start = Instant::now();
        for _ in 0..batches {
            let batch = loader.next().transpose()?;
            ensure!(batch.is_some_and(|b| b.images.size()[2..] == [1024, 1024]), "wrong size");
        }
        seconds.push(start.elapsed().as_secs_f64() / (batches * BATCH_SIZE) as f64);
    }
    // The first pass warms up.
    let mut figures = measure::figures(seconds.split_off(1));
    figures["images_per_second"] = figures["seconds_median"].as_f64().map(f64::recip).into();
    figures["aim"] = json!({ "time_ratio": 0.5 });
    Ok(figures)
}

fn dataset(source: PathBuf) -> Result<Dataset> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(&source)?.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
    paths.sort();
    let record = |(i, path)| Record::new(ImageId::Unsigned(i as u128), path);
    let records = paths.into_iter().enumerate().map(record).collect();
    Ok(Dataset { records, source, ..Dataset::default() })
}

fn plan(resample: Resample, num_workers: usize) -> LoadPlan {
    LoadPlan {
        preprocess: PreprocessConfig { resample, ..PreprocessConfig::default() },
        augment: AugmentConfig::default(),
        loader: LoaderConfig {
            batch_size: BATCH_SIZE,
            num_workers,
            shuffle: false,
            ..LoaderConfig::default()
        },
        spec: InputSpec { square_size: Some(1024), ..InputSpec::imagenet(16) },
        needs: TargetNeeds::ImageLabels,
        seed: 0,
        embeddings: None,
        pixels: Default::default(),
        preparation: None,
    }
}
