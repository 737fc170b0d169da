//! Opens a COCO file of 280,000 images and 300,000 annotations. Protocol: `benches/peers/README.md`;
//! there is no peer, but a limit: 5 seconds and 1 GiB.

#[path = "support/measure.rs"]
mod measure;

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    time::Instant,
};

use anyhow::{Result, bail};
use measure::{Case, memory_mib};
use serde_json::{self, Value, json};
use sonotune_base::{Rle, seed::Rng};
use sonotune_dataset::{DatasetConfig, Split};

const IMAGES: u64 = 280_000;
const ANNOTATIONS: u64 = 300_000;
/// `(height, width)` of every image.
const SIZE: (u32, u32) = (600, 800);
/// Number of repetitions.
const REPEATS: usize = 3;

/// How the masks are written.
#[derive(Clone, Copy)]
enum Form {
    /// Compressed run lengths of about 250 characters, as for lesions 90 to 190 pixels wide.
    Rle,
    /// Polygons of 40 points with two decimals.
    Polygons,
}

const CASES: [Case; 2] = [
    ("coco_open_280k_rle", || measure(Form::Rle)),
    ("coco_open_280k_polygons", || measure(Form::Polygons)),
];

fn main() -> Result<()> {
    measure::run(&CASES)
}

fn measure(form: Form) -> Result<Value> {
    let own = Path::new("/proc/self");
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("train.json");
    write_file(&path, form)?;
    let bytes = std::fs::metadata(&path)?.len();
    let table = json!({
        "type": "coco", "root": dir.path(), "train": "train.json", "check_files": "none"
    });
    let config: Box<dyn DatasetConfig> = serde_json::from_value(table)?;

    let before = memory_mib(own, "VmRSS")?;
    let mut seconds = Vec::new();
    let mut peak = 0.0;
    for repeat in 0..REPEATS {
        let start = Instant::now();
        let data = config.open(Split::Train)?;
        seconds.push(start.elapsed().as_secs_f64());
        if data.records.len() as u64 != IMAGES || data.num_objects() as u64 != ANNOTATIONS {
            bail!("opened {} images, {} objects", data.records.len(), data.num_objects());
        }
        if repeat == 0 {
            peak = memory_mib(own, "VmHWM")? - before;
            let kept = memory_mib(own, "VmRSS")? - before;
            eprintln!("file {:.0} MiB, kept {kept:.0} MiB", bytes as f64 / 1024.0 / 1024.0);
        }
    }
    let mut figures = measure::figures(seconds);
    figures["peak_mib"] = json!(peak);
    figures["aim"] = json!({ "seconds": 5.0, "mib": 1024.0 });
    Ok(figures)
}

/// Writes piece by piece, so that the file takes no memory before the measurement.
fn write_file(path: &Path, form: Form) -> Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    let masks = (0..64).map(|i| mask(i, form)).collect::<Result<Vec<_>>>()?;
    let (height, width) = SIZE;
    write!(out, "{{\"info\": {{\"description\": \"bench\"}}, \"images\": [")?;
    for i in 0..IMAGES {
        let comma = if i > 0 { "," } else { "" };
        write!(
            out,
            "{comma}{{\"file_name\": \"hospital_{}/patient_{:05}/image_{i:06}.png\", \"height\": \
             {height}, \"width\": {width}, \"id\": {i}}}",
            i % 43,
            i / 7
        )?;
    }
    write!(out, "], \"annotations\": [")?;
    for i in 0..ANNOTATIONS {
        let comma = if i > 0 { "," } else { "" };
        let (bbox, area, segmentation) = &masks[(i % 64) as usize];
        // Ids as US-43d's tools write them: UUIDs as integers.
        let id = u128::from(Rng::at(1, &[i]).next_u64()) << 64 | u128::from(i);
        write!(
            out,
            "{comma}{{\"id\": {id}, \"image_id\": {}, \"category_id\": {}, \"iscrowd\": 0, \
             \"area\": {area}, \"bbox\": {bbox:?}, \"segmentation\": {segmentation}}}",
            i % IMAGES,
            1 + i % 2
        )?;
    }
    write!(
        out,
        "], \"categories\": [{{\"id\": 1, \"name\": \"benign\"}}, {{\"id\": 2, \"name\": \
         \"malignant\"}}]}}"
    )?;
    out.flush()?;
    Ok(())
}

/// Box, area and JSON of a lobed lesion.
fn mask(index: u64, form: Form) -> Result<([f64; 4], f64, String)> {
    let mut rng = Rng::at(2, &[index]);
    let (radius, lobes) = (45.0 + 50.0 * rng.uniform(), 2.0 + rng.below(4) as f64);
    let (cx, cy) = (200.0 + 400.0 * rng.uniform(), 150.0 + 300.0 * rng.uniform());
    let outline = |angle: f64| radius * (1.0 + 0.15 * (lobes * angle).sin());
    let (height, width) = SIZE;
    let pixels: Vec<u8> = (0..height * width)
        .map(|i| {
            let (y, x) = (f64::from(i / width) - cy, f64::from(i % width) - cx);
            u8::from(x.hypot(y) < outline(y.atan2(x)))
        })
        .collect();
    let rle = Rle::from_mask(&pixels, SIZE)?;
    let segmentation = match form {
        Form::Rle => json!({ "size": [height, width], "counts": rle.to_compressed() }).to_string(),
        Form::Polygons => {
            let round = |c: f64| (c * 100.0).round() / 100.0;
            let points: Vec<f64> = (0..40)
                .map(|i| f64::from(i) / 40.0 * std::f64::consts::TAU)
                .flat_map(|a| [cx + outline(a) * a.cos(), cy + outline(a) * a.sin()].map(round))
                .collect();
            serde_json::to_string(&[points])?
        }
    };
    Ok((rle.bbox(), rle.area() as f64, segmentation))
}
