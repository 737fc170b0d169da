//! A file of frames: a video or GIF, or DICOM.

use std::{fs::File, io::Read, path::Path};

use anyhow::Result;
use rayon::prelude::*;
use sonotune_archive::Tree;
use sonotune_dataset::pixels::has_image_ending;
use sonotune_formats::{
    Pixels,
    dicom::{Dicom, is_dicom},
    video::Video,
};

use super::Unit;

/// Enough to tell DICOM.
const HEAD_BYTES: u64 = 512;

/// A file whose frames are read.
pub(super) enum Cine {
    Video(Video),
    Dicom(Box<Dicom>),
}

impl Cine {
    /// Opens a file, recognised by its content.
    ///
    /// # Errors
    /// Same errors as [`Video::open`] and [`Dicom::open`].
    pub(super) fn open(path: &Path) -> Result<Self> {
        if has_dicom(path) {
            return Ok(Self::Dicom(Box::new(Dicom::open(path)?)));
        }
        Ok(Self::Video(Video::open(path)?))
    }

    pub(super) fn num_frames(&self) -> usize {
        match self {
            Self::Video(video) => video.num_frames(),
            Self::Dicom(dicom) => dicom.num_frames(),
        }
    }

    /// `[row, column]` in millimetres a pixel, if the file says.
    pub(super) fn spacing(&self) -> Option<[f64; 2]> {
        match self {
            Self::Video(_) => None,
            Self::Dicom(dicom) => dicom.info().spacing,
        }
    }

    /// Whether a frame is decoded without those before it.
    pub(super) fn is_random_access(&self) -> bool {
        match self {
            Self::Video(video) => video.is_random_access(),
            Self::Dicom(_) => true,
        }
    }

    pub(super) fn frame(&self, index: usize) -> Result<Pixels> {
        match self {
            Self::Video(video) => video.frame(index),
            Self::Dicom(dicom) => dicom.frame(index),
        }
    }

    /// Passes all frames to `each` in order.
    pub(super) fn frames(&self, mut each: impl FnMut(usize, Pixels) -> Result<()>) -> Result<()> {
        match self {
            Self::Video(video) => video.frames(each),
            Self::Dicom(dicom) => {
                (0..dicom.num_frames()).try_for_each(|index| each(index, dicom.frame(index)?))
            }
        }
    }
}

/// Whether a file is DICOM by its content. Opening one that cannot be read says why.
fn has_dicom(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head));
    read.is_ok() && is_dicom(&head)
}

/// Adds what the headers of DICOM files say: patient (unless path or tables do), study and series.
pub(super) fn add_provenance(units: &mut [Unit], tree: &Tree) {
    units.par_iter_mut().for_each(|unit| {
        let path = tree.path(&unit.provenance.source_file);
        if has_image_ending(&path) || !has_dicom(&path) {
            return;
        }
        // One that cannot be opened is reported when it is read.
        let Ok(dicom) = Dicom::open(&path) else { return };
        let info = dicom.info();
        let from = &mut unit.provenance;
        from.patient = from.patient.take().or_else(|| info.patient.clone());
        (from.study, from.series) = (info.study.clone(), info.series.clone());
    });
}
