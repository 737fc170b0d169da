//! Images and masks as raster files.

use std::sync::Arc;

use anyhow::Result;

use super::{
    Emit, MaskFile, Plan, Reader, Unit, decode, decode_bytes, pairing::Pairing, read_bytes,
};
use crate::{
    Frame, Mask, Pixels,
    masks::{Decoder, UnknownValue, clean, fit},
    png::verbatim,
    problem::{Fault, Problem, ProblemKind},
    spec::{Decode, MaskRule, Rasters, Spec},
};
use sonotune_archive::Tree;

pub(super) struct RasterReader<'a> {
    settings: &'a Rasters,
    pairing: Pairing<'a>,
}

impl<'a> RasterReader<'a> {
    pub(super) fn new(spec: &'a Spec, settings: &'a Rasters) -> Result<Self> {
        let pairing =
            Pairing::new(spec, "rasters", &settings.images, &settings.masks, settings.unpaired)?;
        Ok(Self { settings, pairing })
    }
}

impl Reader for RasterReader<'_> {
    fn plan(&self, tree: &Tree) -> Result<Plan> {
        self.pairing.plan(tree)
    }

    fn read(&self, tree: &Tree, unit: &Unit, emit: &mut Emit<'_>) -> Result<(), Fault> {
        let name = &unit.provenance.source_file;
        let bytes = read_bytes(&tree.path(name), name)?;
        let image = decode_bytes(&bytes, name)?;
        let mut marked = false;
        let mut masks = Vec::with_capacity(unit.masks.len());
        for file in &unit.masks {
            let pixels = decode(&tree.path(&file.path), &file.path)?;
            let rule = &self.settings.masks[file.rule];
            let (labels, any) = labels(rule, file, pixels, &image)?;
            marked |= any;
            masks.push(Mask::Labels(labels));
        }
        emit(Frame {
            encoded: verbatim(&bytes).map(Arc::from),
            image,
            masks,
            marked,
            left_out: false,
            frame: None,
        })
    }
}

/// Category ids of a mask file's pixels at the image's size, and whether any was foreground
/// before cleaning.
pub(super) fn labels(
    rule: &MaskRule,
    file: &MaskFile,
    pixels: Pixels,
    image: &Pixels,
) -> Result<(Pixels, bool), Problem> {
    let decoder = Decoder::new(&rule.decode, file.category).map_err(|e| Problem::unreadable(&e))?;
    let (labels, unknown) = decoder.decode(&pixels);
    if !unknown.is_empty() {
        return Err(unknown_values(rule, file, &unknown));
    }
    let marked = labels.data.iter().any(|&id| id != 0);
    let mut labels = fit(labels, (image.height, image.width), rule.resize).map_err(|mask| {
        Problem::new(
            ProblemKind::MaskSize,
            format!(
                "{}: {}×{} pixels (height × width), its image has {}×{}; masks[{}].resize says how to \
                 handle this",
                file.path, mask.height, mask.width, image.height, image.width, file.rule
            ),
        )
    })?;
    clean(&mut labels, image, &rule.clean);
    Ok((labels, marked))
}

fn unknown_values(rule: &MaskRule, file: &MaskFile, unknown: &[UnknownValue]) -> Problem {
    let shown: Vec<String> =
        unknown.iter().take(5).map(|u| format!("{} in {} pixels", u.value, u.pixels)).collect();
    let more = if unknown.len() > 5 {
        format!(", {} values in all", unknown.len())
    } else {
        String::new()
    };
    let known = match &rule.decode {
        Decode::Values(map) | Decode::Colors(map) | Decode::ColorsBgr(map) => {
            map.keys().map(String::as_str).collect::<Vec<_>>().join("; ")
        }
        _ => String::new(),
    };
    Problem::new(
        ProblemKind::UnknownValue,
        format!(
            "{}: masks[{}].decode does not know {}{more}; it knows {known}",
            file.path,
            file.rule,
            shown.join(", "),
        ),
    )
}
