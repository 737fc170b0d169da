//! Images with outlines in JSON files.

use anyhow::Result;
use serde::Deserialize;

use super::{
    Emit, MaskFile, Plan, Reader, Unit, decode_bytes,
    pairing::{Pairing, unknown_label},
    read_bytes,
};
use crate::{
    Frame, Mask, Pixels,
    png::verbatim,
    problem::{Fault, Problem, ProblemKind},
    spec::{MaskRule, OutlineFormat, OutlineRule, Outlines, Spec},
};
use sonotune_archive::Tree;
use sonotune_formats::polygon::{PolygonRule, fill, vertex};

pub(super) struct OutlineReader<'a> {
    settings: &'a Outlines,
    pairing: Pairing<'a>,
}

/// An outline in a file.
struct Outline {
    category: u8,
    points: Vec<(f64, f64)>,
}

#[derive(Deserialize)]
struct Labelme {
    shapes: Vec<Shape>,
}

#[derive(Deserialize)]
struct Shape {
    label: String,
    points: Vec<(f64, f64)>,
}

impl<'a> OutlineReader<'a> {
    pub(super) fn new(spec: &'a Spec, settings: &'a Outlines) -> Result<Self> {
        let rules: Vec<MaskRule> =
            settings.outlines.iter().map(OutlineRule::as_mask_rule).collect();
        let pairing = Pairing::new(spec, "outlines", &settings.images, &rules, settings.unpaired)?;
        Ok(Self { settings, pairing })
    }

    fn outlines(&self, tree: &Tree, file: &MaskFile) -> Result<Vec<Outline>, Problem> {
        let bytes = read_bytes(&tree.path(&file.path), &file.path)?;
        // Some files have labels in other encodings: bytes that are not UTF-8 occur in no relevant key.
        let text = String::from_utf8_lossy(&bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let fail = |error: serde_json::Error| {
            Problem::new(ProblemKind::Unreadable, format!("{}: {error}", file.path))
        };
        match self.settings.format {
            OutlineFormat::Points => {
                let points = serde_json::from_str(text).map_err(fail)?;
                Ok(vec![Outline { category: file.category, points }])
            }
            OutlineFormat::Labelme => {
                let labels = &self.settings.outlines[file.rule].labels;
                let shapes = serde_json::from_str::<Labelme>(text).map_err(fail)?.shapes;
                shapes
                    .into_iter()
                    .map(|shape| match labels.get(&shape.label) {
                        Some(&category) => Ok(Outline { category, points: shape.points }),
                        None => Err(Problem::new(
                            ProblemKind::UnknownLabel,
                            unknown_label(
                                &file.path,
                                &shape.label,
                                &format!("outlines.outlines[{}].labels", file.rule),
                                labels.keys(),
                            ),
                        )),
                    })
                    .collect()
            }
        }
    }
}

impl Reader for OutlineReader<'_> {
    fn plan(&self, tree: &Tree) -> Result<Plan> {
        self.pairing.plan(tree)
    }

    fn read(&self, tree: &Tree, unit: &Unit, emit: &mut Emit<'_>) -> Result<(), Fault> {
        let name = &unit.provenance.source_file;
        let bytes = read_bytes(&tree.path(name), name)?;
        let image = decode_bytes(&bytes, name)?;
        let mut masks = Vec::new();
        for file in &unit.masks {
            for outline in self.outlines(tree, file)? {
                if outline.category == 0 {
                    continue;
                }
                let mask = filled(&outline.points, &image, self.settings.rule, &file.path)?;
                masks.push(Mask::Labels(labelled(mask, &image, outline.category)));
            }
        }
        let marked = !masks.is_empty();
        let encoded = verbatim(&bytes).map(Into::into);
        emit(Frame { image, encoded, masks, marked, left_out: false, frame: None })
    }
}

/// 1 within the polygon; a problem if it covers no pixel of the image.
pub(super) fn filled(
    points: &[(f64, f64)],
    image: &Pixels,
    rule: PolygonRule,
    place: &str,
) -> Result<Vec<u8>, Problem> {
    let (height, width) = (image.height as usize, image.width as usize);
    let vertices: Option<Vec<(i32, i32)>> = points.iter().map(|&(x, y)| vertex(x, y)).collect();
    let vertices = vertices.ok_or_else(|| {
        Problem::new(ProblemKind::OutOfFrame, format!("{place}: a point is not a pixel position"))
    })?;
    let mut mask = vec![0; height * width];
    fill(&vertices, height, width, rule, &mut mask, 1);
    if mask.iter().all(|&value| value == 0) {
        return Err(Problem::new(
            ProblemKind::OutOfFrame,
            format!("{place}: an outline of {} points covers no pixel of the image", points.len()),
        ));
    }
    Ok(mask)
}

/// The mask with its category for 1.
pub(super) fn labelled(mut mask: Vec<u8>, image: &Pixels, category: u8) -> Pixels {
    mask.iter_mut().for_each(|value| *value *= category);
    Pixels { height: image.height, width: image.width, channels: 1, data: mask }
}
