//! Volumes and stacks of frames: NIfTI-1, NIfTI-2, MetaImage and NRRD, recognised by their content.
//!
//! Axes and values are as in SimpleITK: arrays are (z, y, x), a series is (t, z, y, x), rescaling
//! by the header is applied. Voxels are taken in the order of the file, whatever their [`Geometry`].

mod geometry;
mod metaimage;
mod nifti;
mod nrrd;
mod source;

pub use geometry::Geometry;

use std::{fs::File, io::Read, path::Path, sync::OnceLock};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use sonotune_base::{Error, image_io::other_kind, words};

use super::elements::{Elements, Plane, Walk};
use crate::{Intensity, Pixels};

/// Largest volume held in memory, in bytes. The largest sweep known is 0.35 GB.
pub const MAX_VOLUME_BYTES: u64 = 8 << 30;

/// Along which axis a volume is cut into planes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// Along z, the slowest axis: planes are (y, x). The frames of a sweep or a video.
    #[default]
    Axial,
    /// Along x: planes are (z, y).
    Sagittal,
    /// Along y: planes are (z, x).
    Coronal,
}

impl View {
    /// The views along x, y and z.
    pub const ALL: [Self; 3] = [Self::Sagittal, Self::Coronal, Self::Axial];
}

/// A volume in memory, in the number type of its file; planes are made on demand.
#[derive(Debug)]
pub struct Volume {
    /// Slowest axis first: (y, x), (z, y, x), (t, z, y, x), or more.
    pub shape: Vec<usize>,
    /// Distance between neighbours along each axis of `shape`: in millimetres along z, y and x, if the file says;
    /// see [`plane_spacing`](Self::plane_spacing).
    pub spacing: Vec<f64>,
    /// Where its voxels are in space, if the header says.
    pub geometry: Option<Geometry>,
    /// Numbers per element: 3 for colours, else 1. They are stored next to each other.
    pub components: usize,
    elements: Elements,
    scale: Option<Scale>,
    range: OnceLock<(f64, f64)>,
}

/// The rescaling that the header asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    slope: f64,
    intercept: f64,
    /// Whether the result is rounded to `f32`, as ITK does unless the file holds `f64`.
    single: bool,
}

impl Scale {
    fn apply(self, value: f64) -> f64 {
        let scaled = value * self.slope + self.intercept;
        if self.single { f64::from(scaled as f32) } else { scaled }
    }
}

impl Volume {
    /// Reads a volume: `.nii`, `.nii.gz`, a pair of `.hdr` and `.img`, `.mha`, `.nrrd`, or `.mhd` or `.nhdr`
    /// with its data file in the same folder.
    ///
    /// # Errors
    /// [`sonotune_base::ErrorKind::Data`] with the path: a header that claims more than the file holds,
    /// number types that cannot hold pixels (complex, 128 bit), numbers written as text.
    pub fn open(path: &Path) -> Result<Self> {
        Self::read(path).map_err(|e| Error::data(format!("{}: {e:#}", path.display())).into())
    }

    fn read(path: &Path) -> Result<Self> {
        let mut head = Vec::new();
        let file = File::open(path).context("cannot be opened")?;
        file.take(4096).read_to_end(&mut head).context("cannot be read")?;
        ensure!(!head.is_empty(), "is empty");
        if metaimage::is_header(&head) {
            return metaimage::open(path);
        }
        if nrrd::is_header(&head) {
            return nrrd::open(path);
        }
        // The data of a pair may begin with anything.
        let is_data = path.extension().is_some_and(|extension| extension == "img");
        let ours = |kind: &String| kind.starts_with("a NIfTI") || kind.starts_with("a gzip");
        if let Some(kind) = other_kind(&head).filter(|kind| !is_data && !ours(kind)) {
            bail!("it is neither a NIfTI file nor a MetaImage nor an NRRD but {kind}");
        }
        nifti::open(path)
    }

    /// The number of planes in a view; for a series (t, …), those of one time step.
    #[must_use]
    pub fn num_planes(&self, view: View) -> usize {
        let [z, y, x] = self.spatial();
        match view {
            View::Axial => z,
            View::Sagittal => x,
            View::Coronal => y,
        }
    }

    /// The number of volumes: the product of the axes before (z, y, x); 1 for a single volume.
    #[must_use]
    pub fn num_channels(&self) -> usize {
        let leading = self.shape.len().saturating_sub(3);
        self.shape[..leading].iter().product()
    }

    /// Sizes along z, y and x; z is 1 for an image.
    fn spatial(&self) -> [usize; 3] {
        match *self.shape.as_slice() {
            [.., z, y, x] => [z, y, x],
            [y, x] => [1, y, x],
            _ => [1, 1, self.shape.iter().product()],
        }
    }

    /// Millimetres between the rows and between the columns of a plane.
    ///
    /// `None` if a distance is not a positive number, or if both are exactly 1: that is what programs write which
    /// do not know them.
    #[must_use]
    pub fn plane_spacing(&self, view: View) -> Option<[f64; 2]> {
        let [z, y, x] = match *self.spacing.as_slice() {
            [.., z, y, x] => [z, y, x],
            [y, x] => [1.0, y, x],
            _ => return None,
        };
        let sides = match view {
            View::Axial => [y, x],
            View::Sagittal => [z, y],
            View::Coronal => [z, x],
        };
        let is_known = sides.iter().all(|side| side.is_finite() && *side > 0.0);
        (is_known && sides != [1.0; 2]).then_some(sides)
    }

    /// One plane, rescaled as the header says. `channel` selects the volume of a series (t, z, y, x)
    /// and may be omitted if there is only one.
    ///
    /// # Errors
    /// When there is no such plane, or `channel` is omitted although there are several.
    pub fn plane(&self, view: View, index: usize, channel: Option<usize>) -> Result<Plane> {
        let (planes, volumes) = (self.num_planes(view), self.num_channels());
        ensure!(index < planes, "there is no plane {index}; planes are 0 to {}", planes - 1);
        let channel = match channel {
            Some(channel) => channel,
            None if volumes == 1 => 0,
            None => bail!(
                "its shape is {:?}, so it holds {volumes} volumes; specify which one",
                self.shape
            ),
        };
        ensure!(
            channel < volumes,
            "there is no channel {channel}; channels are 0 to {}",
            volumes - 1
        );

        let [z, y, x] = self.spatial();
        let c = self.components;
        let (along_z, along_y, along_x) = ((z, y * x * c), (y, x * c), (x, c));
        let (axis, rows, columns) = match view {
            View::Axial => (along_z, along_y, along_x),
            View::Sagittal => (along_x, along_z, along_y),
            View::Coronal => (along_y, along_z, along_x),
        };
        let start = channel * z * y * x * c + index * axis.1;
        let values = self.elements.walk(Walk { start, rows, columns, channels: (c, 1) });
        let values = match self.scale {
            None => values,
            Some(scale) => values.changed(|value| scale.apply(value)),
        };
        Ok(Plane { height: rows.0, width: columns.0, channels: c, values })
    }

    /// One plane as 8-bit pixels.
    ///
    /// # Errors
    /// Same errors as [`Volume::plane`].
    pub fn pixels(
        &self,
        view: View,
        index: usize,
        channel: Option<usize>,
        intensity: Intensity,
    ) -> Result<Pixels> {
        let range = if intensity.needs_range() { self.range() } else { (0.0, 0.0) };
        self.plane(view, index, channel)?.to_pixels(intensity, range)
    }

    /// One plane as labels.
    ///
    /// # Errors
    /// Same errors as [`Volume::plane`]; also names a value that is not a whole number from 0 to 255.
    pub fn labels(&self, view: View, index: usize, channel: Option<usize>) -> Result<Pixels> {
        self.plane(view, index, channel)?.to_labels().with_context(|| format!("slice {index}"))
    }

    /// Smallest and largest finite number, rescaled; both 0 if there is none. Computed once.
    #[must_use]
    pub fn range(&self) -> (f64, f64) {
        *self.range.get_or_init(|| {
            let (low, high) = self.elements.range().unwrap_or_default();
            match self.scale {
                None => (low, high),
                Some(scale) => {
                    let (a, b) = (scale.apply(low), scale.apply(high));
                    (a.min(b), a.max(b))
                }
            }
        })
    }
}

/// The number of bytes of a shape, if within [`MAX_VOLUME_BYTES`].
fn checked_bytes(shape: &[usize], components: usize, size: usize) -> Result<u64> {
    let bytes = shape
        .iter()
        .chain([&components, &size])
        .try_fold(1_u64, |product, &n| product.checked_mul(n as u64));
    match bytes {
        Some(bytes) if bytes <= MAX_VOLUME_BYTES => Ok(bytes),
        _ => bail!(
            "its header claims a shape of {shape:?}, more than the {} this program can hold",
            words::bytes(MAX_VOLUME_BYTES)
        ),
    }
}

#[cfg(test)]
mod tests;
