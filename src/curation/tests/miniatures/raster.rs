//! Numbers of a raw file, and the grey levels or colours expected from them.

use anyhow::{Result, ensure};

use super::{
    fixture::{Form, Miniature, RawFile, Turn},
    shapes::{Layer, draw},
};

/// `[volume, plane, y, x, channel]`.
#[derive(Debug, Clone)]
pub(crate) struct Raster {
    pub(crate) volumes: usize,
    pub(crate) planes: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    pub(crate) data: Vec<i32>,
}

/// RGB of one image of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) data: Vec<[u8; 3]>,
}

impl Raster {
    /// What `file` holds.
    pub(crate) fn render(file: &RawFile, size: [usize; 2]) -> Result<Self> {
        let [height, width] = file.size.unwrap_or(size);
        let (volumes, planes) = (file.volumes.unwrap_or(1), file.planes.unwrap_or(1));
        let channels = if matches!(file.form, Form::Rgb | Form::Rgba) { 3 } else { 1 };
        let mut data = Vec::with_capacity(volumes * planes * height * width * channels);
        for plane in 0..volumes * planes {
            for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                let level = file.seed.map_or(0, |seed| tissue(seed, plane, y, x));
                // The channels differ, so that a change in their order is visible.
                let color = [level, level * 3 / 4, level / 2];
                data.extend(&color[..channels]);
            }
        }
        let mut raster = Self { volumes, planes, height, width, channels, data };
        for layer in &file.paint {
            raster.paint(&Layer::parse(layer)?)?;
        }
        Ok(raster)
    }

    fn paint(&mut self, layer: &Layer<'_>) -> Result<()> {
        let shape = draw(layer.shape, self.height, self.width)?;
        let value = &layer.value;
        ensure!(
            value.len() == self.channels || value.len() == 1,
            "{value:?} for {} channels",
            self.channels
        );
        for plane in 0..self.volumes * self.planes {
            let (volume, slice) = (plane / self.planes, plane % self.planes);
            let is_in = layer.slices.is_none_or(|(first, last)| slice >= first && slice <= last);
            if !is_in || layer.volume.is_some_and(|only| only != volume) {
                continue;
            }
            for (at, _) in shape.set.iter().enumerate().filter(|(_, set)| **set) {
                let at = (plane * self.height * self.width + at) * self.channels;
                for channel in 0..self.channels {
                    self.data[at + channel] = value[channel.min(value.len() - 1)];
                }
            }
        }
        Ok(())
    }

    fn at(&self, plane: usize, y: usize, x: usize) -> &[i32] {
        let at = ((plane * self.height + y) * self.width + x) * self.channels;
        &self.data[at..at + self.channels]
    }

    /// The image expected from a frame.
    pub(crate) fn picture(&self, miniature: &Miniature, form: Form, frame: Option<u32>) -> Picture {
        let frame = frame.unwrap_or(0) as usize;
        let (height, width) =
            if miniature.sagittal { (self.planes, self.height) } else { (self.height, self.width) };
        let mut data = Vec::with_capacity(height * width);
        for y in 0..height {
            for x in 0..width {
                let (y, x) = match miniature.turn {
                    Turn::None => (y, x),
                    Turn::Half => (height - 1 - y, width - 1 - x),
                    Turn::UpsideDown => (height - 1 - y, x),
                };
                let value =
                    if miniature.sagittal { self.at(y, x, frame) } else { self.at(frame, y, x) };
                let level = |channel: usize| {
                    let value = value[channel.min(value.len() - 1)];
                    match form {
                        Form::Grey16 => (value >> 8) as u8,
                        _ if miniature.clips => value.clamp(0, 255) as u8,
                        _ => value as u8,
                    }
                };
                data.push([level(0), level(1), level(2)]);
            }
        }
        Picture { height, width, data }
    }
}

/// Grey levels from 40 to 216: waves whose phase depends on seed and plane, with some speckle.
fn tissue(seed: u32, plane: usize, y: usize, x: usize) -> i32 {
    let (phase, plane_phase) = (f64::from(seed) * 1.7, plane as f64);
    let (fy, fx) = (y as f64, x as f64);
    let wave =
        (0.21 * fx + phase + 1.1 * plane_phase).sin() * (0.17 * fy + 0.6 * plane_phase).cos();
    let mut hash = seed.wrapping_mul(0x9e37_79b9) ^ (plane as u32).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (y as u32).wrapping_mul(0xc2b2_ae35)).wrapping_mul(0x27d4_eb2f);
    hash = (hash ^ (x as u32).wrapping_mul(0x1656_67b1)).wrapping_mul(0x9e37_79b9);
    128 + (80.0 * wave) as i32 + (hash >> 28) as i32 % 8
}
