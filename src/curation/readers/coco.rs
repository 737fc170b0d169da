//! Images annotated in COCO files; each ring of a polygon is an object.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use sonotune_base::{Error, Segmentation};

use super::{
    Detail, Emit, Plan, Reader, RoleCount, Unit, decode_bytes,
    pairing::{Pairing, nearest, sort, unknown_label},
    read_bytes,
};
use crate::{
    CocoFile, Frame, Mask,
    png::verbatim,
    problem::{Fault, Problem, ProblemKind},
    select::KeyRule,
    spec::{Coco, CocoAnnotations, Spec, Unpaired},
    tables::Tables,
};
use sonotune_archive::Tree;

pub(super) struct CocoReader<'a> {
    settings: &'a Coco,
    pairing: Pairing<'a>,
    key: KeyRule,
}

/// What the COCO files say about one image.
struct Entry {
    file: String,
    split: Option<String>,
    outlines: Vec<(u8, Segmentation)>,
}

impl<'a> CocoReader<'a> {
    pub(super) fn new(spec: &'a Spec, settings: &'a Coco) -> Result<Self> {
        let pairing = Pairing::new(spec, "coco", &settings.images, &[], settings.unpaired)?;
        let images = &settings.images;
        let key = KeyRule::new("coco.images.key", &images.key, images.numeric_key)?;
        Ok(Self { settings, pairing, key })
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
        let file = CocoFile::from_slice(&tree.read(path)?, std::path::Path::new(path))?;
        let ids = self.category_ids(path, &file)?;
        let mut outlines = BTreeMap::<u64, Vec<(u8, Segmentation)>>::new();
        for annotation in &file.annotations {
            let Some(&category) = ids.get(&annotation.category_id) else { continue };
            let rings: Vec<Vec<f64>> = match annotation.segmentation.as_deref() {
                Some(raw) => serde_json::from_str(raw.get()).map_err(|error| {
                    Error::data(format!("{path}: annotation {}: {error}", annotation.id))
                })?,
                None => Vec::new(),
            };
            let rings =
                rings.into_iter().map(|ring| (category, Segmentation::Polygons(vec![ring])));
            outlines.entry(annotation.image_id).or_default().extend(rings);
        }
        plan.roles.push(RoleCount {
            role: format!("images in {path}"),
            files: file.images.len(),
            example: file.images.first().map(|i| i.file_name.clone()).unwrap_or_default(),
            labels: BTreeMap::new(),
        });
        for image in &file.images {
            let Some((key, _)) = self.key.key(&image.file_name) else {
                bail!(Error::data(format!(
                    "{path}: coco.images.key does not match the file_name {}",
                    image.file_name
                )));
            };
            let entry = Entry {
                file: path.clone(),
                split: annotations.split.clone(),
                outlines: outlines.remove(&image.id).unwrap_or_default(),
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

    /// Our category by the file's id; an unknown name is an error that lists the known ones.
    fn category_ids(&self, path: &str, file: &CocoFile) -> Result<BTreeMap<u64, u8>> {
        let used: BTreeSet<u64> = file.annotations.iter().map(|a| a.category_id).collect();
        if self.settings.by_id {
            let ids = used.into_iter().filter_map(|id| Some((id, u8::try_from(id).ok()?)));
            return Ok(ids.collect());
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
            let outlines = match (entries.remove(key), unpaired) {
                (Some(entry), _) => {
                    provenance.official_split = entry.split;
                    entry.outlines
                }
                (None, Unpaired::KeepImages) => Vec::new(),
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
            plan.units.push(Unit {
                key: key.clone(),
                provenance,
                masks: Vec::new(),
                detail: Detail::Outlines(outlines),
            });
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
        let image = decode_bytes(&bytes, name)?;
        let mut masks = Vec::new();
        if let Detail::Outlines(outlines) = &unit.detail {
            for (category, outline) in outlines {
                let mask = outline
                    .rasterize((image.height, image.width), [0.0; 4])
                    .map_err(|error| Problem::unreadable(&error.context(name.clone())))?;
                if mask.area() == 0 {
                    return Err(Problem::new(
                        ProblemKind::OutOfFrame,
                        format!("{name}: an outline covers no pixel of the image"),
                    )
                    .into());
                }
                masks.push(Mask::Object { category: *category, mask });
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
        })
    }
}
