//! Writers of the formats that are read here, for tests that create miniature datasets. They write
//! small files in one go and are not crash-safe.

mod dicom;
mod hdf5;
mod npy;
mod video;
mod volume;

pub use dicom::{DicomHead, dicom};
pub use hdf5::{Column, Dataset, hdf5};
pub use npy::{DictArray, npy, npy_dict};
#[cfg(feature = "h264")]
pub use video::h264_mp4;
pub use video::mjpeg_avi;
pub use volume::{metaimage, nifti};

/// Numbers to be written.
#[derive(Debug, Clone, Copy)]
pub enum Numbers<'a> {
    Bool(&'a [bool]),
    U8(&'a [u8]),
    I16(&'a [i16]),
    U16(&'a [u16]),
    I64(&'a [i64]),
    F32(&'a [f32]),
    F64(&'a [f64]),
}

impl Numbers<'_> {
    fn le_bytes(&self) -> Vec<u8> {
        match self {
            Self::Bool(v) => v.iter().map(|&v| u8::from(v)).collect(),
            Self::U8(v) => v.to_vec(),
            Self::I16(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::U16(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::I64(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::F32(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::F64(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Bool(v) => v.len(),
            Self::U8(v) => v.len(),
            Self::I16(v) => v.len(),
            Self::U16(v) => v.len(),
            Self::I64(v) => v.len(),
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
        }
    }
}

/// Fails unless there are as many numbers as the shape needs.
fn check_shape(shape: &[usize], numbers: &Numbers) -> anyhow::Result<()> {
    let (room, count) = (shape.iter().product::<usize>(), numbers.len());
    anyhow::ensure!(room == count, "the shape {shape:?} has room for {room} numbers, not {count}");
    Ok(())
}
