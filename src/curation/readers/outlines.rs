//! Images with outlines in JSON files.

use anyhow::{Result, bail};

use super::{
    Emit, MaskFile, Plan, Reader, Unit, check_drawn, decode_bytes, header,
    labelme::{Drawing, Labelme},
    pairing::Pairing,
    read_bytes, refused_export,
};
use crate::{
    Frame, Mask, Pixels,
    png::verbatim,
    problem::{Fault, Problem, ProblemKind},
    spec::{MaskRule, OutlineFormat, OutlineRule, Outlines, Spec},
};
use sonotune_archive::Tree;
use sonotune_base::image_io::ExifTurn;
use sonotune_dataset::exports::Export;
use sonotune_formats::{
    polygon::{PolygonRule, fill, vertex},
    text::decode,
};

pub(super) struct OutlineReader<'a> {
    settings: &'a Outlines,
    pairing: Pairing<'a>,
}

impl<'a> OutlineReader<'a> {
    pub(super) fn new(spec: &'a Spec, settings: &'a Outlines) -> Result<Self> {
        let rules: Vec<MaskRule> =
            settings.outlines.iter().map(OutlineRule::as_mask_rule).collect();
        let pairing = Pairing::new(spec, "outlines", &settings.images, &rules, settings.unpaired)?;
        Ok(Self { settings, pairing })
    }

    /// The objects in `file` of the image `name`, which EXIF turns as `turn` says.
    fn masks(
        &self,
        tree: &Tree,
        file: &MaskFile,
        (name, turn, image): (&str, ExifTurn, &Pixels),
    ) -> Result<Vec<Mask>, Problem> {
        let bytes = read_bytes(&tree.path(&file.path), &file.path)?;
        let text = decode(&bytes, &file.path).map_err(|e| Problem::unreadable(&e.into()))?;
        let fail = |error: serde_json::Error| {
            let other =
                Export::of(&text).map(|export| refused_export(export, &file.path).to_string());
            let message = other.unwrap_or_else(|| format!("{}: {error}", file.path));
            Problem::new(ProblemKind::Unreadable, message)
        };
        let rule = self.settings.rule;
        match self.settings.format {
            OutlineFormat::Points => {
                let points: Vec<(f64, f64)> = serde_json::from_str(&text).map_err(fail)?;
                if file.category == 0 {
                    return Ok(Vec::new());
                }
                check_drawn(name, turn, image, None)?;
                let mask = filled(&points, image, rule, &file.path)?;
                Ok(vec![Mask::Labels(labelled(mask, image, file.category))])
            }
            OutlineFormat::Labelme => {
                let shapes: Labelme = serde_json::from_str(&text).map_err(fail)?;
                let labels = &self.settings.outlines[file.rule].labels;
                let place = &format!("outlines.outlines[{}].labels", file.rule);
                let drawing = Drawing { path: &file.path, image, name, turn, rule, labels, place };
                shapes.check_image(self.settings.sizes, &drawing)?;
                shapes.masks(&drawing)
            }
        }
    }
}

impl Reader for OutlineReader<'_> {
    fn plan(&self, tree: &Tree) -> Result<Plan> {
        let plan = self.pairing.plan(tree)?;
        // One file for all images, as some tools write, would otherwise be without a partner.
        for role in plan.roles.iter().skip(1).filter(|role| !role.example.is_empty()) {
            let bytes = tree.read(&role.example)?;
            let export = decode(&bytes, &role.example).ok().and_then(|text| Export::of(&text));
            let own = (self.settings.format == OutlineFormat::Labelme).then_some(Export::Labelme);
            if let Some(other) = export.filter(|_| export != own) {
                bail!(refused_export(other, &role.example));
            }
        }
        Ok(plan)
    }

    fn read(&self, tree: &Tree, unit: &Unit, emit: &mut Emit<'_>) -> Result<(), Fault> {
        let name = &unit.provenance.source_file;
        let bytes = read_bytes(&tree.path(name), name)?;
        let image = decode_bytes(&bytes, name)?;
        let turn = header(&bytes, name)?.orientation;
        let mut masks = Vec::new();
        for file in &unit.masks {
            masks.extend(self.masks(tree, file, (name, turn, &image))?);
        }
        let marked = !masks.is_empty();
        let encoded = verbatim(&bytes).map(Into::into);
        let spacing = unit.spacing_after(turn);
        emit(Frame { image, encoded, masks, marked, left_out: false, frame: None, spacing })
    }
}

/// 1 within the polygon; a problem if it has no area or covers no pixel of the image.
pub(super) fn filled(
    points: &[(f64, f64)],
    image: &Pixels,
    rule: PolygonRule,
    place: &str,
) -> Result<Vec<u8>, Problem> {
    if is_flat(points) {
        return Err(Problem::new(
            ProblemKind::NoArea,
            format!(
                "{place}: the outline has no area: all of its points ({}) lie on one line",
                points.len()
            ),
        ));
    }
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

/// Whether all points are on one line.
fn is_flat(points: &[(f64, f64)]) -> bool {
    let Some(&(x0, y0)) = points.first() else { return true };
    let offsets = points.iter().map(|&(x, y)| (x - x0, y - y0));
    let longest = |a: &(f64, f64), b: &(f64, f64)| a.0.hypot(a.1).total_cmp(&b.0.hypot(b.1));
    let Some((dx, dy)) = offsets.clone().max_by(longest) else { return true };
    offsets.into_iter().all(|(x, y)| (dx * y - dy * x).abs() <= 1e-9 * (dx * dx + dy * dy))
}

/// The mask with its category for 1.
pub(super) fn labelled(mut mask: Vec<u8>, image: &Pixels, category: u8) -> Pixels {
    mask.iter_mut().for_each(|value| *value *= category);
    Pixels { height: image.height, width: image.width, channels: 1, data: mask }
}
