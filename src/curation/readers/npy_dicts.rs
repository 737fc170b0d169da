//! Images, each with a pickled dict of masks.

use anyhow::Result;

use super::{
    Emit, MaskFile, Plan, Reader, Unit, decode_bytes, header,
    pairing::{Pairing, unknown_label},
    rasters::{check_turn, labels},
    read_bytes,
};
use crate::{
    Frame, Mask,
    masks::StoredMask,
    png::verbatim,
    problem::{Fault, Problem, ProblemKind},
    spec::{MaskRule, NpyDicts, Spec},
};
use sonotune_archive::Tree;
use sonotune_base::image_io::ExifTurn;
use sonotune_formats::npy_dict::read_arrays;

pub(super) struct NpyDictReader<'a> {
    settings: &'a NpyDicts,
    rule: MaskRule,
    pairing: Pairing<'a>,
}

impl<'a> NpyDictReader<'a> {
    pub(super) fn new(spec: &'a Spec, settings: &'a NpyDicts) -> Result<Self> {
        let rule = settings.as_mask_rule();
        let rules = std::slice::from_ref(&rule);
        let pairing = Pairing::new(spec, "npy_dicts", &settings.images, rules, settings.unpaired)?;
        Ok(Self { settings, rule, pairing })
    }
}

impl Reader for NpyDictReader<'_> {
    fn plan(&self, tree: &Tree) -> Result<Plan> {
        self.pairing.plan(tree)
    }

    fn read(&self, tree: &Tree, unit: &Unit, emit: &mut Emit<'_>) -> Result<(), Fault> {
        let name = &unit.provenance.source_file;
        let bytes = read_bytes(&tree.path(name), name)?;
        let image = decode_bytes(&bytes, name)?;
        let turn = header(&bytes, name)?.orientation;
        let keys: Vec<&str> = self.settings.path.iter().map(String::as_str).collect();
        let known = &self.settings.categories;
        let mut masks = Vec::new();
        let mut any = false;
        for file in &unit.masks {
            let arrays = read_arrays(&tree.path(&file.path), &keys);
            let arrays = arrays.map_err(|error| Problem::unreadable(&error))?;
            if let Some(unknown) = arrays.keys().find(|name| !known.contains_key(*name)) {
                let message =
                    unknown_label(&file.path, unknown, "npy_dicts.categories", known.keys());
                return Err(Problem::new(ProblemKind::UnknownLabel, message).into());
            }
            for (mask_name, array) in &arrays {
                let category = known.get(mask_name).copied().unwrap_or(0);
                let plane = array.plane(0).and_then(|plane| StoredMask::of_plane(&plane));
                let plane = plane.map_err(|error| {
                    Problem::unreadable(&error.context(format!("{}, {mask_name}", file.path)))
                })?;
                check_turn((name, turn, &image), (&file.path, ExifTurn::Upright, &plane))?;
                let named = MaskFile { category, ..file.clone() };
                let (labels, marked) = labels(&self.rule, &named, plane, &image)?;
                any |= marked;
                masks.push(Mask::Labels(labels));
            }
        }
        let encoded = verbatim(&bytes).map(Into::into);
        let spacing = unit.spacing_after(turn);
        emit(Frame { image, encoded, masks, marked: any, left_out: false, frame: None, spacing })
    }
}
