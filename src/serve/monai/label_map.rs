//! Label maps as files: NIfTI-1 for a NIfTI-1 volume, with its own header, else NRRD.

use std::io::Write;

use anyhow::Result;
use flate2::{Compression, write::GzEncoder};

use super::volume::Header;
use sonotune_formats::volume::Geometry;

/// Labels of all voxels, x fastest, and where they are.
pub(super) struct LabelMap {
    /// Along x, y and z.
    pub(super) shape: [usize; 3],
    pub(super) labels: Vec<u8>,
    pub(super) geometry: Option<Geometry>,
    pub(super) spacing: [f64; 3],
}

impl LabelMap {
    /// The content of a file, and the end of its name.
    pub(super) fn encode(&self, header: &Header) -> Result<(Vec<u8>, &'static str)> {
        Ok(match header {
            Header::Nifti { header, big_endian } => (self.nifti(header, *big_endian)?, ".nii.gz"),
            Header::Nrrd => (self.nrrd()?, ".nrrd"),
        })
    }

    /// With the header of the volume, so that all programs place it equally.
    fn nifti(&self, header: &[u8; 348], big_endian: bool) -> Result<Vec<u8>> {
        let mut header = *header;
        let mut put = |at: usize, mut bytes: Vec<u8>| {
            if big_endian {
                bytes.reverse();
            }
            header[at..at + bytes.len()].copy_from_slice(&bytes);
        };
        let rank: i16 = if self.shape[2] > 1 { 3 } else { 2 };
        let sides = self.shape.map(|side| i16::try_from(side).unwrap_or(i16::MAX));
        for (i, side) in [rank, sides[0], sides[1], sides[2], 1, 1, 1, 1].into_iter().enumerate() {
            put(40 + 2 * i, side.to_le_bytes().to_vec());
        }
        // Unsigned bytes, not rescaled, after the header and four bytes that say that no extension follows.
        put(70, 2_i16.to_le_bytes().to_vec());
        put(72, 8_i16.to_le_bytes().to_vec());
        for (at, value) in [(108, 352.0_f32), (112, 1.0), (116, 0.0), (124, 0.0), (128, 0.0)] {
            put(at, value.to_le_bytes().to_vec());
        }
        // Meant for other voxels: NIFTI_INTENT_NONE.
        put(68, 0_i16.to_le_bytes().to_vec());
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&header)?;
        gzip.write_all(&[0; 4])?;
        gzip.write_all(&self.labels)?;
        Ok(gzip.finish()?)
    }

    fn nrrd(&self) -> Result<Vec<u8>> {
        let [x, y, z] = self.shape;
        let unit = |axis: usize| {
            std::array::from_fn(|to| if axis == to { self.spacing[axis] } else { 0.0 })
        };
        let geometry = self.geometry.filter(|geometry| {
            geometry.steps.iter().chain([&geometry.origin]).flatten().all(|v| v.is_finite())
        });
        let (steps, origin) = match geometry {
            Some(geometry) => (geometry.steps, geometry.origin),
            None => (std::array::from_fn(unit), [0.0; 3]),
        };
        let vector = |v: [f64; 3]| format!("({},{},{})", v[0], v[1], v[2]);
        let header = format!(
            "NRRD0004\ntype: unsigned char\ndimension: 3\nspace: left-posterior-superior\nsizes: {x} {y} {z}\n\
             space directions: {} {} {}\nkinds: domain domain domain\nencoding: gzip\nspace origin: {}\n\n",
            vector(steps[0]),
            vector(steps[1]),
            vector(steps[2]),
            vector(origin)
        );
        let mut gzip = GzEncoder::new(header.into_bytes(), Compression::fast());
        gzip.write_all(&self.labels)?;
        Ok(gzip.finish()?)
    }
}
