//! Decode, resize the longest side to 1024, normalise, pad to a square, through the loader:
//! images per second. Protocol and images are those of `benches/peers`.

#[path = "support/measure.rs"]
mod measure;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::{Result, ensure};
use measure::Case;
use serde_json::{Value, json};
use sonotune_base::{ImageId, seed::Rng};
use sonotune_dataset::{
    Dataset, InputSpec, Record, TargetNeeds,
    transforms::{AugmentConfig, PreprocessConfig, Resample},
};
use sonotune_engine::loader::{LoadPlan, Loader, LoaderConfig, Pixels};

const REPEATS: usize = 5;
/// Divides the number of images, so that a repetition is a complete pass over them.
const BATCH_SIZE: usize = 4;
/// What a core must deliver a second so that sixteen outrun any training step on one GPU.
const AIM_PER_CORE: f64 = 60.0;
const CASES: [Case; 7] = [
    ("decode_png_reference", || measure("png", Resample::Reference)),
    ("decode_png_reference_float", || measure("png", Resample::ReferenceFloat)),
    ("decode_png_antialias", || measure("png", Resample::Antialias)),
    ("decode_jpeg_reference", || measure("jpeg", Resample::Reference)),
    ("decode_jpeg_reference_float", || measure("jpeg", Resample::ReferenceFloat)),
    ("decode_jpeg_antialias", || measure("jpeg", Resample::Antialias)),
    ("decode_png_1024_for_gpu", for_gpu),
];

fn main() -> Result<()> {
    // The same as the command line.
    sonotune_shim::keep_freed_memory();
    measure::run(&CASES)
}

fn measure(format: &str, resample: Resample) -> Result<Value> {
    let folder = images().join(format);
    if !folder.is_dir() {
        let skipped = "the images are drawn by `python benches/peers/decode.py --list`";
        return Ok(json!({ "skipped": skipped }));
    }
    let mut figures = passes(folder, plan(resample, threads()?))?;
    figures["aim"] = json!({ "time_ratio": 0.5 });
    Ok(figures)
}

/// Images of the network's own size as bytes, the way to a GPU; into ordinary memory if there is none.
fn for_gpu() -> Result<Value> {
    let folder = images().join("png-1024");
    draw(&folder)?;
    // Before the first question for CUDA, whose answer libtorch keeps.
    let pinned = sonotune_shim::load_cuda().is_ok() && tch::Cuda::is_available();
    let pixels = Pixels::Bytes { pinned };
    let threads = threads()?;
    let mut figures = passes(folder, LoadPlan { pixels, ..plan(Resample::Reference, threads) })?;
    figures["aim"] = json!({ "seconds": 1.0 / (AIM_PER_CORE * threads as f64) });
    figures["pinned"] = pinned.into();
    Ok(figures)
}

fn images() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench-images")
}

fn threads() -> Result<usize> {
    Ok(match measure::threads()? {
        Some(threads) => usize::try_from(threads)?,
        None => std::thread::available_parallelism()?.get(),
    })
}

/// Sixteen grey PNG of 1024² pixels with speckle, as large on disk as scans are, unless they are there.
fn draw(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    for index in 0..16u64 {
        let path = folder.join(format!("{index:02}.png"));
        if path.exists() {
            continue;
        }
        let mut rng = Rng::at(index, &[]);
        let speckle = |x: u32, y: u32| {
            let echo = 70.0 + 50.0 * (f64::from(x) / 90.0).sin() * (f64::from(y) / 130.0).cos();
            image::Luma([(echo * (0.8 + 0.4 * rng.uniform())) as u8])
        };
        image::GrayImage::from_fn(1024, 1024, speckle).save(&path)?;
    }
    Ok(())
}

/// Seconds an image over complete passes.
fn passes(folder: PathBuf, plan: LoadPlan) -> Result<Value> {
    let dataset = Arc::new(dataset(folder)?);
    let batches = dataset.records.len() / BATCH_SIZE;
    ensure!(batches > 0, "too few images");
    let mut loader = Loader::train(dataset, plan, 0)?;
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
        reader: Default::default(),
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
        share: Default::default(),
    }
}
