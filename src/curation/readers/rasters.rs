//! Images and masks as raster files.

use std::sync::Arc;

use anyhow::Result;

use super::{
    Emit, MaskFile, Plan, Reader, Unit, decode_bytes, decode_mask, header, pairing::Pairing,
    read_bytes, samples,
};
use crate::{
    Frame, Mask, Pixels,
    masks::{Decoder, StoredMask, UnknownValue, clean, fit},
    png::verbatim,
    problem::{Fault, Problem, ProblemKind},
    spec::{Decode, MaskRule, Rasters, Spec},
};
use sonotune_archive::Tree;
use sonotune_base::image_io::{self, ExifTurn};
use sonotune_formats::{
    Intensity, Plane, Values,
    dicom::{Dicom, is_dicom},
};

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
        if is_dicom(&bytes) {
            return self.read_dicom(tree, unit, emit);
        }
        let turn = header(&bytes, name)?.orientation;
        let image = self.image(&bytes, name)?;
        let mut marked = false;
        let mut masks = Vec::with_capacity(unit.masks.len());
        for file in &unit.masks {
            let (mask, mask_turn) = decode_mask(&tree.path(&file.path), &file.path)?;
            check_turn((name, turn, &image), (&file.path, mask_turn, &mask))?;
            let rule = &self.settings.masks[file.rule];
            let (labels, any) = labels(rule, file, mask, &image)?;
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
            spacing: unit.spacing_after(turn),
        })
    }
}

impl RasterReader<'_> {
    /// A DICOM image with its masks; or every frame of a cine, if there are none.
    fn read_dicom(&self, tree: &Tree, unit: &Unit, emit: &mut Emit<'_>) -> Result<(), Fault> {
        let name = &unit.provenance.source_file;
        let unreadable = |error: anyhow::Error| Problem::unreadable(&error);
        let dicom = Dicom::open(&tree.path(name)).map_err(unreadable)?;
        let count = dicom.num_frames();
        if count > 1 && !unit.masks.is_empty() {
            let message =
                format!("{name}: has {count} frames, and a mask is for one: read it with [frames]");
            return Err(Problem::new(ProblemKind::FrameCount, message).into());
        }
        for index in 0..count {
            let image = dicom.frame(index).map_err(unreadable)?;
            let mut frame = Frame {
                image,
                encoded: None,
                masks: Vec::new(),
                marked: false,
                left_out: false,
                frame: (count > 1).then_some(index as u32),
                spacing: unit.spacing.or(dicom.info().spacing),
            };
            for file in &unit.masks {
                let (mask, mask_turn) = decode_mask(&tree.path(&file.path), &file.path)?;
                let shown = (name.as_str(), ExifTurn::Upright, &frame.image);
                check_turn(shown, (&file.path, mask_turn, &mask))?;
                let rule = &self.settings.masks[file.rule];
                let (labels, any) = labels(rule, file, mask, &frame.image)?;
                frame.marked |= any;
                frame.masks.push(Mask::Labels(labels));
            }
            emit(frame)?;
        }
        Ok(())
    }

    fn image(&self, bytes: &[u8], name: &str) -> Result<Pixels, Problem> {
        let Some(intensity) = self.settings.intensity else {
            return decode_bytes(bytes, name).map_err(|problem| with_intensity(problem, bytes));
        };
        let image = samples(bytes, name)?;
        let (height, width, channels) = (image.height, image.width, image.channels);
        if let image_io::Values::U8(data) = image.values {
            return Ok(Pixels { height, width, channels, data });
        }
        let range = image.values.range().unwrap_or_default();
        let values = Values::Float(image.values.iter().collect());
        let plane = Plane { height: height as usize, width: width as usize, channels, values };
        plane
            .to_pixels(intensity, range)
            .map_err(|error| Problem::unreadable(&error.context(name.to_owned())))
    }
}

/// Adds the key that says how numbers beyond 8 bits become grey levels, if they are the problem.
fn with_intensity(problem: Problem, bytes: &[u8]) -> Problem {
    let Ok(image) = image_io::decode_samples(bytes, super::DECODE) else { return problem };
    let Some((low, high)) = image.values.range() else { return problem };
    if matches!(image.values, image_io::Values::U8(_)) {
        return problem;
    }
    let window = Intensity::suggestion(low, high);
    let message = format!("{}; or set rasters.intensity, for example to {window}", problem.message);
    Problem { message, ..problem }
}

/// Refuses a mask that EXIF turns differently from its image, if sizes do not tell whether it was drawn on
/// the image as stored or as shown.
pub(super) fn check_turn(
    (image_name, image_turn, image): (&str, ExifTurn, &Pixels),
    (mask_name, mask_turn, mask): (&str, ExifTurn, &StoredMask),
) -> Result<(), Problem> {
    if image_turn == mask_turn {
        return Ok(());
    }
    let size = (image.height, image.width);
    let is_quarter = [image_turn, mask_turn].iter().all(|turn| *turn != ExifTurn::Mirrored);
    if is_quarter && size.0 != size.1 && (mask.width, mask.height) != size {
        // Upright, or of a size that `resize` is about.
        return Ok(());
    }
    Err(Problem::new(
        ProblemKind::AmbiguousMask,
        format!(
            "{mask_name}: is {} according to EXIF, its image {image_name} {}, so they may not match; \
             store both upright, without an orientation in EXIF",
            mask_turn.words(),
            image_turn.words()
        ),
    ))
}

/// Category ids of a mask's pixels at the image's size, and whether any was foreground
/// before cleaning.
pub(super) fn labels(
    rule: &MaskRule,
    file: &MaskFile,
    mask: impl Into<StoredMask>,
    image: &Pixels,
) -> Result<(Pixels, bool), Problem> {
    let mask = mask.into();
    let decoder = Decoder::new(&rule.decode, file.category).map_err(|e| Problem::unreadable(&e))?;
    let (labels, unknown) = mask.decode(&decoder, rule.compare).map_err(|(kind, words)| {
        Problem::new(kind, format!("{}: {words} (masks[{}])", file.path, file.rule))
    })?;
    if !unknown.is_empty() {
        return Err(unknown_values(rule, file, &unknown, mask.note()));
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

fn unknown_values(
    rule: &MaskRule,
    file: &MaskFile,
    unknown: &[UnknownValue],
    note: &str,
) -> Problem {
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
            "{}: masks[{}].decode does not know {}{more}; it knows {known}{note}",
            file.path,
            file.rule,
            shown.join(", "),
        ),
    )
}
