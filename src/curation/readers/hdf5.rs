//! Stacks of images and masks in one HDF5 file.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{
    Detail, Emit, MaskFile, Plan, Reader, RoleCount, Unit, pairing::sort, rasters::labels,
};
use crate::{
    Frame, Mask,
    masks::StoredMask,
    problem::{Fault, Problem, ProblemKind},
    select::Selector,
    spec::{Hdf5Stacks, MaskRule},
};
use sonotune_archive::Tree;
use sonotune_coco::Provenance;
use sonotune_formats::{Plane, hdf5::Hdf5};

pub(super) struct Hdf5Reader<'a> {
    settings: &'a Hdf5Stacks,
    selector: Selector,
    rule: MaskRule,
}

/// Planes per unit if no dataset names the clips.
const PLANES: usize = 256;

impl<'a> Hdf5Reader<'a> {
    pub(super) fn new(settings: &'a Hdf5Stacks) -> Result<Self> {
        let selector = Selector::new("hdf5.files", &settings.files)?;
        Ok(Self { settings, selector, rule: settings.as_mask_rule() })
    }

    /// The planes grouped into units by clip.
    fn units(&self, tree: &Tree, path: &str, key: &str) -> Result<Vec<Unit>, Problem> {
        let unreadable = |error: anyhow::Error| Problem::unreadable(&error);
        let file = Hdf5::open(&tree.path(path)).map_err(unreadable)?;
        let count = file.stack(&self.settings.image).map_err(unreadable)?.num_planes();
        let masks = file.stack(&self.settings.mask).map_err(unreadable)?.num_planes();
        let counts = |name: &str, found: usize| {
            let image = &self.settings.image;
            let message = format!("{path}: {found} entries in {name}, {count} in {image}");
            Problem::new(ProblemKind::FrameCount, message)
        };
        if masks != count {
            return Err(counts(&self.settings.mask, masks));
        }
        let mut planes = BTreeMap::<String, Vec<u32>>::new();
        match &self.settings.clip {
            None => {
                for index in 0..count {
                    let first = index / PLANES * PLANES;
                    planes.entry(format!("{first:06}")).or_default().push(index as u32);
                }
            }
            Some(dataset) => {
                let clips = file.strings(dataset).map_err(unreadable)?;
                if clips.len() != count {
                    return Err(counts(dataset, clips.len()));
                }
                for (index, clip) in clips.into_iter().enumerate() {
                    planes.entry(clip).or_default().push(index as u32);
                }
            }
        }
        let named = self.settings.clip.is_some();
        let unit = |(part, planes): (String, Vec<u32>)| Unit {
            key: if key.is_empty() { part.clone() } else { format!("{key}/{part}") },
            provenance: Provenance {
                source_file: path.to_owned(),
                clip: named.then_some(part),
                ..Provenance::default()
            },
            masks: Vec::new(),
            detail: Detail::Planes(planes),
            spacing: None,
        };
        Ok(planes.into_iter().map(unit).collect())
    }

    fn frame(
        &self,
        index: usize,
        (image, range): (&Plane, (f64, f64)),
        mask: &Plane,
        path: &str,
    ) -> Result<Frame, Problem> {
        let unreadable = |error: anyhow::Error| {
            Problem::unreadable(&error.context(format!("{path}, plane {index}")))
        };
        let image = image.to_pixels(self.settings.intensity, range).map_err(unreadable)?;
        let plane = StoredMask::of_plane(mask).map_err(unreadable)?;
        let file = MaskFile {
            path: format!("{path}, plane {index}"),
            rule: 0,
            category: self.rule.category.unwrap_or(0),
        };
        let (labels, marked) = labels(&self.rule, &file, plane, &image)?;
        let masks = vec![Mask::Labels(labels)];
        Ok(Frame {
            image,
            encoded: None,
            masks,
            marked,
            left_out: false,
            frame: Some(index as u32),
            spacing: None,
        })
    }
}

impl Reader for Hdf5Reader<'_> {
    fn plan(&self, tree: &Tree) -> Result<Plan> {
        let mut plan = Plan::default();
        let files = self.selector.select(tree, &mut plan.problems)?;
        let paths: Vec<&str> =
            files.by_key.values().flatten().map(|file| file.path.as_str()).collect();
        plan.roles.push(RoleCount {
            role: "hdf5.files".to_owned(),
            files: files.files,
            example: paths.first().copied().unwrap_or_default().to_owned(),
            labels: BTreeMap::new(),
        });
        let several = files.by_key.len() > 1;
        for (key, file) in files.by_key.iter().flat_map(|(k, f)| f.iter().map(move |f| (k, f))) {
            match self.units(tree, &file.path, if several { key } else { "" }) {
                Ok(units) => plan.units.extend(units),
                Err(problem) => plan.problems.push(problem),
            }
        }
        sort(&mut plan.units);
        Ok(plan)
    }

    fn read(&self, tree: &Tree, unit: &Unit, emit: &mut Emit<'_>) -> Result<(), Fault> {
        let Detail::Planes(planes) = &unit.detail else { return Ok(()) };
        let path = &unit.provenance.source_file;
        let unreadable = |error: anyhow::Error| Problem::unreadable(&error);
        let file = Hdf5::open(&tree.path(path)).map_err(unreadable)?;
        let images = file.stack(&self.settings.image).map_err(unreadable)?;
        let masks = file.stack(&self.settings.mask).map_err(unreadable)?;
        let numbers = images.range_of(planes, self.settings.intensity).map_err(unreadable)?;
        for run in planes.chunk_by(|a, b| a + 1 == *b) {
            let (Some(&first), Some(&last)) = (run.first(), run.last()) else { continue };
            let window = images.window().clamp(1, 64);
            for start in (first as usize..=last as usize).step_by(window) {
                let range = start..(start + window).min(last as usize + 1);
                let mut shown = Vec::with_capacity(range.len());
                images
                    .planes(range.clone(), |_, plane| {
                        shown.push(plane);
                        Ok(())
                    })
                    .map_err(unreadable)?;
                let mut marked = Vec::with_capacity(range.len());
                masks
                    .planes(range.clone(), |_, plane| {
                        marked.push(plane);
                        Ok(())
                    })
                    .map_err(unreadable)?;
                for ((index, image), mask) in range.zip(&shown).zip(&marked) {
                    emit(self.frame(index, (image, numbers), mask, path)?)?;
                }
            }
        }
        Ok(())
    }
}
