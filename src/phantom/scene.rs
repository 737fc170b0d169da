//! What the beams meet: tissue with inclusions.

use super::{
    draw::{lerp, smooth},
    probe::{Beam, Place, Probe},
    shape::Blob,
    tissue::Tissue,
};

/// Impedance of the organ that holds the lesions, relative like all impedances here.
pub(super) const ORGAN_IMPEDANCE: f32 = 0.2;

/// Acoustic properties at one place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Medium {
    /// Backscatter in dB relative to the organ's mean.
    pub(super) echo_db: f32,
    /// Relative acoustic impedance; its step along the beam is a specular echo.
    pub(super) impedance: f32,
    /// dB/cm/MHz.
    pub(super) attenuation: f32,
}

/// One imaging plane.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) tissue: Tissue,
    /// Later ones lie over earlier ones.
    pub(super) blobs: Vec<Blob>,
}

/// Media on the grid of beams and depth samples, a row per depth.
pub(super) struct Grid<T> {
    pub(super) lines: usize,
    pub(super) samples: usize,
    pub(super) cells: Vec<T>,
}

impl Scene {
    /// Media at the middles of `samples` equal depth steps along `lines` beams.
    pub(super) fn sample(&self, probe: &Probe, lines: usize, samples: usize) -> Grid<Medium> {
        let beams = probe.beams(lines);
        let step = (probe.depth_mm / samples as f64) as f32;
        let mut cells = Vec::with_capacity(lines * samples);
        for sample in 0..samples {
            let depth = (sample as f32 + 0.5) * step;
            cells.extend(beams.iter().map(|beam: &Beam| self.tissue.at(beam.place(depth))));
        }
        let mut grid = Grid { lines, samples, cells };
        for blob in &self.blobs {
            insert(&mut grid, probe, &beams, blob);
        }
        grid
    }
}

/// Draws a blob onto the cells it may touch.
fn insert(grid: &mut Grid<Medium>, probe: &Probe, beams: &[Beam], blob: &Blob) {
    let bound = blob.bound_mm() + blob.halo_mm + blob.edge_mm;
    let step = (probe.depth_mm / grid.samples as f64) as f32;
    let (_, middle) = probe.locate(f64::from(blob.x), f64::from(blob.z));
    let first = ((middle as f32 - bound) / step).max(0.0) as usize;
    let last = (((middle as f32 + bound) / step).max(0.0) as usize + 1).min(grid.samples);
    for sample in first..last {
        let depth = (sample as f32 + 0.5) * step;
        let row = &mut grid.cells[sample * grid.lines..(sample + 1) * grid.lines];
        for (cell, beam) in row.iter_mut().zip(beams) {
            let place = beam.place(depth);
            let (dx, dz) = (place.x - blob.x, place.z - blob.z);
            if dx * dx + dz * dz < bound * bound {
                overlay(cell, blob, place);
            }
        }
    }
}

fn overlay(cell: &mut Medium, blob: &Blob, place: Place) {
    let outside = blob.outside_mm(place.x, place.z);
    if blob.halo_mm > 0.0 && outside > 0.0 && outside < blob.halo_mm {
        cell.echo_db += blob.halo_db * (1.0 - outside / blob.halo_mm);
    }
    let inside = smooth(0.5 - outside / blob.edge_mm);
    if inside > 0.0 {
        let scale = blob.texture_mm.recip();
        let (u, v) = ((place.x - blob.x) * scale, (place.z - blob.z) * scale);
        let echo = blob.echo_db + blob.texture_db * blob.noise.fractal(u, v, 3);
        cell.echo_db = lerp(cell.echo_db, echo, inside);
        cell.impedance = lerp(cell.impedance, ORGAN_IMPEDANCE + blob.impedance, inside);
        cell.attenuation = lerp(cell.attenuation, blob.attenuation, inside);
    }
}
