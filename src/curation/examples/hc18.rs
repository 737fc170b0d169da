//! Head circumference of HC18 (CC BY 4.0) from its annotated ellipses, in millimetres, against the table of its authors.
//!
//! ```text
//! cargo run --release -p sonotune-curation --example hc18 -- HC18 OUT
//! ```
//!
//! HC18 is the folder with `training_set/` and `training_set_pixel_size_and_HC.csv`. It is converted into OUT with the
//! shipped spec `hc`; the size of a pixel then comes from OUT's COCO file alone.
//!
//! A mask of HC18 is an ellipse drawn with a pen and filled, so that it is wider than the ellipse by half the width of the
//! line. That half width, in pixels, is estimated on every other image and taken off the rest, and the other way
//! round.

use std::{collections::HashMap, env, path::Path};

use anyhow::{Context, Result, ensure};
use sonotune_base::{Rle, stop::StopFlag};
use sonotune_coco::CocoFile;
use sonotune_curation::{
    convert::{Options, convert},
    spec::Choice,
    us43d,
};
use sonotune_formats::csv_file::CsvFile;
use sonotune_metrics::{
    overlap::Spacing,
    shape::{Ellipse, Shape},
};

const TABLE: &str = "training_set_pixel_size_and_HC.csv";

/// An image: the fitted ellipse in millimetres, and what the table says.
struct Head {
    name: String,
    ellipse: Ellipse,
    pixel_mm: f64,
    table_mm: f64,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [source, out] = arguments.as_slice() else {
        anyhow::bail!("expected the folder of HC18 and one for the converted dataset");
    };
    let (source, out) = (Path::new(source), Path::new(out));
    let spec = us43d::find("hc").context("the spec is shipped")?.spec(&Choice::AsIntended)?;
    convert(&spec, source, out, &Options::default(), &|_| {}, &StopFlag::default())?;
    let heads = heads(&CocoFile::read(&out.join("annotations/all.json"))?, source)?;
    ensure!(heads.len() > 1, "no image of {} is in {TABLE}", source.display());

    let pixels: Vec<f64> = heads.iter().map(|head| head.pixel_mm).collect();
    let (low, high) =
        pixels.iter().fold((f64::MAX, 0.0_f64), |(l, h), mm| (l.min(*mm), h.max(*mm)));
    println!("{} images, {low:.4} to {high:.4} mm a pixel", heads.len());
    let as_drawn: Vec<f64> =
        heads.iter().map(|head| head.ellipse.circumference() - head.table_mm).collect();
    print_differences("filled masks", &heads, &as_drawn);

    let halves = [0, 1].map(|half| half_line(&heads, half));
    println!(
        "half the width of the line: {:.3} and {:.3} pixels in the two halves",
        halves[0], halves[1]
    );
    let without_line: Vec<f64> = heads
        .iter()
        .enumerate()
        .map(|(i, head)| {
            // As the other half of the images has it.
            let line = 2.0 * halves[1 - i % 2] * head.pixel_mm;
            let Ellipse { major, minor } = head.ellipse;
            let ellipse = Ellipse { major: major - line, minor: minor - line };
            ellipse.circumference() - head.table_mm
        })
        .collect();
    print_differences("without the line", &heads, &without_line);
    Ok(())
}

/// The images of `file` with the circumference that the table gives them.
fn heads(file: &CocoFile, source: &Path) -> Result<Vec<Head>> {
    let bytes = std::fs::read(source.join(TABLE)).with_context(|| TABLE.to_owned())?;
    let table = CsvFile::read(&bytes, TABLE, &[], &["filename"])?;
    let (name, mm) = (table.column("filename")?, table.column("head circumference (mm)")?);
    let mut circumferences = HashMap::new();
    for (line, row) in &table.rows {
        if let (Some(name), Some(mm)) =
            (table.entry(*line, row, name)?, table.entry(*line, row, mm)?)
        {
            circumferences.insert(name.to_owned(), mm.parse::<f64>()?);
        }
    }
    let mut masks: HashMap<u64, Vec<Rle>> = HashMap::new();
    for annotation in &file.annotations {
        let raw = annotation.segmentation.as_deref().context("a mask")?;
        let segmentation: sonotune_base::Segmentation = serde_json::from_str(raw.get())?;
        let image = file.images.iter().find(|image| image.id == annotation.image_id);
        let image = image.context("an image")?;
        let mask = segmentation.rasterize((image.height, image.width), annotation.bbox)?;
        masks.entry(annotation.image_id).or_default().push(mask);
    }
    let mut heads = Vec::new();
    for image in &file.images {
        let name = image.provenance.source_file.rsplit('/').next().unwrap_or_default().to_owned();
        let Some(&table_mm) = circumferences.get(&name) else { continue };
        let spacing = image.spacing.with_context(|| format!("{name} has no pixel_spacing"))?;
        let mask = Rle::union(masks.get(&image.id).map(Vec::as_slice).unwrap_or_default())?;
        let shape = Shape::of(&mask, Spacing::of(spacing))?.with_context(|| name.clone())?;
        let ellipse = shape.ellipse.with_context(|| format!("{name}: no ellipse"))?;
        heads.push(Head { name, ellipse, pixel_mm: spacing[0], table_mm });
    }
    Ok(heads)
}

/// By how many pixels the outlines of every other image are outside the ellipses of the table, on average.
fn half_line(heads: &[Head], half: usize) -> f64 {
    let outside = |head: &Head| {
        let beyond = head.ellipse.circumference() - head.table_mm;
        beyond / (2.0 * std::f64::consts::PI * head.pixel_mm)
    };
    let each: Vec<f64> = heads.iter().skip(half).step_by(2).map(outside).collect();
    each.iter().sum::<f64>() / each.len() as f64
}

fn print_differences(what: &str, heads: &[Head], differences: &[f64]) {
    let count = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / count;
    let variance = differences.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let absolute = differences.iter().map(|d| d.abs()).sum::<f64>() / count;
    let within = differences.iter().filter(|d| d.abs() <= 0.5).count();
    let largest =
        (0..heads.len()).max_by(|&a, &b| differences[a].abs().total_cmp(&differences[b].abs()));
    let largest = largest.map(|i| format!("{:+.2} mm ({})", differences[i], heads[i].name));
    println!(
        "{what}: difference to the table {mean:+.3} mm on average (sd {:.3}), {absolute:.3} mm without sign, \
         within 0.5 mm in {within}; largest {}",
        variance.sqrt(),
        largest.unwrap_or_default()
    );
}
