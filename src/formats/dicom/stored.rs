//! Frames as they are stored, for programs that write them again.

use anyhow::{Context, Result};
use sonotune_base::Error;

use super::{Dicom, header::Photometric, samples::Samples};

/// A frame that is not compressed, without any conversion to display values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFrame {
    /// `[H, W, C]`, row-major, each sample in `bytes` bytes, little-endian.
    pub data: Vec<u8>,
    /// Bytes of a sample: 1, 2 or 4.
    pub bytes: usize,
    /// PhotometricInterpretation of `data`, which decoding may have changed: `YBR_FULL_422` becomes `YBR_FULL`.
    pub photometric: &'static str,
}

impl Dicom {
    /// One frame, counted from 0, as it is stored.
    ///
    /// # Errors
    /// Same errors as [`Dicom::frame`].
    pub fn stored(&self, index: usize) -> Result<StoredFrame> {
        let decoded = self.samples(index).with_context(|| format!("frame {index}"));
        let (samples, photometric) =
            decoded.map_err(|e| Error::data(format!("{}: {e:#}", self.path.display())))?;
        let (data, bytes) = match samples {
            Samples::U8(values) => (values, 1),
            Samples::U16(values) => (values.into_iter().flat_map(u16::to_le_bytes).collect(), 2),
            Samples::U32(values) => (values.into_iter().flat_map(u32::to_le_bytes).collect(), 4),
        };
        Ok(StoredFrame { data, bytes, photometric: name(photometric) })
    }
}

/// How the standard names a colour model once pixels are decoded.
fn name(photometric: Photometric) -> &'static str {
    match photometric {
        Photometric::Monochrome { inverted: true } => "MONOCHROME1",
        Photometric::Monochrome { inverted: false } => "MONOCHROME2",
        Photometric::Palette => "PALETTE COLOR",
        Photometric::Rgb | Photometric::YbrIct | Photometric::YbrRct => "RGB",
        Photometric::YbrFull | Photometric::YbrFull422 => "YBR_FULL",
    }
}
