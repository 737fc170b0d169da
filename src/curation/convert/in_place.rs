//! Annotations of images that stay where they are.

use anyhow::Result;
use rayon::prelude::*;
use sonotune_archive::Tree;
use sonotune_base::{Error, stop::StopFlag};
use sonotune_coco::CocoFile;

use super::{
    assemble,
    journal::{Finished, WrittenImage},
    unit,
};
use crate::{
    Frame,
    problem::{Fault, Problem},
    readers::{self, Unit},
    spec::Spec,
};

/// What [`annotate_in_place`] read.
#[derive(Debug)]
pub struct InPlace {
    /// `file_name` is the path of the image within the source.
    pub file: CocoFile,
    /// Units that were left out, each with the reason.
    pub problems: Vec<Problem>,
}

/// The objects of the masks of `units` as a COCO file that refers to the images of `tree`, with their order.
/// Nothing is written. `done` is called after each unit, from any thread.
///
/// # Errors
/// Kind config: the spec is malformed. Kind interrupted: `stop` was raised.
pub fn annotate_in_place(
    spec: &Spec,
    tree: &Tree,
    units: &[Unit],
    done: &(dyn Fn() + Sync),
    stop: &StopFlag,
) -> Result<InPlace> {
    let reader = readers::of(spec)?;
    let read = |(index, unit): (usize, &Unit)| {
        if stop.is_raised() {
            return Err(Error::interrupted("stopped; nothing was written").into());
        }
        let mut images = Vec::new();
        let outcome = reader.read(tree, unit, &mut |frame| {
            images.push(image(spec, unit, &frame));
            Ok(())
        });
        done();
        let problem = match outcome {
            Ok(()) => None,
            Err(Fault::Problem(problem)) => Some(problem),
            Err(Fault::Fatal(error)) => return Err(error),
        };
        if problem.is_some() {
            images.clear();
        }
        Ok(Finished { unit: index, key: unit.key.clone(), images, empty: 0, problem })
    };
    let finished = units.par_iter().enumerate().map(read).collect::<Result<Vec<Finished>>>()?;
    let file = assemble::coco(spec, units, &finished)?;
    let problems = finished.into_iter().filter_map(|entry| entry.problem).collect();
    Ok(InPlace { file, problems })
}

fn image(spec: &Spec, unit: &Unit, frame: &Frame) -> WrittenImage {
    WrittenImage {
        file_name: unit.provenance.source_file.clone(),
        height: frame.image.height,
        width: frame.image.width,
        frame: frame.frame,
        spacing: frame.spacing,
        // No file is written that the journal would vouch for.
        bytes: 0,
        crc32: 0,
        brightest: frame.image.data.iter().copied().max().unwrap_or(0),
        objects: unit::objects(spec, frame),
    }
}
