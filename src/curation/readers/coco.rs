//! Images annotated in COCO files.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use sonotune_base::{Error, Segmentation, words::counted};

use super::{
    Detail, Emit, Outline, Plan, Reader, RoleCount, Unit, check_drawn, decode_bytes, header,
    pairing::{Pairing, nearest, sort, unknown_label},
    read_bytes, refused_export,
};
use crate::{
    Frame, Mask, Pixels,
    png::verbatim,
    problem::{Fault, Problem, ProblemKind},
    select::KeyRule,
    spec::{Coco, CocoAnnotations, Sizes, Spec, Unpaired},
    tables::Tables,
};
use sonotune_archive::Tree;
use sonotune_coco::{AnnotationRecord, CocoFile};
use sonotune_dataset::exports::Export;
use sonotune_formats::text::decode;

pub(super) struct CocoReader<'a> {
    spec: &'a Spec,
    settings: &'a Coco,
    pairing: Pairing<'a>,
    key: KeyRule,
}

/// What the COCO files say about one image.
struct Entry {
    file: String,
    split: Option<String>,
    size: (u32, u32),
    spacing: Option<[f64; 2]>,
    outlines: Vec<Outline>,
    /// Positions of its objects that have no mask.
    bare: Vec<usize>,
}

impl<'a> CocoReader<'a> {
    pub(super) fn new(spec: &'a Spec, settings: &'a Coco) -> Result<Self> {
        let pairing = Pairing::new(spec, "coco", &settings.images, &[], settings.unpaired)?;
        let images = &settings.images;
        let key = KeyRule::new("coco.images.key", &images.key, images.numeric_key)?;
        Ok(Self { spec, settings, pairing, key })
    }

    fn entries(&self, tree: &Tree, plan: &mut Plan) -> Result<BTreeMap<String, Entry>> {
        let mut entries = BTreeMap::new();
        for annotations in &self.settings.annotations {
            self.read_file(tree, annotations, plan, &mut entries)?;
        }
        Ok(entries)
    }

    fn read_file(
        &self,
        tree: &Tree,
        annotations: &CocoAnnotations,
        plan: &mut Plan,
        entries: &mut BTreeMap<String, Entry>,
    ) -> Result<()> {
        let path = &annotations.file;
        let bytes = tree.read(path)?;
        let file = CocoFile::from_slice(&bytes, std::path::Path::new(path)).map_err(|error| {
            let export = decode(&bytes, path).ok().and_then(|text| Export::of(&text));
            let other = export.filter(|export| *export != Export::Coco);
            other.map_or(error, |other| refused_export(other, path).into())
        })?;
        let ids = self.category_ids(path, &file)?;
        let mut objects = BTreeMap::<u64, (Vec<Outline>, Vec<usize>)>::new();
        for annotation in &file.annotations {
            let category = ids.get(&annotation.category_id).copied().unwrap_or_default();
            if category == 0 {
                continue;
            }
            // Annotations are numbered from 1.
            let index = annotation.id as usize - 1;
            let masks = self.masks(annotation).map_err(|error| {
                Error::data(format!("{path}: annotations[{index}].segmentation: {error}"))
            })?;
            let (outlines, bare) = objects.entry(annotation.image_id).or_default();
            if masks.is_empty() {
                bare.push(index);
            }
            let is_crowd = annotation.iscrowd;
            let outline = |segmentation| Outline { index, category, segmentation, is_crowd };
            outlines.extend(masks.into_iter().map(outline));
        }
        plan.roles.push(RoleCount {
            role: format!("images in {path}"),
            files: file.images.len(),
            example: file.images.first().map(|i| i.file_name.clone()).unwrap_or_default(),
            labels: BTreeMap::new(),
        });
        for image in &file.images {
            // Label Studio on Windows separates folders by backslashes.
            let Some((key, _)) = self.key.key(&image.file_name.replace('\\', "/")) else {
                bail!(Error::data(format!(
                    "{path}: coco.images.key does not match the file_name {}",
                    image.file_name
                )));
            };
            let (outlines, bare) = objects.remove(&image.id).unwrap_or_default();
            let entry = Entry {
                file: path.clone(),
                split: annotations.split.clone(),
                size: (image.height, image.width),
                spacing: image.spacing,
                outlines,
                bare,
            };
            if let Some(other) = entries.insert(key.clone(), entry) {
                plan.problems.push(Problem::new(
                    ProblemKind::DuplicateKey,
                    format!("key `{key}`: {path} and {} both contain this image", other.file),
                ));
            }
        }
        Ok(())
    }

    /// The masks of an object: one, unless each ring of its polygons is one; none if it has only a box.
    fn masks(&self, annotation: &AnnotationRecord) -> serde_json::Result<Vec<Segmentation>> {
        let Some(raw) = annotation.segmentation.as_deref() else { return Ok(Vec::new()) };
        // VIA writes a single ring without the list around it.
        let ring = serde_json::from_str::<Vec<f64>>(raw.get()).ok();
        let mask = match ring {
            Some(ring) => Segmentation::Polygons(vec![ring]),
            None => serde_json::from_str(raw.get())?,
        };
        Ok(match mask {
            Segmentation::None => Vec::new(),
            Segmentation::Polygons(mut rings) => {
                rings.retain(|ring| !ring.is_empty());
                if self.settings.each_ring {
                    rings.into_iter().map(|ring| Segmentation::Polygons(vec![ring])).collect()
                } else if rings.is_empty() {
                    Vec::new()
                } else {
                    vec![Segmentation::Polygons(rings)]
                }
            }
            runs => vec![runs],
        })
    }

    /// Our category by the file's id; an unknown name is an error that lists the known ones.
    fn category_ids(&self, path: &str, file: &CocoFile) -> Result<BTreeMap<u64, u8>> {
        let used: BTreeSet<u64> = file.annotations.iter().map(|a| a.category_id).collect();
        if self.settings.by_id {
            let known = |id: u64| {
                let mut categories = self.spec.categories.iter();
                categories.find(|category| u64::from(category.id) == id).map(|c| (id, c.id))
            };
            let ids = used.into_iter().map(|id| {
                known(id).ok_or_else(|| {
                    Error::data(format!(
                        "{path}: no category of the spec has the id {id}, which coco.by_id takes as it is"
                    ))
                })
            });
            return Ok(ids.collect::<Result<_, _>>()?);
        }
        let mut ids = BTreeMap::new();
        for category in file.categories.iter().filter(|category| used.contains(&category.id)) {
            let known = &self.settings.categories;
            let Some(&id) = known.get(&category.name) else {
                let place = "coco.categories";
                bail!(Error::data(unknown_label(path, &category.name, place, known.keys())));
            };
            ids.insert(category.id, id);
        }
        Ok(ids)
    }
}

impl Reader for CocoReader<'_> {
    fn plan(&self, tree: &Tree) -> Result<Plan> {
        let mut plan = Plan::default();
        let images = self.pairing.images(tree, &mut plan)?;
        let mut entries = self.entries(tree, &mut plan)?;
        let tables = Tables::default();
        let unpaired = self.settings.unpaired;
        for (key, files) in &images.by_key {
            let image = &files[0];
            let mut provenance = self.pairing.provenance(key, image, &tables);
            let mut spacing = None;
            let detail = match (entries.remove(key), unpaired) {
                (Some(entry), _) if !entry.bare.is_empty() => {
                    plan.problems.push(without_mask(&image.path, &entry));
                    continue;
                }
                (Some(entry), _) => {
                    spacing = entry.spacing;
                    provenance.official_split = entry.split;
                    let check = self.settings.sizes == Sizes::Check && !entry.outlines.is_empty();
                    Detail::Outlines { size: check.then_some(entry.size), outlines: entry.outlines }
                }
                (None, Unpaired::KeepImages) => Detail::Files,
                (None, Unpaired::Skip) => {
                    plan.skipped.push(image.path.clone());
                    continue;
                }
                (None, Unpaired::Refuse) => {
                    plan.problems.push(Problem::new(
                        ProblemKind::MissingPartner,
                        format!("{}: no COCO file has its key `{key}`", image.path),
                    ));
                    continue;
                }
            };
            let (key, masks) = (key.clone(), Vec::new());
            plan.units.push(Unit { key, provenance, masks, detail, spacing });
        }
        for (key, entry) in entries {
            if unpaired == Unpaired::Skip {
                plan.skipped.push(format!("{} in {}", key, entry.file));
                continue;
            }
            plan.problems.push(Problem::new(
                ProblemKind::MissingPartner,
                format!(
                    "{}: no image has the key `{key}`{}",
                    entry.file,
                    nearest(&key, images.by_key.keys())
                ),
            ));
        }
        sort(&mut plan.units);
        Ok(plan)
    }

    fn read(&self, tree: &Tree, unit: &Unit, emit: &mut Emit<'_>) -> Result<(), Fault> {
        let name = &unit.provenance.source_file;
        let bytes = read_bytes(&tree.path(name), name)?;
        let turn = header(&bytes, name)?.orientation;
        let image = decode_bytes(&bytes, name)?;
        let mut masks = Vec::new();
        if let Detail::Outlines { size, outlines } = &unit.detail {
            check_size(name, *size, &image)?;
            if !outlines.is_empty() {
                check_drawn(name, turn, &image, *size)?;
            }
            for outline in outlines {
                masks.push(outline.mask(name, &image)?);
            }
        }
        let marked = !masks.is_empty();
        emit(Frame {
            encoded: verbatim(&bytes).map(Into::into),
            image,
            masks,
            marked,
            left_out: false,
            frame: None,
            spacing: unit.spacing_after(turn),
        })
    }
}

impl Outline {
    fn mask(&self, name: &str, image: &Pixels) -> Result<Mask, Problem> {
        let place = || format!("{name}: annotations[{}] of its COCO file", self.index);
        let size = (image.height, image.width);
        let mask = self.segmentation.check(Some(size));
        let mask = mask.and_then(|()| self.segmentation.rasterize(size, [0.0; 4]));
        let mask = mask.map_err(|error| Problem::unreadable(&error.context(place())))?;
        if mask.area() > 0 {
            return Ok(Mask::Object { category: self.category, mask, is_crowd: self.is_crowd });
        }
        let message = format!("{}: its outline covers no pixel of the image", place());
        Err(Problem::new(ProblemKind::OutOfFrame, message))
    }
}

/// The problem of an image with objects that have a box at most.
fn without_mask(image: &str, entry: &Entry) -> Problem {
    let shown: Vec<_> = entry.bare.iter().take(3).map(|i| format!("annotations[{i}]")).collect();
    let more = if entry.bare.len() > 3 { ", …" } else { "" };
    Problem::new(
        ProblemKind::NoMask,
        format!(
            "{image}: {} without a mask in {} ({}{more}), and a box is not an outline; outline what is \
             missing, remove it from the file, or drop its category with 0 in coco.categories",
            counted(entry.bare.len(), "object"),
            entry.file,
            shown.join(", ")
        ),
    )
}

/// `size`, as the COCO file gives it, must be that of the image.
fn check_size(name: &str, size: Option<(u32, u32)>, image: &Pixels) -> Result<(), Problem> {
    let (height, width) = (image.height, image.width);
    match size.filter(|size| *size != (height, width)) {
        None => Ok(()),
        Some((h, w)) => Err(Problem::new(
            ProblemKind::MaskSize,
            format!(
                "{name}: {height}×{width} pixels (height × width), but its COCO file says {h}×{w}; use the \
                 image that was annotated, or set coco.sizes = \"ignore\" if the outlines fit this one"
            ),
        )),
    }
}
