//! Decode, resize the longest side to 1024, normalise, pad to a square, through the loader:
//! images per second. Protocol and images are those of `benches/peers`.

use std::{path::PathBuf, sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use sonotune_base::ImageId;
use sonotune_dataset::{
    Dataset, InputSpec, Record, TargetNeeds,
    transforms::{AugmentConfig, PreprocessConfig, Resample},
};
use sonotune_engine::loader::{LoadPlan, Loader, LoaderConfig};

const REPEATS: usize = 5;
/// Divides the number of images, so that a repetition is a complete pass over them.
const BATCH_SIZE: usize = 4;
const METHODS: [(&str, Resample); 3] = [
    ("reference", Resample::Reference),
    ("reference_float", Resample::ReferenceFloat),
    ("antialias", Resample::Antialias),
];

fn main() -> Result<()> {
    // The same as the command line.
    sonotune_shim::keep_freed_memory();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wanted = arguments.iter().find(|a| !a.starts_with("--"));
    for format in ["png", "jpeg"] {
        for (method, resample) in METHODS {
            let name = format!("decode_{format}_{method}");
            if arguments.iter().any(|a| a == "--list") {
                println!("{name}");
            } else if wanted.is_none_or(|w| *w == name) {
                measure(&name, format, resample)?;
            }
        }
    }
    Ok(())
}

fn measure(name: &str, format: &str, resample: Resample) -> Result<()> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench-images").join(format);
    if !folder.is_dir() {
        let skipped = "the images are drawn by `python benches/peers/decode.py --list`";
        println!("{}", json!({ "name": name, "skipped": skipped }));
        return Ok(());
    }
    let threads = match std::env::var("SONOTUNE_BENCH_THREADS") {
        Ok(threads) => threads.parse()?,
        Err(_) => std::thread::available_parallelism()?.get(),
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
    let mut seconds = seconds.split_off(1);
    seconds.sort_by(f64::total_cmp);
    let median = seconds[REPEATS / 2];
    let figures = json!({
        "name": name,
        "seconds_min": seconds[0],
        "seconds_median": median,
        "images_per_second": 1.0 / median,
        "aim": { "time_ratio": 0.5 },
    });
    println!("{figures}");
    Ok(())
}

fn dataset(source: PathBuf) -> Result<Dataset> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(&source)?.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
    paths.sort();
    let record = |(i, path)| Record {
        image_id: ImageId::Unsigned(i as u128),
        path,
        size: None,
        image_labels: Vec::new(),
        objects: Vec::new(),
        prompts: None,
        values: Default::default(),
    };
    let records = paths.into_iter().enumerate().map(record).collect();
    Ok(Dataset { categories: Vec::new(), records, source, source_sha256: None, notes: Vec::new() })
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
    }
}
