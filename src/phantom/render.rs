//! One picture with its annotation: scan conversion, marks and masks.

use super::{
    config::PhantomConfig,
    draw::{Draw, Stream, lerp},
    echo, marks,
    patient::{self, View},
    probe::ProbeType,
    scene::Grid,
    shape::Blob,
};
use sonotune_base::Rle;

/// A phantom and what is known about it.
#[derive(Debug, Clone)]
pub struct PhantomImage {
    /// Grey, row by row, `size` × `size`.
    pub pixels: Vec<u8>,
    /// Height and width.
    pub size: u32,
    /// Number of the patient, from 0.
    pub patient: usize,
    /// Geometry of the beams.
    pub probe: ProbeType,
    /// Centre frequency of the probe.
    pub frequency_mhz: f64,
    /// Depth of the field of view.
    pub depth_mm: f64,
    /// Size of a pixel.
    pub mm_per_pixel: f64,
    /// Lesions in view.
    pub lesions: Vec<PhantomLesion>,
}

/// One labelled lesion.
#[derive(Debug, Clone)]
pub struct PhantomLesion {
    /// Index into [`super::Kind::classes`].
    pub class: usize,
    /// Pixels whose centre is inside the margin and in view.
    pub mask: Rle,
    /// XYWH, pixels: the box of the mask.
    pub bbox: [u32; 4],
    /// Pixels of the mask.
    pub area: u32,
}

/// Image `index` of a dataset: a pure function of the seed, the index and the options; the number
/// of images and the split fractions do not matter.
///
/// The result is the same on every machine: it uses IEEE 754 operations that are rounded correctly
/// everywhere and the functions of the `libm` crate, not the system's.
#[must_use]
pub fn render(config: &PhantomConfig, index: usize) -> PhantomImage {
    let view = patient::view(config, index);
    let size = config.image_size as usize;
    // Beams and samples finer than pixels, and no coarser than speckle needs in small pictures.
    let (lines, samples) = ((size / 2).clamp(144, 512), (size * 5 / 4).clamp(320, 1536));
    let speckle = Draw::at(config.seed, config.kind, Stream::Speckle, &[index as u64]);
    let grid = echo::grey(&view, lines, samples, speckle);
    let mut pixels = scan_convert(&view, &grid, if size < 384 { 2 } else { 1 });
    if config.marks {
        marks::draw(&mut pixels, &view);
    }
    let blobs = view.scene.blobs.iter();
    PhantomImage {
        pixels,
        size: config.image_size,
        patient: config.patient_of(index),
        probe: view.probe.kind(),
        frequency_mhz: view.probe.frequency_mhz,
        depth_mm: view.probe.depth_mm,
        mm_per_pixel: view.canvas.mm_per_pixel,
        lesions: blobs.filter_map(|blob| annotate(&view, blob)).collect(),
    }
}

/// Grid to picture, bilinear; each pixel averages `fine` × `fine` points.
fn scan_convert(view: &View, grid: &Grid<f32>, fine: usize) -> Vec<u8> {
    let size = view.canvas.size as usize;
    let weight = 255.0 / (fine * fine) as f32;
    let offsets: Vec<f64> = (0..fine).map(|i| (i as f64 + 0.5) / fine as f64 - 0.5).collect();
    let mut pixels = Vec::with_capacity(size * size);
    for row in 0..size {
        for column in 0..size {
            let mut sum = 0.0;
            for &dy in &offsets {
                for &dx in &offsets {
                    let (x, z) = view.canvas.to_mm(row as f64 + dy, column as f64 + dx);
                    let (across, depth) = view.probe.locate(x, z);
                    sum += interpolate(grid, across, depth / view.probe.depth_mm);
                }
            }
            pixels.push((sum * weight + 0.5) as u8);
        }
    }
    pixels
}

/// Grey at `across` (-1 to 1) and `down` (0 to 1); black outside.
fn interpolate(grid: &Grid<f32>, across: f64, down: f64) -> f32 {
    if across.abs() > 1.0 || !(0.0..=1.0).contains(&down) {
        return 0.0;
    }
    let at = |share: f64, n: usize| {
        let place = (share * n as f64 - 0.5).clamp(0.0, (n - 1) as f64);
        let first = (place as usize).min(n - 2);
        (first, (place - first as f64) as f32)
    };
    let (line, u) = at((across + 1.0) / 2.0, grid.lines);
    let (sample, v) = at(down, grid.samples);
    let i = sample * grid.lines + line;
    let (upper, lower) = (&grid.cells[i..i + 2], &grid.cells[i + grid.lines..i + grid.lines + 2]);
    lerp(lerp(upper[0], upper[1], u), lerp(lower[0], lower[1], u), v)
}

/// Mask, box and area of a lesion; `None` for other blobs and lesions out of view.
fn annotate(view: &View, blob: &Blob) -> Option<PhantomLesion> {
    let class = blob.class?;
    let size = view.canvas.size as usize;
    let bound = f64::from(blob.bound_mm());
    let (x, z) = (f64::from(blob.x), f64::from(blob.z));
    let (top, left) = view.canvas.to_pixel(x - bound, z - bound);
    let (bottom, right) = view.canvas.to_pixel(x + bound, z + bound);
    let clip = |value: f64| value.clamp(0.0, size as f64) as usize;
    let (rows, columns) = (clip(top)..clip(bottom + 2.0), clip(left)..clip(right + 2.0));
    let mut mask = vec![0; size * size];
    let (mut x0, mut y0, mut x1, mut y1, mut area) = (size, size, 0, 0, 0);
    for row in rows {
        for column in columns.clone() {
            let (x, z) = view.canvas.to_mm(row as f64, column as f64);
            let (across, depth) = view.probe.locate(x, z);
            let seen = across.abs() <= 1.0 && (0.0..=view.probe.depth_mm).contains(&depth);
            if seen && blob.contains(x as f32, z as f32) {
                mask[row * size + column] = 1;
                (x0, y0) = (x0.min(column), y0.min(row));
                (x1, y1) = (x1.max(column), y1.max(row));
                area += 1;
            }
        }
    }
    if area == 0 {
        return None;
    }
    let bbox = [x0, y0, x1 + 1 - x0, y1 + 1 - y0].map(|v| v as u32);
    // Cannot fail: the buffer has the size it says, which the config bounds.
    let mask = Rle::from_mask(&mask, (view.canvas.size, view.canvas.size)).ok()?;
    Some(PhantomLesion { class, mask, bbox, area })
}
