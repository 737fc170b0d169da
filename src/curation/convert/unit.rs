//! Converts one unit: from frames to image files and objects.

use std::path::Path;

use anyhow::{Context, Result};
use sonotune_base::{Error, stop::StopFlag};

use super::{
    journal::{WrittenImage, WrittenObject},
    names,
};
use crate::{
    Frame, Mask,
    masks::{Connectivity, components},
    png,
    problem::{Fault, Problem},
    readers::{Reader, Unit},
    spec::{Empty, FullFrame, Spec},
};
use sonotune_archive::Tree;

/// The outcome of one unit.
pub(super) enum Outcome {
    /// Its images, and the number of images left out because they have no object.
    Whole(Vec<WrittenImage>, usize),
    /// None of its images was written.
    LeftOut(Problem),
}

/// Writes the images of one unit.
pub(super) struct UnitWriter<'a> {
    spec: &'a Spec,
    unit: &'a Unit,
    name: &'a str,
    out: &'a Path,
    stop: &'a StopFlag,
    images: Vec<WrittenImage>,
    empty: usize,
}

impl<'a> UnitWriter<'a> {
    pub(super) fn new(
        spec: &'a Spec,
        unit: &'a Unit,
        name: &'a str,
        out: &'a Path,
        stop: &'a StopFlag,
    ) -> Self {
        Self { spec, unit, name, out, stop, images: Vec::new(), empty: 0 }
    }

    /// Reads the unit and writes its images. If the unit turns out to be faulty, removes them
    /// again.
    pub(super) fn read(&mut self, reader: &dyn Reader, tree: &Tree) -> Result<Outcome> {
        let read = reader.read(tree, self.unit, &mut |frame| self.write(frame));
        match read {
            Ok(()) => Ok(Outcome::Whole(std::mem::take(&mut self.images), self.empty)),
            Err(Fault::Fatal(error)) => Err(error),
            Err(Fault::Problem(problem)) => {
                for image in &self.images {
                    let path = self.out.join("images").join(&image.file_name);
                    std::fs::remove_file(&path)
                        .with_context(|| format!("removing {}", path.display()))?;
                }
                Ok(Outcome::LeftOut(problem))
            }
        }
    }

    fn write(&mut self, frame: Frame) -> Result<(), Fault> {
        if self.stop.is_raised() {
            let message = "stopped; the same command continues where it left off";
            return Err(Fault::Fatal(Error::interrupted(message).into()));
        }
        let objects = objects(self.spec, &frame);
        let leave_out = match self.spec.empty.unwrap_or_default() {
            Empty::Keep => false,
            Empty::Skip => objects.is_empty(),
            Empty::SkipUnmarked => !frame.marked,
        };
        if leave_out || frame.left_out {
            self.empty += 1;
            return Ok(());
        }
        let image = self.write_image(&frame, objects).map_err(Fault::Fatal)?;
        self.images.push(image);
        Ok(())
    }

    fn write_image(&self, frame: &Frame, objects: Vec<WrittenObject>) -> Result<WrittenImage> {
        let file_name = names::of_frame(self.name, frame.frame);
        let encoded;
        let bytes: &[u8] = match &frame.encoded {
            Some(bytes) => bytes,
            None => {
                encoded = png::encode(&frame.image)?;
                &encoded
            }
        };
        let path = self.out.join("images").join(&file_name);
        // The journal vouches for the file; a file without an entry is written again.
        std::fs::write(&path, bytes)
            .map_err(|error| sonotune_base::fs::explain_write(&path, error, bytes.len() as u64))?;
        Ok(WrittenImage {
            file_name,
            height: frame.image.height,
            width: frame.image.width,
            frame: frame.frame,
            spacing: frame.spacing,
            bytes: bytes.len() as u64,
            crc32: crc32fast::hash(bytes),
            brightest: frame.image.data.iter().copied().max().unwrap_or(0),
            objects,
        })
    }
}

/// Objects in the order of masks, then of the spec's categories.
pub(super) fn objects(spec: &Spec, frame: &Frame) -> Vec<WrittenObject> {
    let size = (frame.image.height, frame.image.width);
    let mut objects = Vec::new();
    for mask in &frame.masks {
        let labels = match mask {
            Mask::Labels(labels) => labels,
            Mask::Object { category, mask, is_crowd } => {
                if mask.area() > 0 {
                    let object = WrittenObject::new(*category, mask);
                    objects.push(WrittenObject { is_crowd: *is_crowd, ..object });
                }
                continue;
            }
        };
        let found = components(&labels.data, size, Connectivity::Eight);
        for category in &spec.categories {
            for component in found.iter().filter(|c| c.label == category.id) {
                let is_full = component.area == u64::from(size.0) * u64::from(size.1);
                if is_full && spec.full_frame == FullFrame::Drop {
                    continue;
                }
                objects.push(WrittenObject::new(category.id, &component.to_rle(size)));
            }
        }
    }
    objects
}
