//! Stacks of images and of masks in NumPy files.

use anyhow::Result;

use super::{
    Emit, MaskFile, Plan, Reader, Unit, pairing::Pairing, rasters::labels, volumes::flip_pixels,
};
use crate::{
    Frame, Mask,
    masks::StoredMask,
    problem::{Fault, Problem, ProblemKind},
    spec::{NpyStacks, Spec},
};
use sonotune_archive::Tree;
use sonotune_formats::npy::Array;

pub(super) struct NpyStackReader<'a> {
    settings: &'a NpyStacks,
    pairing: Pairing<'a>,
}

impl<'a> NpyStackReader<'a> {
    pub(super) fn new(spec: &'a Spec, settings: &'a NpyStacks) -> Result<Self> {
        let (images, masks) = (&settings.images, &settings.masks);
        let pairing = Pairing::new(spec, "npy_stacks", images, masks, settings.unpaired)?;
        Ok(Self { settings, pairing })
    }

    fn frame(
        &self,
        (name, stack): (&str, &Array),
        masks: &[(&MaskFile, Array)],
        index: usize,
    ) -> Result<Frame, Problem> {
        let settings = self.settings;
        let unreadable = |error: anyhow::Error| Problem::unreadable(&error);
        let image = stack.pixels(index, settings.scale, settings.intensity);
        let image =
            image.map_err(|error| unreadable(error.context(format!("{name}, plane {index}"))))?;
        let mut frame = Frame {
            image,
            encoded: None,
            masks: Vec::new(),
            marked: false,
            left_out: false,
            frame: Some(index as u32),
            spacing: None,
        };
        for (file, mask) in masks {
            let plane = mask.plane(index).and_then(|plane| StoredMask::of_plane(&plane));
            let plane = plane
                .map_err(|e| unreadable(e.context(format!("{}: plane {index}", file.path))))?;
            let rule = &settings.masks[file.rule];
            let (labels, marked) = labels(rule, file, plane, &frame.image)?;
            frame.marked |= marked;
            frame.masks.push(Mask::Labels(labels));
        }
        if let Some(flip) = settings.flip {
            flip_pixels(&mut frame.image, flip);
            for mask in &mut frame.masks {
                if let Mask::Labels(labels) = mask {
                    flip_pixels(labels, flip);
                }
            }
        }
        Ok(frame)
    }
}

impl Reader for NpyStackReader<'_> {
    fn plan(&self, tree: &Tree) -> Result<Plan> {
        let mut plan = self.pairing.plan(tree)?;
        for unit in &mut plan.units {
            unit.provenance.clip.get_or_insert_with(|| unit.key.clone());
        }
        Ok(plan)
    }

    fn read(&self, tree: &Tree, unit: &Unit, emit: &mut Emit<'_>) -> Result<(), Fault> {
        let open = |name: &str| Array::open(&tree.path(name)).map_err(|e| Problem::unreadable(&e));
        let name = &unit.provenance.source_file;
        let stack = open(name)?;
        let count = stack.num_planes();
        let mut masks = Vec::new();
        for file in &unit.masks {
            let mask = open(&file.path)?;
            if mask.num_planes() != count {
                let found = mask.num_planes();
                let message = format!("{}: has {found} planes, but {name} has {count}", file.path);
                return Err(Problem::new(ProblemKind::FrameCount, message).into());
            }
            masks.push((file, mask));
        }
        for index in 0..count {
            emit(self.frame((name, &stack), &masks, index)?)?;
        }
        Ok(())
    }
}
