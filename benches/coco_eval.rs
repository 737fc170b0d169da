//! `sonotune coco-eval` on 5,000 images with 100 detections each, the entire process from start to
//! end, next to faster-coco-eval; and the overlap measures of two large masks next to SciPy.
//! Protocol: `benches/peers/README.md`; `peak_mib` is that of the entire process.
//!
//! The files that both sides read are made once, in `target/bench-coco`.

#[path = "support/measure.rs"]
mod measure;

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use measure::Case;
use serde_json::{Value, json};
use sonotune_base::{Rle, seed::Rng};
use sonotune_metrics::overlap::{Spacing, overlap};

const IMAGES: u64 = 5_000;
const DETECTIONS_PER_IMAGE: u64 = 100;
/// `(height, width)` of every image.
const SIZE: (u32, u32) = (600, 800);
const SHAPES: u64 = 64;
const CATEGORIES: u64 = 3;
const REPEATS: usize = 5;

const CASES: [Case; 3] = [
    ("coco_eval_bbox_5000x100", || measure_process("bbox")),
    ("coco_eval_segm_5000x100", || measure_process("segm")),
    ("overlap_1024", measure_overlap),
];

fn main() -> Result<()> {
    measure::run(&CASES)
}

fn measure_process(iou_type: &str) -> Result<Value> {
    let folder = prepare()?;
    // The first run fills the page cache.
    evaluate(iou_type, &folder)?;
    let runs = (0..REPEATS).map(|_| evaluate(iou_type, &folder)).collect::<Result<Vec<_>>>()?;
    let processor = runs.iter().map(|run| run.processor_seconds).fold(f64::INFINITY, f64::min);
    eprintln!("{iou_type}: processor time {processor:.2} s");
    let mut figures = measure::figures(runs.iter().map(|run| run.seconds).collect());
    figures["peak_mib"] = json!(runs.iter().map(|run| run.peak_mib).fold(0.0, f64::max));
    figures["aim"] = json!({ "time_ratio": 0.3334, "memory_ratio": 0.3334 });
    Ok(figures)
}

fn evaluate(iou_type: &str, folder: &Path) -> Result<measure::Run> {
    let found = folder.join(format!("dt_{iou_type}.json"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_sonotune"));
    command.arg("coco-eval").arg(folder.join("gt.json")).arg(found);
    // The peer compares its figures with these.
    command.args(["--json", "--iou-type", iou_type, "--out"]);
    command.arg(folder.join(format!("figures_{iou_type}.json")));
    if let Some(threads) = measure::threads()? {
        command.env("RAYON_NUM_THREADS", threads.to_string());
    }
    measure::process(&mut command)
}

fn measure_overlap() -> Result<Value> {
    let text = fs::read_to_string(prepare()?.join("overlap.json"))?;
    let stored: Value = serde_json::from_str(&text)?;
    let mask = |i: usize| {
        let counts = stored[i]["counts"].as_str().context("counts")?;
        Rle::from_compressed(1024, 1024, counts)
    };
    let (first, second) = (mask(0)?, mask(1)?);
    let mut seconds = Vec::new();
    for _ in 0..50 {
        let started = Instant::now();
        let measured = overlap(&first, &second, Spacing::default())?;
        seconds.push(started.elapsed().as_secs_f64());
        ensure!(measured.hd95.is_some(), "the masks have pixels");
    }
    let mut figures = measure::figures(seconds);
    figures["aim"] = json!({ "seconds": 0.005 });
    Ok(figures)
}

/// Creates the files unless they exist.
fn prepare() -> Result<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().context("no target folder")?;
    let folder = target.join("bench-coco");
    if folder.join("overlap.json").is_file() {
        return Ok(folder);
    }
    let draft = target.join(format!("bench-coco.{}", std::process::id()));
    fs::create_dir_all(&draft).context("making the folder of the problem")?;
    write_problem(&draft)?;
    fs::rename(&draft, &folder).context("naming the folder of the problem")?;
    Ok(folder)
}

/// A mask and its position.
struct Shape {
    rle: Rle,
    bbox: [f64; 4],
    json: String,
}

fn write_problem(folder: &Path) -> Result<()> {
    let create = |name: &str| -> Result<BufWriter<File>> {
        Ok(BufWriter::new(File::create(folder.join(name)).context("writing the problem")?))
    };
    let shapes = (0..SHAPES).map(|i| shape(i, SIZE, 90.0)).collect::<Result<Vec<_>>>()?;
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    let (mut boxes, mut masks) = (create("dt_bbox.json")?, create("dt_segm.json")?);
    for image in 0..IMAGES {
        let rng = &mut Rng::at(2, &[image]);
        images.push(json!({
            "id": image, "file_name": format!("{image}.png"), "height": SIZE.0, "width": SIZE.1
        }));
        let objects: Vec<u64> = (0..1 + rng.below(9)).map(|_| rng.below(SHAPES)).collect();
        for &object in &objects {
            let shape = &shapes[object as usize];
            annotations.push(format!(
                "{{\"id\": {}, \"image_id\": {image}, \"category_id\": {}, \"bbox\": {:?}, \
                 \"area\": {}, \"iscrowd\": 0, \"segmentation\": {}}}",
                annotations.len() + 1,
                object % CATEGORIES + 1,
                shape.bbox,
                shape.rle.area(),
                shape.json
            ));
        }
        for i in 0..DETECTIONS_PER_IMAGE {
            let separator = if image + i == 0 { "[" } else { ", " };
            let hit = rng.uniform() < 0.2;
            let object = if hit {
                objects[rng.below(objects.len() as u64) as usize]
            } else {
                rng.below(SHAPES)
            };
            let shape = &shapes[object as usize];
            let entry = detection(rng, image, object, shape.bbox);
            write!(boxes, "{separator}{entry}}}")?;
            write!(masks, "{separator}{entry}, \"segmentation\": {}}}", shape.json)?;
        }
    }
    for mut file in [boxes, masks] {
        write!(file, "]")?;
        file.flush()?;
    }
    let categories: Vec<Value> =
        (1..=CATEGORIES).map(|k| json!({ "id": k, "name": format!("class {k}") })).collect();
    let mut truths = create("gt.json")?;
    write!(
        truths,
        "{{\"images\": {}, \"annotations\": [{}], \"categories\": {}}}",
        Value::from(images),
        annotations.join(", "),
        Value::from(categories)
    )?;
    truths.flush()?;
    // Over most of an image of 1024².
    let large = [shape(1000, (1024, 1024), 400.0)?, shape(1001, (1024, 1024), 380.0)?];
    if large.iter().any(|shape| shape.rle.area() < 100_000) {
        bail!("the masks are too small for the case's name");
    }
    let [first, second] = large.map(|shape| shape.json);
    fs::write(folder.join("overlap.json"), format!("[{first}, {second}]"))?;
    Ok(())
}

/// The beginning of an entry, with the box near the shape's.
fn detection(rng: &mut Rng, image: u64, object: u64, bbox: [f64; 4]) -> String {
    let near =
        bbox.map(|side| ((side + 8.0 * (rng.uniform() - 0.5)).max(1.0) * 100.0).round() / 100.0);
    let score = (rng.uniform() * 1e6).round() / 1e6;
    format!(
        "{{\"image_id\": {image}, \"category_id\": {}, \"bbox\": {near:?}, \"score\": {score}",
        object % CATEGORIES + 1
    )
}

/// A lobed lesion whose radius is up to `largest`.
fn shape(index: u64, (height, width): (u32, u32), largest: f64) -> Result<Shape> {
    let mut rng = Rng::at(1, &[index]);
    let (radius, lobes) = (largest * (0.2 + 0.8 * rng.uniform()), 2.0 + rng.below(4) as f64);
    let radius = if largest > 200.0 { largest } else { radius };
    let mut centre = |side: u32| f64::from(side) * (0.3 + 0.4 * rng.uniform());
    let (cy, cx) = (centre(height), centre(width));
    let pixels: Vec<u8> = (0..height * width)
        .map(|i| {
            let (y, x) = (f64::from(i / width) - cy, f64::from(i % width) - cx);
            u8::from(x.hypot(y) < radius * (1.0 + 0.15 * (lobes * y.atan2(x)).sin()))
        })
        .collect();
    let rle = Rle::from_mask(&pixels, (height, width))?;
    let json = json!({ "size": [height, width], "counts": rle.to_compressed() }).to_string();
    Ok(Shape { bbox: rle.bbox(), rle, json })
}
